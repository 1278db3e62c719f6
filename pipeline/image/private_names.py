"""Keep names of files that may be called after patients out of what is told.

DICOM files and their folders often bear patients' names. A message about such a file tells its
place in its store instead (``file 7 of CT-0123456789ab.zarr``), or a number; which file that is
stands in a table that only its owner may read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

__all__ = ["PRIVATE", "file_names", "may_name_patient", "without_paths"]

PRIVATE = "private"
"""Option of a recipe: whether its path is not to be told, whatever its format."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OF_OTHERS = _words(
    """.7z .asc .avif .bil .bip .bmp .bsq .bz2 .cog .csv .dbf .dem .doc .docx .ecw .ers .fits
    .geojson .gif .gml .gpkg .grb .grb2 .grib .grib2 .gz .h5 .hdf .hdf5 .he5 .heic .hgt
    .html .j2c .j2k .jfif .jls .jp2 .jpeg .jpg .jpx .json .jxl .kea .kml .kmz .las .laz .log
    .lst .md .mrf .nc .nc4 .ndpi .netcdf .nitf .npy .npz .ntf .ovr .parquet .pdf .pgm .pgw
    .png .pnm .ppm .prj .py .sdat .shp .sid .svg .svs .tab .tar .tfw .tgz .tif .tiff .toml
    .tsv .txt .vrt .webp .xls .xlsx .xml .xz .yaml .yml .zarr .zip .zst
    .bif .mrxs .scn .svslide .vms .vmu"""
)
"""Endings of files that are no DICOM; whatever ends otherwise, or not at all, may be."""

_OUR_WORDS = _words(
    """an and are as at be but by for from has in is it no not of on or out that the this to with
    archive codec data dcm dicom file files folder frame frames header image images mask memory
    opening pixel pixels plane planes reading record series shard slice slices source sources store
    tags tile tmp value writing zarr"""
)
"""Words of messages that folders and files may be called, too, and that name nobody."""

MIN_PART = 2
"""Shorter parts of a path are left alone: they say nothing, and stand in every message."""


def may_name_patient(path: str) -> bool:
    """Whether a file of which nothing is known but its path may be DICOM, or a folder of such."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".gz":
        return may_name_patient(path[: -len(suffix)])
    return suffix not in _OF_OTHERS


def file_names(store: str, count: int) -> list[str]:
    """Return what the files of an image are called in messages, in their order."""
    if count == 1:
        return [store if store.startswith("file #") else f"the file of {store}"]
    return [f"file {number} of {store}" for number in range(1, count + 1)]


def without_paths(text: str, paths: Sequence[str], names: Sequence[str]) -> str:
    """Return a message with ``names`` in place of ``paths``, and none of their parts left.

    Whatever is left of a path, a folder or a file's bare name, becomes "…". Words that our own
    messages are made of stay.
    """
    pairs = sorted(zip(paths, names, strict=True), key=lambda pair: -len(pair[0]))
    for path, name in pairs:
        for form in _forms(path):
            text = text.replace(form, name)
    told = " ".join(names).casefold()
    parts = {part for path in paths for part in _parts(path)}
    for part in sorted(parts, key=len, reverse=True):
        if part.casefold() not in text.casefold():
            continue
        for form in _forms(part):
            found = re.compile(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])", re.IGNORECASE)
            text = found.sub(lambda match: match[0] if match[0].casefold() in told else "…", text)
    return text


def _forms(text: str) -> Iterator[str]:
    """Yield how a text may stand in a message: as it is, in one line, quoted, escaped."""
    yield from dict.fromkeys(
        (
            text,
            " ".join(text.split()),
            repr(text)[1:-1],
            "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
            if not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
            else ascii(text)[1:-1],
            json.dumps(text)[1:-1],
            quote(text, errors="replace"),
        )
    )


def _parts(path: str) -> Iterator[str]:
    """Yield the folders of a path, and the names in it, that tell something."""
    plain = path.partition("://")[2] or path
    folder = PurePosixPath(plain).parent
    while len(folder.parts) > 2:
        yield str(folder)
        folder = folder.parent
    for part in PurePosixPath(plain).parts:
        for name in (part, PurePosixPath(part).stem):
            if len(name) >= MIN_PART and name.casefold() not in _OUR_WORDS:
                yield name
