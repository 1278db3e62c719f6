"""Choose the driver of GDAL that reads a raster file, by the file's content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

__all__ = ["OPTED", "READERS", "TIFF_MAGICS", "opted_driver", "raster_driver"]

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF, little and big endian."""

_JP2_MAGICS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HGT_NAME = re.compile(r"[NS]\d{2}[EW]\d{3}.*\.hgt", re.IGNORECASE)
_HGT_BYTES = frozenset(
    2 * rows * columns for rows in (1201, 3601) for columns in (1201, 1801, 3601)
)


OPTED = {
    "HFA": re.compile(rb"EHFA_HEADER_TAG"),
    "netCDF": re.compile(rb"CDF[\x01\x02\x05]|\x89HDF\r\n\x1a\n"),
    "HDF5": re.compile(rb"\x89HDF\r\n\x1a\n"),
    "GRIB": re.compile(rb"GRIB"),
    "NITF": re.compile(rb"NITF0|NSIF0"),
}
"""Drivers that may be asked for, and what their files begin with. Each reads one file, or is held
to it; drivers of lists of files (VRT, GTI, STACIT), of services (WMS, EEDA), of folders, and of
pictures whose place on the ground stands in a file beside them, are not among them."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How GDAL is told which variable of a file is meant."""

    driver: str
    name: str


READERS = {
    "netCDF": _Reader("netCDF", 'NETCDF:"{path}":{variable}'),
    "HDF5": _Reader("HDF5Image", 'HDF5:"{path}"://{variable}'),
}
"""Of drivers whose files hold several images."""


def opted_driver(head: bytes, names: Sequence[str]) -> str | None:
    """Return the first of the drivers that were asked for whose mark a file begins with."""
    return next((name for name in names if OPTED[name].match(head)), None)


def raster_driver(path: PurePath, head: bytes, size: int | None = None) -> str | None:
    """Return the GDAL driver for a file whose first bytes are ``head``; None if we take none.

    Only these drivers are ever asked: a VRT, which may name any other file, is never followed.
    ``size`` is the file's, in bytes; where it is not given, the file is asked.
    """
    if head.startswith(TIFF_MAGICS):
        return "GTiff"
    if head.startswith(_JP2_MAGICS):
        return "JP2OpenJPEG"
    if head.startswith(_PNG_MAGIC):
        return "PNG"
    if _HGT_NAME.fullmatch(path.name):
        size = Path(path).stat().st_size if size is None else size
        return "SRTMHGT" if size in _HGT_BYTES else None
    return None
