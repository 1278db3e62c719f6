"""Find the rows and columns of a raster that a box on the ground covers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_bounds

from tilepress.codecs.numbers import number_of
from tilepress.errors import UsageError
from tilepress.pipeline.geotiff.record import parse_crs

__all__ = ["transform_of", "window_of"]

_POINTS_OF_A_SIDE = 21
"""Points of each side of a box that are taken to another CRS: straight there is curved here."""

Bounds = tuple[float, float, float, float]


def window_of(
    record: Mapping[str, Any], size: Sequence[int], bbox: Bounds | None, bbox_crs: str | None = None
) -> tuple[int, int, int, int]:
    """Return the smallest window (top, left, bottom, right) of whole pixels that covers a box.

    Parameters
    ----------
    record :
        of the raster
    size :
        its (height, width)
    bbox :
        (left, bottom, right, top), with x before y whatever the CRS says of its axes; None is all
    bbox_crs :
        what PROJ knows the box's CRS by; None is that of the raster

    Raises UsageError where the raster has no place, and for a box or a CRS that make no sense.
    """
    height, width = size
    if bbox is None:
        return 0, 0, height, width
    transform = transform_of(record)
    if transform is None:
        raise UsageError("export with a bounding box: the image has no geotransform")
    left, bottom, right, top = _in_crs_of(record, bbox, bbox_crs)
    a, b, c, d, e, f = (~transform)[:6]
    corners = [(x, y) for x in (left, right) for y in (bottom, top)]
    columns = [a * x + b * y + c for x, y in corners]
    rows = [d * x + e * y + f for x, y in corners]
    # a box drawn on pixel borders must not gain a row by rounding
    x0, y0 = (max(0, math.floor(min(v) + 1e-6)) for v in (columns, rows))
    x1 = min(width, math.ceil(max(columns) - 1e-6))
    y1 = min(height, math.ceil(max(rows) - 1e-6))
    if x0 >= x1 or y0 >= y1:
        text = f"it lies outside the image, {_extent(transform, width, height, record)}"
        raise UsageError(f"export with bounding box {bbox}: {text}{_hint(record, bbox, bbox_crs)}")
    return y0, x0, y1, x1


def _extent(transform: Affine, width: int, height: int, record: Mapping[str, Any]) -> str:
    a, b, c, d, e, f = transform[:6]
    corners = [(x, y) for x in (0, width) for y in (0, height)]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    crs = parse_crs(record["crs_wkt"])
    named = "" if crs is None else f" in {crs.to_string() if crs.to_epsg() else 'its CRS'}"
    return f"which spans {min(xs):.10g},{min(ys):.10g},{max(xs):.10g},{max(ys):.10g}{named}"


def _hint(record: Mapping[str, Any], bbox: Bounds, bbox_crs: str | None) -> str:
    """Return what to add for a box that looks like one of degrees, where the image has others."""
    crs = parse_crs(record["crs_wkt"])
    if bbox_crs is not None or crs is None or crs.is_geographic:
        return ""
    left, bottom, right, top = bbox
    degrees = left >= -180 and right <= 180 and bottom >= -90 and top <= 90
    return "; if the box is in degrees, add --bbox-crs EPSG:4326" if degrees else ""


def transform_of(record: Mapping[str, Any]) -> Affine | None:
    """Return the geotransform of a raster; None where it has none."""
    values = record["transform"]
    return None if values is None else Affine(*(number_of(value) for value in values))


def _in_crs_of(record: Mapping[str, Any], bbox: Bounds, bbox_crs: str | None) -> Bounds:
    left, bottom, right, top = bbox
    if not all(map(math.isfinite, bbox)) or left >= right or bottom >= top:
        text = "want left, bottom, right, top with left < right and bottom < top"
        raise UsageError(f"export with bounding box {bbox}: {text}")
    if bbox_crs is None:
        return bbox
    own = parse_crs(record["crs_wkt"])
    if own is None:
        text = f"the image has no CRS to take it to from {bbox_crs}; give it without --bbox-crs"
        raise UsageError(f"export with bounding box {bbox}: {text}")
    try:
        given = CRS.from_user_input(bbox_crs)
    except CRSError:
        text = f"got --bbox-crs {bbox_crs!r}, want a CRS as in EPSG:4326"
        raise UsageError(f"export with a bounding box: {text}") from None
    try:
        found: Bounds = transform_bounds(given, own, *bbox, densify_pts=_POINTS_OF_A_SIDE)
    except (RasterioError, ValueError) as error:
        text = f"it cannot be taken from {bbox_crs} to the image's CRS"
        raise UsageError(f"export with bounding box {bbox}: {text}") from error
    if not all(map(math.isfinite, found)):
        text = f"it cannot be taken from {bbox_crs} to the image's CRS"
        raise UsageError(f"export with bounding box {bbox}: {text}")
    return found
