"""Read TIFF images whose tiles are JPEG 2000 or JPEG XL streams, where GDAL decodes none.

No GDAL decodes Aperio's slides (Compression 33003: Y, Cb, Cr; 33005: R, G, B), nor 33004 and 34712,
and many are built without JPEG XL. GDAL is shown such a directory as one of uncompressed samples,
in a file without blocks, so that what is said of the image is read as of all others; its samples
are decoded here, by the library that stores are read with.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window

from tilepress.codecs.passed.colours import rgb_of_ycbcr
from tilepress.codecs.passed.families import FAMILIES, decode
from tilepress.codecs.passed.head import Refused
from tilepress.errors import UnsupportedFormat, UnsupportedSource
from tilepress.pipeline.geotiff.gdal import gdal_errors, lacks_codec, open_raster
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    JPEG_TABLES,
    LENGTH,
    NEW_SUBFILE_TYPE,
    NOTES,
    PHOTOMETRIC,
    ROWS_PER_STRIP,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUB_IFDS,
    SUBSAMPLING,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Entry,
    TiffHeader,
    bare_file,
)
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks

__all__ = ["APERIO_YCBCR", "Decoded", "DecodedBlocks", "open_stand_in", "open_tiff"]

APERIO_YCBCR = 33003
"""Its streams are Y, Cb, Cr, whatever the directory says."""
YCBCR, RGB = 6, 2
NAMES = {"jpeg2000": "JPEG2000", "jpegxl": "JXL"}
"""What GDAL calls these families, by those that are decoded here."""

MAX_CACHED_BYTES = 64 * 2**20
"""Decoded blocks that are kept at most, beside the last one."""

MAX_DECODER_BYTES = 2**30
"""What a decoder may take for one block, as its stream's head foretells."""


class Decoded(Protocol):
    """Samples of an image that GDAL does not read."""

    @property
    def compress(self) -> str:
        """What GDAL calls the compression."""
        ...

    def read_into(self, bands: list[int], window: Window, out: npt.NDArray[Any]) -> None:
        """Read bands, from 1, into ``out``, (bands, y, x). Raises SourceError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBlocks:
    """The strips or tiles of one image, decoded when they are read."""

    blocks: StreamBlocks
    dtype: np.dtype[Any]
    to_rgb: bool
    """Whether they are Y, Cb, Cr, to be read as R, G, B."""
    _kept: OrderedDict[int, npt.NDArray[Any]] = field(default_factory=OrderedDict, repr=False)

    @property
    def compress(self) -> str:
        """What GDAL calls the compression."""
        return NAMES[self.blocks.family]

    @classmethod
    def of(cls, blocks: StreamBlocks, header: TiffHeader, dtype: np.dtype[Any]) -> DecodedBlocks:
        return cls(blocks=blocks, dtype=dtype, to_rgb=_is_ycbcr(header))

    def read_into(self, bands: list[int], window: Window, out: npt.NDArray[Any]) -> None:
        """Read bands, from 1, into ``out``, (bands, y, x); a block that is absent is 0.

        Raises DamagedSource or UnsupportedSource.
        """
        grid = self.blocks.grid
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        apart = grid.planes > 1
        for at, wanted in enumerate([[band] for band in bands] if apart else [bands]):
            target = out[at : at + 1] if apart else out
            chosen = [0] if apart else [band - 1 for band in bands]
            for number in grid.below(wanted, window):
                row, column = divmod(number % (grid.down * grid.across), grid.across)
                y, x = row * grid.rows, column * grid.columns
                first, start = max(top, y), max(left, x)
                part = self._block(number)[chosen, first - y : bottom - y, start - x : right - x]
                high, wide = part.shape[1:]
                target[:, first - top : first - top + high, start - left : start - left + wide] = (
                    part
                )

    def _block(self, number: int) -> npt.NDArray[Any]:
        """Return the samples (bands, y, x) of a block, as far as the image goes."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        found = self._decoded(number)
        self._kept[number] = found
        limit = MAX_CACHED_BYTES + found.nbytes
        while sum(one.nbytes for one in self._kept.values()) > limit:
            self._kept.popitem(last=False)
        return found

    def _decoded(self, number: int) -> npt.NDArray[Any]:
        blocks = self.blocks
        data = blocks.stream(number)
        high, wide = blocks.grid.size_of(number)
        if data is None:
            return np.zeros((blocks.bands, high, wide), self.dtype)
        doing = f"read {blocks.path}: block {number + 1}"
        family = FAMILIES[blocks.family]
        try:
            head = family.read_head(data)
            found = f"{head.rows} × {head.columns} samples of {head.bits} bits"
            fits = high <= head.rows <= blocks.grid.rows and wide <= head.columns
            fits = fits and head.columns <= blocks.grid.columns
            wrong_bits = head.bits > 8 * self.dtype.itemsize
            if not fits or wrong_bits or head.signed != (self.dtype.kind == "i"):
                signed = "signed" if head.signed else "unsigned"
                raise UnsupportedSource(
                    f"{doing}: its stream has {found}, {signed}; the directory says "
                    f"{high} × {wide} of {self.dtype.name}"
                )
            if head.subsampled and not self.to_rgb:
                raise UnsupportedSource(f"{doing}: it has fewer samples of some colours")
            if head.memory > MAX_DECODER_BYTES:
                raise UnsupportedSource(
                    f"{doing}: to decode it may take {head.memory} bytes of memory, "
                    f"{MAX_DECODER_BYTES} are allowed"
                )
            samples = decode(family, data, head, blocks.bands)
        except Refused as error:
            text = str(error).partition(": ")[2]
            raise UnsupportedSource(
                f"{doing}: its {family.title} stream is damaged, or of a kind that is not read: "
                f"{text}"
            ) from error
        except UnsupportedFormat as error:
            raise UnsupportedSource(
                f"{doing}: the package imagecodecs is needed, with {family.title}"
            ) from error
        if self.to_rgb and not head.subsampled:
            samples = rgb_of_ycbcr(samples)
        return samples[:, :high, :wide].astype(self.dtype)


def _decodes(header: TiffHeader | None, blocks: StreamBlocks | None) -> bool:
    """Whether the blocks of an image can be decoded here."""
    if header is None or blocks is None or blocks.family not in NAMES:
        return False
    return not _is_ycbcr(header) or blocks.bands == 3


def open_tiff(
    path: Path,
    header: TiffHeader | None,
    blocks: StreamBlocks | None,
    driver: str,
    *,
    raw: bool,
    **which: int | None,
) -> tuple[DatasetReader, DecodedBlocks | None]:
    """Open an image by GDAL or, where that has no decoder and we have, with its blocks."""
    try:
        return open_raster(path, driver, raw=raw, **which), None
    except gdal_errors() as error:
        if header is None or blocks is None or not lacks_codec(error):
            raise
        if not _decodes(header, blocks):
            raise
    dataset = open_stand_in(header, raw=raw)
    return dataset, DecodedBlocks.of(blocks, header, np.dtype(dataset.dtypes[0]))


def open_stand_in(header: TiffHeader, *, raw: bool, tile: int | None = None) -> DatasetReader:
    """Open what GDAL can tell of an image whose blocks it does not decode; inside ``gdal_calls``.

    Its samples are not to be read. ``tile`` cuts it into such tiles, whatever its blocks are.
    """
    gone = {SUB_IFDS, JPEG_TABLES, NEW_SUBFILE_TYPE, *NOTES}
    changed = {COMPRESSION: 1}
    if _is_ycbcr(header):
        gone.add(SUBSAMPLING)
        changed[PHOTOMETRIC] = RGB
    entries = {tag: one for tag, one in header.first.entries.items() if tag not in gone}
    if tile is not None:
        _cut(entries, header, tile)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        if tag in entries:
            entries[tag] = Entry(4, entries[tag].count, bytes(4 * entries[tag].count))
    for tag, value in changed.items():
        entries[tag] = Entry(3, 1, np.array([value], f"{header.order}u2").tobytes())
    with MemoryFile(ext=".tif") as memory:
        memory.write(bare_file(entries, header.order, big=header.big))  # GDAL's own copy of it
        return open_raster(Path(memory.name), "GTiff", raw=raw)


def _cut(entries: dict[int, Entry], header: TiffHeader, tile: int) -> None:
    """Have entries say that an image has square tiles."""
    first = header.first
    count = -(-first.integer(LENGTH) // tile) * -(-first.integer(WIDTH) // tile)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, ROWS_PER_STRIP):
        entries.pop(tag, None)
    side = Entry(3, 1, np.array([tile], f"{header.order}u2").tobytes())
    entries[TILE_LENGTH] = entries[TILE_WIDTH] = side
    entries[TILE_OFFSETS] = entries[TILE_BYTES] = Entry(4, count, bytes(4 * count))


def _is_ycbcr(header: TiffHeader) -> bool:
    compression = header.first.integer(COMPRESSION)
    return compression == APERIO_YCBCR or header.first.integer(PHOTOMETRIC) == YCBCR
