"""Map tiles in Web Mercator (EPSG:3857), as QGIS, Leaflet and MapLibre ask for them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from tilepress.errors import UsageError
from tilepress.pipeline.read.look import Look, Pixels
from tilepress.pipeline.read.picture import Picture

if TYPE_CHECKING:
    from pyproj import Transformer

__all__ = ["MAX_ZOOM", "map_tile"]

SIDE = 256
MAX_ZOOM = 24
_HALF = math.pi * 6378137.0
"""Half the side of the square that zoom 0 shows, in metres."""


def map_tile(picture: Picture, zoom: int, column: int, row: int, look: Look) -> Pixels:
    """Return a tile of 256 × 256 pixels; transparent where the image is not.

    Each pixel is the one of the image that its centre lies in, of a resolution like the tile's.
    Raises UsageError for an image without a place on the ground.
    """
    attributes = picture.reader.attrs
    transform, crs = attributes.get("spatial:transform"), _crs(picture)
    if transform is None or crs is None:
        raise UsageError(f"drawing {picture.reader.path.name}: it has no place on the ground")
    tile = 2 * _HALF / 2**zoom
    step = tile / SIDE
    xs = -_HALF + column * tile + (np.arange(SIDE) + 0.5) * step
    ys = _HALF - row * tile - (np.arange(SIDE) + 0.5) * step
    east, north = np.meshgrid(xs, ys)
    x, y = _transformer(crs).transform(east, north)
    a, b, c, d, e, f = tuple(~Affine(*transform))[:6]
    with np.errstate(invalid="ignore"):  # infinite where the ground is out of the projection
        columns, rows = a * x + b * y + c, d * x + e * y + f
    inside = np.isfinite(columns) & np.isfinite(rows)
    inside &= (columns >= 0) & (columns < picture.width) & (rows >= 0) & (rows < picture.height)
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    if not inside.any():
        return pixels
    window = (
        math.floor(rows[inside].min()),
        math.floor(columns[inside].min()),
        math.floor(rows[inside].max()) + 1,
        math.floor(columns[inside].max()) + 1,
    )
    factor = max(1.0, _spread(rows, columns, inside))
    drawn = picture.region(window, factor, look)
    ys_in = (rows[inside] - window[0]) * drawn.shape[0] / (window[2] - window[0])
    xs_in = (columns[inside] - window[1]) * drawn.shape[1] / (window[3] - window[1])
    pixels[inside] = drawn[
        np.clip(ys_in.astype(int), 0, drawn.shape[0] - 1),
        np.clip(xs_in.astype(int), 0, drawn.shape[1] - 1),
    ]
    return pixels


def _spread(rows: np.ndarray, columns: np.ndarray, inside: np.ndarray) -> float:
    """Return how many samples of the image lie between pixels that are next to each other."""
    with np.errstate(invalid="ignore"):
        along = np.hypot(np.diff(rows, axis=1), np.diff(columns, axis=1))
    both = inside[:, 1:] & inside[:, :-1]
    return float(np.median(along[both])) if both.any() else 1.0


def _crs(picture: Picture) -> str | None:
    attributes = picture.reader.attrs
    found = attributes.get("proj:code") or attributes.get("proj:wkt2")
    if found is None:
        return None
    return str(found)


@lru_cache(maxsize=32)
def _transformer(crs: str) -> Transformer:
    from pyproj import Transformer
    from pyproj.exceptions import CRSError

    try:
        return Transformer.from_crs("EPSG:3857", crs, always_xy=True)
    except CRSError as error:
        raise UsageError("drawing a map: the image's coordinate system is not known") from error
