"""Read of each frame where it lies, what tells it from others, and what its values mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from tilepress.pipeline.dicom.labels import Labels, labels_of
from tilepress.pipeline.dicom.values import (
    Vector,
    code,
    first_item,
    integer_or,
    is_present,
    number,
    numbers,
)

__all__ = ["Plane", "planes_of"]

SAME_OFFSET_MM = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One frame of one instance: where it lies and how its values are meant."""

    instance: int
    """Index of the instance in the series; -1 while that is not known."""
    frame: int
    position: Vector | None
    """ImagePositionPatient in mm."""
    orientation: Vector | None
    """ImageOrientationPatient: six direction cosines."""
    order: tuple[float, ...]
    """By what planes at one position are sorted first: time, acquisition, b-value, echo, trigger,
    segment, instance number. Missing numbers are 0."""
    rescale: tuple[float, float] | None
    """(slope, intercept); None where there is none or it cannot be read."""
    window: tuple[Vector, Vector] | None
    """(centres, widths)."""
    labels: Labels = field(default_factory=dict)
    """What tells it from others at its position, and when it was taken; see ``labels``."""
    spacing: Vector | None = None
    """PixelSpacing in mm: (along y, along x)."""
    thickness: float | None = None
    """SliceThickness in mm."""
    between: float | None = None
    """SpacingBetweenSlices in mm."""
    unread_rescale: bool = False
    """Whether slope or intercept are there and cannot be read."""


def planes_of(dataset: Dataset, frames: int) -> tuple[tuple[Plane, ...], bool]:
    """Return one plane per frame, and whether the frames are tiles of a slide."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    tiled = "TotalPixelMatrixRows" in dataset or (
        code(dataset, "DimensionOrganizationType") in ("TILED_FULL", "TILED_SPARSE")
    )
    common = _order(dataset, dataset)
    labels = labels_of(Dataset(), shared, dataset)
    position = numbers(dataset, "ImagePositionPatient", 3)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    offsets = numbers(dataset, "GridFrameOffsetVector", frames)
    planes = []
    for frame in range(frames):
        group = groups[frame] if frame < len(groups) else Dataset()
        both = (group, shared)
        place = _vector(both, "PlanePositionSequence", "ImagePositionPatient", 3)
        turn = (
            _vector(both, "PlaneOrientationSequence", "ImageOrientationPatient", 6) or orientation
        )
        if place is None and position is not None:
            place = _at_offset(position, turn, offsets, frame, frames)
        rescale, unread = _rescale(both, dataset)
        planes.append(
            Plane(
                instance=-1,
                frame=frame,
                position=None if tiled else place,
                orientation=turn,
                order=_order(group, dataset) if groups else common,
                rescale=rescale,
                window=_window(both, dataset),
                labels=labels_of(group, shared, dataset) if groups else labels,
                spacing=_measure(both, dataset, "PixelSpacing", 2),
                thickness=_one(_measure(both, dataset, "SliceThickness")),
                between=_one(_measure(both, dataset, "SpacingBetweenSlices")),
                unread_rescale=unread,
            )
        )
    return tuple(planes), tiled and frames > 1


def _at_offset(
    position: Vector, turn: Vector | None, offsets: Vector | None, frame: int, frames: int
) -> Vector | None:
    """Return a frame's position from GridFrameOffsetVector (RT Dose, PS3.3 C.8.8.3.2).

    Its first number is 0 where it counts from ImagePositionPatient (form a), else all are z
    coordinates of the patient (form b).
    """
    if frames == 1:
        return position
    if offsets is None or turn is None:
        return None
    if offsets[0] and abs(offsets[0] - position[2]) < SAME_OFFSET_MM:
        return (position[0], position[1], offsets[frame])
    normal = np.cross(turn[:3], turn[3:])
    along = offsets[frame] - offsets[0]
    return tuple(float(p + along * n) for p, n in zip(position, normal, strict=True))


def _order(group: Dataset, dataset: Dataset) -> tuple[float, ...]:
    content = first_item(group, "FrameContentSequence")
    diffusion = first_item(group, "MRDiffusionSequence")
    echo = first_item(group, "MREchoSequence")
    cardiac = first_item(group, "CardiacSynchronizationSequence")
    segment = first_item(group, "SegmentIdentificationSequence")
    found = (
        number(content, "TemporalPositionIndex") or number(dataset, "TemporalPositionIdentifier"),
        number(dataset, "AcquisitionNumber"),
        number(diffusion, "DiffusionBValue") or number(dataset, "DiffusionBValue"),
        number(echo, "EffectiveEchoTime") or number(dataset, "EchoNumbers"),
        number(cardiac, "NominalCardiacTriggerDelayTime") or number(dataset, "TriggerTime"),
        number(segment, "ReferencedSegmentNumber"),
        float(integer_or(dataset, "InstanceNumber", 0)),
    )
    return tuple(v or 0.0 for v in found)


def _rescale(
    groups: Iterable[Dataset], dataset: Dataset
) -> tuple[tuple[float, float] | None, bool]:
    """Return (slope, intercept), None where they are not given, and whether one is no number."""
    for holder in [*(first_item(g, "PixelValueTransformationSequence") for g in groups), dataset]:
        slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
        given = is_present(holder, "RescaleSlope"), is_present(holder, "RescaleIntercept")
        if (given[0] and slope is None) or (given[1] and intercept is None):
            return None, True
        if slope is not None or intercept is not None:
            return ((1.0 if slope is None else slope), intercept or 0.0), False
    return None, False


def _window(groups: Iterable[Dataset], dataset: Dataset) -> tuple[Vector, Vector] | None:
    for holder in [*(first_item(g, "FrameVOILUTSequence") for g in groups), dataset]:
        centre, width = numbers(holder, "WindowCenter"), numbers(holder, "WindowWidth")
        if centre and width and len(centre) == len(width):
            return centre, width
    return None


def _vector(
    groups: Iterable[Dataset], sequence: str, keyword: str, count: int | None
) -> Vector | None:
    for group in groups:
        found = numbers(first_item(group, sequence), keyword, count)
        if found is not None:
            return found
    return None


def _measure(
    groups: Iterable[Dataset], dataset: Dataset, keyword: str, count: int | None = None
) -> Vector | None:
    """Return a measure of the frame, of all frames, or of the whole instance."""
    found = _vector(groups, "PixelMeasuresSequence", keyword, count)
    return found or numbers(dataset, keyword, count)


def _one(found: Vector | None) -> float | None:
    return (found[0] or None) if found else None
