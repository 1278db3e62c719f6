"""What a sample's context, residual and symbol are, for the device: scalar.h in Python.

The tests compare both function by function, and the samples and words of whole planes. Their min
and max are ours: numba's own CUDA target of version 0.68 cannot compile the built-in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config, cuda

from tilepress.codecs.wave.layout import GAIN_BITS, LEFT, RIGHT, SHEAR, TIME_PAD, TOP_PAD
from tilepress.codecs.wave.symbols import PHASED_CONTEXTS, PHASES

__all__ = [
    "active_rows",
    "bit_length",
    "cell_of",
    "clip_s7",
    "corrected",
    "device",
    "extra_bits",
    "fold",
    "log8",
    "lower",
    "median_edge",
    "pitch_of",
    "position_of",
    "scaled_s7",
    "steps",
    "table_of",
    "token_of",
    "unfold",
    "upper",
]


def device(function: Any) -> Any:
    """Compile for the device; the simulator takes plain functions, and faster."""
    return function if config.ENABLE_CUDASIM else cuda.jit(device=True)(function)


@device
def lower(a: int, b: int) -> int:
    return a if a < b else b


@device
def upper(a: int, b: int) -> int:
    return a if a > b else b


@device
def bit_length(value: int) -> int:
    """Bits of a non-negative int32; written with comparisons so that it vectorises."""
    v = np.int32(value)
    n = np.int32(0)
    big = np.int32(v >= 65536)
    n += big << 4
    v >>= big << 4
    big = np.int32(v >= 256)
    n += big << 3
    v >>= big << 3
    big = np.int32(v >= 16)
    n += big << 2
    v >>= big << 2
    big = np.int32(v >= 4)
    n += big << 1
    v >>= big << 1
    big = np.int32(v >= 2)
    n += big
    v >>= big
    return n + v


@device
def log8(value: int) -> int:
    """Eight times the binary logarithm of value + 1, piecewise linear, for value in 0 … 2^30."""
    v = np.int32(value) + np.int32(1)
    n = bit_length(v) - np.int32(1)
    up = upper(np.int32(3) - n, np.int32(0))
    down = upper(n - np.int32(3), np.int32(0))
    return (n << 3) + (((v >> down) << up) & np.int32(7))


@device
def scaled_s7(value: int, shift: int) -> int:
    """Value · 2^-shift, rounded half up, clipped to s7; shift in −30 … 30, value below 2^24."""
    down = upper(np.int32(shift), np.int32(0))
    up = lower(upper(np.int32(-shift), np.int32(0)), np.int32(6))
    rounding = (np.int32(1) << down) >> np.int32(1)
    q = ((np.int32(value) + rounding) >> down) << up
    return lower(upper(q, np.int32(-63)), np.int32(63))


@device
def median_edge(west: int, north: int, north_west: int) -> int:
    """LOCO-I's median edge detector (ITU-T T.87 A.4)."""
    low, high = lower(west, north), upper(west, north)
    return lower(upper(west + north - north_west, low), high)


@device
def clip_s7(value: int) -> int:
    return lower(upper(value, np.int32(-63)), np.int32(63))


@device
def cell_of(act_log: int, pattern: int, thresholds: Any) -> int:
    """Return the cell of the class map: level of activity times 16 plus four equalities."""
    level = (
        np.int32(act_log >= thresholds[0])
        + np.int32(act_log >= thresholds[1])
        + np.int32(act_log >= thresholds[2])
    )
    return (
        (level << np.int32(4)) + (pattern & np.int32(3)) + ((pattern >> np.int32(4)) & np.int32(12))
    )


@device
def corrected(linear: int, correction: int, gain: int, limit: int) -> int:
    """Return the mean in 1/64 steps: linear prediction plus the correction times the gain."""
    half = np.int32(1 << (GAIN_BITS - 1))
    moved = linear + ((correction * np.int32(gain) + half) >> np.int32(GAIN_BITS))
    return lower(upper(moved, np.int32(0)), limit)


@device
def steps(height: int, width: int) -> int:
    """Steps of the wavefront over a plane."""
    return width + SHEAR * (height - 1)


@device
def active_rows(t: int, height: int, width: int) -> tuple[int, int]:
    """First and one past the last row that has a sample at step ``t``."""
    first = upper(0, (t - width + SHEAR) // SHEAR)
    return first, lower(height, t // SHEAR + 1)


@device
def pitch_of(height: int, width: int) -> int:
    """How far a row's cells of neighbouring steps are apart: the rows that one step holds.

    Those from TOP_PAD above the plane to one below it whose columns, LEFT before the first to
    RIGHT − 1 behind the last, have that step; in either way no two samples come to share a cell.
    """
    return lower(height + TOP_PAD + 1, (width + LEFT + RIGHT + SHEAR - 1) // SHEAR)


@device
def position_of(t: int, y: int, pitch: int) -> int:
    """Cell of the sample of row ``y`` at step ``t``; the rows below follow."""
    return (t + TIME_PAD) * pitch + y + TOP_PAD


@device
def fold(residual: int, up: int, down: int, flip: int) -> int:
    """Map a residual to 0, 1, 2 … by likelihood: alternating signs while both are possible."""
    if flip:
        residual, up, down = -residual, down, up
    least = lower(up, down)
    size = abs(residual)
    if size > least:
        return size + least
    return 2 * residual - 1 if residual > 0 else -2 * residual


@device
def unfold(folded: int, up: int, down: int, flip: int) -> int:
    if flip:
        up, down = down, up
    least = lower(up, down)
    if folded > 2 * least:
        residual = folded - least
        if down > up:
            residual = -residual
    elif folded & 1:
        residual = (folded + 1) >> 1
    else:
        residual = -(folded >> 1)
    return -residual if flip else residual


@device
def table_of(context: int, fraction: int) -> int:
    """Index of the static table: context, and phase |fraction| / 8 (units of 1/64), 0 … 3."""
    if context < PHASED_CONTEXTS:
        return context * PHASES + lower(abs(fraction) >> 3, 3)
    return PHASED_CONTEXTS * (PHASES - 1) + context


@device
def token_of(z: int) -> int:
    if z < 16:
        return z
    octave = 4
    while z >> (octave + 1):
        octave += 1
    return 16 + (octave - 4) * 4 + ((z >> (octave - 2)) & 3)


@device
def extra_bits(token: int) -> int:
    """How many raw bits follow a token."""
    return ((token - 16) >> 2) + 2 if token >= 16 else 0
