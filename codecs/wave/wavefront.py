"""The order of coding: planes sheared so that the samples of one step lie side by side.

Sample (y, x) is coded at step ``t = x + SHEAR·y`` and held at ``[t + TIME_PAD, y + TOP_PAD]`` of a
*sheared* array, (T, Y): the samples of one step, and each of their taps, are contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import SHEAR, TIME_PAD, TOP_PAD

__all__ = [
    "active_rows",
    "empty_sheared",
    "pad_edges",
    "shear",
    "shear_reference",
    "steps",
    "unshear",
]


@jit
def steps(height: int, width: int) -> int:
    """Steps of the wavefront over a plane."""
    return width + SHEAR * (height - 1)


@jit
def active_rows(t: int, height: int, width: int) -> tuple[int, int]:
    """First and one past the last row that has a sample at step ``t``."""
    first = max(0, (t - width + SHEAR) // SHEAR)
    return first, min(height, t // SHEAR + 1)


@jit
def empty_sheared(height: int, width: int, fill: int) -> Any:
    return np.full((steps(height, width) + TIME_PAD + 4, height + TOP_PAD + 2), fill, np.int32)


@jit
def shear(plane: Any, first: int) -> Any:
    """Shear a plane, (y, x) int32, and its margins: above ``first``, left the row above."""
    height, width = plane.shape
    out = empty_sheared(height, width, first)
    for y in range(height):
        left = first if y == 0 else plane[y - 1, 0]
        t0 = SHEAR * y + TIME_PAD
        for x in range(-3, 0):
            out[t0 + x, y + TOP_PAD] = left
        for x in range(width):
            out[t0 + x, y + TOP_PAD] = plane[y, x]
        for x in range(width, width + 3):
            out[t0 + x, y + TOP_PAD] = plane[y, width - 1]
    return out


@jit
def shear_reference(plane: Any) -> Any:
    """Shear an earlier plane, (y, x) int32, its border repeated by one sample on every side."""
    height, width = plane.shape
    out = np.zeros((steps(height, width) + TIME_PAD + 4, height + TOP_PAD + 2), np.int32)
    for y in range(-1, height + 1):
        row = min(max(y, 0), height - 1)
        t0 = SHEAR * y + TIME_PAD
        for x in range(-1, width + 1):
            out[t0 + x, y + TOP_PAD] = plane[row, min(max(x, 0), width - 1)]
    return out


@jit
def unshear(sheared: Any, height: int, width: int) -> Any:
    """Return the plane, (y, x) int32, of a sheared one."""
    out = np.empty((height, width), np.int32)
    for y in range(height):
        t0 = SHEAR * y + TIME_PAD
        for x in range(width):
            out[y, x] = sheared[t0 + x, y + TOP_PAD]
    return out


@jit
def pad_edges(sheared: Any, t: int, y0: int, n: int, height: int, width: int) -> None:
    """After step ``t``: repeat a row's last sample to its right, its first below left."""
    if n == 0:
        return
    y = y0
    x = t - SHEAR * y
    if x == width - 1:
        value = sheared[t + TIME_PAD, y + TOP_PAD]
        for k in range(1, 4):
            sheared[t + TIME_PAD + k, y + TOP_PAD] = value
    y = y0 + n - 1
    if t - SHEAR * y == 0 and y + 1 < height:
        value = sheared[t + TIME_PAD, y + TOP_PAD]
        for k in range(1, 4):
            sheared[t + TIME_PAD + SHEAR - k, y + 1 + TOP_PAD] = value
