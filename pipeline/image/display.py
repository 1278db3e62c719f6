"""Say how an image is shown: colours of its channels, and what is black and white (OMERO).

A range is what the source says (the window of a DICOM file), the whole range of eight-bit colours,
or the range that holds all but the darkest and the brightest fiftieth of some samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import TileSource

__all__ = ["omero_of"]

_WHITE = "FFFFFF"
_COLORS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}

_CUT = 0.02
"""Share of the samples that is darker than black, and brighter than white."""

_WHOLE = 2**20
"""Samples of a plane up to which all of them are looked at."""

_WINDOW = 256
"""Rows and columns of each of the nine windows that are looked at of a larger one."""

_MOST = 2**22
"""Samples of all bands together at one place that are looked at: fewer of each of many."""

_PLANES = 3
"""Places along an axis before the rows that are looked at, but for bands, which are all."""

_Range = tuple[float | int, float | int]


def omero_of(source: TileSource) -> dict[str, Any]:
    """Return the ``omero`` of an image's OME-Zarr: a colour and a window for each channel.

    Reads some windows of the source where nothing else tells the range: the same of the same
    source. Raises SourceError.
    """
    info = source.info
    count, colors = info.band_count, _colors(info)
    ranges = _told(info) or _sampled(source)
    limits = _limits(info)
    return {
        "channels": [
            {
                "active": active,
                "color": color,
                **({} if label is None else {"label": label}),
                "window": _window(limits or found, found),
            }
            for (color, active), label, found in zip(
                colors, _labels(info, count), ranges, strict=True
            )
        ]
    }


def _window(limits: _Range, found: _Range) -> dict[str, float | int]:
    (low, high), (start, end) = limits, found
    return {"min": min(low, start), "max": max(high, end), "start": start, "end": end}


def _colors(info: ImageInfo) -> list[tuple[str, bool]]:
    """Return the colour of every band, and whether it is shown at first."""
    count = info.band_count
    roles = info.attributes.get("color_interpretation")
    if count == 3 and str(info.attributes.get("photometric_interpretation", "")) == "RGB":
        roles = list(_COLORS)
    if not isinstance(roles, list) or not set(_COLORS) <= set(roles):
        names = [name.lower() for name in _names(info, count)]
        roles = [next((c for c in _COLORS if c == name), "") for name in names]
    if set(_COLORS) <= set(roles):
        first = {color: roles.index(color) for color in _COLORS}
        return [(_COLORS.get(role, _WHITE), first.get(role) == at) for at, role in enumerate(roles)]
    return [(_WHITE, at == 0) for at in range(count)]


def _labels(info: ImageInfo, count: int) -> list[str | None]:
    return [name or None for name in _names(info, count)]


def _names(info: ImageInfo, count: int) -> list[str]:
    """Return what the store tells of bands as their names; empty texts where it tells none."""
    given = info.coordinates.get("band")
    if given is not None and np.asarray(given).dtype.kind in "US":
        return [str(name) for name in given]
    told = info.attributes.get("band_names", ())
    return [str(name or "") for name in told] if len(told) == count else [""] * count


def _limits(info: ImageInfo) -> _Range | None:
    """Return the smallest and the largest sample that there may be; None where that is no help."""
    if info.valid_range is not None:
        return info.valid_range
    if info.dtype.kind == "b":
        return 0, 1
    if info.dtype.kind in "iu" and info.dtype.itemsize <= 2:
        bounds = np.iinfo(info.dtype)
        return int(bounds.min), int(bounds.max)
    return None


def _told(info: ImageInfo) -> list[_Range] | None:
    """Return the range of each channel, in stored values, where nothing need be looked at."""
    count, limits = info.band_count, _limits(info)
    shown = [color for color, active in _colors(info) if active]
    if limits is not None and (shown != [_WHITE] or limits == (0, 1)) and limits[1] < 256:
        return [limits] * count
    return [window] if count == 1 and (window := _window_told(info.attributes)) else None


def _window_told(told: Mapping[str, Any]) -> _Range | None:
    """Return the window of a DICOM file, whose ends are physical values, in stored ones."""
    center, width = (_first(told.get(key)) for key in ("window_center", "window_width"))
    slope = _first(told.get("rescale_slope", 1), only=True)
    intercept = _first(told.get("rescale_intercept", 0), only=True)
    if center is None or width is None or slope is None or intercept is None:
        return None
    if slope == 0 or width <= 0:
        return None
    low, high = sorted((center + half - intercept) / slope for half in (-width / 2, width / 2))
    return low, high


def _first(value: object, *, only: bool = False) -> float | None:
    """Return a number, or the first of several; with ``only`` none of several."""
    if isinstance(value, list):
        value = value[0] if value and not only else None
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _sampled(source: TileSource) -> list[_Range]:
    """Return the range of every band by some of its samples."""
    info = source.info
    found: list[list[npt.NDArray[Any]]] = [[] for _ in range(info.band_count)]
    for box in _boxes(info):
        samples = source.read(box)
        mask = source.read_mask(Box(box.start[-2:], box.stop[-2:])) if info.has_mask else None
        at = info.axes.index("band") if "band" in info.axes else None
        apart = samples[np.newaxis] if at is None else np.moveaxis(samples, at, 0)
        for band, one in enumerate(apart):
            valid = _present(info, band, one)
            if mask is not None:
                valid &= mask > 0
            found[band].append(one[valid])
    return [_range(np.concatenate(parts)) for parts in found]


def _present(info: ImageInfo, band: int, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    nodata = info.nodata if info.band_nodata is None else info.band_nodata[band]
    present = np.isfinite(samples) if samples.dtype.kind == "f" else np.ones(samples.shape, bool)
    if nodata is not None:
        present &= samples != nodata
    if info.padding is not None:
        present &= (samples < info.padding[0]) | (samples > info.padding[1])
    return present


def _range(samples: npt.NDArray[Any]) -> _Range:
    """Return what most samples lie within: samples themselves, so that it is exact."""
    if not samples.size:
        return 0, 1
    ordered = np.sort(samples, axis=None)
    last = len(ordered) - 1
    low, high = (ordered[at].item() for at in (int(last * _CUT), last - int(last * _CUT)))
    if isinstance(low, bool):
        return 0, 1
    return (low, high) if low < high else (low, low + 1)


def _boxes(info: ImageInfo) -> Iterator[Box]:
    """Yield the windows that are looked at, evenly spread."""
    height, width = info.shape[-2:]
    most = _MOST // info.band_count
    size = max(height, width)
    if height * width > min(_WHOLE, most):
        size = min(_WINDOW, max(1, math.isqrt(most // 9)))
    rows, columns = _spread(height, size), _spread(width, size)
    places: list[tuple[tuple[int, int], ...]] = [()]
    for axis, length in zip(info.axes[:-2], info.shape[:-2], strict=True):
        step = [(0, length)] if axis == "band" else [(n, n + 1) for n in _few(length)]
        places = [(*place, one) for place in places for one in step]
    for place in places:
        for row in rows:
            for column in columns:
                ranges = (*place, row, column)
                yield Box(tuple(a for a, _ in ranges), tuple(b for _, b in ranges))


def _spread(length: int, size: int) -> list[tuple[int, int]]:
    if length <= size:
        return [(0, length)]
    starts = sorted({(length - size) * at // 2 for at in range(3)})
    return [(start, start + size) for start in starts]


def _few(length: int) -> list[int]:
    """Return places that are evenly spread, not the first and the last of many."""
    count = min(length, _PLANES)
    return [(2 * at + 1) * length // (2 * count) for at in range(count)]
