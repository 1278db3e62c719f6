"""The order of coding: planes sheared so that the samples of one step lie side by side.

Sample (y, x) is coded at step ``t = x + SHEAR·y`` and held at ``position_of(t, y, pitch)`` of a
*sheared* array, (L,): the samples of one step, and each of their taps, are contiguous. Of all the
rows of a plane only a band has samples at one step, and the band moves down with the steps. So the
cells of a step begin ``pitch`` after those of the step before, however many rows there are, and
their number L grows with the samples, not with the square of the rows:

    steps     ┌ row 0
      t = 0   0 ·            pitch = 3: a plane of 4 rows and 2 columns,
          1   0 ·            margins left out
          2     0 1
          3     0 1          cell = 3·t + row, so that row 1 of step 2 is
          4       1 2        cell 7, row 1 of step 3 cell 10, row 2 of step 4
          …                  cell 14: no two share one
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import SHEAR, TIME_PAD, TOP_PAD

__all__ = [
    "active_rows",
    "empty_sheared",
    "fill_reference",
    "most_rows",
    "pad_edges",
    "pitch_of",
    "position_of",
    "shear",
    "shear_reference",
    "sheared_size",
    "steps",
    "tap",
    "unshear",
]

_LEFT, _RIGHT = 3, 3
"""Columns that are held to either side of a plane."""
PADDING = 32
"""Cells behind the last, for vectors that reach further than a step."""


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
def most_rows(height: int, width: int) -> int:
    """Rows that have a sample at one step, at most."""
    return min(height, (width + SHEAR - 1) // SHEAR)


@jit
def pitch_of(height: int, width: int) -> int:
    """How far a row's cells of neighbouring steps are apart: the rows that one step holds.

    Those from TOP_PAD above the plane to one below it whose columns, _LEFT before the first to
    _RIGHT − 1 behind the last, have that step; in either way no two samples come to share a cell.
    """
    return min(height + TOP_PAD + 1, (width + _LEFT + _RIGHT + SHEAR - 1) // SHEAR)


@jit
def sheared_size(height: int, width: int) -> int:
    """Cells of a sheared array: at most 2·(height + 12)·(width + 12)."""
    held = steps(height, width) + TIME_PAD + 4
    return held * pitch_of(height, width) + height + TOP_PAD + 2 + PADDING


@jit
def position_of(t: int, y: int, pitch: int) -> int:
    """Cell of the sample of row ``y`` at step ``t``; the rows below follow."""
    return (t + TIME_PAD) * pitch + y + TOP_PAD


@nb.njit(inline="always")
def tap(sheared: Any, at: int, pitch: int, dy: int, dx: int, n: int) -> Any:
    """The neighbours (dy, dx) of the ``n`` samples of a step from cell ``at`` on, (n,)."""
    first = at + (dx + SHEAR * dy) * pitch + dy
    return sheared[first : first + n]


@jit
def empty_sheared(height: int, width: int, fill: int) -> Any:
    return np.full(sheared_size(height, width), fill, np.int32)


@jit
def shear(plane: Any, first: int) -> Any:
    """Shear a plane, (y, x) int32, and its margins: above ``first``, left the row above."""
    height, width = plane.shape
    out, pitch = empty_sheared(height, width, first), pitch_of(height, width)
    for y in range(height):
        left = first if y == 0 else plane[y - 1, 0]
        at = position_of(SHEAR * y, y, pitch)
        for x in range(-_LEFT, 0):
            out[at + x * pitch] = left
        for x in range(width):
            out[at + x * pitch] = plane[y, x]
        for x in range(width, width + _RIGHT):
            out[at + x * pitch] = plane[y, width - 1]
    return out


@jit
def fill_reference(plane: Any, out: Any) -> None:
    """``shear_reference`` into an array, (L,) int32, that is there already."""
    height, width = plane.shape
    pitch = pitch_of(height, width)
    for y in range(-1, height + 1):
        row = min(max(y, 0), height - 1)
        at = position_of(SHEAR * y, y, pitch)
        for x in range(-1, width + 1):
            out[at + x * pitch] = plane[row, min(max(x, 0), width - 1)]


@jit
def shear_reference(plane: Any) -> Any:
    """Shear an earlier plane, (y, x) int32, its border repeated by one sample on every side."""
    out = empty_sheared(plane.shape[0], plane.shape[1], 0)
    fill_reference(plane, out)
    return out


@jit
def unshear(sheared: Any, height: int, width: int) -> Any:
    """Return the plane, (y, x) int32, of a sheared one."""
    out, pitch = np.empty((height, width), np.int32), pitch_of(height, width)
    for y in range(height):
        at = position_of(SHEAR * y, y, pitch)
        for x in range(width):
            out[y, x] = sheared[at + x * pitch]
    return out


@jit
def pad_edges(sheared: Any, t: int, y0: int, n: int, height: int, width: int) -> None:
    """After step ``t``: repeat a row's last sample to its right, its first below left."""
    if n == 0:
        return
    pitch = pitch_of(height, width)
    if t - SHEAR * y0 == width - 1:
        at = position_of(t, y0, pitch)
        for k in range(1, _RIGHT + 1):
            sheared[at + k * pitch] = sheared[at]
    y = y0 + n - 1
    if t - SHEAR * y == 0 and y + 1 < height:
        at = position_of(t, y, pitch)
        below = position_of(t + SHEAR, y + 1, pitch)
        for k in range(1, _LEFT + 1):
            sheared[below - k * pitch] = sheared[at]
