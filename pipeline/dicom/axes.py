"""Arrange the planes of one DICOM series along the axes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.dicom.coordinates import (
    places_told,
    plane_labels,
    times_of,
    values_told,
)
from tilepress.pipeline.dicom.geometry import (
    are_parallel,
    depths_of,
    is_orientation,
    places_of,
    spacing_of,
)
from tilepress.pipeline.dicom.header import Instance, Plane
from tilepress.pipeline.dicom.order import volumes
from tilepress.pipeline.dicom.values import Vector
from tilepress.pipeline.image.info import Label, MedicalGeometry

__all__ = ["Arrangement", "arrange"]

NO_POSITION = "planes have no position: in order of instances"
NOTHING_TELLS = "nothing but names of files or numbers of frames tells"

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The planes of a series in the order of the image's leading axes."""

    axes: tuple[str, ...]
    """Leading axes: (), ("z",), ("t",) or ("t", "z")."""
    shape: tuple[int, ...]
    planes: tuple[Plane, ...]
    """One per place of the leading axes, in C order; ``instance`` is set."""
    geometry: MedicalGeometry
    coordinates: dict[str, _Floats] = field(default_factory=dict)
    """Positions along the normal in mm for "z", times in ms for "t", where they are known."""
    labels: dict[str, Label] = field(default_factory=dict)
    """What else tells the places of the leading axes apart."""
    remarks: tuple[str, ...] = ()
    is_new_order: bool = False
    """Whether planes lie in another order than versions gave that knew fewer labels."""


def arrange(instances: Sequence[Instance]) -> Arrangement:
    """Order all planes of ``instances``, which are of one shape.

    Planes are sorted by their position along the slice normal. Positions that all repeat equally
    often give the axes ("t", "z") where the header tells which planes are one volume (``order``);
    a single repeated position gives ("t",). Where they repeat unequally, or nothing tells volumes
    apart, or planes differ in orientation or have no position, one flat axis "z" holds all planes:
    sorted by position first where there is one, else by instance number, then file name, then
    frame.
    """
    planes = [replace(p, instance=i) for i, one in enumerate(instances) for p in one.planes]
    numbers = [one.sort_key for one in instances]

    def listed(plane: Plane) -> tuple[tuple[int, str], int]:
        return numbers[plane.instance], plane.frame

    if len(planes) == 1:
        return _arrangement(planes, (), (), turn=_shared_turn(planes))
    turn, depths, odd = _line(planes)
    if depths is None:
        axis = "z" if odd else instances[0].leading
        odd = odd or (NO_POSITION if len(instances) > 1 else "")
        return _flat(instances, sorted(planes, key=listed), axis, turn, (odd,) if odd else ())
    depth = dict(zip(map(id, planes), depths, strict=True))
    places = places_of(planes, depths)
    stacks = [sorted(place, key=lambda p: (p.order, listed(p))) for place in places]
    z: _Floats = np.array([depth[id(stack[0])] for stack in stacks])
    flat = [plane for stack in stacks for plane in stack]
    at = np.repeat(z, [len(stack) for stack in stacks])
    spacing, remarks = spacing_of(z)
    remarks = (*remarks, odd) if odd else remarks
    repeats = {len(stack) for stack in stacks}
    if len(repeats) > 1:
        remark = (
            f"{len(z)} slice positions repeat {min(repeats)} to {max(repeats)} times: one flat "
            "axis, by position, then time, acquisition, b-value, echo"
        )
        return _flat(instances, flat, "z", turn, (remark, *remarks), at)
    times = repeats.pop()
    found = [flat] if times == 1 else volumes(stacks, numbers)
    if found is None and len(stacks) > 1:
        remark = (
            f"every slice position is there {times} times, and {NOTHING_TELLS} which planes are "
            "one volume: one flat axis, by position"
        )
        return _flat(instances, flat, "z", turn, (remark, *remarks), at)
    before = [stack[t] for t in range(times) for stack in stacks]
    ordered = before if found is None else [plane for volume in found for plane in volume]
    axes, shape = _axes(times, len(z))
    coordinates: dict[str, _Floats] = {"z": z} if "z" in axes else {}
    if "t" in axes:
        coordinates |= _times(instances, times) or times_of(ordered, times)
        remarks = (*remarks, f"every slice position is there {times} times: axis t")
    if found is None and len(instances) > 1:
        remarks = (*remarks, f"{NOTHING_TELLS} in which order they are along t")
    order, order_before = (
        [(plane.instance, plane.frame) for plane in one] for one in (ordered, before)
    )
    return _arrangement(
        ordered,
        axes,
        shape,
        turn=turn,
        spacing=spacing,
        coordinates=coordinates,
        remarks=remarks,
        is_repeated=times > 1,
        is_new_order=order != order_before,
    )


def _line(planes: Sequence[Plane]) -> tuple[Vector | None, list[float] | None, str]:
    """Return the orientation of planes, their positions along the normal, and what is odd.

    No positions: planes have none, or they are not parallel.
    """
    turn = _shared_turn(planes)
    if any(p.position is None or p.orientation is None for p in planes):
        return turn, None, ""
    if not are_parallel(p.orientation or () for p in planes):
        return None, None, "planes differ in orientation: in order of instances"
    depths = depths_of(planes, turn)
    if turn is not None:
        return turn, depths, ""
    how = "in order of instances" if depths is None else "sorted along the line of their positions"
    return None, depths, f"ImageOrientationPatient is no orientation: planes are {how}"


def _shared_turn(planes: Sequence[Plane]) -> Vector | None:
    """Return the orientation of the first plane, where it is one and all others have it."""
    turns = [plane.orientation for plane in planes]
    known = [turn for turn in turns if turn is not None]
    if len(known) < len(turns) or not is_orientation(turns[0]) or not are_parallel(known):
        return None
    return turns[0]


def _axes(times: int, slices: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    named = [("t", times), ("z", slices)]
    kept = [(name, n) for name, n in named if n > 1]
    return tuple(name for name, _ in kept), tuple(n for _, n in kept)


def _flat(
    instances: Sequence[Instance],
    planes: Sequence[Plane],
    axis: str,
    turn: Vector | None,
    remarks: tuple[str, ...],
    at: _Floats | None = None,
) -> Arrangement:
    coordinates = _times(instances, len(planes)) if axis == "t" else {}
    return _arrangement(
        planes,
        (axis,),
        (len(planes),),
        turn=turn,
        coordinates=coordinates if at is None else {axis: at},
        remarks=remarks,
        is_repeated=True,
    )


def _arrangement(
    planes: Sequence[Plane],
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    *,
    turn: Vector | None,
    spacing: float | None = None,
    coordinates: dict[str, _Floats] | None = None,
    remarks: tuple[str, ...] = (),
    is_repeated: bool = False,
    is_new_order: bool = False,
) -> Arrangement:
    """Return planes in order, with what is told of each."""
    lying, about_places = places_told(planes, axes, shape, turn)
    meant, about_values = values_told(planes, axes, shape)
    labels = plane_labels(planes, axes, shape) if is_repeated else {}
    return Arrangement(
        axes=axes,
        shape=shape,
        planes=tuple(planes),
        geometry=_geometry(planes, turn, spacing),
        coordinates=coordinates or {},
        labels=labels | lying | meant,
        remarks=(*remarks, *about_places, *about_values),
        is_new_order=is_new_order,
    )


def _times(instances: Sequence[Instance], count: int) -> dict[str, _Floats]:
    step = instances[0].frame_time_ms
    times: _Floats = np.arange(count, dtype=np.float64) * (step or 0.0)
    return {} if not step or len(instances) > 1 else {"t": times}


def _geometry(
    planes: Sequence[Plane], turn: Vector | None, spacing: float | None
) -> MedicalGeometry:
    """Return what all planes have alike, and the position of the first one."""
    found = {plane.spacing for plane in planes}
    pixel = found.pop() if len(found) == 1 else None
    first = planes[0].position
    turns = [plane.orientation or () for plane in planes]
    is_one = turn is not None or are_parallel(turns)
    return MedicalGeometry(
        pixel_spacing_mm=(pixel[0], pixel[1]) if pixel else None,
        slice_spacing_mm=spacing,
        orientation=turn,
        origin_mm=(first[0], first[1], first[2]) if first and is_one else None,
    )
