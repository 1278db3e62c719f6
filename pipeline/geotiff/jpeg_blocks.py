"""The strips or tiles of a TIFF file that are JPEG streams, as they lie in it.

TIFF Technical Note 2 (1995): a strip or tile is an abbreviated stream of its samples, and the entry
JPEGTables one of the tables that all share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

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
MARK = 0xFF
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers that begin a frame (T.81 table B.1)."""
STANDS_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that no length follows."""
JPEG_TABLES, FILL_ORDER = 347, 266


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegBlocks:
    """The strips or tiles of one image."""

    path: Path
    tiled: bool
    rows: int
    """Of a block."""
    columns: int
    height: int
    """Of the image."""
    width: int
    down: int
    """Blocks from top to bottom."""
    across: int
    bands: int
    """Of each block: all of the image, or one (PlanarConfiguration 2)."""
    tables: bytes
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    whole: npt.NDArray[np.bool_]
    """Which were found to have all of their samples."""

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
            tiled=tiled,
            rows=rows,
            columns=columns,
            height=height,
            width=width,
            down=down,
            across=across,
            bands=1 if apart else samples,
            tables=b"" if tables is None else tables.data,
            offsets=offsets[:count],
            lengths=lengths[:count],
            whole=np.zeros(count, np.bool_),
        )

    def check(self, bands: Iterable[int], window: Window) -> None:
        """Raise DamagedSource where a stream below a window has fewer samples than its block.

        libtiff only warns of it, and leaves in the block's other samples what was in memory.
        """
        frames = range(1) if self.bands > 1 else sorted(band - 1 for band in bands)
        top, left = int(window.row_off), int(window.col_off)
        rows = range(top // self.rows, -(-(top + int(window.height)) // self.rows))
        columns = range(left // self.columns, -(-(left + int(window.width)) // self.columns))
        with open_regular(self.path) as file:
            for frame, row, column in product(frames, rows, columns):
                number = (frame * self.down + row) * self.across + column
                if number >= self.offsets.size or self.whole[number]:
                    continue
                high = min(self.rows, self.height - row * self.rows)
                wide = min(self.columns, self.width - column * self.columns)
                size = self._frame_size(file, number)
                if size is not None and (size[0] < high or size[1] < wide):
                    raise DamagedSource(
                        f"read {self.path}: damaged: the stream of block {number + 1} has "
                        f"{size[0]} × {size[1]} samples, its block {high} × {wide}"
                    )
                self.whole[number] = True

    def _frame_size(self, file: BinaryIO, number: int) -> tuple[int, int] | None:
        """Return height and width that a stream declares (T.81 B.2.2); None where it does not."""
        at, end = int(self.offsets[number]), int(self.offsets[number] + self.lengths[number])
        if not 0 < at < end:
            return None
        at += 2  # the mark of its start
        while at + 9 <= end:
            file.seek(at)
            head = file.read(9)
            if len(head) < 9 or head[0] != MARK:
                return None
            if head[1] == MARK:
                at += 1
            elif head[1] in FRAMES:
                return int.from_bytes(head[5:7], "big"), int.from_bytes(head[7:9], "big")
            elif head[1] in STANDS_ALONE:
                at += 2
            else:
                at += 2 + int.from_bytes(head[2:4], "big")
        return None

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

    def _stream(self, file: BinaryIO, number: int) -> bytes | None:
        offset, length = int(self.offsets[number]), int(self.lengths[number])
        if offset == 0 or length == 0:
            return None
        file.seek(max(0, offset))
        data = file.read(max(0, length))
        if offset < 0 or len(data) != length:
            raise DamagedSource(f"read {self.path}: truncated: block {number + 1} is not whole")
        return data
