"""Samples of a store as pictures, at any resolution.

Pictures are read from the level that is just finer than they are, and averaged down. Where a store
has no such level, an overview of the whole plane is made once, strip by strip, and kept.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tilepress.codecs.recent import Recent
from tilepress.errors import TooMuchMemory, UsageError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.read.channels import band_count
from tilepress.pipeline.read.look import (
    Look,
    Pixels,
    Samples,
    coloured,
    middle_of,
    reduced,
)
from tilepress.pipeline.read.palette import Palette, palette_of
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.scaled import ScaledImage

__all__ = ["Picture"]

OVERVIEW = 2048
"""Rows or columns of an overview at most."""

MAX_READ = 2**27
"""Samples that one picture may be made of."""

KEPT_OVERVIEWS = 2**27
"""Bytes of overviews that a picture keeps."""

_STRIP = 2**24
"""Samples that are read at a time for an overview."""

Window = tuple[int, int, int, int]
"""First row and column, and those behind the last, of the full resolution."""


class Picture:
    """Pictures of one store. Any thread may ask."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader
        self.levels = [reader.at_level(n) for n in range(reader.level_count)]
        self._scaled: dict[tuple[int, int], ScaledImage] = {}
        self._overviews: Recent[tuple[Any, ...], tuple[Samples, Samples]] = Recent(
            KEPT_OVERVIEWS, lambda pair: pair[0].nbytes + pair[1].nbytes
        )
        self._making = threading.Lock()

    @property
    def height(self) -> int:
        return self.reader.shape[-2]

    @property
    def width(self) -> int:
        return self.reader.shape[-1]

    def region(self, window: Window, factor: float, look: Look) -> Pixels:
        """Return a window of the full resolution, each pixel ``factor``² samples of it.

        Raises UsageError for what the store does not have, TooMuchMemory where the picture would
        need more samples than one may.
        """
        y0, x0, y1, x1 = window
        y0, x0, y1, x1 = max(0, y0), max(0, x0), min(y1, self.height), min(x1, self.width)
        if y0 >= y1 or x0 >= x1 or not factor > 0:
            raise UsageError(f"drawing {self.reader.path.name}: the window {window} has no samples")
        rows, columns = max(1, round((y1 - y0) / factor)), max(1, round((x1 - x0) / factor))
        bands = look.bands
        samples, present = self._read(bands, look.place, (y0, x0, y1, x1), factor)
        if look.index is not None:  # a mean of it is one of places where every band is
            present = np.broadcast_to(present.min(axis=0), present.shape)
        means, cover = reduced(samples, present, (rows, columns), self._is_classes)
        return coloured(means, cover, look, self.palette)

    def overview(self, size: int, look: Look) -> Pixels:
        """Return the whole plane, its longer side ``size`` pixels at most."""
        factor = max(self.height, self.width) / size
        return self.region((0, 0, self.height, self.width), max(1.0, factor), look)

    def plane(self, axis: str, number: int, look: Look) -> Samples:
        """Return stored samples of a plane at right angles to an axis of a volume.

        ``axis`` "z" gives (y, x), "y" (z, x), "x" (z, y), of the first channel's band.
        """
        axes, shape = self.reader.axes, self.reader.shape
        if axis not in axes or "z" not in axes:
            raise UsageError(f"drawing {self.reader.path.name}: it has no planes along {axis!r}")
        if not 0 <= number < shape[axes.index(axis)]:
            raise UsageError(
                f"drawing {self.reader.path.name}: got plane {number} along {axis}, want 0 … "
                f"{shape[axes.index(axis)] - 1}"
            )
        shown = {"z", "y", "x"} - {axis}
        place = {
            **middle_of(self.reader),
            **look.place,
            "band": look.channels[0].band,
            axis: number,
        }
        start = [0 if name in shown else place[name] for name in axes]
        stop = [n if name in shown else place[name] + 1
                for name, n in zip(axes, shape, strict=True)]  # fmt: skip
        if math.prod(b - a for a, b in zip(start, stop, strict=True)) > MAX_READ:
            raise TooMuchMemory(f"drawing {self.reader.path.name}: the plane has too many samples")
        samples = self.reader.read(Box(tuple(start), tuple(stop)))
        return samples.reshape([n for name, n in zip(axes, shape, strict=True) if name in shown])

    def value(self, y: int, x: int, look: Look) -> list[Any]:
        """Return the stored samples of every band at a place."""
        window = (y, x, y + 1, x + 1)
        samples = self._planes(0, list(range(band_count(self.reader))), look.place, window)
        return [one.item() for one in samples.reshape(-1)]

    def index(self, y: int, x: int, look: Look) -> float | None:
        """Return the index at a place; None where there is none."""
        if look.index is None:
            return None
        window = (y, x, y + 1, x + 1)
        samples = self._planes(0, look.bands, look.place, window)
        if not self._present(0, look.bands, samples, window).all():
            return None
        value = float(look.index.values(samples)[0, 0])
        return value if math.isfinite(value) else None

    # --- reading -------------------------------------------------------------------------------

    def _read(
        self, bands: Sequence[int], place: Mapping[str, int], window: Window, factor: float
    ) -> tuple[Samples, Samples]:
        """Return (bands, y, x) samples of a window, of a level that is fine enough, and a mask."""
        number = self._level(factor)
        if factor / self._step(number) >= 2 and max(self.levels[number].shape[-2:]) > OVERVIEW:
            samples, present = self._overview(number, bands, place)
            scale = self.height / samples.shape[-2], self.width / samples.shape[-1]
            if factor >= max(scale) / 1.5:
                y0, x0, y1, x1 = _scaled(window, scale, samples.shape[-2:])
                return samples[:, y0:y1, x0:x1], present[:, y0:y1, x0:x1]
        reader = self.levels[number]
        scale = self.height / reader.shape[-2], self.width / reader.shape[-1]
        y0, x0, y1, x1 = _scaled(window, scale, reader.shape[-2:])
        by = self._scale(number, factor / self._step(number))
        if len(bands) * (y1 - y0) * (x1 - x0) > MAX_READ * by**2:
            raise TooMuchMemory(
                f"drawing {self.reader.path.name}: so much of it at once needs levels of lower "
                "resolution: add them with tilepress levels"
            )
        samples = self._planes(number, bands, place, (y0, x0, y1, x1), by)
        return samples, self._present(number, bands, samples, (y0, x0, y1, x1))

    def _scale(self, level: int, factor: float) -> int:
        """Return the scale at which a level is read for pixels of ``factor``² of its samples: 1
        where its codec has none, or samples are classes, or a mask says which are there."""
        masked = self.reader.has_mask and level == 0
        if factor < 2 or masked or self._is_classes:
            return 1
        known = ScaledImage.scales(self.levels[level])
        return max((scale for scale in known if scale <= factor * 1.01), default=1)

    def _level(self, factor: float) -> int:
        """Return the coarsest level whose samples are not larger than the pixels."""
        fine = [n for n in range(len(self.levels)) if self._step(n) <= factor * 1.01]
        return max(fine, default=0)

    def _step(self, level: int) -> float:
        """Return how many samples of the full resolution one of a level covers, along a side."""
        return max(
            self.height / self.levels[level].shape[-2], self.width / self.levels[level].shape[-1]
        )

    def _planes(
        self,
        level: int,
        bands: Sequence[int],
        place: Mapping[str, int],
        window: Window,
        scale: int = 1,
    ) -> Samples:
        """Return (bands, y, x) samples of a window of a level, at a scale of it."""
        reader: StoreReader | ScaledImage = self.levels[level]
        axes, shape = self.levels[level].axes, self.levels[level].shape
        if scale > 1:
            reader = self._scaled.setdefault((level, scale), ScaledImage(self.levels[level], scale))
            window = _scaled(window, (scale, scale), reader.shape[-2:])
        y0, x0, y1, x1 = window
        at = {**middle_of(self.reader), **place}
        planes = []
        for band in bands:
            start = [band if name == "band" else at.get(name, 0) for name in axes[:-2]]
            for name, number, count in zip(axes, start, shape, strict=False):
                if not 0 <= number < count:
                    text = f"got {name} {number}, want 0 … {count - 1}"
                    raise UsageError(f"drawing {self.reader.path.name}: {text}")
            box = Box((*start, y0, x0), (*(n + 1 for n in start), y1, x1))
            planes.append(reader.read(box).reshape(y1 - y0, x1 - x0))
        return np.stack(planes)

    def _present(
        self, level: int, bands: Sequence[int], samples: Samples, window: Window
    ) -> Samples:
        """Return which samples are there, (bands, y, x)."""
        attributes = self.reader.attrs
        present = (
            np.isfinite(samples) if samples.dtype.kind == "f" else np.ones(samples.shape, bool)
        )
        each = attributes.get("band_nodata")
        for at, band in enumerate(bands):
            nodata = each[band] if isinstance(each, list) else attributes.get("nodata")
            if isinstance(nodata, int | float):
                present[at] &= samples[at] != nodata
        if self.reader.has_mask and level == 0:
            y0, x0, y1, x1 = window
            present &= self.reader.read_mask(Box((y0, x0), (y1, x1))) > 0
        return present

    def _overview(
        self, level: int, bands: Sequence[int], place: Mapping[str, int]
    ) -> tuple[Samples, Samples]:
        """Return a whole plane of a level, averaged down to what an overview has, and keep it."""
        key = (level, tuple(bands), tuple(sorted(place.items())))
        found = self._overviews.get(key)
        if found is None:
            with self._making:  # a page asks for all its tiles at once
                found = self._overviews.get(key)
                if found is None:
                    found = self._make_overview(level, bands, place)
                    self._overviews.put(key, found)
        return found

    def _make_overview(
        self, level: int, bands: Sequence[int], place: Mapping[str, int]
    ) -> tuple[Samples, Samples]:
        reader = self.levels[level]
        height, width = reader.shape[-2:]
        if len(bands) * height * width > 64 * MAX_READ:
            raise TooMuchMemory(
                f"drawing {self.reader.path.name}: all of it at once needs levels of lower "
                "resolution: add them with tilepress levels"
            )
        step = math.ceil(max(height, width) / OVERVIEW)
        columns = math.ceil(width / step)
        by = self._scale(level, step)
        rows_at_once = max(1, _STRIP // (width * len(bands) * step)) * step
        parts, covers = [], []
        for top in range(0, height, rows_at_once):
            bottom = min(height, top + rows_at_once)
            window = (top, 0, bottom, width)
            samples = self._planes(level, bands, place, window, by)
            present = self._present(level, bands, samples, window)
            size = (math.ceil((bottom - top) / step), columns)
            part, cover = reduced(samples, present, size, self._is_classes)
            parts.append(part)
            covers.append(cover)
        return np.concatenate(parts, axis=1), np.concatenate(covers, axis=1)

    # --- what the store says -------------------------------------------------------------------

    @property
    def _is_classes(self) -> bool:
        return self.palette is not None or "flag_values" in self.reader.attrs

    @cached_property
    def palette(self) -> Palette | None:
        """Colours by stored value; None where the store has none."""
        return palette_of(self.reader) if band_count(self.reader) == 1 else None


def _scaled(window: Window, scale: tuple[float, float], size: Sequence[int]) -> Window:
    y0, x0, y1, x1 = window
    top, left = int(y0 / scale[0]), int(x0 / scale[1])
    bottom, right = math.ceil(y1 / scale[0]), math.ceil(x1 / scale[1])
    top, left = min(top, size[0] - 1), min(left, size[1] - 1)
    return top, left, max(top + 1, min(bottom, size[0])), max(left + 1, min(right, size[1]))
