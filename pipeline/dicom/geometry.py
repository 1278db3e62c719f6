"""Tell where the planes of a series lie: positions along a line, and the steps between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.dicom.planes import Plane
from tilepress.pipeline.dicom.values import Vector

__all__ = [
    "are_parallel",
    "depths_of",
    "is_orientation",
    "places_of",
    "shift_of",
    "spacing_of",
]

SAME_POSITION_MM = 1e-3
"""Planes closer than this along the normal lie at one position, where slices are no thinner."""
THIN_MM = 0.1
"""Slices thinner than this lie at one position only where they are nearer than their share."""
SAME_SHARE = 0.01
"""Planes closer than this share of the step between slices lie at one position."""
SAME_COSINE = 1e-3
"""Direction cosines that differ by less are the same orientation."""
GAP_FACTOR = 1.5
"""A step between slices above this many usual steps is reported as a gap."""
MAX_GAPS_TOLD = 5

_Floats = npt.NDArray[np.float64]


def is_orientation(turn: Vector | None) -> bool:
    """Whether six numbers are two directions at a right angle, within a hundredth."""
    if turn is None:
        return False
    row, column = np.array(turn[:3]), np.array(turn[3:])
    lengths = np.array([row @ row, column @ column])
    return bool(np.abs(lengths - 1).max() < 0.05 and abs(row @ column) < 0.05)


def are_parallel(turns: Iterable[Vector]) -> bool:
    """Whether orientations are the same; () is that of a plane which has none."""
    every = list(turns)
    if len({len(turn) for turn in every}) > 1:
        return False
    first = np.array(every[0])
    return all(np.abs(np.array(turn) - first).max(initial=0) < SAME_COSINE for turn in set(every))


def depths_of(planes: Sequence[Plane], turn: Vector | None) -> list[float] | None:
    """Return positions in mm along the normal of ``turn``; None where there is no line of them.

    Without an orientation, planes whose positions lie on one line are ordered along it, the way in
    which its longest component grows.
    """
    positions = np.array([p.position for p in planes], np.float64)
    if turn is not None:
        normal = np.cross(turn[:3], turn[3:])
        return [float(d) for d in positions @ normal]
    moved = positions - positions[0]
    far = moved[np.argmax((moved**2).sum(axis=1))]
    length = float(np.sqrt(far @ far))
    if not length:
        return None
    line = far / length
    line *= np.sign(line[np.argmax(np.abs(line))])
    beside = moved - np.outer(moved @ line, line)
    if np.abs(beside).max() > SAME_SHARE * length:
        return None
    return [float(d) for d in positions @ line]


def places_of(planes: Sequence[Plane], depths: Sequence[float]) -> list[list[Plane]]:
    """Return the planes at each position, in order of position.

    Where slices are repeated equally often, positions that differ by at most 1 % of the step
    between slices are one. Else those are that differ by less than 1 % of what the header says of
    slices, or by less than 1 µm.
    """
    order = np.argsort(depths, kind="stable")
    sorted_depths = np.asarray(depths, np.float64)[order]
    declared = [value for p in planes for value in (p.between, p.thickness) if value]
    step = min(map(abs, declared), default=0.0)
    repeats = _repeats(sorted_depths, step)
    if repeats:
        labels = np.arange(len(planes)) // repeats
    else:
        apart = np.diff(sorted_depths) > _nearness(sorted_depths, step)
        labels = np.concatenate([[0], np.cumsum(apart)])
    pairs = zip(labels, order, strict=True)
    runs = groupby(pairs, key=lambda pair: int(pair[0]))
    return [[planes[int(at)] for _, at in run] for _, run in runs]


def _repeats(depths: _Floats, step: float) -> int:
    """Return how often every position is there, by runs of near ones; 0 where that is not so."""
    count, most = len(depths), SAME_SHARE * float(depths[-1] - depths[0])
    for repeats in range(2, count // 2 + 1):
        if float(depths[repeats - 1] - depths[0]) > most:
            return 0
        if count % repeats:
            continue
        runs = depths.reshape(-1, repeats)
        steps = np.diff(runs.mean(axis=1))
        usual = float(np.median(steps))
        near = SAME_SHARE * min(usual, step or usual)
        if (runs[:, -1] - runs[:, 0]).max() <= near < steps.min():
            return repeats
    return 0


def _nearness(depths: _Floats, step: float) -> float:
    """Return how near positions are that are one, in mm.

    ``step`` is 0 where it is not known. It may be the thickness of slabs that overlap: then the
    distance of planes bounds it.
    """
    if step < THIN_MM:
        return SAME_SHARE * step or SAME_POSITION_MM
    mean = float(depths[-1] - depths[0]) / max(1, len(depths) - 1)
    return max(SAME_POSITION_MM, min(SAME_SHARE * step, 0.1 * mean))


def spacing_of(z: _Floats) -> tuple[float | None, tuple[str, ...]]:
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
    if steps.max() - steps.min() > max(SAME_POSITION_MM, SAME_SHARE * usual):
        return usual, (
            f"the step between slices varies from {steps.min():.4g} to {steps.max():.4g} mm",
        )
    return usual, ()


def shift_of(planes: Sequence[Plane], turn: Vector) -> float:
    """Return how far the first samples of planes move beside the normal, in mm."""
    positions = np.array([p.position for p in planes], np.float64)
    normal = np.cross(turn[:3], turn[3:])
    moved = positions - positions[0]
    beside = moved - np.outer(moved @ normal, normal)
    return float(np.sqrt((beside**2).sum(axis=1)).max())
