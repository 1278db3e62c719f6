"""Read several raster files on one grid as one image."""

from __future__ import annotations

import math
from typing import Any

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff.record import parse_crs
from tilepress.pipeline.geotiff.source import GeoTiffSource

__all__ = ["StackSource"]


class StackSource(GeoTiffSource):
    """Several files on one grid as one image; their bands follow each other in file order."""

    kind = "stack"

    def _check(self) -> None:
        first = self._files[0]
        for file in self._files[1:]:
            difference = _grid_difference(first.record, file.record)
            if difference:
                raise UnsupportedSource(
                    f"stack {file.path}: {difference}, unlike the first file {first.path.name}"
                )


def _grid_difference(first: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Say how two files of a stack differ in type or grid; None where they agree."""
    if other["dtype"] != first["dtype"]:
        return f"samples are {other['dtype']}, want {first['dtype']}"
    size, want = [other["height"], other["width"]], [first["height"], first["width"]]
    if size != want:
        return f"grid is {size[0]} × {size[1]}, want {want[0]} × {want[1]}"
    if not _same_transform(first["transform"], other["transform"], max(size)):
        return "its grid lies elsewhere (transforms differ)"
    if first["crs_wkt"] != other["crs_wkt"] and (
        parse_crs(first["crs_wkt"]) != parse_crs(other["crs_wkt"])
    ):
        return "its coordinate reference system differs"
    if not _same_points(first["gcps"], other["gcps"]):
        return "its grid lies elsewhere (ground control points differ)"
    if first["rpcs"] != other["rpcs"]:
        return "its grid lies elsewhere (rational polynomials differ)"
    return None


def _same_points(a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
    """Whether two images have the same control points, but for their names."""
    if a is None or b is None:
        return a is b
    places = [
        [tuple(p[k] for k in ("row", "col", "x", "y", "z")) for p in g["points"]] for g in (a, b)
    ]
    same = a["crs_wkt"] == b["crs_wkt"] or parse_crs(a["crs_wkt"]) == parse_crs(b["crs_wkt"])
    return same and places[0] == places[1]


def _same_transform(a: list[float] | None, b: list[float] | None, extent: int) -> bool:
    """Whether two transforms differ by less than a thousandth of a pixel anywhere."""
    if a is None or b is None:
        return a is b
    pixel = math.hypot(a[0], a[3]) or 1.0
    weights = (extent, extent, 1, extent, extent, 1)
    error = sum(abs(p - q) * w for p, q, w in zip(a, b, weights, strict=True))
    return error < pixel / 1000
