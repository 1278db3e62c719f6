"""Know by their names the files that accompany images, which a search passes over and counts."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

__all__ = ["PREVIEWS", "SIDECAR_SUFFIXES", "is_passed_over", "well_known"]

SIDECAR_SUFFIXES = frozenset(
    {
        *(".aux", ".gml", ".imd", ".kml", ".msk", ".ovr", ".prj", ".rpb", ".tab", ".tfw", ".wld"),
        *(".csv", ".doc", ".docx", ".htm", ".html", ".json", ".geojson", ".md", ".pdf", ".rst"),
        *(".cfg", ".ini", ".lock", ".log", ".md5", ".py", ".sh", ".sha256", ".toml", ".tsv"),
        *(".css", ".txt", ".url", ".xml", ".xsd", ".xsl", ".yaml", ".yml"),
        *(".att", ".dim", ".eph", ".pass", ".pvl", ".rpc"),
        *(".gfw", ".gtiffw", ".hgtw", ".htw", ".j2cw", ".j2kw", ".j2w", ".jcw", ".jkw", ".jp2w"),
        *(".jpxw", ".jxw", ".pgw", ".pngw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".gifw", ".bpw"),
        *(".safe", ".met", ".meta", ".til", ".man", ".hdr", ".rrd", ".lic", ".crc", ".sha1"),
        *(".cpg", ".dbf", ".gpkg", ".qix", ".sbn", ".sbx", ".shp", ".shx", ".gpx", ".kmz"),
        *(".clr", ".lyr", ".lyrx", ".points", ".qml", ".qgs", ".qgz", ".sld", ".xlsx", ".xls"),
    }
)
"""Endings of what accompanies images; in folders such files are passed over."""

SIDECAR_STEMS = frozenset(
    {
        *("readme", "license", "licence", "copying", "dicomdir", "thumbs", "makefile"),
        *("md5sum", "md5sums"),
    }
)
"""Names of such files, whatever their endings."""

PREVIEWS = "previews"
"""What thumbnails of products are counted as, whatever their endings."""

_PREVIEW = re.compile(
    r"(?:.*[_\-. ])?(?:thumb(?:nail|s|nails)?|preview|browse|quick-?look|ql|ver)"
    r"(?:[_\-. ][a-z0-9]+)?\.(?:jpe?g|gif|bmp)"
)
"""Pictures for people that come with scenes: LC08…_thumb_small.jpeg, …-ql.jpg, preview.jpg."""


def is_passed_over(name: str) -> bool:
    """Whether a file of a searched folder is hidden or a well-known companion of images."""
    name = name.lower()
    return (
        name.startswith(".")
        or PurePosixPath(name).suffix in SIDECAR_SUFFIXES
        or name.partition(".")[0] in SIDECAR_STEMS
        or _PREVIEW.fullmatch(name) is not None
    )


def well_known(name: str) -> str:
    """Return the ending of a companion of images; "" where it may be anything."""
    suffix = PurePosixPath(name.lower()).suffix
    if suffix not in SIDECAR_SUFFIXES and _PREVIEW.fullmatch(name.lower()):
        return PREVIEWS
    return suffix if suffix in SIDECAR_SUFFIXES else ""
