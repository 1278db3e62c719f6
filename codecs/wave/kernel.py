"""Predict every sample of a plane, step by step of the wavefront; the same code codes and decodes.

Arrays are *sheared*: ``plane_TY[t + TIME_PAD, y + TOP_PAD]`` holds sample (y, x) with
``t = x + SHEAR·y``, so that the samples of one step, and each of their taps, are contiguous.
All arithmetic is on integers. Products of the networks are carried in float32, where every sum is
an integer below 2^24 and therefore exact in any order (notes in codecs/README.md).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tilepress.codecs.wave.compiled import jit, jit_fma
from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    HIDDEN,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    SHEAR,
    STAGE2_FEATURES,
    TIME_PAD,
    TOP_PAD,
    WEIGHT_BITS,
)

__all__ = [
    "active_rows",
    "predict_step",
    "regressor_count",
    "shear",
    "shear_reference",
    "steps",
    "unshear",
]


_OWN_DY = tuple(int(dy) for dy, _ in OWN_TAPS)
_OWN_DX = tuple(int(dx) for _, dx in OWN_TAPS)
_N_OWN = len(OWN_TAPS)
_N_REF = len(REFERENCE_TAPS)
_REF_DY = tuple(int(dy) for dy, _ in REFERENCE_TAPS)
_REF_DX = tuple(int(dx) for _, dx in REFERENCE_TAPS)

ONE = 1 << FRACTION_BITS
HALF = ONE // 2


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


@nb.njit(inline="always")
def _bit_length(value: int) -> int:
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
def _log8(value: int) -> int:
    """Eight times the binary logarithm of value + 1, piecewise linear, for value in 0 … 2^30."""
    v = np.int32(value) + np.int32(1)
    n = _bit_length(v) - np.int32(1)
    up = max(np.int32(3) - n, np.int32(0))
    down = max(n - np.int32(3), np.int32(0))
    return (n << 3) + (((v >> down) << up) & np.int32(7))


@nb.njit(inline="always")
def _scaled(value: int, shift: int) -> int:
    """Value · 2^-shift, rounded half up, clipped to s7; shift in −30 … 30, value below 2^24."""
    down = max(np.int32(shift), np.int32(0))
    up = min(max(np.int32(-shift), np.int32(0)), np.int32(6))
    rounding = (np.int32(1) << down) >> np.int32(1)
    q = ((np.int32(value) + rounding) >> down) << up
    return min(max(q, np.int32(-63)), np.int32(63))


@nb.njit(inline="always")
def _median_edge(west: int, north: int, north_west: int) -> int:
    """LOCO-I's median edge detector (ITU-T T.87 A.4)."""
    low, high = min(west, north), max(west, north)
    return min(max(west + north - north_west, low), high)


@jit
def regressor_count(n_refs: int) -> int:
    """Weights of the linear path with ``n_refs`` earlier planes."""
    return _N_OWN + 1 + n_refs * (_N_REF + 2)


@jit
def linear_inputs(
    own: Any, refs: Any, ref_errors: Any, n_refs: int, t: int, y0: int, n: int, taps: Any, base: Any
) -> None:
    """Fill ``taps`` (REGRESSORS, rows) int32, differences to the local means, and ``base``."""
    t0 = t + TIME_PAD
    yp = y0 + TOP_PAD
    west = own[t0 - 1]
    north = own[t0 - SHEAR]
    north_west = own[t0 - SHEAR - 1]
    north_east = own[t0 - SHEAR + 1]
    for i in range(n):
        w, nn, nw, ne = (
            west[yp + i],
            north[yp + i - 1],
            north_west[yp + i - 1],
            north_east[yp + i - 1],
        )
        b = (w + nn + nw + ne + np.int32(2)) >> np.int32(2)
        base[i] = b
        taps[_N_OWN, i] = _median_edge(w, nn, nw) - b
    for k in range(_N_OWN):
        row = own[t0 + _OWN_DX[k] + SHEAR * _OWN_DY[k]]
        shift = yp + _OWN_DY[k]
        for i in range(n):
            taps[k, i] = row[shift + i] - base[i]
    for r in range(n_refs):
        plane = refs[r]
        first = _N_OWN + 1 + r * (_N_REF + 2)
        rw = plane[t0 - 1]
        rn = plane[t0 - SHEAR]
        rnw = plane[t0 - SHEAR - 1]
        rne = plane[t0 - SHEAR + 1]
        here = plane[t0]
        error = ref_errors[r, t0]
        for i in range(n):
            w, nn, nw, ne = rw[yp + i], rn[yp + i - 1], rnw[yp + i - 1], rne[yp + i - 1]
            taps[first + _N_REF + 1, i] = (w + nn + nw + ne + np.int32(2)) >> np.int32(2)
            taps[first + _N_REF, i] = here[yp + i] - _median_edge(w, nn, nw)
        for k in range(_N_REF):
            row = plane[t0 + _REF_DX[k] + SHEAR * _REF_DY[k]]
            shift = yp + _REF_DY[k]
            for i in range(n):
                taps[first + k, i] = row[shift + i] - taps[first + _N_REF + 1, i]
        for i in range(n):
            taps[first + _N_REF + 1, i] = error[yp + i]


@jit
def linear_prediction(
    taps: Any, base: Any, weights: Any, n_taps: int, top: int, n: int, acc: Any, out: Any
) -> None:
    """out = base + Σ weight·tap in 1/64 steps, clipped to 0 … top."""
    for i in range(n):
        acc[i] = np.int64(1 << (WEIGHT_BITS - FRACTION_BITS - 1))
    for k in range(n_taps):
        w = np.int64(weights[k])
        if w != 0:
            row = taps[k]
            for i in range(n):
                acc[i] += w * np.int64(row[i])
    limit = np.int64(top) << FRACTION_BITS
    for i in range(n):
        p = (np.int64(base[i]) << FRACTION_BITS) + (acc[i] >> (WEIGHT_BITS - FRACTION_BITS))
        out[i] = np.int32(min(max(p, np.int64(0)), limit))


@jit
def first_features(
    taps: Any,
    base: Any,
    linear: Any,
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    t: int,
    y0: int,
    n: int,
    top: int,
    features: Any,
    scale: Any,
    activity_log: Any,
) -> None:
    """Fill ``features`` (FEATURES, rows) float32, integers −63 … 63, and the exponent."""
    t0 = t + TIME_PAD
    yp = y0 + TOP_PAD
    f = _N_OWN
    for i in range(n):
        near = abs(taps[0, i]) + abs(taps[1, i]) + abs(taps[2, i]) + abs(taps[3, i])
        far = np.int32(0)
        for k in range(4, _N_OWN):
            far += abs(taps[k, i])
        act = 2 * near + far
        exponent = _bit_length(act) - np.int32(9)
        scale[i] = exponent
        log_act = _log8(act)
        activity_log[i] = log_act
        features[f, i] = _scaled(linear[i] - (base[i] << FRACTION_BITS), exponent + FRACTION_BITS)
        features[f + 1, i] = _scaled(taps[_N_OWN, i], exponent)
        features[f + 2, i] = (log_act >> 1) - 40
        up = max(-exponent - 2, 0)
        down = max(exponent + 2, 0)
        features[f + 3, i] = min(max((((act >> down) << up) & 127) - 96, -63), 63)
        features[f + 4, i] = min(max(_log8(3 * near) - _log8(far), -63), 63)
        features[f + 5, i] = _scaled(linear[i], exponent + FRACTION_BITS + 1)
        features[f + 6, i] = _scaled(
            (top << FRACTION_BITS) - linear[i], exponent + FRACTION_BITS + 1
        )
        w, nn, nw, ne, ww, nnn = (
            taps[0, i],
            taps[1, i],
            taps[2, i],
            taps[3, i],
            taps[4, i],
            taps[5, i],
        )
        features[f + 7, i] = 32 * (nn == nw)
        features[f + 8, i] = 32 * (w == nw)
        features[f + 9, i] = 32 * (nn == ne)
        features[f + 10, i] = 32 * (ww == w)
        features[f + 11, i] = 32 * (nnn == nn)
        features[f + 12, i] = 32 * (w == nn)
    for k in range(_N_OWN):
        for i in range(n):
            features[k, i] = _scaled(taps[k, i], scale[i])
    f += 13
    for r in range(2):
        wide = r == 0
        width = 14 if wide else 5
        if r >= n_refs:
            features[f : f + width, :n] = 0
            f += width
            continue
        first = _N_OWN + 1 + r * (_N_REF + 2)
        error = ref_errors[r]
        e0 = error[t0]
        e_west, e_north = error[t0 - 1], error[t0 - SHEAR]
        e_east, e_south = error[t0 + 1], error[t0 + SHEAR]
        here, r_west, r_north = refs[r, t0], refs[r, t0 - 1], refs[r, t0 - SHEAR]
        if wide:
            for i in range(n):
                energy = (
                    2 * abs(e0[yp + i])
                    + abs(e_west[yp + i])
                    + abs(e_north[yp + i - 1])
                    + abs(e_east[yp + i])
                    + abs(e_south[yp + i + 1])
                )
                energy = min(energy, 1 << 24)
                features[f, i] = 32
                features[f + 1, i] = _scaled(taps[first, i], scale[i])
                features[f + 2, i] = _scaled(taps[first + 1, i], scale[i])
                features[f + 3, i] = _scaled(taps[first + 2, i], scale[i])
                features[f + 4, i] = _scaled(taps[first + 3, i], scale[i])
                features[f + 5, i] = _scaled(taps[first + 4, i], scale[i])
                features[f + 6, i] = _scaled(taps[first + 7, i], scale[i])
                features[f + 7, i] = _scaled(taps[first + 8, i], scale[i])
                features[f + 8, i] = _scaled(taps[first + 9, i], scale[i])
                features[f + 9, i] = _scaled(taps[first + 10, i], scale[i] - 1)
                features[f + 10, i] = 32 * (here[yp + i] == r_west[yp + i])
                features[f + 11, i] = 32 * (here[yp + i] == r_north[yp + i - 1])
                log_energy = _log8(energy)
                features[f + 12, i] = min(max(log_energy - activity_log[i] + 16, -63), 63)
                features[f + 13, i] = (log_energy >> 1) - 32
        else:
            for i in range(n):
                energy = min(
                    2 * abs(e0[yp + i]) + abs(e_east[yp + i]) + abs(e_south[yp + i + 1]), 1 << 24
                )
                features[f, i] = 32
                features[f + 1, i] = _scaled(taps[first, i], scale[i])
                features[f + 2, i] = _scaled(taps[first + 9, i], scale[i])
                features[f + 3, i] = _scaled(taps[first + 10, i], scale[i] - 1)
                features[f + 4, i] = min(max(_log8(energy) - activity_log[i] + 16, -63), 63)
        f += width


@jit_fma
def dense(inputs: Any, weights: Any, n_in: int, n_out: int, n: int, acc: Any) -> None:
    """acc[j] = Σ weights[j, k]·inputs[k] over float32 rows that hold integers; n_in % 8 == 0."""
    for j in range(n_out):
        a = acc[j]
        for i in range(n):
            a[i] = np.float32(0)
        for k in range(0, n_in, 8):
            w0, w1, w2, w3 = weights[j, k], weights[j, k + 1], weights[j, k + 2], weights[j, k + 3]
            w4, w5, w6, w7 = (
                weights[j, k + 4],
                weights[j, k + 5],
                weights[j, k + 6],
                weights[j, k + 7],
            )
            x0, x1, x2, x3 = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
            x4, x5, x6, x7 = inputs[k + 4], inputs[k + 5], inputs[k + 6], inputs[k + 7]
            for i in range(n):
                a[i] += (
                    w0 * x0[i]
                    + w1 * x1[i]
                    + w2 * x2[i]
                    + w3 * x3[i]
                    + w4 * x4[i]
                    + w5 * x5[i]
                    + w6 * x6[i]
                    + w7 * x7[i]
                )


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
def first_correction(
    acc: Any, bias: int, shift: int, linear: Any, scale: Any, top: int, n: int, mean: Any
) -> None:
    """mean = linear + the network's correction, in 1/64 steps; one unit is 2^(exponent − 4)."""
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    for i in range(n):
        c = (np.int32(acc[0, i]) + bias) >> shift
        c = min(max(c, np.int32(-2047)), np.int32(2047))
        s = scale[i] + np.int32(FRACTION_BITS - 4)
        up, down = max(s, np.int32(0)), max(-s, np.int32(0))
        c = ((c << up) + ((np.int32(1) << down) >> np.int32(1))) >> down
        mean[i] = min(max(linear[i] + c, np.int32(0)), limit)


@jit
def second_features(
    errors: Any,
    ref_errors: Any,
    n_refs: int,
    t: int,
    y0: int,
    n: int,
    activity_log: Any,
    features: Any,
    scale: Any,
    error_log: Any,
) -> None:
    """Fill rows HIDDEN … of ``features`` with the errors already made around the sample."""
    t0 = t + TIME_PAD
    yp = y0 + TOP_PAD
    west, north = errors[t0 - 1], errors[t0 - SHEAR]
    nw, ne = errors[t0 - SHEAR - 1], errors[t0 - SHEAR + 1]
    ww, nn = errors[t0 - 2], errors[t0 - 2 * SHEAR]
    f5, f6 = errors[t0 - SHEAR - 2], errors[t0 - 2 * SHEAR - 1]
    f7, f8, f9 = errors[t0 - 2 * SHEAR + 1], errors[t0 - 3], errors[t0 - 3 * SHEAR]
    r0 = ref_errors[0, t0]
    rw, rn, re, rs = (
        ref_errors[0, t0 - 1],
        ref_errors[0, t0 - SHEAR],
        ref_errors[0, t0 + 1],
        ref_errors[0, t0 + SHEAR],
    )
    f = HIDDEN
    for i in range(n):
        y = yp + i
        a0, a1, a2 = abs(west[y]), abs(north[y - 1]), abs(nw[y - 1])
        a3, a4, a5 = abs(ne[y - 1]), abs(ww[y]), abs(nn[y - 2])
        wide = abs(f5[y - 1]) + abs(f6[y - 2]) + abs(f7[y - 2]) + abs(f8[y]) + abs(f9[y - 3])
        near = 2 * (a0 + a1) + a2 + a3 + a4 + a5
        both = near + wide
        exponent = _bit_length(both) - np.int32(8)
        log_both = _log8(both)
        scale[i] = exponent
        error_log[i] = log_both
        features[f, i] = _scaled(west[y], exponent)
        features[f + 1, i] = _scaled(north[y - 1], exponent)
        features[f + 2, i] = _scaled(nw[y - 1], exponent)
        features[f + 3, i] = _scaled(ne[y - 1], exponent)
        features[f + 4, i] = _scaled(ww[y], exponent)
        features[f + 5, i] = _scaled(nn[y - 2], exponent)
        features[f + 6, i] = max(_log8(a0) - log_both + 28, -63)
        features[f + 7, i] = max(_log8(a1) - log_both + 28, -63)
        features[f + 8, i] = max(_log8(a2) - log_both + 28, -63)
        features[f + 9, i] = max(_log8(a3) - log_both + 28, -63)
        features[f + 10, i] = max(_log8(a4) - log_both + 28, -63)
        features[f + 11, i] = max(_log8(a5) - log_both + 28, -63)
        features[f + 12, i] = max(_log8(wide) - log_both + 12, -63)
        features[f + 13, i] = min((log_both >> 1) - 50, 63)
        features[f + 14, i] = min(max(log_both - activity_log[i] - 32, -63), 63)
        features[f + 15, i] = 8 * (log_both & 7) - 28
        features[f + 16, i] = 0
        features[f + 17, i] = 0
        features[f + 18, i] = 0
        features[f + 19, i] = 0
        features[f + 20, i] = 0
        features[f + 21, i] = 0
        features[f + 22, i] = 0
        features[f + 23, i] = 0
    if n_refs > 0:
        for i in range(n):
            y = yp + i
            b0 = min(abs(r0[y]), 1 << 22)
            around = b0 + abs(rw[y]) + abs(rn[y - 1]) + abs(re[y]) + abs(rs[y + 1])
            around = min(around, 1 << 22)
            shift = scale[i] - np.int32(FRACTION_BITS)
            features[f + 16, i] = 32
            features[f + 17, i] = min(max(_log8(b0 << 6) - error_log[i] + 16, -63), 63)
            features[f + 18, i] = min(max(_log8(around << 6) - error_log[i], -63), 63)
            features[f + 19, i] = _scaled(min(max(r0[y], -(1 << 22)), 1 << 22), shift)
    if n_refs > 1:
        q0 = ref_errors[1, t0]
        for i in range(n):
            y = yp + i
            b0 = min(abs(q0[y]), 1 << 22)
            features[f + 20, i] = 32
            features[f + 21, i] = min(max(_log8(b0 << 6) - error_log[i] + 16, -63), 63)


@jit
def second_outputs(
    acc: Any,
    bias: Any,
    shift: Any,
    first_mean: Any,
    scale: Any,
    error_log: Any,
    top: int,
    n: int,
    mean: Any,
    context: Any,
) -> None:
    """Correct the mean and choose the table: scale index 0 … 47 times three, plus shape 0 … 2."""
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    for i in range(n):
        c = (np.int32(acc[0, i]) + bias[0]) >> shift[0]
        c = min(max(c, np.int32(-2047)), np.int32(2047))
        s = scale[i] - np.int32(4)
        up, down = max(s, np.int32(0)), max(-s, np.int32(0))
        c = ((c << up) + ((np.int32(1) << down) >> np.int32(1))) >> down
        mean[i] = min(max(first_mean[i] + c, np.int32(0)), limit)
        spread = (np.int32(acc[1, i]) + bias[1]) >> shift[1]
        spread = min(max(spread, np.int32(-1023)), np.int32(1023))
        # in 1/24 octaves: error_log counts eighths of one, spread counts 1/48
        level = (3 * error_log[i] + (spread >> np.int32(1)) - np.int32(129)) >> np.int32(3)
        level = min(max(level, np.int32(0)), np.int32(47))
        shape = (np.int32(acc[2, i]) + bias[2]) >> shift[2]
        context[i] = 3 * level + np.int32(shape > -16) + np.int32(shape > 16)


@jit
def predict_step(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    errors: Any,
    t: int,
    y0: int,
    n: int,
    top: int,
    weights: Any,
    net: Any,
    work: Any,
    mean1: Any,
    mean2: Any,
    context: Any,
) -> None:
    """Predict rows y0 … y0 + n − 1 of step ``t``.

    own : (T, Y) int32 sheared samples, complete up to this step.
    refs, ref_errors : (2, T, Y) int32 earlier planes and their residuals.
    errors : (T, Y) int32, first-stage errors in 1/64 steps, complete up to this step.
    net : the tuple of ``Network.arrays``; an empty first layer means the linear path alone.
    mean1, mean2 : (rows,) int32 out, predictions of both stages in 1/64 steps.
    context : (rows,) int32 out, index of the table's scale and shape.
    """
    (
        taps,
        base,
        acc64,
        linear,
        features,
        scale,
        activity_log,
        acc,
        features2,
        scale2,
        error_log,
    ) = work
    (w1, b1, s1, w1o, b1o, s1o, w2, b2, s2, w2o, b2o, s2o) = net
    linear_inputs(own, refs, ref_errors, n_refs, t, y0, n, taps, base)
    n_taps = regressor_count(n_refs)
    linear_prediction(taps, base, weights, n_taps, top, n, acc64, linear)
    first_features(
        taps,
        base,
        linear,
        own,
        refs,
        ref_errors,
        n_refs,
        t,
        y0,
        n,
        top,
        features,
        scale,
        activity_log,
    )
    dense(features, w1, FEATURES, HIDDEN, n, acc)
    requantise(acc, b1, s1, HIDDEN, n, features2)
    dense(features2, w1o, HIDDEN, 1, n, acc)
    first_correction(acc, b1o[0], s1o[0], linear, scale, top, n, mean1)
    second_features(
        errors, ref_errors, n_refs, t, y0, n, activity_log, features2, scale2, error_log
    )
    dense(features2, w2, STAGE2_FEATURES, HIDDEN, n, acc)
    requantise(acc, b2, s2, HIDDEN, n, features)
    dense(features, w2o, HIDDEN, 3, n, acc)
    second_outputs(acc, b2o, s2o, mean1, scale2, error_log, top, n, mean2, context)


@jit
def workspace(height: int, width: int) -> Any:
    """Allocate what one call of ``predict_step`` after another needs for a plane."""
    n = min(height, (width + SHEAR - 1) // SHEAR) + 1
    return (
        np.zeros((REGRESSORS, n), np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int64),
        np.zeros(n, np.int32),
        np.zeros((FEATURES, n), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros((HIDDEN, n), np.float32),
        np.zeros((STAGE2_FEATURES, n), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
    )
