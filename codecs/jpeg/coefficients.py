"""Code the coefficients of a component: contexts from neighbours, other components and position.

Blocks in rows; of each first how many of the 49 coefficients beyond first row and column are not
zero, then those, in zigzag order; the seven of the first row and the seven of the first column,
predicted from the block above and left of it (where blocks meet, what both say along the border is
alike); last the mean, predicted from the border's samples. That order and these predictions are
Lepton's (Horn et al., "The Design, Implementation, and Deployment of a System to Transparently
Compress Hundreds of Petabytes of Image Files for a File-Storage Service", NSDI 2017). Each bit is
coded by a mixture of six contexts (mixing.py).

The loops are those of native/coefficients.c.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.contexts import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.markers import ZIGZAG
from tilepress.codecs.jpeg.mixing import CURVES, INPUTS
from tilepress.codecs.native.library import bind, check_memory

__all__ = ["DONE", "IMPOSSIBLE", "NO_ROOM", "Cross", "Known", "code_component"]

DONE, IMPOSSIBLE, NO_ROOM = 1, 0, 2

_int, _long, _at = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class _Component(ctypes.Structure):
    """``Component`` of native/coefficients.c."""

    _fields_ = (
        ("blocks", _at),
        ("first", _long),
        ("rows", _long),
        ("columns", _long),
        ("owners", _at),
        ("steps", _at),
        ("cross", _long),
        ("cross_v", _long),
        ("cross_h", _long),
        ("cross_columns", _long),
        ("related", _int),
        ("counts", _at),
        ("misses", _at),
        ("cross_counts", _at),
        ("cross_misses", _at),
    )


_code_component = bind("tp_code_component", "lBnwpIninlHhH", "w")


class Known(NamedTuple):
    """What is kept of the blocks of a component that were coded, (rows, columns) int32 each."""

    counts: npt.NDArray[np.int32]
    """Numbers of coefficients: all inner ones + 64 · those of the first row + 512 · those of the
    first column."""
    misses: npt.NDArray[np.int32]
    """Errors of the means."""


class Cross(NamedTuple):
    """Another component to look at."""

    first: int
    """Number of its first block."""
    scale: tuple[int, int]
    """Its blocks for each of ours, rows and columns."""
    columns: int
    known: Known


def code_component(
    state: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], decoding: bool,
    blocks: npt.NDArray[np.int16], first: int, owners: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64], cross: Cross | None, slots: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32], known: Known,
) -> int:  # fmt: skip
    """Code a component's blocks; returns DONE, or IMPOSSIBLE or NO_ROOM where it cannot go on.

    blocks : (n, 64) int16, those of the component from ``first`` on, row by row; owners : (rows,
    columns), the stream of each or −1; steps : (streams, 64) quantisation; cross : the component
    to look at, whose coefficients are alike in place where it has as many; slots : (SLOTS,);
    weights : (WEIGHT_SETS, INPUTS); known : of zeros, filled.
    """
    if slots.shape != (SLOTS,) or weights.shape != (WEIGHT_SETS, INPUTS):
        raise ValueError(f"got slots of {slots.shape} and weights of {weights.shape}")
    rows, columns = owners.shape
    asked = _Component(
        blocks=_address(blocks, np.int16),
        first=first,
        rows=rows,
        columns=columns,
        owners=_address(owners, np.int32),
        steps=_address(steps, np.int64),
        cross=-1,
        counts=_address(known.counts, np.int32),
        misses=_address(known.misses, np.int32),
    )
    if cross is not None:
        asked.cross = cross.first
        asked.cross_v, asked.cross_h = cross.scale
        asked.cross_columns = cross.columns
        asked.related = cross.scale == (1, 1)
        asked.cross_counts = _address(cross.known.counts, np.int32)
        asked.cross_misses = _address(cross.known.misses, np.int32)
    learned = (slots, len(slots), weights, len(weights))
    result = _code_component(
        state, data, len(data), decoding, ctypes.byref(asked), *learned, ZIGZAG, *CURVES
    )
    return check_memory(result)


def _address(array: npt.NDArray[np.generic], dtype: npt.DTypeLike) -> int:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"an array of {array.dtype}, not of contiguous {np.dtype(dtype)}")
    return int(array.ctypes.data)
