"""Device functions that decoding and encoding share: votes, and the prediction of one sample.

The scalar arithmetic is not written twice: ``_from_cpu`` compiles the CPU's own functions anew.
What is made of it is: by rows of a step in ``predictor.py``, sample by sample here.

A block holds a plane or a step, a thread a row of the wavefront's step (and every ``threads``-th
row after it). The rows that take part in something are *voted* into bit masks in shared memory; a
row's place among them is the population count of the bits before its own. A vote is one atomic OR
and a place is a few ``popc``, with one barrier between, so that the same lines run in the
simulator, which has no warps. On hardware a vote of 32 neighbours may become a ballot.

Everything is integer; numba widens int32 to int64 in every operation, so nothing wraps. States of
the coder are held in int64, because numba makes float64 of an int64 and a uint64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numba import config, cuda

from tilepress.codecs.wave.cuda.batches import MAX_ROWS
from tilepress.codecs.wave.cuda.scalar import (
    bit_length,
    cell_of,
    clip_s7,
    device,
    log8,
    lower,
    median_edge,
    position_of,
    scaled_s7,
    upper,
)
from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    LEFT,
    MAX_HIDDEN,
    MAX_SETS,
    OWN_FEATURES,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    RIGHT,
    SHEAR,
    WEIGHT_BITS,
)

__all__ = [
    "FIRST",
    "FLAGGED",
    "GAIN",
    "LANES",
    "LAYER_SIZE",
    "LINEAR_SIZE",
    "MASKS",
    "MASK_WORDS",
    "NODES",
    "NORTH",
    "RAW_FROM",
    "RAW_TO",
    "SETS",
    "SETTINGS",
    "TOKEN",
    "TOP",
    "WEST",
    "WORDS_FROM",
    "WORDS_TO",
    "LinearPath",
    "Network",
    "Planes",
    "Surroundings",
    "clear",
    "kernel",
    "load",
    "look_around",
    "place",
    "predict_linear",
    "predict_network",
    "store",
    "sum_all",
    "sum_below",
    "total",
    "vote",
    "vote_count",
    "voted",
]

SETTINGS = 11
"""Numbers that differ from plane to plane: the constants below index them."""
TOP, FIRST, GAIN, LANES, SETS, FLAGGED, NODES, WORDS_FROM, WORDS_TO, RAW_FROM, RAW_TO = range(11)

MASKS = 8
"""Masks that a step's rows are voted into: three by kind of symbol, five by the bits of a count."""
WEST, NORTH, TOKEN, _COUNT = range(4)
_COUNT_BITS = 5
MASK_WORDS = MAX_ROWS // 32 + 1
LINEAR_SIZE = MAX_SETS * REGRESSORS
LAYER_SIZE = FEATURES * MAX_HIDDEN

_N_OWN = len(OWN_TAPS)
_N_REF = len(REFERENCE_TAPS)
# from a sample to its neighbours: steps and rows
_OWN_AT = np.array([(dx + SHEAR * dy, dy) for dy, dx in OWN_TAPS], np.int32)
_REF_AT = np.array([(dx + SHEAR * dy, dy) for dy, dx in REFERENCE_TAPS], np.int32)
_ERROR_AT = np.array([(dx + SHEAR * dy, dy) for dy, dx in OWN_TAPS[:6]], np.int32)
_WIDE_AT = np.array(
    [(dx + SHEAR * dy, dy) for dy, dx in ((-1, -2), (-2, -1), (-2, 1), (0, -3), (-3, 0))], np.int32
)
_AROUND_AT = np.array([(0, 0), (-1, 0), (1, 0), (-SHEAR, -1), (SHEAR, 1)], np.int32)
_PICKED = np.array([0, 1, 2, 3, 4, 7, 8, 9], np.int32)


config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a batch of few planes is no mistake
_jit: Any = cuda.jit  # untyped, and the simulator's takes fewer options


def kernel(function: Any) -> Any:
    """Compile a kernel: with 128 registers a thread, two blocks of 256 share a multiprocessor."""
    if config.ENABLE_CUDASIM:
        return _jit(_with_our_cuda(function))
    return _jit(max_registers=128)(function)


def _with_our_cuda(function: Any) -> Any:
    """Let a simulated kernel of another module see the ``cuda`` that is seen here.

    The simulator puts a stand-in for numba's module into the globals of what it runs, and there
    only. Run from here, it does so for the device functions below; the kernel needs it as well.
    """

    def run(*arguments: Any) -> None:
        function.__globals__["cuda"] = cuda
        function(*arguments)

    return run


# Votes -------------------------------------------------------------------------------------------


@device
def vote(masks: Any, row: int, i: int) -> None:
    """Set bit ``i`` of a mask. Neighbours share a word: on hardware a ballot may take its place."""
    cuda.atomic.or_(masks, (row, i >> 5), np.uint32(1 << (i & 31)))


@device
def voted(masks: Any, row: int, i: int) -> bool:
    return (masks[row, i >> 5] >> np.uint32(i & 31)) & np.uint32(1) != 0


@device
def place(masks: Any, row: int, i: int) -> int:
    """How many bits below ``i`` are set, after a barrier."""
    word = i >> 5
    count = cuda.popc(np.uint32(masks[row, word] & np.uint32((1 << (i & 31)) - 1)))
    for k in range(word):
        count += cuda.popc(masks[row, k])
    return count


@device
def total(masks: Any, row: int, words: int) -> int:
    """How many bits are set in the first ``words`` of a mask."""
    count = 0
    for k in range(words):
        count += cuda.popc(masks[row, k])
    return count


@device
def vote_count(masks: Any, first: int, i: int, count: int) -> None:
    """Vote a number below 32 into as many masks as it has bits."""
    for bit in range(_COUNT_BITS):
        if (count >> bit) & 1:
            vote(masks, first + _COUNT + bit, i)


@device
def sum_below(masks: Any, first: int, i: int) -> int:
    """Sum of the numbers voted below ``i``."""
    out = 0
    for bit in range(_COUNT_BITS):
        out += place(masks, first + _COUNT + bit, i) << bit
    return out


@device
def sum_all(masks: Any, first: int, words: int) -> int:
    out = 0
    for bit in range(_COUNT_BITS):
        out += total(masks, first + _COUNT + bit, words) << bit
    return out


@device
def clear(masks: Any, first: int, words: int) -> None:
    """Zero the words in use of eight masks, by all threads; a barrier must follow."""
    for k in range(cuda.threadIdx.x, MASKS * words, cuda.blockDim.x):
        masks[first + k // words, k % words] = 0


# What a sample is predicted from and with ---------------------------------------------------------


class Planes(NamedTuple):
    """Sheared arrays of a plane: its samples and errors, its references and theirs."""

    own: Any
    """(L,) int32."""
    errors: Any
    """(L,) int32, of the linear path in 1/64 steps."""
    refs: Any
    """(references, L) int32."""
    ref_errors: Any
    """(references, L) int32."""
    n_refs: int
    height: int
    width: int
    pitch: int
    """Of the sheared arrays, ``wavefront.pitch_of``."""


class LinearPath(NamedTuple):
    """The linear path of a plane, as ``backend.LinearPath``."""

    sets: int
    thresholds: Any
    cells: Any
    weights: Any
    """(MAX_SETS · REGRESSORS,) int32."""


class Network(NamedTuple):
    """The network that the planes of a launch share."""

    units: int
    """Hidden ones; none leaves the correction 0 and the table to the errors around."""
    weights: Any
    """(FEATURES · units,) float32, by feature."""
    bias: Any
    shift: Any
    out_weights: Any
    """(3, units) float32, at least."""
    out_bias: Any
    out_shift: Any


class Surroundings(NamedTuple):
    """What the neighbours of a sample are like."""

    base: int
    """Mean of four of them."""
    pattern: int
    """Which of them are equal, bits as in ``predictor.patterns``."""
    near: int
    activity: int
    activity_log: int


class _Errors(NamedTuple):
    """How large the errors around a sample are: far ones, exponent and logarithm of all."""

    wide: int
    scale: int
    log: int


# Prediction of one sample, at ``[at]`` of sheared arrays --------------------------------------


@device
def look_around(planes: Planes, at: int, taps: Any) -> Surroundings:
    """Fill ``taps`` (REGRESSORS,) of a sample; return what its neighbours are like."""
    base = _fill_taps(planes, at, taps)
    near = abs(taps[0]) + abs(taps[1]) + abs(taps[2]) + abs(taps[3])
    activity = 2 * near
    for k in range(4, _N_OWN):
        activity += abs(taps[k])
    return Surroundings(base, _pattern_of(taps, planes.n_refs), near, activity, log8(activity))


@device
def _fill_taps(planes: Planes, at: int, taps: Any) -> int:
    own, refs, pitch = planes.own, planes.refs, planes.pitch
    own_at = cuda.const.array_like(_OWN_AT)
    ref_at = cuda.const.array_like(_REF_AT)
    west, north = own[at - pitch], own[at - 2 * pitch - 1]
    north_west, north_east = own[at - 3 * pitch - 1], own[at - pitch - 1]
    base = (west + north + north_west + north_east + 2) >> 2
    for k in range(_N_OWN):
        taps[k] = own[at + own_at[k, 0] * pitch + own_at[k, 1]] - base
    taps[_N_OWN] = median_edge(west, north, north_west) - base
    for r in range(planes.n_refs):
        first = _N_OWN + 1 + r * (_N_REF + 2)
        west, north = refs[r, at - pitch], refs[r, at - 2 * pitch - 1]
        north_west = refs[r, at - 3 * pitch - 1]
        north_east = refs[r, at - pitch - 1]
        mean = (west + north + north_west + north_east + 2) >> 2
        for k in range(_N_REF):
            taps[first + k] = refs[r, at + ref_at[k, 0] * pitch + ref_at[k, 1]] - mean
        taps[first + _N_REF] = refs[r, at] - median_edge(west, north, north_west)
        taps[first + _N_REF + 1] = planes.ref_errors[r, at]
    return base


@device
def _pattern_of(taps: Any, n_refs: int) -> int:
    west, north, north_west = taps[0], taps[1], taps[2]
    bits = (
        int(north == north_west)
        + (int(west == north_west) << 1)
        + (int(north == taps[3]) << 2)
        + (int(taps[4] == west) << 3)
        + (int(taps[5] == north) << 4)
        + (int(west == north) << 5)
    )
    for r in range(n_refs):
        first = _N_OWN + 1 + r * (_N_REF + 2)
        here = taps[first]
        bits += (int(here == taps[first + 1]) << (6 + 2 * r)) + (
            int(here == taps[first + 2]) << (7 + 2 * r)
        )
    return bits


@device
def predict_linear(taps: Any, around: Surroundings, path: LinearPath, n_refs: int, top: int) -> int:
    """Return the linear path's prediction, in 1/64 steps; ``predictor.predict_linear``."""
    first = 0
    if path.sets > 1:
        cell = cell_of(around.activity_log, around.pattern, path.thresholds)
        first = path.cells[cell] * REGRESSORS
    out = np.int64(1 << (WEIGHT_BITS - FRACTION_BITS - 1))
    for k in range(_N_OWN + 1 + n_refs * (_N_REF + 2)):
        out += np.int64(path.weights[first + k]) * np.int64(taps[k])
    moved = (np.int64(around.base) << FRACTION_BITS) + (out >> (WEIGHT_BITS - FRACTION_BITS))
    return lower(upper(moved, 0), np.int64(top) << FRACTION_BITS)


@device
def _errors_around(errors: Any, at: int, pitch: int) -> _Errors:
    wide_at = cuda.const.array_like(_WIDE_AT)
    near_at = cuda.const.array_like(_ERROR_AT)
    wide = 0
    for k in range(5):
        wide += abs(errors[at + wide_at[k, 0] * pitch + wide_at[k, 1]])
    out = wide
    for k in range(6):
        size = abs(errors[at + near_at[k, 0] * pitch + near_at[k, 1]])
        out += 2 * size if k < 2 else size
    return _Errors(wide, bit_length(out) - 8, log8(out))


@device
def _own_features(
    errors: Any,
    at: int,
    pitch: int,
    top: int,
    taps: Any,
    around: Surroundings,
    linear: int,
    sizes: _Errors,
    features: Any,
) -> None:
    """Fill rows 0 … 47 of the features; ``predictor.own_features`` for one sample."""
    near_at = cuda.const.array_like(_ERROR_AT)
    base, near, act, act_log = around.base, around.near, around.activity, around.activity_log
    scale = bit_length(act) - 9
    for k in range(_N_OWN):
        features[k] = scaled_s7(taps[k], scale)
    features[16] = scaled_s7(linear - (base << FRACTION_BITS), scale + FRACTION_BITS)
    features[17] = scaled_s7(taps[_N_OWN], scale)
    features[18] = (act_log >> 1) - 40
    up, down = upper(-scale - 2, 0), upper(scale + 2, 0)
    features[19] = clip_s7((((act >> down) << up) & 127) - 96)
    features[20] = clip_s7(log8(3 * near) - log8(act - 2 * near))
    features[21] = scaled_s7(linear, scale + FRACTION_BITS + 1)
    features[22] = scaled_s7((top << FRACTION_BITS) - linear, scale + FRACTION_BITS + 1)
    for k in range(6):
        features[23 + k] = ((around.pattern >> k) & 1) << 5
        error = errors[at + near_at[k, 0] * pitch + near_at[k, 1]]
        features[29 + k] = scaled_s7(error, sizes.scale)
        features[35 + k] = upper(log8(abs(error)) - sizes.log + 28, -63)
    features[41] = upper(log8(sizes.wide) - sizes.log + 12, -63)
    features[42] = lower((sizes.log >> 1) - 50, 63)
    features[43] = clip_s7(sizes.log - act_log - 32)
    features[44] = ((sizes.log & 7) << 3) - 28
    for k in range(3):
        tap = taps[k if k < 2 else _N_OWN]
        features[45 + k] = scaled_s7(((base + tap) << FRACTION_BITS) - linear, sizes.scale)


@device
def _energy(ref_errors: Any, r: int, at: int, pitch: int) -> int:
    near_at = cuda.const.array_like(_AROUND_AT)
    out = 0
    for k in range(5):
        out += abs(ref_errors[r, at + near_at[k, 0] * pitch + near_at[k, 1]])
    return lower(out, 1 << 22)


@device
def _reference_features(
    planes: Planes,
    at: int,
    taps: Any,
    around: Surroundings,
    sizes: _Errors,
    features: Any,
) -> None:
    """Fill rows 48 … 71 of the features; ``predictor.reference_features`` for one sample."""
    near_at = cuda.const.array_like(_AROUND_AT)
    picked = cuda.const.array_like(_PICKED)
    ref_errors, pattern, pitch = planes.ref_errors, around.pattern, planes.pitch
    scale = bit_length(around.activity) - 9
    f, first = OWN_FEATURES, _N_OWN + 1
    features[f] = 32
    for k in range(8):
        features[f + 1 + k] = scaled_s7(taps[first + picked[k]], scale)
    for k in range(3):  # here, west, north
        step = k if k < 2 else 3
        error = ref_errors[0, at + near_at[step, 0] * pitch + near_at[step, 1]]
        features[f + 9 + k] = scaled_s7(error, sizes.scale - FRACTION_BITS)
    features[f + 12] = ((pattern >> 6) & 1) << 5
    features[f + 13] = ((pattern >> 7) & 1) << 5
    size = lower(abs(ref_errors[0, at]), 1 << 22)
    features[f + 14] = clip_s7(log8(size << FRACTION_BITS) - sizes.log + 16)
    energy = _energy(ref_errors, 0, at, pitch)
    features[f + 15] = clip_s7(log8(energy << FRACTION_BITS) - sizes.log)
    features[f + 16] = (log8(energy) >> 1) - 32
    f += 17
    if planes.n_refs < 2:
        for k in range(7):
            features[f + k] = 0
        return
    first += _N_REF + 2
    features[f] = 32
    features[f + 1] = scaled_s7(taps[first], scale)
    features[f + 2] = scaled_s7(taps[first + 9], scale)
    error = taps[first + 10]
    features[f + 3] = scaled_s7(error, sizes.scale - FRACTION_BITS)
    size = lower(abs(error), 1 << 22)
    features[f + 4] = clip_s7(log8(size << FRACTION_BITS) - sizes.log + 16)
    energy = _energy(ref_errors, 1, at, pitch)
    features[f + 5] = clip_s7(log8(energy << FRACTION_BITS) - sizes.log)
    features[f + 6] = ((pattern >> 8) & 1) << 5


@device
def _activation(value: float, bias: int, shift: int) -> float:
    whole = (np.int32(value) + bias + ((1 << shift) >> 1)) >> shift
    return np.float32(lower(upper(whole, 0), 127))


@device
def _dense(features: Any, n_in: int, network: Network, sums: Any) -> None:
    """Fill ``sums`` (3,) float32 of both layers: integers below 2^24, exact in any order."""
    units, weights, bias, shift = network.units, network.weights, network.bias, network.shift
    zero = np.float32(0)
    sums[0] = zero
    sums[1] = zero
    sums[2] = zero
    for j in range(0, units, 8):
        a0, a1, a2, a3 = zero, zero, zero, zero
        a4, a5, a6, a7 = zero, zero, zero, zero
        for k in range(n_in):
            x = features[k]
            at = k * units + j
            a0 += weights[at] * x
            a1 += weights[at + 1] * x
            a2 += weights[at + 2] * x
            a3 += weights[at + 3] * x
            a4 += weights[at + 4] * x
            a5 += weights[at + 5] * x
            a6 += weights[at + 6] * x
            a7 += weights[at + 7] * x
        a0 = _activation(a0, bias[j], shift[j])
        a1 = _activation(a1, bias[j + 1], shift[j + 1])
        a2 = _activation(a2, bias[j + 2], shift[j + 2])
        a3 = _activation(a3, bias[j + 3], shift[j + 3])
        a4 = _activation(a4, bias[j + 4], shift[j + 4])
        a5 = _activation(a5, bias[j + 5], shift[j + 5])
        a6 = _activation(a6, bias[j + 6], shift[j + 6])
        a7 = _activation(a7, bias[j + 7], shift[j + 7])
        for k in range(3):
            w = network.out_weights[k]
            sums[k] += (
                w[j] * a0
                + w[j + 1] * a1
                + w[j + 2] * a2
                + w[j + 3] * a3
                + w[j + 4] * a4
                + w[j + 5] * a5
                + w[j + 6] * a6
                + w[j + 7] * a7
            )


@device
def predict_network(
    planes: Planes,
    at: int,
    top: int,
    taps: Any,
    around: Surroundings,
    linear: int,
    network: Network,
) -> tuple[int, int]:
    """Return correction and context of a sample; ``predictor.predict_network``."""
    sizes = _errors_around(planes.errors, at, planes.pitch)
    if network.units == 0:
        level = (3 * sizes.log - 129) >> 3
        return 0, 3 * lower(upper(level, 0), 47) + 1
    features = cuda.local.array(FEATURES, nb.float32)
    where = (planes.errors, at, planes.pitch)
    _own_features(*where, top, taps, around, linear, sizes, features)
    n_in = OWN_FEATURES
    if planes.n_refs > 0:
        n_in = FEATURES
        _reference_features(planes, at, taps, around, sizes, features)
    sums = cuda.local.array(3, nb.float32)
    _dense(features, n_in, network, sums)
    bias, shift = network.out_bias, network.out_shift
    c = lower(upper((np.int32(sums[0]) + bias[0]) >> shift[0], -2047), 2047)
    e = sizes.scale - 4
    up, down = upper(e, 0), upper(-e, 0)
    correction = ((c << up) + ((1 << down) >> 1)) >> down
    spread = lower(upper((np.int32(sums[1]) + bias[1]) >> shift[1], -1023), 1023)
    level = (3 * sizes.log + (spread >> 1) - 129) >> 3
    shape = (np.int32(sums[2]) + bias[2]) >> shift[2]
    context = 3 * lower(upper(level, 0), 47) + int(shape > -16) + int(shape > 16)
    return correction, context


# Arrays ------------------------------------------------------------------------------------------


@device
def store(sheared: Any, t: int, y: int, value: int, planes: Planes) -> None:
    """Write a sample, and the margins that repeat it: right of its row, left of the next.

    No thread of the same step reads what is written here.
    """
    x, pitch = t - SHEAR * y, planes.pitch
    at = position_of(t, y, pitch)
    sheared[at] = value
    if x == planes.width - 1:
        for k in range(1, RIGHT + 1):
            sheared[at + k * pitch] = value
    if x == 0 and y + 1 < planes.height:
        below = position_of(t + SHEAR, y + 1, pitch)
        for k in range(1, LEFT + 1):
            sheared[below - k * pitch] = value


@device
def load(source: Any, target: Any, count: int) -> None:
    """Copy ``count`` numbers to shared memory by all threads; a barrier must follow."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        target[k] = source[k]
