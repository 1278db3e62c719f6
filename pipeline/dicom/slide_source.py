"""Read a slide of a DICOM series: levels put together of the tiles that its frames are.

Axes (["z",] ["band",] "y", "x"): focal planes, then the bands of one optical path after another.
Tiles that no frame is of have samples of 0. What frames have beyond the matrix of their level is
kept, so that they come back whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.axes import Arrangement
from tilepress.pipeline.dicom.encapsulated import are_lossless, family_of
from tilepress.pipeline.dicom.slide_levels import SlideLevel, SlideLevels, slide_levels
from tilepress.pipeline.dicom.slide_recipe import SLIDE_KIND, member_of
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo, Level, MedicalGeometry, SlideGeometry
from tilepress.pipeline.image.streams import Streams, blocks_of
from tilepress.pipeline.privacy.recipe import is_deidentified

__all__ = ["DicomSlideSource"]

_PER_LEVEL = frozenset({"total_pixel_matrix", "pixel_spacing_mm", "instances"})
"""Attributes that the levels of a slide do not share."""


class DicomSlideSource(DicomSource):
    """The instances of one series as a slide with its levels. Not thread-safe."""

    kind = SLIDE_KIND

    def _check_are_one(self) -> None:
        if any(one.tiling is None for one in self._instances):
            raise DamagedSource(f"opening a DICOM slide: {self._spec.paths[0]} is none any more")
        if len({one.series for one in self._instances}) > 1:
            raise DamagedSource(
                f"opening a DICOM slide: its files are not of one series, one is "
                f"{self._spec.paths[0]}"
            )
        found = slide_levels([member_of(one) for one in self._instances])
        if not isinstance(found, str) and found.others:
            found = "its instances are not of one kind"
        if isinstance(found, str):
            raise UnsupportedSource(
                f"opening a DICOM slide: {found}, one file is {self._spec.paths[0]}"
            )
        self._slide: SlideLevels = found

    def _arranged(self) -> Arrangement:
        planes = tuple(self._instances[0].planes)
        return Arrangement(axes=(), shape=(), planes=planes, geometry=MedicalGeometry())

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.read_level(0, box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        """Return the stored values of a box of a level, C-contiguous."""
        found, own = self._slide.levels[level], self._pixels.bands
        depths, bands = self._leading(box)
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        out = np.zeros((len(depths), len(bands), bottom - top, right - left), self._pixels.dtype)
        rows = range(top // found.rows, -(-bottom // found.rows))
        columns = range(left // found.columns, -(-right // found.columns))
        paths = range(bands.start // own, -(-bands.stop // own))
        for depth, path, row, column in product(depths, paths, rows, columns):
            instance, frame = found.frames[path, depth, row, column].tolist()
            if instance < 0:
                continue
            y, x = row * found.rows, column * found.columns
            within = slice(max(top, y) - y, min(bottom, y + found.rows) - y)
            across = slice(max(left, x) - x, min(right, x + found.columns) - x)
            first, last = max(bands.start, path * own), min(bands.stop, (path + 1) * own)
            samples = self._reader(instance).read(frame, within, across)
            part = samples[first - path * own : last - path * own]
            at = (depth - depths.start, slice(first - bands.start, last - bands.start))
            down, along = y + within.start - top, x + across.start - left
            height, width = part.shape[1:]
            out[(*at, slice(down, down + height), slice(along, along + width))] = part
        return out.reshape(box.shape)

    def streams(self, box: Box) -> Streams | None:
        return self.level_streams(0, box)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return the streams of the tiles that a box of a level consists of."""
        info, found = self._info.at_level(level), self._slide.levels[level]
        block = info.stream_block
        if block is None or blocks_of(box, block, info.shape) is None:
            return None
        depths, bands = self._leading(box)
        own = self._pixels.bands
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        rows = range(top // found.rows, -(-bottom // found.rows))
        columns = range(left // found.columns, -(-right // found.columns))
        paths = range(bands.start // own, bands.stop // own)
        streams: list[bytes | None] = []
        for depth, path, row, column in product(depths, paths, rows, columns):
            instance, frame = found.frames[path, depth, row, column].tolist()
            streams.append(None if instance < 0 else self._reader(instance).codestream(frame))
        return Streams(
            streams=tuple(streams),
            rows=len(rows),
            columns=len(columns),
            height=found.rows,
            width=found.columns,
            family=self._family(found) or "jpeg",
            lossless=are_lossless(self._syntaxes_of(found)),
        )

    def _leading(self, box: Box) -> tuple[range, range]:
        """Return the focal planes and the bands of a box."""
        sizes = dict(zip(self._info.axes, zip(box.start, box.stop, strict=True), strict=True))
        return range(*sizes.get("z", (0, 1))), range(*sizes.get("band", (0, 1)))

    def _numbers(self) -> dict[tuple[int, int], int]:
        """Return the number of every frame's place: by level, path, focal plane, row, column."""
        numbers: dict[tuple[int, int], int] = {}
        for level in self._slide.levels:
            pairs = level.frames.reshape(-1, 2).tolist()
            numbers |= {(i, f): level.first + n for n, (i, f) in enumerate(pairs) if i >= 0}
        return numbers

    def _gives_streams(self, number: int) -> bool:
        return self._family(self._level_of[number]) is not None

    @cached_property
    def _level_of(self) -> dict[int, SlideLevel]:
        """The level of every instance."""
        return {at: level for level in self._slide.levels for at in level.members}

    def _family(self, level: SlideLevel) -> str | None:
        """Return the family of streams that the tiles of a level are kept as; None for samples."""
        if is_deidentified(self._spec):
            return None
        return family_of(self._syntaxes_of(level), level.rows * level.columns)

    def _syntaxes_of(self, level: SlideLevel) -> set[str]:
        return {self._instances[at].container.syntax for at in level.members}

    def _more_origin(self) -> dict[str, Any]:
        """Say where the places of each level begin, and how it is cut into tiles."""
        levels = [
            {"first": level.first, "shape": list(level.shape), "tile": [level.rows, level.columns]}
            for level in self._slide.levels
        ]
        return {"levels": levels}

    def _more_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield what frames have beyond the matrix.

        Streams give it back, too, but one that cannot be kept has a whole file made of samples.
        """
        index, margins = [], bytearray()
        for level in self._slide.levels:
            for number, (instance, frame) in enumerate(level.frames.reshape(-1, 2).tolist()):
                margin = b"" if instance < 0 else self._margin(level, number, instance, frame)
                if margin:
                    index += [level.first + number, len(margin)]
                    margins += margin
        if index:
            yield "slide-margins", np.array(index, "<u8").tobytes()
            yield "slide-margin-samples", bytes(margins)

    def _margin(self, level: SlideLevel, number: int, instance: int, frame: int) -> bytes:
        """Return the samples of a frame to the right of the matrix, and those below it."""
        *_, row, column = np.unravel_index(number, level.shape)
        high = min(level.rows, level.height - int(row) * level.rows)
        wide = min(level.columns, level.width - int(column) * level.columns)
        if (high, wide) == (level.rows, level.columns):
            return b""
        whole = self._reader(instance).read(frame, slice(0, level.rows), slice(0, level.columns))
        parts = (whole[:, :high, wide:], whole[:, high:])
        data = b"".join(
            np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes() for part in parts
        )
        return zlib.compress(data) if any(data) else b""

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "slide": True}

    def _describe(self) -> ImageInfo:
        slide, plain = self._slide, super()._describe()
        bands = slide.paths * self._pixels.bands
        leading = {"z": slide.planes} if slide.planes > 1 else {}
        leading |= {"band": bands} if bands > 1 else {}
        axes = (*leading, "y", "x")
        shapes = [(*leading.values(), one.height, one.width) for one in slide.levels]
        blocks = [self._block(one, axes) for one in slide.levels]
        attributes = {k: v for k, v in plain.attributes.items() if k not in _PER_LEVEL}
        attributes["instances"] = len(self._instances)
        return ImageInfo(
            name=str(self._spec.options.get("name") or plain.name),
            axes=axes,
            shape=shapes[0],
            dtype=plain.dtype,
            valid_range=plain.valid_range,
            padding=plain.padding,
            lossy_refusal=plain.lossy_refusal,
            slide=self._geometry(),
            levels=tuple(
                Level(shape=shape, stream_block=block)
                for shape, block in zip(shapes[1:], blocks[1:], strict=True)
            ),
            attributes=attributes,
            coordinates=self._coordinates(bands),
            stream_block=blocks[0],
            remarks=tuple(self._remarks(plain.remarks)),
        )

    def _block(self, level: SlideLevel, axes: tuple[str, ...]) -> tuple[int, ...] | None:
        if self._family(level) is None:
            return None
        sides = {"z": 1, "band": self._pixels.bands, "y": level.rows, "x": level.columns}
        return tuple(sides[axis] for axis in axes)

    def _geometry(self) -> SlideGeometry:
        first = self._instances[self._slide.levels[0].members[0]]
        spacing = first.planes[0].spacing
        depths = self._slide.depths
        steps = np.diff(depths)
        even = len(steps) > 0 and np.allclose(steps, steps[0], rtol=0.01)
        return SlideGeometry(
            pixel_size_um=None if spacing is None else (spacing[0] * 1000, spacing[1] * 1000),
            plane_spacing_um=float(abs(steps[0])) if even else None,
        )

    def _coordinates(self, bands: int) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {}
        if bands > 1:
            found["band"] = np.arange(1, bands + 1, dtype=np.int32)
        if self._slide.planes > 1 and self._slide.depths and not self._geometry().plane_spacing_um:
            found["z"] = np.array(self._slide.depths) - self._slide.depths[0]
        return found

    def _remarks(self, given: tuple[str, ...]) -> Iterator[str]:
        levels = self._slide.levels
        if len(levels) > 1:
            yield f"a slide of {len(levels)} levels"
        absent = sum(level.absent for level in levels)
        if absent:
            count = sum(level.frames[..., 0].size for level in levels)
            yield f"{absent} of {count} tiles are absent: their samples are 0"
        yield from (one for one in given if "not assembled" not in one)
