"""An image of which levels of lower resolution are made as they are asked for.

What a level holds depends on the image alone, so each of its shards is made by itself, by whichever
process, and again by whoever repairs it. The price is that every level reads the image once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.reduce import reduced
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo, Level
from tilepress.pipeline.image.made_levels import LEVELS, MADE_LEVELS, MadeLevels
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.image.streams import Streams, StreamSource

__all__ = ["LevelledSource", "levelled", "with_made_levels", "without_made_levels"]

PIECE_BYTES = 32 * 2**20
"""Bytes of the full resolution that are read at a time."""


def with_made_levels(spec: SourceSpec, told: object) -> SourceSpec:
    """Return the recipe of an image with the levels that a store says were made; None: none."""
    options = {key: value for key, value in spec.options.items() if key != LEVELS}
    if told is not None:
        options[LEVELS] = MadeLevels.from_json(told).to_json()
    return replace(spec, options=options)


def without_made_levels(info: ImageInfo) -> ImageInfo:
    """Return what is told of an image none of whose levels are made."""
    told = {key: value for key, value in info.attributes.items() if key != MADE_LEVELS}
    return replace(info, levels=(), attributes=told)


def levelled(source: TileSource, asked: str | int) -> TileSource:
    """Return a source with the levels that are asked for; itself where it gets none."""
    made = MadeLevels.of(source.info, asked)
    return source if made is None else LevelledSource(source, made)


class LevelledSource:
    """A source of which levels are made."""

    def __init__(self, source: TileSource, made: MadeLevels) -> None:
        self.source, self._made = source, made
        info = source.info
        self._info = replace(
            info,
            levels=tuple(
                Level(shape=shape, factor=factor)
                for shape, factor in zip(made.shapes(info.shape), made.factors, strict=True)
            ),
            attributes={**info.attributes, MADE_LEVELS: made.to_json()},
        )
        self._spec = with_made_levels(source.spec, made.to_json())

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.source.read(box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        found = np.empty(box.shape, self._info.dtype)
        for piece in self._pieces(box, self._made.factors[level - 1]):
            part = self._reduced(piece, self._made.factors[level - 1])
            found[piece.shifted_to(box.start).slices] = part
        return found

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return none: levels are made of samples."""
        return None

    def streams(self, box: Box) -> Streams | None:
        return self.source.streams(box) if isinstance(self.source, StreamSource) else None

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self.source.read_mask(box)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        return self.source.source_items()

    def fingerprint(self) -> dict[str, Any]:
        return self.source.fingerprint()

    def close(self) -> None:
        self.source.close()

    def _pieces(self, box: Box, factor: int) -> Iterator[Box]:
        """Yield parts of a box of a level that stand for few bytes of the full resolution."""
        *leading, rows, columns = box.shape
        each = math.prod(leading) * self._info.dtype.itemsize * factor * factor
        across = max(1, min(columns, PIECE_BYTES // each))
        down = max(1, min(rows, PIECE_BYTES // (each * across)))
        for row in range(0, rows, down):
            for column in range(0, columns, across):
                start = (row + box.start[-2], column + box.start[-1])
                stop = (min(start[0] + down, box.stop[-2]), min(start[1] + across, box.stop[-1]))
                yield Box((*box.start[:-2], *start), (*box.stop[:-2], *stop))

    def _reduced(self, piece: Box, factor: int) -> npt.NDArray[Any]:
        shape = self._info.shape
        start = tuple(n * factor for n in piece.start[-2:])
        ends = zip(piece.stop[-2:], shape[-2:], strict=True)
        stop = tuple(min(n * factor, size) for n, size in ends)
        samples = self.source.read(Box((*piece.start[:-2], *start), (*piece.stop[:-2], *stop)))
        hidden = None
        if self._info.has_mask:
            hidden = self.source.read_mask(Box(start, stop)) == 0
        if "band" not in self._info.axes:
            return self._of_band(samples, 0, factor, hidden)
        at = self._info.axes.index("band")
        bands = range(piece.start[at], piece.stop[at])
        parts = zip(np.moveaxis(samples, at, 0), bands, strict=True)
        found = [self._of_band(part, band, factor, hidden) for part, band in parts]
        return np.stack(found, axis=at)

    def _of_band(
        self,
        samples: npt.NDArray[Any],
        band: int,
        factor: int,
        hidden: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[Any]:
        methods = self._made.methods
        method = methods[band] if len(methods) > 1 else methods[0]
        if method == "nearest":
            return reduced(samples, factor, method)
        taken = self._taken(band)
        absent = self._absent(samples, taken)
        if hidden is not None and hidden.any():
            whole = np.broadcast_to(hidden, samples.shape)
            absent = whole.copy() if absent is None else absent | whole
        return reduced(samples, factor, method, absent, taken)

    def _taken(self, band: int) -> tuple[float | int, float | int] | None:
        """Return the range of values that mean absence in a band; None for none."""
        info = self._info
        nodata = info.nodata if info.band_nodata is None else info.band_nodata[band]
        if info.padding is not None and (nodata is None or nodata == info.padding[0]):
            return info.padding
        if nodata is None or (isinstance(nodata, float) and not math.isfinite(nodata)):
            return None
        return nodata, nodata

    @staticmethod
    def _absent(
        samples: npt.NDArray[Any], taken: tuple[float | int, float | int] | None
    ) -> npt.NDArray[np.bool_] | None:
        absent = None
        if samples.dtype.kind == "f":
            absent = ~np.isfinite(samples)
        if taken is not None:
            within = (samples >= taken[0]) & (samples <= taken[1])
            absent = within if absent is None else absent | within
        return absent if absent is not None and absent.any() else None
