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

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.codecs.wave.layout import LEFT, RIGHT, SHEAR, TIME_PAD, TOP_PAD

__all__ = [
    "active_rows",
    "fill_reference",
    "most_rows",
    "pitch_of",
    "position_of",
    "shear",
    "shear_reference",
    "sheared_size",
    "steps",
    "unshear",
]

_PADDING = 32
"""Cells behind the last, for vectors that reach further than a step."""


def steps(height: int, width: int) -> int:
    """Steps of the wavefront over a plane."""
    return width + SHEAR * (height - 1)


def active_rows(t: int, height: int, width: int) -> tuple[int, int]:
    """First and one past the last row that has a sample at step ``t``."""
    first = max(0, (t - width + SHEAR) // SHEAR)
    return first, min(height, t // SHEAR + 1)


def most_rows(height: int, width: int) -> int:
    """Rows that have a sample at one step, at most."""
    return min(height, (width + SHEAR - 1) // SHEAR)


def pitch_of(height: int, width: int) -> int:
    """How far a row's cells of neighbouring steps are apart: the rows that one step holds.

    Those from TOP_PAD above the plane to one below it whose columns, LEFT before the first to
    RIGHT − 1 behind the last, have that step; in either way no two samples come to share a cell.
    """
    return min(height + TOP_PAD + 1, (width + LEFT + RIGHT + SHEAR - 1) // SHEAR)


def sheared_size(height: int, width: int) -> int:
    """Cells of a sheared array: at most 2·(height + 14)·(width + 14)."""
    held = steps(height, width) + TIME_PAD + 4
    return held * pitch_of(height, width) + height + TOP_PAD + 2 + _PADDING


def position_of(t: int, y: int, pitch: int) -> int:
    """Cell of the sample of row ``y`` at step ``t``; the rows below follow."""
    return (t + TIME_PAD) * pitch + y + TOP_PAD


_shear = bind("tp_shear", "innwi")
_fill_reference = bind("tp_fill_reference", "inni")
_unshear = bind("tp_unshear", "inni")


def shear(plane: npt.NDArray[np.int32], first: int) -> npt.NDArray[np.int32]:
    """Shear a plane, (y, x), and its margins: above ``first``, left the row above."""
    out = np.full(sheared_size(*plane.shape), first, np.int32)
    _shear(np.ascontiguousarray(plane), *plane.shape, first, out)
    return out


def fill_reference(plane: npt.NDArray[np.int32], out: npt.NDArray[np.int32]) -> None:
    """``shear_reference`` into an array, (L,), that is there already."""
    _fill_reference(np.ascontiguousarray(plane), *plane.shape, out)


def shear_reference(plane: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Shear an earlier plane, (y, x), its border repeated by one sample on every side."""
    out = np.zeros(sheared_size(*plane.shape), np.int32)
    fill_reference(plane, out)
    return out


def unshear(sheared: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the plane, (y, x), of a sheared one."""
    out = np.empty((height, width), np.int32)
    _unshear(sheared, height, width, out)
    return out
