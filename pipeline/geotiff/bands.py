"""Tell what each band of rasters is: its names, its nodata, whether its values stand for something.

Alpha, palettes, single bits and what producers call quality, mask or classification are exact or
they are nothing: bit 3 of a flag is not nearly bit 4.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from tilepress.codecs.numbers import number_of
from tilepress.pipeline.geotiff.pam import band_attributes, band_table
from tilepress.pipeline.image.info import ALPHA, BandInfo

if TYPE_CHECKING:
    from tilepress.pipeline.geotiff.raster_file import RasterFile

__all__ = ["bands_of", "bands_of_record", "flags_of", "in_dtype", "refusal_of"]

_STANDS_FOR = frozenset(
    {
        *("BQA", "QA", "QC", "QA60", "QUALITY", "FLAG", "FLAGS", "BITMASK", "BITS"),
        *("MASK", "CLOUDMASK", "FMASK", "UDM", "UDM2", "VALID", "VALIDITY", "SCL"),
        *("CLASS", "CLASSES", "CLASSIFICATION", "LABEL", "LABELS", "LANDCOVER", "LULC"),
    }
)
"""Words in the names of bands that are flags or classes: of Landsat, Sentinel-2, HLS, MODIS…"""


def bands_of(files: Sequence[RasterFile]) -> tuple[BandInfo, ...]:
    """Return what every band of an image is, in order."""
    return tuple(
        band
        for file in files
        for band in bands_of_record(file.record, file.path.name, file.count, file.dtype)
    )


def flags_of(files: Sequence[RasterFile]) -> dict[str, Any]:
    """Return the attributes that say what values stand for (CF's flags), and statistics."""
    tables, figures = [], []
    for file in files:
        for at in range(file.count):
            text = file.record.get("pam", {}).get(str(at + 1))
            tables.append(None if text is None else band_table(text))
            figures.append(_statistics(file.record["band_tags"][at].get("", {})))
    told = band_attributes(tables)
    if any(figures):
        told["statistics"] = figures[0] if len(figures) == 1 else figures
    return told


def _statistics(tags: Mapping[str, str]) -> dict[str, float]:
    """Return the statistics of a band that GDAL has computed, of its samples as they came."""
    found = {}
    for name in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV"):
        with contextlib.suppress(KeyError, ValueError):
            value = float(tags[f"STATISTICS_{name}"])
            if math.isfinite(value):
                found[name.lower()] = value
    return found


def in_dtype(value: float | int | None, dtype: np.dtype[Any]) -> float | int | None:
    """Return a nodata value as a sample of ``dtype``; None where no sample can have it."""
    if value is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    limits = np.iinfo(dtype)
    if not math.isfinite(value) or value != int(value):
        return None
    return int(value) if limits.min <= value <= limits.max else None


def bands_of_record(
    record: Mapping[str, Any], name: str, count: int, dtype: np.dtype[Any]
) -> Iterator[BandInfo]:
    """Yield what the bands of a file are, by its record (``record``), its name and their number."""
    for at in range(count):
        description = record["descriptions"][at]
        nodata = record["nodata"][at]
        yield BandInfo(
            names=(name, description) if description else (name,),
            nodata=in_dtype(None if nodata is None else number_of(nodata), dtype),
            exact=_exact(record, at, PurePath(name).stem if count == 1 else None),
        )


def refusal_of(records: Iterable[Mapping[str, Any]]) -> str | None:
    """Say why near-lossless coding of such files makes no sense; None where it does."""
    for record in records:
        # a palette that GDAL makes up for black and white counts too: both hold classes
        if record["colormaps"] or "palette" in record["colors"]:
            return "samples are indices into a colour table"
        if record["layout"]["nbits"] == 1:
            return "samples are single bits"
    return None


def _exact(record: Mapping[str, Any], at: int, file_name: str | None) -> str | None:
    """Say why a band has to be exact; None where nothing says so. A file's name tells of one."""
    color = record["colors"][at]
    if color == "alpha":
        return ALPHA
    if color == "palette" or str(at + 1) in record["colormaps"]:
        return "samples are indices into a colour table"
    if record["layout"]["nbits"] == 1:
        return "samples are single bits"
    text = record.get("pam", {}).get(str(at + 1))
    table = None if text is None else band_table(text)
    if table is not None and table.thematic and table.names:
        return "its values are classes of a table"
    for name in (record["descriptions"][at], file_name):
        for word in re.split(r"[^A-Za-z0-9]+", name or ""):
            if word.upper() in _STANDS_FOR:
                return f"it is called {word}"
    return None
