"""Find when a raster was taken in the tags that its store keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from tilepress.pipeline.geotiff.record import parse_record
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
    ("", "TIFFTAG_DATETIME"),
)
"""(GDAL's metadata domain, tag), the most telling first. TIFF's own is the image's creation."""


def acquired(reader: ExportReader) -> Acquired | None:
    """Return when the image was taken; None where no tag says so in numbers.

    Of several files (a stack) the first one that has a time is asked.
    """
    for file in reader.origin.get("files", ()):
        with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):
            tags = parse_record(reader.source_bytes(file["item"]))["tags"]
            found = _span(tags.get("", {})) or _moment(tags)
            if found is not None:
                return found
    return None


def _moment(tags: Mapping[str, Mapping[str, str]]) -> Acquired | None:
    for domain, tag in _TIME_TAGS:
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
