"""Tell whether metadata of a raster may make GDAL open a file that the metadata name.

The item OVERVIEW_FILE of the domain OVERVIEWS does, wherever GDAL finds it: in NAME.aux.xml, in the
text of TIFF tag 42112, in an XML box of JPEG 2000 (GDALMultiDomainMetadata); so do a few nodes of
the auxiliary files of ERDAS. Nothing is parsed here as GDAL would, for then a difference between
the two would be a way in: bytes that may spell these names are enough.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tilepress.pipeline.geotiff.header import TiffHeader
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["names_others", "raster_names_others", "tiff_names_others"]

PIECE_BYTES = 2**20

_NAMES_OTHERS = re.compile(rb"overview|&#|rrdnameslist|externalrasterdms|dependentfile", re.I)
"""&# can spell any letter."""

_OVERLAP_BYTES = 32

GDAL_METADATA = 42112
CODESTREAM = b"jp2c"


def raster_names_others(path: Path, driver: str, header: TiffHeader | None) -> bool:
    """Whether a raster's own metadata may name files that GDAL would take for its overviews."""
    if driver == "GTiff":
        return tiff_names_others(header)
    if driver != "JP2OpenJPEG":
        return False
    with open_regular(path) as file:
        try:
            return any(names_others(file, start, length) for start, length in _boxes(file))
        except ValueError:
            return True


def tiff_names_others(header: TiffHeader | None) -> bool:
    """Whether the metadata of a TIFF directory may; True for one that we cannot read."""
    if header is None:
        return True  # GDAL may read what we do not
    entry = header.first.entries.get(GDAL_METADATA)
    return entry is not None and _NAMES_OTHERS.search(entry.data) is not None


def names_others(file: BinaryIO, start: int = 0, length: int | None = None) -> bool:
    """Whether a part of a file, all of it by default, may name files of overviews."""
    file.seek(start)
    kept = b""
    while length is None or length > 0:
        piece = file.read(PIECE_BYTES if length is None else min(length, PIECE_BYTES))
        if not piece:
            return False
        kept += piece
        if _NAMES_OTHERS.search(kept):
            return True
        kept = kept[-_OVERLAP_BYTES:]
        length = None if length is None else length - len(piece)
    return False


def _boxes(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield start and length of what a JP2 file holds beside codestreams (ISO 15444-1 §I.4)."""
    size = os.fstat(file.fileno()).st_size
    at = 0
    if file.read(2) == b"\xff\x4f":
        return  # a codestream alone
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if length < 8:
            raise ValueError("a box shorter than its head")
        if head[4:8] != CODESTREAM:
            yield at, length
        at += length
