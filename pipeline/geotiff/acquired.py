"""Find when a raster was taken in the tags that its store keeps, or in its product's name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tilepress.pipeline.geotiff.kept_record import parse_record
from tilepress.pipeline.geotiff.product_names import acquired_by_name
from tilepress.pipeline.image.info import Acquired
from tilepress.pipeline.image.source import ExportReader

__all__ = ["acquired"]

_TIME_TAGS = (
    ("IMAGERY", "ACQUISITIONDATETIME"),
    ("", "ACQUISITIONDATETIME"),
    ("", "ACQUISITION_DATETIME"),
    ("", "SENSING_TIME"),
    ("", "EXIF_DateTimeOriginal"),
    ("EXIF", "EXIF_DateTimeOriginal"),
)
"""(GDAL's metadata domain, tag), the most telling first."""

_FILE_TIME_TAGS = (("", "TIFFTAG_DATETIME"),)
"""TIFF's own, which is the image's creation."""


def acquired(reader: ExportReader) -> Acquired | None:
    """Return when the image was taken; None where neither a tag nor a product's name says so.

    Of several files (a stack) the first one that has a time is asked; names are asked last, but
    before TIFF's own time, which is that of the file.
    """
    files = reader.origin.get("files", ())
    return (
        _by_tags(reader, files, _TIME_TAGS)
        or _by_names(files)
        or _by_tags(reader, files, _FILE_TIME_TAGS)
    )


def _by_names(files: Iterable[Mapping[str, Any]]) -> Acquired | None:
    names = (str(file.get("name", "")).rpartition("/")[2] for file in files)
    return next((time for time in map(acquired_by_name, names) if time is not None), None)


def _by_tags(
    reader: ExportReader, files: Iterable[Mapping[str, Any]], wanted: Sequence[tuple[str, str]]
) -> Acquired | None:
    for file in files:
        with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):
            tags = parse_record(reader.source_bytes(file["item"]))["tags"]
            found = _span(tags.get("", {})) or _moment(tags, wanted)
            if found is not None:
                return found
    return None


def _moment(
    tags: Mapping[str, Mapping[str, str]], wanted: Sequence[tuple[str, str]]
) -> Acquired | None:
    for domain, tag in wanted:
        time = _parse_time(tags.get(domain, {}).get(tag, ""))
        if time is not None:
            return Acquired(time, tag)
    return None


def _span(tags: Mapping[str, str]) -> Acquired | None:
    """Return the time span of a product with ECS core metadata (MODIS and its kin)."""
    first, last = (
        _parse_time(f"{tags.get(f'RANGE{end}DATE', '')}T{tags.get(f'RANGE{end}TIME', '')}")
        for end in ("BEGINNING", "ENDING")
    )
    if first is None or last is None or last < first:
        return None
    return Acquired(first, "RANGEBEGINNINGDATE", last)


def _parse_time(text: object) -> datetime | None:
    """Return the time of a tag: ISO 8601, or TIFF's and EXIF's YYYY:MM:DD HH:MM:SS."""
    if not isinstance(text, str):
        return None
    text = text.strip().strip('"').strip()
    if text[4:5] == ":" and text[7:8] == ":":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
