"""Decoded planes as cells: the 64 coefficients that belong to 8 × 8 samples, as nets take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.ntc.layout import LAPPED

__all__ = ["CELL", "COEFFICIENTS", "from_cells", "to_cells"]

Floats = npt.NDArray[np.float32]

CELL = 8
COEFFICIENTS = CELL * CELL
_LEVELS = 3
"""Of CDF 9/7, so that a cell has one coefficient of the lowest band."""

_lapped = bind("tp_lapped", "snn", "w")
_lapped_inverse = bind("tp_lapped_inverse", "snn", "w")
_wavelet = bind("tp_wavelet", "snnw", "w")
_wavelet_inverse = bind("tp_wavelet_inverse", "snnww", "w")


def to_cells(kind: int, plane: Floats) -> Floats:
    """Return the coefficients of a plane, (y, x) in steps, as (64, cells down, cells across).

    The lapped transform's are in the order 8·v + u. Those of CDF 9/7 are, from coarse to fine, the
    lowest band's, then of each level the bands 1, 2, 3, each row by row. Cells of a plane whose
    sides are not multiples of 8 go on with its last samples.
    """
    height, width = (-(-side // CELL) * CELL for side in plane.shape)
    padding = ((0, height - plane.shape[0]), (0, width - plane.shape[1]))
    flat = np.ascontiguousarray(np.pad(plane, padding, mode="edge"), np.float32)
    if kind == LAPPED:
        check_memory(_lapped(flat, height, width))
        return _unshuffled(flat, CELL)
    check_memory(_wavelet(flat, height, width, _LEVELS))
    bands = [_unshuffled(flat[at], side) for at, side in _wavelet_bands(height, width)]
    return np.concatenate(bands)


def from_cells(kind: int, cells: Floats, height: int, width: int) -> Floats:
    """Return the plane (height, width) of such coefficients."""
    _, down, across = cells.shape
    flat = np.empty((down * CELL, across * CELL), np.float32)
    if kind == LAPPED:
        _shuffle(cells, CELL, flat)
        check_memory(_lapped_inverse(flat, *flat.shape))
    else:
        first = 0
        for at, side in _wavelet_bands(*flat.shape):
            _shuffle(cells[first : first + side * side], side, flat[at])
            first += side * side
        check_memory(_wavelet_inverse(flat, *flat.shape, _LEVELS, 0))
    return flat[:height, :width]


def _wavelet_bands(height: int, width: int) -> list[tuple[Any, int]]:
    """Return where each band lies, and how many of its rows and columns a cell has."""
    found: list[tuple[Any, int]] = []
    for level in range(_LEVELS, 0, -1):
        h, w = height >> level, width >> level
        low_y, low_x, high_y, high_x = slice(0, h), slice(0, w), slice(h, 2 * h), slice(w, 2 * w)
        if level == _LEVELS:
            found.append(((low_y, low_x), 1))
        side = CELL >> level
        found += [((low_y, high_x), side), ((high_y, low_x), side), ((high_y, high_x), side)]
    return found


def _unshuffled(plane: Floats, side: int) -> Floats:
    height, width = plane.shape
    blocks = plane.reshape(height // side, side, width // side, side)
    return np.ascontiguousarray(
        blocks.transpose(1, 3, 0, 2).reshape(side * side, height // side, width // side)
    )


def _shuffle(cells: Floats, side: int, out: Floats) -> None:
    _, down, across = cells.shape
    blocks = cells.reshape(side, side, down, across).transpose(2, 0, 3, 1)
    out[:] = blocks.reshape(down * side, across * side)
