"""Give absent samples values that cost little: means of what lies around, from coarse to fine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fill_absent"]

Floats = npt.NDArray[np.float32]


def fill_absent(plane: Floats, absent: npt.NDArray[np.bool_]) -> Floats:
    """Return a plane, (y, x), whose absent samples are filled; some sample must be present."""
    weights = (~absent).astype(np.float32)
    sums = np.where(absent, np.float32(0), plane)
    levels: list[tuple[Floats, Floats]] = [(sums.astype(np.float32), weights)]
    while not levels[-1][1].all():
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    filled = levels[-1][0] / levels[-1][1]
    for sums, weights in reversed(levels[:-1]):
        height, width = sums.shape
        coarse = filled.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]
        filled = np.where(weights > 0, sums / np.maximum(weights, 1), coarse)
    return filled.astype(np.float32, copy=False)


def _halved(plane: Floats) -> Floats:
    """Return sums of 2 × 2."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)))
    rows = even[0::2] + even[1::2]
    halved: Floats = rows[:, 0::2] + rows[:, 1::2]
    return halved
