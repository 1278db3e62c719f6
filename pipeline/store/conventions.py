"""Say what the samples are in the words of CF and GeoZarr.

CF is what xarray and rioxarray read, GeoZarr (conventions ``proj`` and ``spatial``) what GDAL
reads; OME-Zarr is in a module of its own. Integers stay integers: never ``_FillValue``,
``scale_factor`` or ``add_offset``, which would make xarray decode to float; ``nodata``,
``rescale_slope`` and ``rescale_intercept`` instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr_cm
from pyproj import CRS
from pyproj.exceptions import CRSError

from tilepress.codecs.numbers import json_number
from tilepress.pipeline.image.info import (
    GeoReference,
    ImageInfo,
    Label,
    MedicalGeometry,
    SlideGeometry,
)

__all__ = [
    "AuxiliaryArray",
    "auxiliary_arrays",
    "group_attributes",
    "image_attributes",
    "multiscales_attributes",
    "patient_spacing",
    "slide_spacing",
]

_RENAMED = {"scale_factor": "rescale_slope", "add_offset": "rescale_intercept"}
_DROPPED = frozenset({"_FillValue", "missing_value", "fill_value", "nodata"})
_UNEVEN = 0.01
"""Planes of a volume whose steps differ by more than this share of the usual one are not even."""

_LISTED = ("uuid", "schema_url", "name")
"""What is said of a convention: enough to know it by, and its version."""


@dataclass(frozen=True, slots=True)
class AuxiliaryArray:
    """A small array beside the image: a coordinate, or the scalar that carries the CRS."""

    dims: tuple[str, ...]
    data: npt.NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def image_attributes(
    info: ImageInfo, *, wordy: bool = False, affine: bool = True
) -> dict[str, Any]:
    """Return the attributes of the array ``image``; ``wordy`` as the first version had them.

    ``affine`` : with that of a volume, which formats up to 3 do not have.
    """
    attributes: dict[str, Any] = {
        _RENAMED.get(key, key): value
        for key, value in info.attributes.items()
        if key not in _DROPPED
    }
    if info.nodata is not None:
        attributes["nodata"] = json_number(info.nodata)
    if info.valid_range is not None:
        attributes["valid_min"], attributes["valid_max"] = info.valid_range
    if info.remarks:
        attributes["remarks"] = list(info.remarks)
    if info.medical is not None:
        attributes |= _patient_attributes(info.medical)
        matrix = _affine(info, info.medical) if affine else None
        attributes |= {} if matrix is None else {"affine": matrix}
    if info.slide is not None:
        attributes |= _slide_attributes(info.slide)
    listed = list(_labels(info))
    if info.geo is not None:
        attributes["grid_mapping"] = "spatial_ref"
        listed.insert(0, "spatial_ref")
    if listed:
        attributes["coordinates"] = " ".join(listed)
    if info.geo is not None:
        attributes |= _geozarr_attributes(info, info.geo, wordy=wordy)
    return attributes


def group_attributes(info: ImageInfo, *, wordy: bool = False) -> dict[str, Any]:
    """Return the attributes of the group of one level."""
    return {} if info.geo is None else _geozarr_attributes(info, info.geo, wordy=wordy)


def multiscales_attributes(info: ImageInfo) -> dict[str, Any]:
    """Return the attributes of the root of an image on the ground that has levels (GeoZarr).

    Nothing for others. Translations are from the corner of the full resolution, as transforms are.
    """
    if info.geo is None or info.geo.transform is None or not info.levels:
        return {}
    layout: list[dict[str, Any]] = []
    for number in range(1 + len(info.levels)):
        at = info.at_level(number)
        assert at.geo is not None, "levels lie where the image does"
        one: dict[str, Any] = {"asset": str(number)}
        if number:
            finer = info.factors(number - 1)[-2:]
            scale = [a / b for a, b in zip(info.factors(number)[-2:], finer, strict=True)]
            transform = {"scale": scale, "translation": [0.0, 0.0]}
            one |= {"derived_from": str(number - 1), "transform": transform}
        placed = _geozarr_attributes(at, at.geo, wordy=False)
        layout.append(one | {k: placed[k] for k in ("spatial:shape", "spatial:transform")})
    found = dict(zarr_cm.create_many({"multiscales": {"layout": layout}}))
    return found | {"zarr_conventions": _listed(found)}


def _listed(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what attributes say of their conventions: enough to know them by."""
    known = [dict(one) for one in attributes["zarr_conventions"]]
    return [{key: one[key] for key in _LISTED if key in one} for one in known]


def auxiliary_arrays(info: ImageInfo, *, wordy: bool = False) -> dict[str, AuxiliaryArray]:
    """Return coordinates and ``spatial_ref`` by name."""
    arrays: dict[str, AuxiliaryArray] = {}
    if info.geo is not None:
        crs = _parse_crs(info.geo.crs_wkt)
        arrays["spatial_ref"] = _spatial_ref(info.geo, wordy=wordy)
        arrays |= _ground_coordinates(info, info.geo, crs)
    elif info.medical is not None:
        arrays |= _patient_coordinates(info, info.medical)
    elif info.slide is not None:
        arrays |= _slide_coordinates(info, info.slide)
    for axis, values in info.coordinates.items():
        if axis in info.axes:
            arrays[axis] = _given_coordinate(
                axis, np.asarray(values), medical=info.medical is not None
            )
    for name, label in _labels(info).items():
        arrays[name] = AuxiliaryArray(label.axes, np.asarray(label.values), label.attributes)
    return arrays


def _labels(info: ImageInfo) -> dict[str, Label]:
    """Return the labels of axes that the image has, by names that nothing else has."""
    taken = {*info.axes, "spatial_ref", "image", "mask"}
    return {
        name: label
        for name, label in info.labels.items()
        if name not in taken and set(label.axes) <= set(info.axes)
    }


def _slide_coordinates(info: ImageInfo, slide: SlideGeometry) -> dict[str, AuxiliaryArray]:
    """Distances in µm from the first sample of the full resolution, where the size is known."""
    spacing = slide_spacing(slide)
    offset = dict(zip(("y", "x"), slide.offset_um, strict=True))
    names = {"z": "distance between focal planes", "y": "distance down", "x": "distance across"}
    return {
        axis: AuxiliaryArray(
            (axis,),
            offset.get(axis, 0.0) + np.arange(size) * spacing[axis],
            {"units": "um", "long_name": f"{names[axis]}, from the slide's first sample"},
        )
        for axis, size in zip(info.axes, info.shape, strict=True)
        if axis in spacing
    }


def _slide_attributes(slide: SlideGeometry) -> dict[str, Any]:
    """How far apart the samples of a slide lie, in micrometres."""
    given = {
        "pixel_size_um": slide.pixel_size_um,
        "plane_spacing_um": slide.plane_spacing_um,
    }
    return {key: _plain(value) for key, value in given.items() if value is not None}


def slide_spacing(slide: SlideGeometry) -> dict[str, float]:
    """Return the distance between samples in micrometres by axis; only where it is known."""
    spacing: dict[str, float | None] = {"z": slide.plane_spacing_um}
    if slide.pixel_size_um is not None:
        spacing["y"], spacing["x"] = slide.pixel_size_um
    return _known(spacing)


def _parse_crs(wkt: str | None) -> CRS | None:
    if wkt is None:
        return None
    try:
        return CRS.from_wkt(wkt)
    except CRSError:
        return None  # a local or engineering CRS that PROJ does not know: the text itself is kept


def _spatial_ref(geo: GeoReference, *, wordy: bool) -> AuxiliaryArray:
    """The CF grid mapping variable, as rioxarray and GDAL read it.

    Where control points alone place the image, its CRS is theirs, as rioxarray has it.
    """
    attributes: dict[str, Any] = {}
    wkt = geo.gcps_crs_wkt if geo.crs_wkt is None else geo.crs_wkt
    crs = _parse_crs(wkt)
    if crs is not None:
        attributes |= {k: _plain(v) for k, v in crs.to_cf().items()}
    if wkt is not None:
        attributes["crs_wkt"] = wkt  # rioxarray and GDAL read it as CF has it
        attributes |= {"spatial_ref": wkt} if wordy else {}
    if geo.gcps:
        attributes["gcps"] = json.dumps(_geojson(geo.gcps))
    if geo.rpcs:
        attributes["rpcs"] = dict(geo.rpcs)
    if geo.transform is not None:
        a, b, c, d, e, f = geo.transform
        attributes["GeoTransform"] = " ".join(repr(float(n)) for n in (c, a, b, f, d, e))
    return AuxiliaryArray((), np.zeros((), np.int64), attributes)


def _geojson(gcps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return control points as ``rio.get_gcps`` of rioxarray reads them."""
    features = [
        {
            "type": "Feature",
            "properties": {key: point[key] for key in ("id", "info", "row", "col")},
            "geometry": {"type": "Point", "coordinates": [point[k] or 0.0 for k in "xyz"]},
        }
        for point in gcps
    ]
    return {"type": "FeatureCollection", "features": features}


def _plain(value: Any) -> Any:  # noqa: ANN401  # what JSON holds
    """numpy scalars and tuples, as JSON has them."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return json_number(value) if isinstance(value, (int, float, np.generic)) else value


def _ground_coordinates(
    info: ImageInfo, geo: GeoReference, crs: CRS | None
) -> dict[str, AuxiliaryArray]:
    """1-D coordinates of pixel centres; none for a rotated grid, where each needs both indices."""
    if geo.transform is None:
        return {}
    a, b, c, d, e, f = geo.transform
    if b or d:
        return {}
    height, width = info.shape[-2:]
    described = {"x": {"axis": "X"}, "y": {"axis": "Y"}}
    for axis in crs.cs_to_cf() if crs is not None else ():
        name = str(axis.get("axis", "")).lower()
        if name in described:
            described[name] |= {str(k): _plain(v) for k, v in axis.items()}
    return {
        "x": AuxiliaryArray(("x",), c + a * (np.arange(width) + 0.5), described["x"]),
        "y": AuxiliaryArray(("y",), f + e * (np.arange(height) + 0.5), described["y"]),
    }


def _patient_coordinates(info: ImageInfo, medical: MedicalGeometry) -> dict[str, AuxiliaryArray]:
    """Distances in mm from the first sample, along each axis of known spacing."""
    spacing = patient_spacing(medical)
    offset = dict(zip(("y", "x"), medical.offset_mm, strict=True))
    names = {
        "z": "distance between slices",
        "y": "distance down a column",
        "x": "distance along a row",
    }
    return {
        axis: AuxiliaryArray(
            (axis,),
            offset.get(axis, 0.0) + np.arange(size) * spacing[axis],
            {"units": "mm", "long_name": f"{names[axis]}, from the first sample"},
        )
        for axis, size in zip(info.axes, info.shape, strict=True)
        if axis in spacing
    }


def _patient_attributes(medical: MedicalGeometry) -> dict[str, Any]:
    """Geometry in the patient (DICOM PS3.3 C.7.6.2; millimetres, LPS axes)."""
    given: dict[str, Any] = {
        "pixel_spacing_mm": medical.pixel_spacing_mm,
        "slice_spacing_mm": medical.slice_spacing_mm,
        "image_orientation_patient": medical.orientation,
        "image_position_patient_mm": medical.origin_mm,
    }
    return {key: _plain(value) for key, value in given.items() if value is not None}


def _affine(info: ImageInfo, medical: MedicalGeometry) -> list[list[float]] | None:
    """Return what takes (column, row, plane, 1) to (x, y, z, 1) of the patient (LPS, mm).

    As DICOM PS3.3 C.7.6.2.1.1 has it, one list per row; None for what is no volume of parallel,
    evenly spaced planes right above each other.
    """
    spacing, turn, origin = patient_spacing(medical), medical.orientation, medical.origin_mm
    if "z" not in info.axes or not {"z", "y", "x"} <= set(spacing) or turn is None:
        return None
    if origin is None or any(name.startswith("position_") for name in info.labels):
        return None
    steps = np.diff(np.asarray(info.coordinates.get("z", ()), np.float64))
    if len(steps) and np.abs(steps - spacing["z"]).max() > _UNEVEN * spacing["z"]:
        return None
    along, down = np.asarray(turn[:3]), np.asarray(turn[3:])
    columns = (along * spacing["x"], down * spacing["y"], np.cross(along, down) * spacing["z"])
    matrix = np.vstack([np.column_stack([*columns, origin]), [0, 0, 0, 1]])
    return [[float(n) + 0.0 for n in row] for row in matrix]  # no negative zeros


def patient_spacing(medical: MedicalGeometry) -> dict[str, float]:
    """Return the distance between samples in mm by axis; only where it is known and positive."""
    spacing: dict[str, float | None] = {"z": medical.slice_spacing_mm}
    if medical.pixel_spacing_mm is not None:
        spacing["y"], spacing["x"] = medical.pixel_spacing_mm
    return _known(spacing)


def _known(spacing: Mapping[str, float | None]) -> dict[str, float]:
    return {
        axis: float(value)
        for axis, value in spacing.items()
        if value is not None and math.isfinite(value) and value > 0
    }


def _given_coordinate(axis: str, values: npt.NDArray[Any], *, medical: bool) -> AuxiliaryArray:
    """A coordinate from the source; text becomes 1 … n with the texts as the attribute ``labels``.

    Zarr v3 has no settled data type for text, nor for times: these become CF times.
    """
    if values.dtype.kind in "US":
        labels = [str(v) for v in values.astype(str)]
        return AuxiliaryArray((axis,), np.arange(1, len(labels) + 1), {"labels": labels})
    if values.dtype.kind == "M":
        since = {"units": "microseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
        return AuxiliaryArray((axis,), values.astype("M8[us]").astype(np.int64), since)
    unit = {"z": "mm", "t": "ms"}.get(axis) if medical else None
    return AuxiliaryArray((axis,), values, {} if unit is None else {"units": unit})


def _geozarr_attributes(info: ImageInfo, geo: GeoReference, *, wordy: bool) -> dict[str, Any]:
    conventions: dict[zarr_cm.ConventionName, Any] = {}
    crs = _parse_crs(geo.crs_wkt)
    if crs is not None:
        authority = crs.to_authority(min_confidence=100)
        code = ":".join(authority) if authority is not None else None
        # the text is in ``spatial_ref``, and the documents repeat all this
        text = crs.to_wkt() if wordy or code is None else None
        conventions["proj"] = zarr_cm.proj.create(code=code, wkt2=text)
    if geo.transform is not None:
        height, width = info.shape[-2:]
        conventions["spatial"] = zarr_cm.spatial.create(
            dimensions=["y", "x"],
            transform_type="affine",
            transform=[float(n) for n in geo.transform],
            shape=[height, width],
            bbox=_bounds(geo.transform, height, width),
            registration="pixel",
        )
    if not conventions:
        return {}
    attributes: dict[str, Any] = dict(zarr_cm.create_many(conventions))
    if wordy:
        return attributes
    return attributes | {"zarr_conventions": _listed(attributes)}


def _bounds(
    transform: tuple[float, float, float, float, float, float], height: int, width: int
) -> list[float]:
    """Return xmin, ymin, xmax, ymax over the four corners."""
    a, b, c, d, e, f = transform
    corners = [(col, row) for col in (0, width) for row in (0, height)]
    xs = [a * col + b * row + c for col, row in corners]
    ys = [d * col + e * row + f for col, row in corners]
    return [float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))]
