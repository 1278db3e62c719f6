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
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    LENGTH,
    PLANAR,
    ROWS_PER_STRIP,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    TiffHeader,
)
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["DeflateBlocks"]

DEFLATE = (8, 32946)
"""Values of Compression that mean a zlib stream in each block: Adobe's, and the older one."""

FILL_ORDER = 266
"""Where it is 2, the bits of each byte are in the other order: such files are not looked at."""

PIECE_BYTES = 2**16
"""Bytes that are inflated at a time; what comes out, 1032 times as much at most, is thrown away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateBlocks:
    """The strips or tiles of one image."""

    path: Path
    what: str
    """"strip" or "tile"."""
    whose: str
    """" of its mask", or "" for the image."""
    rows: int
    columns: int
    """Of a block."""
    down: int
    across: int
    """Blocks of a plane."""
    apart: bool
    """Whether each band has blocks of its own (PlanarConfiguration 2)."""
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    sound: npt.NDArray[np.bool_]
    """Which were found sound before."""

    @classmethod
    def of(cls, path: Path, header: TiffHeader | None, whose: str = "") -> DeflateBlocks | None:
        """Return the blocks of an image; None where they have no such checksums."""
        if header is None:
            return None
        first = header.first
        if first.integer(COMPRESSION, 1) not in DEFLATE or first.integer(FILL_ORDER, 1) != 1:
            return None
        height, width = first.integer(LENGTH), first.integer(WIDTH)
        tiled = TILE_OFFSETS in first.entries
        rows = first.integer(TILE_LENGTH) if tiled else first.integer(ROWS_PER_STRIP, height)
        rows = rows if tiled else min(rows, height) or height
        columns = first.integer(TILE_WIDTH) if tiled else width
        if min(rows, columns, height, width) <= 0:
            return None
        apart = first.integer(PLANAR, 1) == 2
        offsets = first.integers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
        lengths = first.integers(TILE_BYTES if tiled else STRIP_BYTES)
        count = min(offsets.size, lengths.size)
        return cls(
            path=path,
            what="tile" if tiled else "strip",
            whose=whose,
            rows=rows,
            columns=columns,
            down=-(-height // rows),
            across=-(-width // columns),
            apart=apart,
            offsets=offsets[:count],
            lengths=lengths[:count],
            sound=np.zeros(count, np.bool_),
        )

    def check(self, bands: Iterable[int], window: Window) -> None:
        """Raise DamagedSource where a block of these bands (from 1) below a window is damaged."""
        with open_regular(self.path) as file:
            for number in self._below(bands, window):
                if self.sound[number]:
                    continue
                if not _is_sound(file, int(self.offsets[number]), int(self.lengths[number])):
                    raise DamagedSource(
                        f"read {self.path}: damaged: {self.what} {number + 1} of "
                        f"{len(self.offsets)}{self.whose} fails its checksum"
                    )
                self.sound[number] = True

    def _below(self, bands: Iterable[int], window: Window) -> Iterable[int]:
        planes = [band - 1 for band in bands] if self.apart else [0]
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        for plane in planes:
            for row in range(top // self.rows, -(-bottom // self.rows)):
                for column in range(left // self.columns, -(-right // self.columns)):
                    number = (plane * self.down + row) * self.across + column
                    if number < len(self.offsets):
                        yield number


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
