"""De-identify the record of a raster: keep what samples are and where they lie, by an allow-list.

TIFF has no standard for this. Of its tags the numbers stay that say what samples mean; texts go:
descriptions, names, dates, XMP, IPTC, Photoshop, EXIF, GPS, GDAL's metadata, tags of vendors.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilepress.errors import DamagedSource, ExcludedSource
from tilepress.pipeline.geotiff.header import find_pages
from tilepress.pipeline.geotiff.record import carried_entries
from tilepress.pipeline.geotiff.slide_pages import may_show_names
from tilepress.pipeline.privacy.crs import plain_wkt
from tilepress.pipeline.privacy.icc import without_texts
from tilepress.pipeline.privacy.numbers import seems_text
from tilepress.pipeline.privacy.words import cleaned
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["band_of_name", "deidentified_record", "refuse_label", "shows_label"]

_KEPT_AS_THEY_ARE = (
    *("version", "driver", "height", "width", "count", "dtype", "transform", "nodata", "scales"),
    *("offsets", "colors", "colormaps", "mask", "overviews", "converted", "order", "page", "pages"),
)
"""Fields of a record that are numbers, or words of ours or of GDAL's."""

SHORT, RATIONAL = 3, 5
PER_SAMPLE = 0
_NUMERIC_ENTRIES: Mapping[int, tuple[frozenset[int], int]] = {
    **dict.fromkeys((262, 274, 290, 296, 332, 334, 531), (frozenset({SHORT}), 1)),
    **dict.fromkeys((282, 283), (frozenset({RATIONAL}), 1)),
    **dict.fromkeys((280, 281, 338), (frozenset({SHORT}), PER_SAMPLE)),
    318: (frozenset({RATIONAL}), 2),
    319: (frozenset({RATIONAL}), 6),
    529: (frozenset({RATIONAL}), 3),
    530: (frozenset({SHORT}), 2),
    532: (frozenset({RATIONAL}), 6),
}
"""TIFF tags of numbers (colours, orientation, resolution, ranges): types, and how many there are.

GeoTIFF's own are not among them: GDAL writes all three anew from CRS and transform.
"""

ICC_PROFILE, GDAL_NODATA = 34675, 42113
NDPI_LENS = 65421

_STRUCTURE = frozenset(
    {
        *("COMPRESSION", "COMPRESSION_REVERSIBILITY", "INTERLEAVE", "PREDICTOR", "NBITS"),
        *("JPEG_QUALITY", "JPEGTABLESMODE", "SOURCE_COLOR_SPACE", "LERC_VERSION", "WEBP_LEVEL"),
        *("MAX_Z_ERROR", "LAYOUT", "MINISWHITE"),
    }
)
_STRUCTURE_WORDS = frozenset(
    {
        *("NONE", "LZW", "DEFLATE", "PACKBITS", "JPEG", "YCbCr JPEG", "CCITTRLE", "CCITTFAX3"),
        *("CCITTFAX4", "LZMA", "ZSTD", "LERC", "LERC_DEFLATE", "LERC_ZSTD", "WEBP", "JXL"),
        *("JPEG2000", "BAND", "PIXEL", "LINE", "TILE", "LOSSY", "LOSSLESS", "YES", "NO", "COG"),
        *("LOSSLESS (possibly)", "NEAR_LOSSLESS", "YCbCr", "YCbCrK", "RGB", "CMYK", "IFDS_BEFORE"),
        "",
    }
)
"""What GDAL says of how samples lie; whatever else stands there is somebody's text."""

_NO_LAYOUT = {"compress": "NONE", "reversible": "", "interleave": "BAND"}
_NUMBERS = re.compile(r"[-+0-9.eE \t,;naifNAIF]{1,4096}")
_TAGS = frozenset(
    {"AREA_OR_POINT", "TIFFTAG_RESOLUTIONUNIT", "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION"}
    | {"NODATA_VALUES", "TIFFTAG_MINSAMPLEVALUE", "TIFFTAG_MAXSAMPLEVALUE"}
)
_TAG_VALUES = re.compile(r"Area|Point|[-+0-9.eE ]{1,200}(\((unitless|pixels/(inch|cm))\))?")
_UNITS = frozenset(
    {
        *("m", "metre", "meter", "metres", "meters", "ft", "foot", "feet", "cm", "mm", "km"),
        *("K", "C", "degC", "dB", "m/s", "s", "1", "%", "percent", "degree", "degrees", "deg"),
        *("W/m2/sr/um", "W m-2 sr-1 um-1", "kg/m2", "kg m-2", "g/m3", "Pa", "hPa", "rad", "DN"),
    }
)
_OF_BANDS = re.compile(r"(B|band)?_?\d{1,2}[A-Z]?", re.IGNORECASE)


def deidentified_record(
    record: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], Counter[str]]:
    """Return a record under another name without what identifies, and what went, counted.

    It is the record of ``describe_raster``, before it is encoded.
    """
    went: Counter[str] = Counter()
    made = {key: record[key] for key in _KEPT_AS_THEY_ARE if key in record}
    structure = {
        k: v
        for k, v in record["layout"]["structure"].items()
        if k in _STRUCTURE and _is_structure(str(v))
    }
    layout = {
        k: v for k, v in record["layout"].items() if not isinstance(v, str) or _is_structure(v)
    }
    carried = _carried(record, went)
    tags = record["tags"].get("", {})
    kept = {k: v for k, v in tags.items() if k in _TAGS and _TAG_VALUES.fullmatch(v)}
    went["GDAL tags"] += sum(map(len, record["tags"].values())) - len(kept)
    went["GDAL tags of bands"] += sum(len(one) for d in record["band_tags"] for one in d.values())
    went["EXIF and GPS tags"] += sum(map(len, record["notes"].values()))
    made |= {
        "name": name,
        "layout": {**_NO_LAYOUT, **layout, "structure": structure},
        "crs_wkt": plain_wkt(record["crs_wkt"]),
        "gcps": _gcps(record["gcps"]),
        "rpcs": _rpcs(record["rpcs"]),
        "tags": {"": kept},
        "band_tags": [{"": {}} for _ in record["band_tags"]],
        "descriptions": [_description(text) for text in record["descriptions"]],
        "units": [text if text in _UNITS else None for text in record["units"]],
        "sidecars": [],
        "carried": carried,
        "notes": {},
    }
    return made, +went


def _is_structure(text: str) -> bool:
    return text in _STRUCTURE_WORDS or re.fullmatch(r"\d{1,3}(\.\d{1,4})?", text) is not None


def band_of_name(text: str) -> str:
    """Return the part of a file's name that tells its band; "" for any other."""
    return text if _OF_BANDS.fullmatch(text) else cleaned(text)


def shows_label(record: Mapping[str, Any]) -> str | None:
    """Return what a page of a whole slide shows beside the slide: "label", "macro"…; else None."""
    text = str(record["tags"].get("", {}).get("TIFFTAG_IMAGEDESCRIPTION", ""))
    first, _, rest = text.partition("\n")
    words = rest if first.startswith("Aperio") else text
    found = re.match(r"\s*(label|macro|overview)\b", words, re.IGNORECASE)
    if found:
        return found[1].lower()
    lens = carried_entries(record).get(NDPI_LENS)
    if lens is not None and len(lens.data) >= 4:
        negative = lens.data[3 if record["order"] == "<" else 0] & 0x80  # −1, −2: no lens
        return "macro" if negative else None
    return None


def refuse_label(path: Path, number: int = 1) -> None:
    """Raise ExcludedSource where a page of a TIFF file may show the label of a slide.

    Raises DamagedSource for a file that cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            shown = may_show_names(file, size, find_pages(file, size).found, number)
    except OSError as error:
        raise DamagedSource(f"de-identifying {path}: {error.strerror}") from error
    if shown is not None:
        text = f"its {shown} image is left out, for a slide's label names a patient"
        raise ExcludedSource(f"de-identifying {path}: {text}")


def _carried(record: Mapping[str, Any], went: Counter[str]) -> dict[str, list[Any]]:
    """Return the TIFF entries that say what samples are."""
    kept: dict[str, list[Any]] = {}
    for tag, entry in carried_entries(record).items():
        data = entry.data
        if tag == ICC_PROFILE:
            data = without_texts(data) or b""
            ok = bool(data)
        elif tag == GDAL_NODATA:
            ok = _NUMBERS.fullmatch(data.rstrip(b"\0 ").decode("latin-1")) is not None
        else:
            kinds, count = _NUMERIC_ENTRIES.get(tag, (frozenset(), 0))
            most = count or int(record["count"])
            ok = entry.kind in kinds and entry.count <= most and not seems_text(data)
        if ok:
            kept[str(tag)] = [entry.kind, entry.count, base64.b64encode(data).decode("ascii")]
        else:
            went[f"TIFF tag {tag}"] += 1
    return kept


def _description(text: str | None) -> str | None:
    return None if text is None else (text if _OF_BANDS.fullmatch(text) else cleaned(text)) or None


def _gcps(gcps: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return ground control points by number, without what is said of them."""
    if gcps is None:
        return None
    points = [
        {**point, "id": str(number), "info": ""} for number, point in enumerate(gcps["points"], 1)
    ]
    return {"crs_wkt": plain_wkt(gcps["crs_wkt"]), "points": points}


def _rpcs(rpcs: Mapping[str, str] | None) -> dict[str, str] | None:
    if rpcs is None:
        return None
    return {k: v for k, v in rpcs.items() if _NUMBERS.fullmatch(str(v)) and k.isupper()}
