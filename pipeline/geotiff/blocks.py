"""Check the Deflate blocks of a TIFF file by their own checksums, which GDAL can pass over.

libtiff stops inflating when a strip or tile has its samples. A damaged stream that goes on after
them is then taken for one of the odd files whose last strip is too long, and the Adler-32 that ends
it (RFC 1950 §2.2) is never reached: the samples are wrong, there is no error, and they are not even
the same ones each time. Strips that GDAL reads by the line never come to their checksum at all.
Other compressions have none (LZW, PackBits), or decoders that look at theirs.

Masks are held, too; overviews are not, for nothing is read of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tilepress.errors import DamagedSource
from tilepress.pipeline.geotiff.block_grid import BlockGrid
from tilepress.pipeline.geotiff.header import COMPRESSION, TiffHeader
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["DeflateBlocks"]

DEFLATE = (8, 32946)
"""Values of Compression that mean a zlib stream in each block: Adobe's, and the older one."""

PIECE_BYTES = 2**16
"""Bytes that are inflated at a time; what comes out, 1032 times as much at most, is thrown away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateBlocks:
    """The strips or tiles of one image."""

    path: Path
    whose: str
    """" of its mask", or "" for the image."""
    grid: BlockGrid
    sound: npt.NDArray[np.bool_]
    """Which were found sound before."""

    @classmethod
    def of(cls, path: Path, header: TiffHeader | None, whose: str = "") -> DeflateBlocks | None:
        """Return the blocks of an image; None where they have no such checksums."""
        if header is None or header.first.integer(COMPRESSION, 1) not in DEFLATE:
            return None
        grid = BlockGrid.of(header.first)
        if grid is None:
            return None
        return cls(path=path, whose=whose, grid=grid, sound=np.zeros(grid.offsets.size, np.bool_))

    def check(self, bands: Iterable[int], window: Window) -> None:
        """Raise DamagedSource where a block of these bands (from 1) below a window is damaged."""
        grid = self.grid
        with open_regular(self.path) as file:
            for number in grid.below(bands, window):
                if self.sound[number]:
                    continue
                if not _is_sound(file, int(grid.offsets[number]), int(grid.lengths[number])):
                    raise DamagedSource(
                        f"read {self.path}: damaged: {'tile' if grid.tiled else 'strip'} "
                        f"{number + 1} of {len(grid.offsets)}{self.whose} fails its checksum"
                    )
                self.sound[number] = True


def _is_sound(file: BinaryIO, offset: int, length: int) -> bool:
    """Whether the stream at an offset inflates to its end; no bytes are a sparse block."""
    if length == 0:
        return True
    if offset < 0 or length < 0:  # of 64 bits, with the highest set
        return False
    file.seek(offset)
    stream, left = zlib.decompressobj(), length
    try:
        while left > 0 and not stream.eof:
            data = file.read(min(left, PIECE_BYTES))
            if not data:
                break
            stream.decompress(data)
            left -= len(data)
    except zlib.error:
        return False
    return stream.eof
