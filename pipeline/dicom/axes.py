"""Arrange the planes of one DICOM series along the axes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.dicom.header import Instance, Plane
from tilepress.pipeline.image.info import MedicalGeometry

__all__ = ["Arrangement", "arrange"]

SAME_POSITION_MM = 1e-3
"""Planes closer than this along the normal lie at one position."""
SAME_COSINE = 1e-3
"""Direction cosines that differ by less are the same orientation."""
GAP_FACTOR = 1.5
"""A step between slices above this many usual steps is reported as a gap."""
MAX_GAPS_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The planes of a series in the order of the image's leading axes."""

    axes: tuple[str, ...]
    """Leading axes: (), ("z",), ("t",) or ("t", "z")."""
    shape: tuple[int, ...]
    planes: tuple[Plane, ...]
    """One per place of the leading axes, in C order; ``instance`` is set."""
    geometry: MedicalGeometry
    coordinates: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Positions along the normal in mm for "z", times in ms for "t", where they are known."""
    remarks: tuple[str, ...] = ()


def arrange(instances: Sequence[Instance]) -> Arrangement:
    """Order all planes of ``instances``, which are of one shape.

    Planes are sorted by their position along the slice normal. Positions that all repeat equally
    often (time points, echoes, diffusion weightings) give the axes ("t", "z"), t sorted by
    temporal position, acquisition, b-value, echo, trigger time, segment and instance number; a
    single repeated position gives ("t",). Where they repeat unequally, or planes differ in
    orientation or have no position, one flat axis "z" holds all planes: sorted by position first
    where there is one, else by instance number, then file name, then frame.
    """
    planes = [replace(p, instance=i) for i, one in enumerate(instances) for p in one.planes]
    numbers = [one.sort_key for one in instances]

    def listed(plane: Plane) -> tuple[tuple[int, str], int]:
        return numbers[plane.instance], plane.frame

    if len(planes) == 1:
        return Arrangement(
            axes=(), shape=(), planes=tuple(planes), geometry=_geometry(instances, planes, None)
        )
    if any(p.position is None or p.orientation is None for p in planes):
        remark = () if len(instances) == 1 else ("planes have no position: in order of instances",)
        return _flat(instances, sorted(planes, key=listed), instances[0].leading, remark)
    if not _parallel(planes):
        remark = ("planes differ in orientation: in order of instances",)
        return _flat(instances, sorted(planes, key=listed), "z", remark, placed=False)

    depth = dict(zip(map(id, planes), _depths(planes), strict=True))
    places = _clusters(sorted(planes, key=lambda p: depth[id(p)]), depth)
    stacks = [sorted(place, key=lambda p: (p.order, listed(p))) for place in places]
    means = [np.mean([depth[id(p)] for p in place]) for place in places]
    z: npt.NDArray[np.float64] = np.array(means, np.float64)
    repeats = {len(stack) for stack in stacks}
    if len(repeats) > 1:
        remark = (
            f"{len(z)} slice positions repeat {min(repeats)} to {max(repeats)} times: one flat "
            "axis, by position, then time, acquisition, b-value, echo",
        )
        flat = [p for stack in stacks for p in stack]
        return _flat(instances, flat, "z", (*remark, *_spacing(z)[1]))
    times = repeats.pop()
    spacing, remarks = _spacing(z)
    ordered = [stack[t] for t in range(times) for stack in stacks]
    axes, shape = _axes(times, len(z))
    coordinates: dict[str, npt.NDArray[np.float64]] = {"z": z} if "z" in axes else {}
    coordinates |= _times(instances, times) if "t" in axes else {}
    if times > 1:
        remarks = (*remarks, f"every slice position is there {times} times: axis t")
    return Arrangement(
        axes=axes,
        shape=shape,
        planes=tuple(ordered),
        geometry=_geometry(instances, ordered, spacing),
        coordinates=coordinates,
        remarks=remarks,
    )


def _axes(times: int, slices: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    named = [("t", times), ("z", slices)]
    kept = [(name, n) for name, n in named if n > 1]
    return tuple(name for name, _ in kept), tuple(n for _, n in kept)


def _flat(
    instances: Sequence[Instance],
    planes: Sequence[Plane],
    axis: str,
    remarks: tuple[str, ...],
    *,
    placed: bool = True,
) -> Arrangement:
    return Arrangement(
        axes=(axis,),
        shape=(len(planes),),
        planes=tuple(planes),
        geometry=_geometry(instances, planes if placed else (), None),
        coordinates=_times(instances, len(planes)) if axis == "t" else {},
        remarks=remarks,
    )


def _parallel(planes: Sequence[Plane]) -> bool:
    turns = np.array([p.orientation for p in planes])
    return bool(np.abs(turns - turns[0]).max() < SAME_COSINE)


def _depths(planes: Sequence[Plane]) -> list[float]:
    """Return positions along the slice normal in mm."""
    turn = np.array(planes[0].orientation)
    normal = np.cross(turn[:3], turn[3:])
    return [float(d) for d in np.array([p.position for p in planes]) @ normal]


def _clusters(planes: Sequence[Plane], depth: dict[int, float]) -> list[list[Plane]]:
    """Return runs of sorted planes that lie at one position."""
    steps = np.diff([depth[id(p)] for p in planes]) > SAME_POSITION_MM
    labels = np.concatenate([[0], np.cumsum(steps)])
    pairs = groupby(zip(labels, planes, strict=True), key=lambda pair: int(pair[0]))
    return [[plane for _, plane in run] for _, run in pairs]


def _spacing(z: npt.NDArray[np.float64]) -> tuple[float | None, tuple[str, ...]]:
    """Return the usual distance between slices in mm, and what is odd about the others."""
    if len(z) < 2:
        return None, ()
    steps = np.diff(z)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > GAP_FACTOR * usual)
    told = ", ".join(f"{steps[i]:.4g} mm after slice {i}" for i in gaps[:MAX_GAPS_TOLD])
    more = f" and {len(gaps) - MAX_GAPS_TOLD} more" if len(gaps) > MAX_GAPS_TOLD else ""
    if len(gaps):
        return usual, (f"gaps between slices (usual step {usual:.4g} mm): {told}{more}",)
    if steps.max() - steps.min() > max(SAME_POSITION_MM, 0.01 * usual):
        return usual, (
            f"the step between slices varies from {steps.min():.4g} to {steps.max():.4g} mm",
        )
    return usual, ()


def _times(instances: Sequence[Instance], count: int) -> dict[str, npt.NDArray[np.float64]]:
    step = instances[0].frame_time_ms
    times: npt.NDArray[np.float64] = np.arange(count, dtype=np.float64) * (step or 0.0)
    return {} if not step or len(instances) > 1 else {"t": times}


def _geometry(
    instances: Sequence[Instance], planes: Sequence[Plane], spacing: float | None
) -> MedicalGeometry:
    found = instances[0].attributes.get("pixel_spacing_mm")
    first = planes[0] if planes else None
    position = first.position if first else None
    return MedicalGeometry(
        pixel_spacing_mm=(found[0], found[1]) if found else None,
        slice_spacing_mm=spacing,
        orientation=first.orientation if first else None,
        origin_mm=(position[0], position[1], position[2]) if position else None,
    )
