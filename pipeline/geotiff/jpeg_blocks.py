"""The strips or tiles of a TIFF file that are JPEG streams, as they lie in it.

TIFF Technical Note 2 (1995): a strip or tile is an abbreviated stream of its samples, and the entry
JPEGTables one of the tables that all share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    LENGTH,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    TiffHeader,
)
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["JpegBlocks"]

JPEG = 7
JPEG_TABLES, FILL_ORDER = 347, 266


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegBlocks:
    """The strips or tiles of one image."""

    path: Path
    rows: int
    """Of a block."""
    columns: int
    down: int
    """Blocks from top to bottom."""
    across: int
    bands: int
    """Of each block: all of the image, or one (PlanarConfiguration 2)."""
    tables: bytes
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, header: TiffHeader | None) -> JpegBlocks | None:
        """Return the blocks of an image; None where they are no JPEG streams."""
        if header is None:
            return None
        first = header.first
        if first.integer(COMPRESSION, 1) != JPEG or first.integer(FILL_ORDER, 1) != 1:
            return None
        height, width = first.integer(LENGTH), first.integer(WIDTH)
        tiled = TILE_OFFSETS in first.entries
        rows = first.integer(TILE_LENGTH) if tiled else first.integer(ROWS_PER_STRIP, height)
        rows = rows if tiled else min(rows, height) or height
        columns = first.integer(TILE_WIDTH) if tiled else width
        if min(rows, columns, height, width) <= 0:
            return None
        samples = first.integer(SAMPLES, 1)
        apart = first.integer(PLANAR, 1) == 2
        down, across = -(-height // rows), -(-width // columns)
        offsets = first.integers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
        lengths = first.integers(TILE_BYTES if tiled else STRIP_BYTES)
        count = down * across * (samples if apart else 1)
        if min(offsets.size, lengths.size) < count:
            return None
        tables = first.entries.get(JPEG_TABLES)
        return cls(
            path=path,
            rows=rows,
            columns=columns,
            down=down,
            across=across,
            bands=1 if apart else samples,
            tables=b"" if tables is None else tables.data,
            offsets=offsets[:count],
            lengths=lengths[:count],
        )

    def streams(self, frames: range, rows: range, columns: range) -> Streams:
        """Return the streams of blocks, by their numbers along each axis.

        Raises DamagedSource where the file ends before.
        """
        numbers = (
            (frame * self.down + row) * self.across + column
            for frame in frames
            for row in rows
            for column in columns
        )
        with open_regular(self.path) as file:
            found = tuple(self._stream(file, number) for number in numbers)
        return Streams(
            streams=found,
            rows=len(rows),
            columns=len(columns),
            height=self.rows,
            width=self.columns,
            tables=self.tables,
        )

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each block that there is, in their order."""
        for offset, length in zip(self.offsets.tolist(), self.lengths.tolist(), strict=True):
            if offset > 0 and length > 0:
                yield offset, length

    def _stream(self, file: BinaryIO, number: int) -> bytes | None:
        offset, length = int(self.offsets[number]), int(self.lengths[number])
        if offset == 0 or length == 0:
            return None
        file.seek(max(0, offset))
        data = file.read(max(0, length))
        if offset < 0 or len(data) != length:
            raise DamagedSource(f"read {self.path}: truncated: block {number + 1} is not whole")
        return data
