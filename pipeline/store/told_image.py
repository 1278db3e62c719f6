"""Tell what an image is from the documents that a store has of it, where they tell all of it.

What was told is put into words again (``conventions``, ``ome``) and compared with what is there:
what is not the same to the last attribute is not believed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from tilepress.codecs.numbers import number_of
from tilepress.pipeline.image.info import GeoReference, ImageInfo, Label, MedicalGeometry
from tilepress.pipeline.store.conventions import (
    AuxiliaryArray,
    auxiliary_arrays,
    group_attributes,
    image_attributes,
)
from tilepress.pipeline.store.keys import array_key
from tilepress.pipeline.store.ome import ome_attributes
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import STORE_VERSION

__all__ = ["told_image"]

_MEDICAL = {
    "pixel_spacing_mm": "pixel_spacing_mm",
    "slice_spacing_mm": "slice_spacing_mm",
    "orientation": "image_orientation_patient",
    "origin_mm": "image_position_patient_mm",
}
"""What the geometry in a patient is called in attributes."""

_DERIVED = frozenset(
    {
        *("nodata", "valid_min", "valid_max", "remarks", "affine", "tilepress"),
        *("grid_mapping", "coordinates", "zarr_conventions"),
        *_MEDICAL.values(),
    }
)
"""Attributes of the image that follow from what is told elsewhere of it."""

_CONVENTIONS = ("proj:", "spatial:")
_EPOCH = "microseconds since 1970-01-01"


def told_image(reader: StoreReader, *, wordy: bool) -> ImageInfo | None:
    """Return what an image without levels is; None where its documents do not tell all of it.

    What stands in no document is left out: how bands are coded, and which are never averaged.
    ``wordy`` : whether the documents are as the first version wrote them.
    """
    arrays = dict(_arrays(reader))
    for medical in (None, MedicalGeometry()):  # one of which nothing is known has no attribute
        with contextlib.suppress(KeyError, TypeError, ValueError):
            info = _told(reader, arrays, medical)
            if _is_the_same(reader, arrays, info, wordy=wordy):
                return info
    return None


def _told(
    reader: StoreReader, arrays: Mapping[str, AuxiliaryArray], medical: MedicalGeometry | None
) -> ImageInfo:
    told: dict[str, Any] = dict(reader.image.attrs.asdict())
    nodata = told.get("nodata")
    geometry: dict[str, Any] = {name: told[key] for name, key in _MEDICAL.items() if key in told}
    if geometry:
        for name, value in geometry.items():
            geometry[name] = tuple(value) if isinstance(value, list) else value
        medical = MedicalGeometry(**geometry)
    info = ImageInfo(
        name=reader.path.stem,
        axes=reader.axes,
        shape=reader.shape,
        dtype=reader.dtype,
        nodata=None if nodata is None else _sample(nodata, reader.dtype),
        valid_range=(told["valid_min"], told["valid_max"]) if "valid_min" in told else None,
        geo=_place(arrays["spatial_ref"].attributes, told) if "spatial_ref" in arrays else None,
        medical=medical,
        attributes=_given(told),
        has_mask=reader.has_mask,
        remarks=tuple(told.get("remarks", ())),
    )
    derived = auxiliary_arrays(info)
    axes, others = dict[str, npt.NDArray[Any]](), dict[str, Label]()
    for name, array in arrays.items():
        if name == "spatial_ref":
            continue
        if name not in info.axes:
            others[name] = Label(axes=array.dims, values=array.data, attributes=array.attributes)
        elif name not in derived or not _equal(derived[name], array):
            axes[name] = _values(array)
    return replace(info, coordinates=axes, labels=others)


def _given(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that the source gave, in their order.

    A spacing may be among them, too: then more of them follow it.
    """
    found: dict[str, Any] = {}
    for key in reversed([*told]):
        spacing = bool(found) and key in _MEDICAL.values()
        if spacing or (key not in _DERIVED and not key.startswith(_CONVENTIONS)):
            found[key] = told[key]
    return dict(reversed(found.items()))


def _sample(told: object, dtype: np.dtype[Any]) -> float | int:
    value = number_of(told)  # type: ignore[arg-type]  # JSON, compared once more at the end
    return float(value) if dtype.kind == "f" else value


def _place(reference: Mapping[str, Any], told: Mapping[str, Any]) -> GeoReference:
    """Return the place on the ground that a grid mapping says; ``told`` are the image's words."""
    wkt = reference.get("crs_wkt")
    points: tuple[Mapping[str, Any], ...] = ()
    if "gcps" in reference:
        points = tuple(map(_point, json.loads(reference["gcps"])["features"]))
    transform = None
    if "GeoTransform" in reference:
        c, a, b, f, d, e = map(float, reference["GeoTransform"].split())
        transform = (a, b, c, d, e, f)
    of_points = bool(points) and not any(key.startswith("proj:") for key in told)
    return GeoReference(
        crs_wkt=None if of_points else wkt,
        gcps_crs_wkt=wkt if of_points else None,
        transform=transform,
        gcps=points,
        rpcs=reference.get("rpcs"),
    )


def _point(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    x, y, z = feature["geometry"]["coordinates"]
    return {**feature["properties"], "x": x, "y": y, "z": z}


def _values(array: AuxiliaryArray) -> npt.NDArray[Any]:
    """Return a coordinate as its source gave it: texts and times are stored as numbers."""
    if "labels" in array.attributes:
        return np.array(array.attributes["labels"], dtype=np.str_)
    if array.attributes.get("units") == _EPOCH:
        return array.data.astype("M8[us]")
    return array.data


def _arrays(reader: StoreReader) -> Iterator[tuple[str, AuxiliaryArray]]:
    """Yield the arrays beside the image, in the order of the documents."""
    for name, node in reader.level.arrays():
        if name not in ("image", "mask"):
            assert isinstance(node, zarr.Array)
            dims = tuple(map(str, getattr(node.metadata, "dimension_names", None) or ()))
            yield name, AuxiliaryArray(dims, np.asarray(node[...]), node.attrs.asdict())


def _is_the_same(
    reader: StoreReader, arrays: Mapping[str, AuxiliaryArray], info: ImageInfo, *, wordy: bool
) -> bool:
    """Whether a store of such an image would say what this one does."""
    version = reader.statement["format_version"]
    image = reader.image.attrs.asdict()
    group = reader.level.attrs.asdict()
    for told in (image, group):
        told.pop("tilepress", None)
    again = auxiliary_arrays(info, wordy=wordy)
    if image != _as_json(image_attributes(info, wordy=wordy, affine=version >= STORE_VERSION)):
        return False
    if group and group != _as_json(group_attributes(info, wordy=wordy)):
        return False
    if arrays.keys() != again.keys() or not all(_equal(again[k], v) for k, v in arrays.items()):
        return False
    shown = {k: v for k, v in reader.root_attributes.get("ome", {}).items() if k != "omero"}
    every = version >= STORE_VERSION
    wanted = _as_json(ome_attributes(info, [array_key("image")], every=every)).get("ome", {})
    return bool(shown == wanted)


def _equal(one: AuxiliaryArray, other: AuxiliaryArray) -> bool:
    one_data, other_data = np.asarray(one.data), np.asarray(other.data)
    return (
        tuple(one.dims) == tuple(other.dims)
        and one_data.dtype == other_data.dtype
        and np.array_equal(one_data, other_data, equal_nan=one_data.dtype.kind == "f")
        and _as_json(one.attributes) == _as_json(other.attributes)
    )


def _as_json(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as a document has them."""
    found: dict[str, Any] = json.loads(json.dumps(attributes))
    return found
