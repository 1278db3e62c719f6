"""Say along the leading axes of an image what its planes differ in: time, echo, place, rescale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.dicom.geometry import shift_of
from tilepress.pipeline.dicom.labels import told_word
from tilepress.pipeline.dicom.order import IDENTITY, label
from tilepress.pipeline.dicom.planes import Plane
from tilepress.pipeline.dicom.values import Vector
from tilepress.pipeline.image.info import Label

__all__ = ["places_told", "plane_labels", "times_of", "values_told"]

SAME_TILT = 0.01
"""First samples that move by less than this share of a pixel beside the normal lie on it."""
SAME_TILT_MM = 1e-3

_Floats = npt.NDArray[np.float64]
_NUMBERS: Mapping[str, Mapping[str, str]] = {
    "segment": {"long_name": "ReferencedSegmentNumber"},
    "echo_time": {"units": "ms"},
    "echo_number": {},
    "inversion_time": {"units": "ms"},
    "flip_angle": {"units": "degree"},
    "kvp": {"units": "kV"},
    "b_value": {"units": "s/mm2", "long_name": "DiffusionBValue"},
    "temporal_position": {},
    "frame_acquisition_number": {},
    "acquisition_number": {},
    "trigger_time": {"units": "ms"},
    "reference_time": {"units": "ms"},
}
"""What labels of planes at one position are told as, and how."""
_CLOCKS = ("acquisition_time", "content_time")
"""Labels that are dates: of one of them the differences to the first are told."""


def plane_labels(
    planes: Sequence[Plane], axes: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, Label]:
    """Return what tells planes at one position apart, as far as they differ in it.

    ``planes`` are in C order of ``axes``, whose sizes are ``shape``. What a plane does not tell is
    NaN.
    """

    def told(values: Sequence[float | None], **attributes: str) -> Label:
        return _label(values, axes, shape, attributes)

    found: dict[str, Label] = {}
    for name, attributes in _NUMBERS.items():
        values = [plane.labels.get(name) for plane in planes]
        if len(set(values)) > 1:
            found[name] = told(values, **attributes)
    for name in _CLOCKS:
        moments = [plane.labels.get(name) for plane in planes]
        if len(set(moments)) > 1 and not any(clock in found for clock in _CLOCKS):
            first = min(moment for moment in moments if moment is not None)
            since = [None if moment is None else moment - first for moment in moments]
            found[name] = told(since, units="ms", long_name="since the first one")
    directions = [plane.labels.get("gradient") for plane in planes]
    if len(set(directions)) > 1:
        for at, axis in enumerate("xyz"):
            values = [None if one is None else one[at] for one in directions]
            text = f"DiffusionGradientOrientation, {axis} of the patient"
            found[f"gradient_{axis}"] = told(values, long_name=text)
    types = [str(plane.labels.get("frame_type", "")) for plane in planes]
    if len(set(types)) > 1:
        found["frame_type"] = _flags(_told_types(types), axes, shape)
    return found


def times_of(planes: Sequence[Plane], times: int) -> dict[str, _Floats]:
    """Return the coordinate of axis t in ms, where volumes begin one after another; else nothing.

    Trigger and reference times are told as they are, dates from the first one on.
    """
    names = ["trigger_time", "reference_time", "acquisition_time"]
    if not any(len({label(name)(plane) for plane in planes}) > 1 for name in IDENTITY):
        names.append("content_time")
    for name in names:
        values = [plane.labels.get(name) for plane in planes]
        if None in values:
            continue
        begins = np.array(values, np.float64).reshape(times, -1).min(axis=1)
        if (np.diff(begins) > 0).all():
            return {"t": begins - begins[0] if name in _CLOCKS else begins}
    return {}


def places_told(
    planes: Sequence[Plane],
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    turn: Vector | None,
) -> tuple[dict[str, Label], tuple[str, ...]]:
    """Return position, orientation and pixel spacing of planes where one of all would be wrong.

    ``turn`` is the orientation that all share; None where they share none.
    """
    if not axes:
        return {}, ()
    found: dict[str, Label] = {}
    remarks = []

    def tell(name: str, values: Sequence[float | None], text: str, unit: str = "mm") -> None:
        units = {"units": unit} if unit else {}
        found[name] = _label(values, axes, shape, units | {"long_name": text})

    placed = [plane.position for plane in planes]
    shift = 0.0 if turn is None or None in placed else shift_of(planes, turn)
    is_sheared = shift > max(SAME_TILT_MM, SAME_TILT * min(planes[0].spacing or (0.0,)))
    if is_sheared:
        remarks.append(
            f"planes lie beside the normal by up to {shift:.4g} mm (gantry tilt?): the volume is "
            "sheared, position_x … position_z have the position of each"
        )
    differ = turn is None and any(placed) and len(set(placed)) > 1
    if is_sheared or differ:
        for at, axis in enumerate("xyz"):
            values = [None if one is None else one[at] for one in placed]
            tell(f"position_{axis}", values, f"ImagePositionPatient, {axis}")
    turns = [plane.orientation for plane in planes]
    if turn is None and len(set(turns)) > 1:
        for at in range(6):
            name = f"{'row' if at < 3 else 'column'}_{'xyz'[at % 3]}"
            values = [None if one is None else one[at] for one in turns]
            tell(name, values, f"ImageOrientationPatient, number {at + 1}", unit="")
    spacings = [plane.spacing for plane in planes]
    if len(set(spacings)) > 1:
        remarks.append(
            "planes differ in pixel spacing: pixel_spacing_y and pixel_spacing_x have that of each"
        )
        for at, axis in enumerate("yx"):
            values = [None if one is None else one[at] for one in spacings]
            tell(f"pixel_spacing_{axis}", values, f"PixelSpacing along {axis}")
    thicknesses = [plane.thickness for plane in planes]
    if len(set(thicknesses)) > 1:
        tell("slice_thickness", thicknesses, "SliceThickness")
    return found, tuple(remarks)


def values_told(
    planes: Sequence[Plane], axes: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[dict[str, Label], tuple[str, ...]]:
    """Return slope and intercept of planes where they differ, and remarks on missing ones."""
    given = [plane.rescale for plane in planes]
    unread = sum(plane.unread_rescale for plane in planes)
    remarks = []
    several = f" of {len(planes)} planes" if len(planes) > 1 else ""
    if unread:
        count = f" of {unread}{several}" if several else ""
        remarks.append(f"rescale slope or intercept{count} cannot be read: none is told there")
    missing = given.count(None) - unread
    if missing and any(given):
        remarks.append(f"rescale slope and intercept of {missing}{several} are not in the file")
    found: dict[str, Label] = {}
    if axes and any(given) and len(set(given)) > 1:
        for at, name in enumerate(("rescale_slope", "rescale_intercept")):
            values = [None if one is None else one[at] for one in given]
            if len(set(values)) > 1:
                found[name] = _label(values, axes, shape, {})
    return found, tuple(remarks)


def _label(
    values: Sequence[float | None],
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    attributes: Mapping[str, str],
) -> Label:
    array = np.array([np.nan if one is None else one for one in values], np.float64)
    kept, data = _along(array.reshape(shape), axes)
    return Label(axes=kept, values=data, attributes=attributes)


def _flags(texts: Sequence[str], axes: tuple[str, ...], shape: tuple[int, ...]) -> Label:
    """Return texts as numbers from 0 on, with their meanings as CF has them."""
    meanings = sorted(set(texts))
    array = np.array([meanings.index(text) for text in texts], np.int32)
    kept, data = _along(array.reshape(shape), axes)
    flags = {"flag_values": list(range(len(meanings))), "flag_meanings": " ".join(meanings)}
    return Label(axes=kept, values=data, attributes=flags)


def _along(
    array: npt.NDArray[Any], axes: tuple[str, ...]
) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """Leave out axes along which nothing changes."""
    kept = list(axes)
    for axis in axes:
        at = kept.index(axis)
        first = np.take(array, [0], axis=at)
        equal = (array == first) | ((array != array) & (first != first))
        if len(kept) > 1 and equal.all():
            array = np.take(array, 0, axis=at)
            kept.remove(axis)
    return tuple(kept), np.ascontiguousarray(array)


def _told_types(types: Sequence[str]) -> list[str]:
    """Return the words of each frame type that not all have, unlisted ones as "OTHER"."""
    words = {text: text.split("/") if text else [] for text in types}
    common = set.intersection(*map(set, words.values()))
    names: dict[str, str] = {}
    for text, parts in words.items():
        kept = dict.fromkeys(told_word(part) for part in parts if part not in common)
        name = "_".join(kept) or "NONE"
        again = sum(other.partition("#")[0] == name for other in names.values())
        names[text] = f"{name}#{again + 1}" if again else name
    return [names[text] for text in types]
