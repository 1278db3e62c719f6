"""Give back the TIFF entries that place an image on the ground, where GDAL would write others.

GDAL moves tie points by half a pixel where AREA_OR_POINT is Point, and not back as they were; it
writes none without a CRS, and no identity transform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tilepress.pipeline.geotiff.header import Entry, TiffHeader

__all__ = ["PLACING_ENTRIES", "centred_entries", "moved_entries", "placing_entries"]

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
PLACING_ENTRIES = frozenset({PIXEL_SCALE, TIE_POINTS, TRANSFORMATION})
"""OGC GeoTIFF 1.1 (19-008r4) §8.1: ModelPixelScale, ModelTiepoint, ModelTransformation."""

POINT_DOUBLES = 6
"""Of one tie point: column, row, 0, then x, y, z."""

_DOUBLE = 12

_IDENTITY = np.eye(4)


def placing_entries(header: TiffHeader | None, *, with_points: bool) -> dict[int, Entry]:
    """Return the entries that an export has to write by itself.

    They are the tie points of an image that has ground control points, and a transform that is the
    identity, which GDAL takes for none.
    """
    if header is None:
        return {}
    entries = {tag: e for tag, e in header.first.entries.items() if tag in PLACING_ENTRIES}
    if not all(e.kind == _DOUBLE for e in entries.values()):
        return {}
    order = header.order
    points = _doubles(entries.get(TIE_POINTS), order)
    if with_points:
        whole = points.size and points.size % POINT_DOUBLES == 0
        return {TIE_POINTS: entries[TIE_POINTS]} if whole else {}
    matrix = _doubles(entries.get(TRANSFORMATION), order)
    if matrix.size == _IDENTITY.size and np.array_equal(matrix.reshape(4, 4)[:2], _IDENTITY[:2]):
        return {TRANSFORMATION: entries[TRANSFORMATION]}
    scale = _doubles(entries.get(PIXEL_SCALE), order)
    if scale.size >= 2 and points.size == POINT_DOUBLES:
        column, row, _, x, y, _ = points
        # only a negative scale, which some writers have, gives rows that count upwards
        if (scale[0], scale[1], x - column, y - row) == (1, -1, 0, 0):
            return {tag: entries[tag] for tag in (PIXEL_SCALE, TIE_POINTS)}
    return {}


def centred_entries(points: Sequence[Sequence[float]], order: str) -> dict[int, Entry]:
    """Return tie points (column, row, x, y, z) of an image whose AREA_OR_POINT is Point.

    GDAL adds half a pixel when it reads them, and once more when it writes what it has read.
    """
    rows = [(column - 0.5, row - 0.5, 0, x, y, z) for column, row, x, y, z in points]
    doubles = np.array(rows, f"{order}f8")
    return {TIE_POINTS: Entry(_DOUBLE, doubles.size, doubles.tobytes())}


def moved_entries(
    entries: Mapping[int, Entry], order: str, top: int, left: int
) -> dict[int, Entry] | None:
    """Return the entries of a window of the image that begins there.

    None where the window has no such entries: then its transform is no identity.
    """
    if TIE_POINTS not in entries or len(entries) > 1:
        return dict(entries) if (top, left) == (0, 0) else None
    entry = entries[TIE_POINTS]
    points = _doubles(entry, order).reshape(-1, POINT_DOUBLES) - [left, top, 0, 0, 0, 0]
    return {TIE_POINTS: Entry(entry.kind, entry.count, points.astype(f"{order}f8").tobytes())}


def _doubles(entry: Entry | None, order: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if entry is None:
        return np.zeros(0)
    return np.frombuffer(entry.data, f"{order}f8").astype(np.float64)
