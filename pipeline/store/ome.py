"""Say what the samples are in the words of OME-Zarr 0.5, which napari and the like read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from tilepress.pipeline.image.info import GeoReference, ImageInfo
from tilepress.pipeline.store.conventions import patient_spacing, slide_spacing

__all__ = ["ome_attributes"]

_TYPES = {"t": "time", "band": "channel", "z": "space", "y": "space", "x": "space"}
_ORDER = ("t", "band", "z", "y", "x")

_CRS_UNITS = {"metre": "meter", "foot": "foot", "US survey foot": "foot", "kilometre": "kilometer"}
"""Units of coordinate systems that OME-Zarr has a name for; it has none for degrees."""


def ome_attributes(
    info: ImageInfo,
    paths: Sequence[str],
    omero: Mapping[str, Any] | None = None,
    *,
    every: bool = True,
) -> dict[str, Any]:
    """Return the root's ``ome`` attribute.

    OME-Zarr wants time, then channel or one axis of another kind, then space; an image of other
    axes goes without. ``paths`` are the arrays of its levels, from the full resolution on;
    ``omero`` says how it is shown. Formats up to 3 do not have ``every`` image's, but only that of
    a patient or a slide, whose axes have types.
    """
    order = [_ORDER.index(axis if axis in _ORDER else "band") for axis in info.axes]
    if order != sorted(set(order)):
        return {}
    told = info.slide is not None or info.medical is not None
    if not every and not (told and set(info.axes) <= set(_ORDER)):
        return {}
    spacing, unit = _spacing(info)
    axes = [_axis(axis, unit if axis in spacing else None) for axis in info.axes]
    datasets = [_dataset(info, level, path, spacing) for level, path in enumerate(paths)]
    multiscale = {"name": "image", "axes": axes, "datasets": datasets}
    shown = {} if omero is None else {"omero": dict(omero)}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **shown}}


def _axis(name: str, unit: str | None) -> dict[str, str]:
    kind = {"type": _TYPES[name]} if name in _TYPES else {}
    return {"name": name} | kind | ({} if unit is None else {"unit": unit})


def _spacing(info: ImageInfo) -> tuple[dict[str, float], str | None]:
    """Return the distance between samples by axis, where it is known, and its unit."""
    if info.slide is not None:
        return slide_spacing(info.slide), "micrometer"
    if info.medical is not None:
        return patient_spacing(info.medical), "millimeter"
    if info.geo is not None and info.geo.transform is not None:
        a, b, _, d, e, _ = info.geo.transform
        sides = {"y": math.hypot(b, e), "x": math.hypot(a, d)}
        return {axis: side for axis, side in sides.items() if side > 0}, _ground_unit(info.geo)
    return {}, None


def _ground_unit(geo: GeoReference) -> str | None:
    try:
        axes = CRS.from_wkt(geo.crs_wkt).axis_info if geo.crs_wkt is not None else []
    except CRSError:
        return None
    names = {axis.unit_name for axis in axes[:2]}
    return _CRS_UNITS.get(names.pop()) if len(names) == 1 else None


def _dataset(
    info: ImageInfo, level: int, path: str, spacing: Mapping[str, float]
) -> dict[str, Any]:
    """Return where the samples of a level lie: a sample of it covers several of the one before."""
    factors = dict(zip(info.axes, info.factors(level), strict=True))
    steps = {axis: spacing.get(axis, 1.0) for axis in info.axes}
    scale = [steps[axis] * factors[axis] for axis in info.axes]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if level > 0:
        shift = [steps[axis] * (factors[axis] - 1) / 2 for axis in info.axes]
        transforms.append({"type": "translation", "translation": shift})
    return {"path": path, "coordinateTransformations": transforms}
