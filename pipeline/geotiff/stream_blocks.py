"""The strips or tiles of a TIFF file that are compressed streams, as they lie in it.

JPEG by TIFF Technical Note 2 (1995): a strip or tile is an abbreviated stream of its samples, and
the entry JPEGTables one of the tables that all share. Others are whole files or codestreams.
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
from tilepress.pipeline.geotiff.block_grid import BlockGrid
from tilepress.pipeline.geotiff.header import COMPRESSION, JPEG_TABLES, SAMPLES, TiffHeader
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["StreamBlocks"]

JPEG = 7
FAMILIES = {
    JPEG: "jpeg",
    **dict.fromkeys((33003, 33004, 33005, 34712), "jpeg2000"),  # Aperio's, Leica's, of libtiff
    50001: "webp",
    **dict.fromkeys((50002, 52546), "jpegxl"),
}
"""Families of streams by the entry Compression. Which of these can be read, GDAL says."""
MARK = 0xFF
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers that begin a frame (T.81 table B.1)."""
STANDS_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that no length follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBlocks:
    """The strips or tiles of one image."""

    path: Path
    grid: BlockGrid
    bands: int
    """Of each block: all of the image, or one (PlanarConfiguration 2)."""
    family: str
    compression: int
    tables: bytes
    whole: npt.NDArray[np.bool_]
    """Which were found to have all of their samples."""

    @classmethod
    def of(cls, path: Path, header: TiffHeader | None) -> StreamBlocks | None:
        """Return the blocks of an image; None where they are no such streams."""
        compression = 1 if header is None else header.first.integer(COMPRESSION, 1)
        if header is None or compression not in FAMILIES:
            return None
        grid = BlockGrid.of(header.first)
        if grid is None or not grid.is_whole:
            return None
        tables = header.first.entries.get(JPEG_TABLES)
        return cls(
            path=path,
            grid=grid,
            family=FAMILIES[compression],
            compression=compression,
            bands=1 if grid.planes > 1 else header.first.integer(SAMPLES, 1),
            tables=b"" if tables is None else tables.data,
            whole=np.zeros(grid.offsets.size, np.bool_),
        )

    def check(self, bands: Iterable[int], window: Window) -> None:
        """Raise DamagedSource where a JPEG stream below a window has fewer samples than its block.

        libtiff only warns of it, and leaves in the block's other samples what was in memory.
        """
        if self.family != "jpeg":
            return
        numbers = [number for number in self.grid.below(bands, window) if not self.whole[number]]
        if not numbers:
            return
        with open_regular(self.path) as file:
            for number in numbers:
                high, wide = self.grid.size_of(number)
                size = self._frame_size(file, number)
                if size is not None and (size[0] < high or size[1] < wide):
                    raise DamagedSource(
                        f"read {self.path}: damaged: the stream of block {number + 1} has "
                        f"{size[0]} × {size[1]} samples, its block {high} × {wide}"
                    )
                self.whole[number] = True

    def _frame_size(self, file: BinaryIO, number: int) -> tuple[int, int] | None:
        """Return height and width that a stream declares (T.81 B.2.2); None where it does not."""
        at = int(self.grid.offsets[number])
        end = at + int(self.grid.lengths[number])
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
        numbers = (self.grid.number(*place) for place in product(frames, rows, columns))
        with open_regular(self.path) as file:
            found = tuple(self._stream(file, number) for number in numbers)
        return Streams(
            streams=found,
            rows=len(rows),
            columns=len(columns),
            height=self.grid.rows,
            width=self.grid.columns,
            tables=self.tables,
            family=self.family,
        )

    def stream(self, number: int) -> bytes | None:
        """Return the stream of one block, by its number; None for one that is absent.

        Raises DamagedSource where the file ends before.
        """
        with open_regular(self.path) as file:
            return self._stream(file, number)

    def _stream(self, file: BinaryIO, number: int) -> bytes | None:
        offset, length = int(self.grid.offsets[number]), int(self.grid.lengths[number])
        if offset == 0 or length == 0:
            return None
        file.seek(max(0, offset))
        data = file.read(max(0, length))
        if offset < 0 or len(data) != length:
            raise DamagedSource(f"read {self.path}: truncated: block {number + 1} is not whole")
        return data
