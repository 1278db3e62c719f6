"""Predict every sample of a plane, step by step of the wavefront; the same code codes and decodes.

Arrays are sheared (``wavefront.py``), so that a step's samples, and each of their taps, lie side by
side. All arithmetic is on integers. Products of the networks are carried in float32, where every
sum is an integer below 2^24 and therefore exact in any order (notes in codecs/README.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.compiled import jit, jit_fma
from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    GAIN_BITS,
    MAX_HIDDEN,
    OWN_FEATURES,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    WEIGHT_BITS,
)
from tilepress.codecs.wave.wavefront import (
    active_rows,
    empty_sheared,
    most_rows,
    pad_edges,
    pitch_of,
    position_of,
    steps,
    tap,
)

__all__ = [
    "HALF",
    "LOOK_STRIDE",
    "ONE",
    "Workspace",
    "activities",
    "bit_length",
    "cell_of",
    "clip_s7",
    "corrected",
    "dense",
    "feature_count",
    "log8",
    "median_edge",
    "network_inputs",
    "own_inputs",
    "patterns",
    "plane_means",
    "predict_linear",
    "predict_network",
    "predict_plane",
    "reference_inputs",
    "regressor_count",
    "scaled_s7",
    "workspace",
]

LOOK_STRIDE = 4
"""Choices for a whole plane follow from every fourth step."""
_OWN_DY = tuple(int(dy) for dy, _ in OWN_TAPS)
_OWN_DX = tuple(int(dx) for _, dx in OWN_TAPS)
_N_OWN = len(OWN_TAPS)
_N_REF = len(REFERENCE_TAPS)
_REF_DY = tuple(int(dy) for dy, _ in REFERENCE_TAPS)
_REF_DX = tuple(int(dx) for _, dx in REFERENCE_TAPS)

ONE = 1 << FRACTION_BITS
"""A step between samples, in the units of predictions."""
HALF = ONE // 2


class Workspace(NamedTuple):
    """What the steps of a plane are worked out in: a number for each row of samples of a step."""

    taps: npt.NDArray[np.int32]
    """(REGRESSORS, rows), inputs of the linear path: differences to ``base``."""
    base: npt.NDArray[np.int32]
    """Mean of four neighbours."""
    sums: npt.NDArray[np.int64]
    """Of the linear path."""
    linear: npt.NDArray[np.int32]
    """Its prediction in 1/64 steps."""
    pattern: npt.NDArray[np.int32]
    """Which neighbours are equal, a bit a pair."""
    near: npt.NDArray[np.int32]
    """Sum of the four nearest differences' sizes."""
    activity: npt.NDArray[np.int32]
    """Twice that, and the sizes of the differences further away."""
    activity_log: npt.NDArray[np.int32]
    """Its logarithm, in eighths."""
    sets: npt.NDArray[np.int32]
    """Which set of linear weights a sample takes."""
    features: npt.NDArray[np.float32]
    """(FEATURES, rows), inputs of the network: integers −63 … 63."""
    scale: npt.NDArray[np.int32]
    """Exponent of the activity."""
    error_scale: npt.NDArray[np.int32]
    """Exponent of the errors around."""
    error_log: npt.NDArray[np.int32]
    """Their logarithm, in eighths."""
    wide: npt.NDArray[np.int32]
    """Sum of the sizes of the errors further away."""
    layer_sums: npt.NDArray[np.float32]
    """(MAX_HIDDEN, rows), of the layer at hand."""
    hidden: npt.NDArray[np.float32]
    """(MAX_HIDDEN, rows), activations 0 … 127."""
    correction: npt.NDArray[np.int32]
    """In 1/64 steps, before the plane's gain; 0 without a network."""
    context: npt.NDArray[np.int32]
    """Scale index 0 … 47 times three, plus shape 0 … 2."""


@jit
def workspace(height: int, width: int) -> Any:
    """Allocate a ``Workspace`` for the steps of a plane."""
    n = most_rows(height, width) + 1
    return Workspace(
        np.zeros((REGRESSORS, n), np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int64),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros((FEATURES, n), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros((MAX_HIDDEN, n), np.float32),
        np.zeros((MAX_HIDDEN, n), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
    )


@nb.njit(inline="always")
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


@nb.njit(inline="always")
def log8(value: int) -> int:
    """Eight times the binary logarithm of value + 1, piecewise linear, for value in 0 … 2^30."""
    v = np.int32(value) + np.int32(1)
    n = bit_length(v) - np.int32(1)
    up = max(np.int32(3) - n, np.int32(0))
    down = max(n - np.int32(3), np.int32(0))
    return (n << 3) + (((v >> down) << up) & np.int32(7))


@nb.njit(inline="always")
def scaled_s7(value: int, shift: int) -> int:
    """Value · 2^-shift, rounded half up, clipped to s7; shift in −30 … 30, value below 2^24."""
    down = max(np.int32(shift), np.int32(0))
    up = min(max(np.int32(-shift), np.int32(0)), np.int32(6))
    rounding = (np.int32(1) << down) >> np.int32(1)
    q = ((np.int32(value) + rounding) >> down) << up
    return min(max(q, np.int32(-63)), np.int32(63))


@nb.njit(inline="always")
def median_edge(west: int, north: int, north_west: int) -> int:
    """LOCO-I's median edge detector (ITU-T T.87 A.4)."""
    low, high = min(west, north), max(west, north)
    return min(max(west + north - north_west, low), high)


@jit
def regressor_count(n_refs: int) -> int:
    """Weights of the linear path with ``n_refs`` earlier planes."""
    return _N_OWN + 1 + n_refs * (_N_REF + 2)


# The loops below have one output row and few input rows each: more of either, and the compiler's
# checks for overlapping arrays keep it from vectorising them.


@jit
def own_inputs(own: Any, at: int, pitch: int, n: int, taps: Any, base: Any) -> None:
    """Fill the plane's own regressors, differences to the local mean ``base``."""
    west = tap(own, at, pitch, 0, -1, n)
    north = tap(own, at, pitch, -1, 0, n)
    north_west = tap(own, at, pitch, -1, -1, n)
    north_east = tap(own, at, pitch, -1, 1, n)
    for i in range(n):
        base[i] = (west[i] + north[i] + north_west[i] + north_east[i] + np.int32(2)) >> np.int32(2)
    edge = taps[_N_OWN]
    for i in range(n):
        edge[i] = median_edge(west[i], north[i], north_west[i]) - base[i]
    for k in range(_N_OWN):
        row = tap(own, at, pitch, _OWN_DY[k], _OWN_DX[k], n)
        out = taps[k]
        for i in range(n):
            out[i] = row[i] - base[i]


@jit
def reference_inputs(
    plane: Any, errors: Any, at: int, pitch: int, n: int, first: int, taps: Any
) -> None:
    """Fill the regressors of one earlier plane, from row ``first`` of ``taps`` on."""
    here = tap(plane, at, pitch, 0, 0, n)
    west = tap(plane, at, pitch, 0, -1, n)
    north = tap(plane, at, pitch, -1, 0, n)
    north_west = tap(plane, at, pitch, -1, -1, n)
    north_east = tap(plane, at, pitch, -1, 1, n)
    mean = taps[first + _N_REF + 1]
    for i in range(n):
        mean[i] = (west[i] + north[i] + north_west[i] + north_east[i] + np.int32(2)) >> np.int32(2)
    edge = taps[first + _N_REF]
    for i in range(n):
        edge[i] = here[i] - median_edge(west[i], north[i], north_west[i])
    for k in range(_N_REF):
        row = tap(plane, at, pitch, _REF_DY[k], _REF_DX[k], n)
        out = taps[first + k]
        for i in range(n):
            out[i] = row[i] - mean[i]
    error = tap(errors, at, pitch, 0, 0, n)
    for i in range(n):
        mean[i] = error[i]


@jit
def patterns(taps: Any, n_refs: int, n: int, pattern: Any) -> None:
    """Fill ``pattern`` with which of the sample's neighbours are equal, one bit a pair.

    Bits 0 … 5: N = NW, W = NW, N = NE, WW = W, NN = N, W = N; then in each earlier plane whether
    the sample equals its west and its north neighbour.
    """
    west, north, north_west, north_east = taps[0], taps[1], taps[2], taps[3]
    two_west, two_north = taps[4], taps[5]
    for i in range(n):
        pattern[i] = (
            np.int32(north[i] == north_west[i])
            + (np.int32(west[i] == north_west[i]) << np.int32(1))
            + (np.int32(north[i] == north_east[i]) << np.int32(2))
            + (np.int32(two_west[i] == west[i]) << np.int32(3))
            + (np.int32(two_north[i] == north[i]) << np.int32(4))
            + (np.int32(west[i] == north[i]) << np.int32(5))
        )
    for r in range(n_refs):
        first = _N_OWN + 1 + r * (_N_REF + 2)
        here, west, north = taps[first], taps[first + 1], taps[first + 2]
        for i in range(n):
            pattern[i] += (np.int32(here[i] == west[i]) << np.int32(6 + 2 * r)) + (
                np.int32(here[i] == north[i]) << np.int32(7 + 2 * r)
            )


@jit
def activities(taps: Any, n: int, near: Any, act: Any, act_log: Any) -> None:
    """Fill ``near`` (sum of the four nearest |differences|), activity and its logarithm."""
    t0, t1, t2, t3 = taps[0], taps[1], taps[2], taps[3]
    for i in range(n):
        near[i] = abs(t0[i]) + abs(t1[i]) + abs(t2[i]) + abs(t3[i])
    for i in range(n):
        act[i] = near[i] << np.int32(1)
    for k in range(4, _N_OWN):
        row = taps[k]
        for i in range(n):
            act[i] += abs(row[i])
    for i in range(n):
        act_log[i] = log8(act[i])


@jit
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


@jit
def linear_prediction(
    taps: Any, base: Any, weights: Any, sets: Any, n_taps: int, top: int, n: int, acc: Any, out: Any
) -> None:
    """out = base + Σ weight·tap in 1/64 steps, clipped to 0 … top.

    weights : (sets, REGRESSORS) int64; sets : (rows,) which set a sample takes.
    """
    for i in range(n):
        acc[i] = np.int64(1 << (WEIGHT_BITS - FRACTION_BITS - 1))
    if len(weights) == 1:
        for k in range(n_taps):
            w = weights[0, k]
            row = taps[k]
            if w != 0:
                for i in range(n):
                    acc[i] += w * np.int64(row[i])
    else:
        for k in range(n_taps):
            column = weights[:, k].copy()
            row = taps[k]
            for i in range(n):
                acc[i] += column[np.uint32(sets[i])] * np.int64(row[i])
    limit = np.int64(top) << np.int64(FRACTION_BITS)
    for i in range(n):
        p = (np.int64(base[i]) << np.int64(FRACTION_BITS)) + (
            acc[i] >> np.int64(WEIGHT_BITS - FRACTION_BITS)
        )
        out[i] = np.int32(min(max(p, np.int64(0)), limit))


@jit
def predict_linear(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    at: int,
    pitch: int,
    n: int,
    top: int,
    classes: Any,
    work: Any,
) -> None:
    """Predict the ``n`` samples of a step from cell ``at`` on by the linear path.

    own : (L,) int32 sheared samples, complete up to this step; pitch : ``wavefront.pitch_of``.
    refs, ref_errors : (references, L) int32 earlier planes and the residuals of their linear paths.
    classes : thresholds (3,) int32, set of each cell (CELLS,) int32, weights (sets, REGRESSORS).
    work : a ``Workspace``; filled with regressors, patterns, activities and the prediction.
    """
    thresholds, set_of_cell, weights = classes
    taps, base, linear, pattern = work.taps, work.base, work.linear, work.pattern
    act_log, sets = work.activity_log, work.sets
    own_inputs(own, at, pitch, n, taps, base)
    for r in range(n_refs):
        first = _N_OWN + 1 + r * (_N_REF + 2)
        reference_inputs(refs[r], ref_errors[r], at, pitch, n, first, taps)
    patterns(taps, n_refs, n, pattern)
    activities(taps, n, work.near, work.activity, act_log)
    if len(weights) > 1:
        for i in range(n):
            sets[i] = set_of_cell[cell_of(act_log[i], pattern[i], thresholds)]
    n_taps = regressor_count(n_refs)
    linear_prediction(taps, base, weights, sets, n_taps, top, n, work.sums, linear)


@jit
def error_levels(
    errors: Any, at: int, pitch: int, n: int, wide: Any, error_scale: Any, error_log: Any
) -> None:
    """Fill how large the errors around a sample are: five far ones, exponent and logarithm of all.

    errors : (L,) int32, sheared errors of the linear path in 1/64 steps.
    """
    f5 = tap(errors, at, pitch, -1, -2, n)
    f6 = tap(errors, at, pitch, -2, -1, n)
    f7 = tap(errors, at, pitch, -2, 1, n)
    f8 = tap(errors, at, pitch, 0, -3, n)
    f9 = tap(errors, at, pitch, -3, 0, n)
    for i in range(n):
        wide[i] = abs(f5[i]) + abs(f6[i]) + abs(f7[i]) + abs(f8[i]) + abs(f9[i])
    west, north = tap(errors, at, pitch, 0, -1, n), tap(errors, at, pitch, -1, 0, n)
    nw = tap(errors, at, pitch, -1, -1, n)
    ne = tap(errors, at, pitch, -1, 1, n)
    ww, nn = tap(errors, at, pitch, 0, -2, n), tap(errors, at, pitch, -2, 0, n)
    for i in range(n):
        error_scale[i] = (
            ((abs(west[i]) + abs(north[i])) << np.int32(1))
            + abs(nw[i])
            + abs(ne[i])
            + abs(ww[i])
            + abs(nn[i])
            + wide[i]
        )
    for i in range(n):
        error_log[i] = log8(error_scale[i])
    for i in range(n):
        error_scale[i] = bit_length(error_scale[i]) - np.int32(8)


@nb.njit(inline="always")
def clip_s7(value: int) -> int:
    return min(max(value, np.int32(-63)), np.int32(63))


@jit
def own_features(errors: Any, at: int, pitch: int, n: int, top: int, work: Any) -> None:
    """Fill rows 0 … 47 of the features, float32 that hold integers −63 … 63."""
    taps, base, linear, pattern = work.taps, work.base, work.linear, work.pattern
    near, act, act_log = work.near, work.activity, work.activity_log
    features, scale, wide = work.features, work.scale, work.wide
    error_scale, error_log = work.error_scale, work.error_log
    fraction = np.int32(FRACTION_BITS)
    for i in range(n):
        scale[i] = bit_length(act[i]) - np.int32(9)
    for k in range(_N_OWN):
        row, out = taps[k], features[k]
        for i in range(n):
            out[i] = scaled_s7(row[i], scale[i])
    f = _N_OWN
    out = features[f]
    for i in range(n):
        out[i] = scaled_s7(linear[i] - (base[i] << fraction), scale[i] + fraction)
    out, edge = features[f + 1], taps[_N_OWN]
    for i in range(n):
        out[i] = scaled_s7(edge[i], scale[i])
    out = features[f + 2]
    for i in range(n):
        out[i] = (act_log[i] >> np.int32(1)) - np.int32(40)
    out = features[f + 3]
    for i in range(n):
        up = max(-scale[i] - np.int32(2), np.int32(0))
        down = max(scale[i] + np.int32(2), np.int32(0))
        out[i] = clip_s7((((act[i] >> down) << up) & np.int32(127)) - np.int32(96))
    out = features[f + 4]
    for i in range(n):
        far = act[i] - (near[i] << np.int32(1))
        out[i] = clip_s7(log8(np.int32(3) * near[i]) - log8(far))
    out = features[f + 5]
    for i in range(n):
        out[i] = scaled_s7(linear[i], scale[i] + fraction + np.int32(1))
    out = features[f + 6]
    limit = np.int32(top) << fraction
    for i in range(n):
        out[i] = scaled_s7(limit - linear[i], scale[i] + fraction + np.int32(1))
    for k in range(6):
        out = features[f + 7 + k]
        bit = np.int32(k)
        for i in range(n):
            out[i] = ((pattern[i] >> bit) & np.int32(1)) << np.int32(5)
    f = 29
    near_errors = (
        tap(errors, at, pitch, 0, -1, n),
        tap(errors, at, pitch, -1, 0, n),
        tap(errors, at, pitch, -1, -1, n),
        tap(errors, at, pitch, -1, 1, n),
        tap(errors, at, pitch, 0, -2, n),
        tap(errors, at, pitch, -2, 0, n),
    )
    for k in range(6):
        error = near_errors[k]
        out = features[f + k]
        for i in range(n):
            out[i] = scaled_s7(error[i], error_scale[i])
        out = features[f + 6 + k]
        for i in range(n):
            out[i] = max(log8(abs(error[i])) - error_log[i] + np.int32(28), np.int32(-63))
    f += 12
    out = features[f]
    for i in range(n):
        out[i] = max(log8(wide[i]) - error_log[i] + np.int32(12), np.int32(-63))
    out = features[f + 1]
    for i in range(n):
        out[i] = min((error_log[i] >> np.int32(1)) - np.int32(50), np.int32(63))
    out = features[f + 2]
    for i in range(n):
        out[i] = clip_s7(error_log[i] - act_log[i] - np.int32(32))
    out = features[f + 3]
    for i in range(n):
        out[i] = ((error_log[i] & np.int32(7)) << np.int32(3)) - np.int32(28)
    for k in range(3):
        row = taps[k if k < 2 else _N_OWN]
        out = features[f + 4 + k]
        for i in range(n):
            out[i] = scaled_s7(((base[i] + row[i]) << fraction) - linear[i], error_scale[i])


@jit
def _energy(errors: Any, at: int, pitch: int, n: int, out: Any) -> None:
    """Sum of an earlier plane's |residuals| at the sample and its four neighbours, below 2^22."""
    here = tap(errors, at, pitch, 0, 0, n)
    west, east = tap(errors, at, pitch, 0, -1, n), tap(errors, at, pitch, 0, 1, n)
    north = tap(errors, at, pitch, -1, 0, n)
    south = tap(errors, at, pitch, 1, 0, n)
    for i in range(n):
        total = abs(here[i]) + abs(west[i]) + abs(east[i]) + abs(north[i]) + abs(south[i])
        out[i] = min(total, np.int32(1 << 22))


@jit
def reference_features(
    ref_errors: Any, n_refs: int, at: int, pitch: int, n: int, work: Any
) -> None:
    """Fill rows 48 … 71 of the features from the earlier planes; 0 where there is none."""
    taps, pattern, features, scale = work.taps, work.pattern, work.features, work.scale
    error_scale, error_log = work.error_scale, work.error_log
    energy = work.wide  # whose use is over
    fraction = np.int32(FRACTION_BITS)
    six = np.int32(1 << FRACTION_BITS)
    f = OWN_FEATURES
    first = _N_OWN + 1
    features[f, :n] = 32
    picked = (0, 1, 2, 3, 4, 7, 8, 9)
    for k in range(8):
        row, out = taps[first + picked[k]], features[f + 1 + k]
        for i in range(n):
            out[i] = scaled_s7(row[i], scale[i])
    errors = ref_errors[0]
    around = (
        tap(errors, at, pitch, 0, 0, n),
        tap(errors, at, pitch, 0, -1, n),
        tap(errors, at, pitch, -1, 0, n),
    )
    for k in range(3):
        row, out = around[k], features[f + 9 + k]
        for i in range(n):
            out[i] = scaled_s7(row[i], error_scale[i] - fraction)
    for k in range(2):
        out = features[f + 12 + k]
        bit = np.int32(6 + k)
        for i in range(n):
            out[i] = ((pattern[i] >> bit) & np.int32(1)) << np.int32(5)
    row, out = around[0], features[f + 14]
    for i in range(n):
        size = min(abs(row[i]), np.int32(1 << 22))
        out[i] = clip_s7(log8(size * six) - error_log[i] + np.int32(16))
    _energy(errors, at, pitch, n, energy)
    out = features[f + 15]
    for i in range(n):
        out[i] = clip_s7(log8(energy[i] * six) - error_log[i])
    out = features[f + 16]
    for i in range(n):
        out[i] = (log8(energy[i]) >> np.int32(1)) - np.int32(32)
    f += 17
    if n_refs < 2:
        features[f : f + 7, :n] = 0
        return
    first += _N_REF + 2
    features[f, :n] = 32
    for k in range(2):
        row, out = taps[first + 9 * k], features[f + 1 + k]
        for i in range(n):
            out[i] = scaled_s7(row[i], scale[i])
    row, out = taps[first + 10], features[f + 3]
    for i in range(n):
        out[i] = scaled_s7(row[i], error_scale[i] - fraction)
    out = features[f + 4]
    for i in range(n):
        size = min(abs(row[i]), np.int32(1 << 22))
        out[i] = clip_s7(log8(size * six) - error_log[i] + np.int32(16))
    _energy(ref_errors[1], at, pitch, n, energy)
    out = features[f + 5]
    for i in range(n):
        out[i] = clip_s7(log8(energy[i] * six) - error_log[i])
    out = features[f + 6]
    for i in range(n):
        out[i] = ((pattern[i] >> np.int32(8)) & np.int32(1)) << np.int32(5)


@jit_fma
def dense(inputs: Any, weights: Any, n_in: int, n_out: int, n: int, acc: Any) -> None:
    """acc[j] = Σ weights[j, k]·inputs[k] over float32 rows that hold integers.

    n_in and n_out are multiples of 4: blocks of 4 × 4 weights stay in registers.
    """
    for j in range(0, n_out, 4):
        a0, a1, a2, a3 = acc[j], acc[j + 1], acc[j + 2], acc[j + 3]
        for i in range(n):
            a0[i] = np.float32(0)
            a1[i] = np.float32(0)
            a2[i] = np.float32(0)
            a3[i] = np.float32(0)
        v0, v1, v2, v3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for k in range(0, n_in, 4):
            x0, x1, x2, x3 = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
            p0, p1, p2, p3 = v0[k], v0[k + 1], v0[k + 2], v0[k + 3]
            q0, q1, q2, q3 = v1[k], v1[k + 1], v1[k + 2], v1[k + 3]
            r0, r1, r2, r3 = v2[k], v2[k + 1], v2[k + 2], v2[k + 3]
            s0, s1, s2, s3 = v3[k], v3[k + 1], v3[k + 2], v3[k + 3]
            for i in range(n):
                y0, y1, y2, y3 = x0[i], x1[i], x2[i], x3[i]
                a0[i] += p0 * y0 + p1 * y1 + p2 * y2 + p3 * y3
                a1[i] += q0 * y0 + q1 * y1 + q2 * y2 + q3 * y3
                a2[i] += r0 * y0 + r1 * y1 + r2 * y2 + r3 * y3
                a3[i] += s0 * y0 + s1 * y1 + s2 * y2 + s3 * y3


@jit
def requantise(acc: Any, bias: Any, shift: Any, n_out: int, n: int, out: Any) -> None:
    """out = clip((acc + bias) >> shift, 0, 127), rounded half up: the activation of a layer."""
    for j in range(n_out):
        s = shift[j]
        b = bias[j] + ((np.int32(1) << s) >> np.int32(1))
        a, o = acc[j], out[j]
        for i in range(n):
            v = (np.int32(a[i]) + b) >> s
            o[i] = np.float32(min(max(v, np.int32(0)), np.int32(127)))


@jit
def feature_count(n_refs: int) -> int:
    """Features that are not 0 by construction with ``n_refs`` earlier planes."""
    return FEATURES if n_refs > 0 else OWN_FEATURES


@jit
def network_inputs(
    errors: Any, ref_errors: Any, n_refs: int, at: int, pitch: int, n: int, top: int, work: Any
) -> None:
    """Fill the features of one step, after ``predict_linear`` of the same step."""
    error_levels(errors, at, pitch, n, work.wide, work.error_scale, work.error_log)
    own_features(errors, at, pitch, n, top, work)
    if n_refs > 0:
        reference_features(ref_errors, n_refs, at, pitch, n, work)


@jit
def predict_network(
    errors: Any,
    ref_errors: Any,
    n_refs: int,
    at: int,
    pitch: int,
    n: int,
    top: int,
    net: Any,
    work: Any,
) -> None:
    """Correct the mean and choose the table, after ``predict_linear`` of the same step.

    errors : (L,) int32, errors of the linear path in 1/64 steps, complete up to this step.
    net : the tuple of ``WaveModel.arrays``, whose fourth output is 0; no hidden units leave the
    correction 0 and the table to the errors around.
    work : a ``Workspace``; filled with correction and context.
    """
    error_scale, error_log = work.error_scale, work.error_log
    acc, hidden = work.layer_sums, work.hidden
    correction, context = work.correction, work.context
    weights, bias, shift, out_weights, out_bias, out_shift = net
    n_hidden = len(bias)
    if n_hidden == 0:
        error_levels(errors, at, pitch, n, work.wide, error_scale, error_log)
        for i in range(n):
            level = (np.int32(3) * error_log[i] - np.int32(129)) >> np.int32(3)
            context[i] = np.int32(3) * min(max(level, np.int32(0)), np.int32(47)) + np.int32(1)
        return
    network_inputs(errors, ref_errors, n_refs, at, pitch, n, top, work)
    dense(work.features, weights, feature_count(n_refs), n_hidden, n, acc)
    requantise(acc, bias, shift, n_hidden, n, hidden)
    dense(hidden, out_weights, n_hidden, 4, n, acc)
    raw, b, s = acc[0], out_bias[0], out_shift[0]
    for i in range(n):
        c = min(max((np.int32(raw[i]) + b) >> s, np.int32(-2047)), np.int32(2047))
        e = error_scale[i] - np.int32(4)
        up, down = max(e, np.int32(0)), max(-e, np.int32(0))
        correction[i] = ((c << up) + ((np.int32(1) << down) >> np.int32(1))) >> down
    raw, b, s = acc[1], out_bias[1], out_shift[1]
    for i in range(n):
        spread = min(max((np.int32(raw[i]) + b) >> s, np.int32(-1023)), np.int32(1023))
        # in 1/24 octaves: error_log counts eighths of one, spread counts 1/48
        level = (np.int32(3) * error_log[i] + (spread >> np.int32(1)) - np.int32(129)) >> np.int32(
            3
        )
        context[i] = np.int32(3) * min(max(level, np.int32(0)), np.int32(47))
    raw, b, s = acc[2], out_bias[2], out_shift[2]
    for i in range(n):
        shape = (np.int32(raw[i]) + b) >> s
        context[i] += np.int32(shape > -16) + np.int32(shape > 16)


# A whole plane -----------------------------------------------------------------------------------


@jit
def predict_plane(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    mask: Any,
    height: int,
    width: int,
    top: int,
    classes: Any,
    net: Any,
) -> Any:
    """Predict a whole plane whose samples are known.

    own : (L,) int32 sheared samples; mask : (L,) uint8 sheared, nonzero where absent.
    Returns, in coding order, (N,) int32 each: linear predictions, corrections before the plane's
    gain, contexts, patterns, samples, west and north neighbours; (steps + 1,) where each step
    begins; the errors of the linear path (L,) int32, sheared, in 1/64 steps; and of every fourth
    step how many samples there are and how many equal a neighbour.
    """
    n_samples = height * width
    linears = np.empty(n_samples, np.int32)
    corrections = np.empty(n_samples, np.int32)
    contexts = np.empty(n_samples, np.int32)
    patterns = np.empty(n_samples, np.int32)
    samples = np.empty((3, n_samples), np.int32)
    n_steps = steps(height, width)
    begins = np.zeros(n_steps + 1, np.int64)
    errors = empty_sheared(height, width, 0)
    pitch = pitch_of(height, width)
    work = workspace(height, width)
    linear, pattern = work.linear, work.pattern
    correction, context = work.correction, work.context
    masked = mask.shape[0] > 0
    count = 0
    looked_at, matching = 0, 0
    for t in range(n_steps):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        predict_linear(own, refs, ref_errors, n_refs, at, pitch, n, top, classes, work)
        predict_network(errors, ref_errors, n_refs, at, pitch, n, top, net, work)
        begins[t] = count
        row = tap(own, at, pitch, 0, 0, n)
        west = tap(own, at, pitch, 0, -1, n)
        north = tap(own, at, pitch, -1, 0, n)
        error_row = tap(errors, at, pitch, 0, 0, n)
        for i in range(n):
            error_row[i] = (row[i] << np.int32(FRACTION_BITS)) - linear[i]
        if not masked:
            end = count + n
            linears[count:end] = linear[:n]
            corrections[count:end] = correction[:n]
            contexts[count:end] = context[:n]
            patterns[count:end] = pattern[:n]
            samples[0, count:end] = row
            samples[1, count:end] = west
            samples[2, count:end] = north
            count = end
        else:
            absent = mask[at : at + n]
            for i in range(n):
                if absent[i]:
                    error_row[i] = 0
                    continue
                linears[count] = linear[i]
                corrections[count] = correction[i]
                contexts[count] = context[i]
                patterns[count] = pattern[i]
                samples[0, count] = row[i]
                samples[1, count] = west[i]
                samples[2, count] = north[i]
                count += 1
        if t % LOOK_STRIDE == 0:
            for i in range(n):
                if masked and mask[at + i]:
                    continue
                looked_at += 1
                matching += (row[i] == west[i]) | (row[i] == north[i])
        pad_edges(errors, t, y0, n, height, width)
    begins[n_steps] = count
    return (
        linears[:count],
        corrections[:count],
        contexts[:count],
        patterns[:count],
        samples[:, :count],
        begins,
        errors,
        looked_at,
        matching,
    )


@nb.njit(inline="always")
def corrected(linear: int, correction: int, gain: int, limit: int) -> int:
    """Return the mean in 1/64 steps: linear prediction plus the correction times the gain."""
    half = np.int32(1 << (GAIN_BITS - 1))
    moved = linear + ((correction * np.int32(gain) + half) >> np.int32(GAIN_BITS))
    return min(max(moved, np.int32(0)), limit)


@jit
def plane_means(linears: Any, corrections: Any, gain: int, top: int) -> Any:
    """Return the means of a plane's samples, (N,) int32 in 1/64 steps, under a gain."""
    means = np.empty(len(linears), np.int32)
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    for i in range(len(linears)):
        means[i] = corrected(linears[i], corrections[i], gain, limit)
    return means
