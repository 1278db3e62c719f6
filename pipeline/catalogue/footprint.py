"""Draw the outline of a raster on the globe (GeoJSON, RFC 7946).

Edges are curves in another CRS: they get as many points as show them to half a pixel. An outline
that crosses the antimeridian is cut there, as §3.1.9 of the RFC wants; one that goes around a pole
takes the pole in. A raster whose edge is off the globe (a full disk from a geostationary satellite)
gets the box around its visible samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pyproj import Transformer

__all__ = ["Footprint", "footprint"]

EDGE_POINTS = 21
"""Points of an edge where it is a curve; GDAL's own choice (densify_pts) for bounds."""

GRID_POINTS = 65
"""Samples along either axis that are looked at where the edge is off the globe."""

STRAIGHT_DEG = 1e-6
"""What leaves its chord by less, about 0.1 m, is straight, however small pixels are."""

STRAIGHT_PIXELS = 0.5
"""So is what leaves it by less than this: an outline is no finer than what it goes around."""

DECIMALS = 7
"""Of a degree: about a centimetre."""

Affine = Sequence[float]
Points = npt.NDArray[np.float64]
"""(N, 2): longitude, latitude in degrees."""
Bbox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where a raster lies, in WGS 84."""

    geometry: dict[str, Any]
    """A GeoJSON Polygon or MultiPolygon."""
    bbox: Bbox
    """West, south, east, north in degrees; west > east where it crosses the antimeridian."""


def footprint(crs: str, transform: Affine, height: int, width: int) -> Footprint | None:
    """Return the outline of a raster; None where its CRS has no place on the globe.

    Parameters
    ----------
    crs : WKT2 or a code such as "EPSG:32631"
    transform : affine (a, b, c, d, e, f), x = a·col + b·row + c, y = d·col + e·row + f
    height, width : in pixels
    """
    from pyproj.exceptions import CRSError, ProjError

    try:
        project = _to_wgs84(crs)
        ring = _projected(project, transform, _edge(height, width))
        if not np.isfinite(ring).all():
            return _around(_projected(project, transform, _grid(height, width)))
    except (CRSError, ProjError):
        return None
    ring = _unwrapped(ring)
    turns = round((ring[-1, 0] - ring[0, 0]) / 360)
    if turns:
        return _around_pole(ring)
    pixel = math.hypot(*np.ptp(ring, axis=0)) / math.hypot(height, width)
    return _outline(_simplified(ring, max(STRAIGHT_DEG, STRAIGHT_PIXELS * pixel))[:-1])


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Transformer:
    from pyproj import Transformer

    return Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)


def _edge(height: int, width: int) -> Points:
    """Return (column, row) along the outer edge of the pixels, closed: four runs of points."""
    steps = np.linspace(0, 1, EDGE_POINTS)[:-1]
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    columns = np.concatenate([steps, one, 1 - steps, zero, [0]])
    rows = np.concatenate([zero, steps, one, 1 - steps, [0]])
    return np.stack([columns * width, rows * height], axis=1)


def _grid(height: int, width: int) -> Points:
    columns, rows = np.meshgrid(
        np.linspace(0, width, GRID_POINTS), np.linspace(0, height, GRID_POINTS)
    )
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def _projected(project: Transformer, transform: Affine, pixels: Points) -> Points:
    a, b, c, d, e, f = transform
    columns, rows = pixels[:, 0], pixels[:, 1]
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    longitude, latitude = project.transform(x, y)
    # a grid of pixel centres from pole to pole has edges half a pixel beyond them
    latitude = np.where(np.isfinite(latitude), np.clip(latitude, -90, 90), latitude)
    return np.stack([longitude, latitude], axis=1).astype(np.float64)


def _unwrapped(ring: Points) -> Points:
    """Make longitudes continuous along the ring: no step is longer than half a turn."""
    return np.stack([np.unwrap(ring[:, 0], period=360), ring[:, 1]], axis=1)


def _simplified(ring: Points, tolerance: float) -> Points:
    """Leave out points of a closed ring by which it moves no further than ``tolerance`` (degrees).

    Corners stay, and so do the outermost points, for they are the box.
    """
    outermost = {int(n) for n in (*ring.argmin(axis=0), *ring.argmax(axis=0))}
    kept = sorted(outermost | set(range(0, len(ring), EDGE_POINTS - 1)))
    runs = [_thinned(ring[a : b + 1], tolerance)[:-1] for a, b in pairwise(kept)]
    return np.concatenate([*runs, ring[-1:]])


def _thinned(points: Points, tolerance: float) -> Points:
    """Leave out points of a line that lie near its chords, as Douglas and Peucker do (1973)."""
    if len(points) < 3:
        return points
    start, chord = points[0], points[-1] - points[0]
    apart = points - start
    length = math.hypot(*chord)
    if length:
        away = np.abs(chord[0] * apart[:, 1] - chord[1] * apart[:, 0]) / length
    else:
        away = np.hypot(apart[:, 0], apart[:, 1])
    furthest = int(away.argmax())
    if away[furthest] <= tolerance:
        return points[[0, -1]]
    before, after = points[: furthest + 1], points[furthest:]
    return np.concatenate([_thinned(before, tolerance)[:-1], _thinned(after, tolerance)])


def _outline(ring: Points) -> Footprint | None:
    """Return the footprint of an open ring whose longitudes are continuous."""
    west, east = float(ring[:, 0].min()), float(ring[:, 0].max())
    south, north = _latitudes(ring)
    if east - west >= 360 - STRAIGHT_DEG:
        return _box((-180.0, south, 180.0, north))
    rings: list[list[list[float]] | None] = []
    first = math.floor((west + 180) / 360 + 1e-12)
    last = math.ceil((east + 180) / 360 - 1e-12)
    for turn in range(first, max(last, first + 1)):
        middle = 360.0 * turn
        part = _clipped(_clipped(ring, middle - 180, 1), middle + 180, -1)
        if len(part) >= 3:
            rings.append(_polygon(part - np.array([middle, 0.0])))
    parts = [part for part in rings if part is not None]
    if not parts:
        return None
    if len(parts) > 1:
        west, east = _turned(west), _turned(east)
    else:
        west, east = west - 360 * first, east - 360 * first
    return Footprint(_geometry(parts), _rounded((west, south, east, north)))


def _around_pole(ring: Points) -> Footprint | None:
    """Return the cap between a ring around the globe and the pole that it goes around."""
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    points = ring[:-1] if ring[-1, 0] > ring[0, 0] else ring[:0:-1]
    longitudes = (points[:, 0] + 180) % 360 - 180
    order = np.argsort(longitudes, kind="stable")
    edge = np.stack([longitudes[order], points[order, 1]], axis=1)
    before, after = 180 - edge[-1, 0], edge[0, 0] + 180  # degrees to the antimeridian
    share = before / (before + after)
    seam = edge[-1, 1] + (edge[0, 1] - edge[-1, 1]) * share
    cap = [[-180.0, pole], [-180.0, seam], *edge.tolist(), [180.0, seam], [180.0, pole]]
    polygon = _polygon(np.array(cap))
    if polygon is None:
        return None
    south, north = _latitudes(np.array(cap))
    return Footprint(_geometry([polygon]), _rounded((-180.0, south, 180.0, north)))


def _around(points: Points) -> Footprint | None:
    """Return the box around those points that are on the globe."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return None
    longitudes = np.sort((points[:, 0] + 180) % 360 - 180)
    gaps = np.diff(longitudes, append=longitudes[0] + 360)
    widest = int(gaps.argmax())
    west = float(longitudes[(widest + 1) % len(longitudes)])
    east = float(longitudes[widest])
    return _box((west, float(points[:, 1].min()), east, float(points[:, 1].max())))


def _box(bbox: Bbox) -> Footprint | None:
    west, south, east, north = bbox
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    corners = [np.array([[a, south], [b, south], [b, north], [a, north]]) for a, b in spans]
    parts = [part for part in map(_polygon, corners) if part is not None]
    return Footprint(_geometry(parts), _rounded(bbox)) if parts else None


def _clipped(ring: Points, limit: float, side: int) -> Points:
    """Return what of a ring lies east (``side`` 1) or west (-1) of a meridian: one half-plane of
    Sutherland and Hodgman's polygon clipping (1974)."""
    kept: list[tuple[float, float]] = []
    inside = (ring[:, 0] - limit) * side >= 0
    for i in range(len(ring)):
        (x0, y0), (x1, y1) = ring[i - 1], ring[i]
        if inside[i] != inside[i - 1]:
            kept.append((limit, float(y0 + (y1 - y0) * (limit - x0) / (x1 - x0))))
        if inside[i]:
            kept.append((float(x1), float(y1)))
    return np.array(kept, np.float64).reshape(-1, 2)


def _polygon(ring: Points) -> list[list[float]] | None:
    """Return a closed ring, counterclockwise, rounded; None where it has no area."""
    x, y = ring[:, 0], ring[:, 1]
    area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    points: list[list[float]] = []
    for point in ring if area > 0 else ring[::-1]:
        rounded = [round(float(value), DECIMALS) for value in point]
        if not points or rounded != points[-1]:
            points.append(rounded)
    if points[0] == points[-1]:
        points.pop()
    return [*points, points[0]] if len(points) >= 3 and area else None


def _geometry(rings: list[list[list[float]]]) -> dict[str, Any]:
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _latitudes(points: Points) -> tuple[float, float]:
    return float(points[:, 1].min()), float(points[:, 1].max())


def _turned(longitude: float) -> float:
    """Return a longitude within -180 … 180."""
    return (longitude + 180) % 360 - 180


def _rounded(bbox: Bbox) -> Bbox:
    west, south, east, north = (round(value, DECIMALS) for value in bbox)
    return west, south, east, north
