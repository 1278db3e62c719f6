"""Describe the rasters of a stack as one raster of all their bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

__all__ = ["joined_record"]

_DRIVER = "joined"
"""No driver of GDAL: nothing of a file's own directory is told of several together."""

_BLOCK = 256
_DESCRIBES_SAMPLES = ("COLOR_PROFILE", "IMAGE_STRUCTURE")


def joined_record(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], name: str
) -> dict[str, Any]:
    """Return the record (``record.describe_raster``) of one raster with the bands of several.

    They lie on one grid. What their metadata agree on is said of the image, the rest of each band.

    names : of the bands, where the files do not describe them; () for none.
    """
    first = records[0]
    starts = list(accumulate((record["count"] for record in records), initial=0))
    count = starts.pop()

    def every(key: str) -> list[Any]:
        return [value for record in records for value in record[key]]

    def by_number(key: str) -> dict[str, Any]:
        pairs = zip(starts, records, strict=True)
        return {
            str(start + int(number)): value
            for start, record in pairs
            for number, value in record.get(key, {}).items()
        }

    told = [described or None for described in every("descriptions")]
    if len(names) == count:
        told = [one or given or None for one, given in zip(told, names, strict=True)]
    depths = {record["layout"]["nbits"] for record in records}
    return {
        **{key: first[key] for key in ("version", "height", "width", "dtype")},
        **{key: first[key] for key in ("crs_wkt", "transform", "gcps", "rpcs")},
        "name": name,
        "driver": _DRIVER,
        "count": count,
        "layout": {
            "compress": "DEFLATE",
            "reversible": "",
            "interleave": "BAND",
            "predictor": 3 if first["dtype"].startswith("float") else 2,
            "tiled": True,
            "block": [_BLOCK, _BLOCK],
            "nbits": depths.pop() if len(depths) == 1 else None,
            "structure": {},
            "big": False,
            "photometric": None,
        },
        "tags": _common_tags(records),
        "band_tags": _band_tags(records),
        "descriptions": told,
        **{key: every(key) for key in ("nodata", "units", "scales", "offsets")},
        "colors": _colors(every("colors")),
        "colormaps": by_number("colormaps"),
        "pam": by_number("pam"),
        "mask": "internal" if any(record["mask"] != "none" for record in records) else "none",
        "overviews": [],
        "converted": any(record["converted"] for record in records),
        "sidecars": [],
        "order": "<",
        "carried": {},
        "notes": {},
    }


def _common_tags(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the tags that all files have alike, by domain."""
    first, *others = (record["tags"] for record in records)
    common = {}
    for domain, tags in first.items():
        if domain in _DESCRIBES_SAMPLES:
            continue
        alike = {
            k: v for k, v in tags.items() if all(o.get(domain, {}).get(k) == v for o in others)
        }
        if alike:
            common[domain] = alike
    return common


def _band_tags(records: Sequence[Mapping[str, Any]]) -> list[dict[str, dict[str, str]]]:
    """Return the tags of each band, those of its file among them where files differ in them."""
    common = _common_tags(records).get("", {})
    found = []
    for record in records:
        own = {k: v for k, v in record["tags"].get("", {}).items() if k not in common}
        for tags in record["band_tags"]:
            found.append({**tags, "": {**own, **tags.get("", {})}})
    return found


def _colors(colors: Sequence[str]) -> list[str]:
    """Return what colour each band is: of several, greys and palettes are no colours."""
    if len(colors) == 1:
        return list(colors)
    plain = {"gray", "palette", "undefined"}
    return ["gray" if color in plain else color for color in colors]
