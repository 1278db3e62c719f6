"""The device code of ``wave``: predict, decode and encode planes whole, bytes equal to the CPU's.

Only ``cuda.py`` imports this module, and only once a device (or numba's simulator) is wanted.
The scalar arithmetic is not written twice: ``_shared`` compiles the CPU's own functions anew.

Decoding is one launch: a block holds a plane, a thread a row of the wavefront's step (and every
``threads``-th row after it). The rows that take part in something are *voted* into bit masks in
shared memory; a row's place among them is the population count of the bits before its own. A vote
is one atomic OR and a place is a few ``popc``, with one barrier between, so that the same lines run
in the simulator, which has no warps. On hardware a vote of 32 neighbours may become a ballot.

Everything is integer; numba widens int32 to int64 in every operation, so nothing wraps. States of
the coder are held in int64, because numba makes float64 of an int64 and a uint64.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numba as nb
import numpy as np
from numba import config, cuda

from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    MAX_HIDDEN,
    MAX_SETS,
    OWN_FEATURES,
    OWN_PROPERTIES,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    SHEAR,
    TIME_PAD,
    TOP_PAD,
    WEIGHT_BITS,
)
from tilepress.codecs.wave.predictor import (
    HALF,
    ONE,
    bit_length,
    cell_of,
    clip_s7,
    corrected,
    log8,
    median_edge,
    scaled_s7,
)
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import ESCAPE_BITS, TOKENS, fold, table_of, token_of, unfold
from tilepress.codecs.wave.wavefront import active_rows, steps

__all__ = [
    "COLUMNS",
    "FIRST",
    "FLAGGED",
    "GAIN",
    "LANES",
    "MAX_ROWS",
    "NODES",
    "NO_WORD",
    "PATTERNS",
    "SCRATCH_ROWS",
    "SETS",
    "SETTINGS",
    "TOP",
    "decode",
    "encode_states",
    "gather_words",
    "predict_contexts",
    "predict_errors",
    "prefix_sums",
    "write_symbols",
]

MAX_ROWS = 6112
"""Rows that a step may have: records (2^26 samples at most) have 5793 at most."""
SETTINGS = 11
"""Numbers that differ from plane to plane: the constants below index them."""
TOP, FIRST, GAIN, LANES, SETS, FLAGGED, NODES = range(7)
_WORDS_FROM, _WORDS_TO, _RAW_FROM, _RAW_TO = range(7, 11)
SCRATCH_ROWS = 9
"""Rows of ``decode``'s scratch: by row of the step, then by place among the coded ones."""
_LINEAR, _MEAN, _PATTERN, _TABLE, _OPEN, _PARAM, _RESULT, _ROW, _OFFSET = range(SCRATCH_ROWS)
COLUMNS = 7
"""What ``predict_contexts`` finds of every sample, in coding order."""
_C_LINEAR, _C_CORRECTION, _C_CONTEXT, _C_PATTERN, _C_SAMPLE, _C_WEST, _C_NORTH = range(COLUMNS)
PATTERNS = _C_PATTERN
"""Column that a tree's leaves replace."""
NO_WORD = -1
"""Stands in ``encode_states``'s words where a symbol emits none."""

_MASKS = 8
_WEST, _NORTH, _TOKEN, _BITS = range(4)  # the rest of the masks are the bits of counts below 32
_COUNT_BITS = 5
_MASK_WORDS = MAX_ROWS // 32 + 1
_TWICE_MASKS = 2 * _MASKS
_LINEAR_SIZE = MAX_SETS * REGRESSORS
_LAYER_SIZE = FEATURES * MAX_HIDDEN
_MAX_THREADS = 1024
_MAX_LANES = 32
_LOW = 1 << 16
_SLOT = (1 << TABLE_BITS) - 1
_NO_FAULT = 1 << 30
_IS_OPEN, _NOT_WEST, _NOT_NORTH = 1, 2, 4

_N_OWN = len(OWN_TAPS)
_N_REF = len(REFERENCE_TAPS)
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


def _kernel(function: Any) -> Any:
    """Compile a kernel: with 128 registers a thread, two blocks of 256 share a multiprocessor."""
    return _jit(function) if config.ENABLE_CUDASIM else _jit(max_registers=128)(function)


def _device(function: Any) -> Any:
    """Compile for the device; the simulator takes plain functions, and faster."""
    return function if config.ENABLE_CUDASIM else _jit(device=True)(function)


@_device
def _lower(a: int, b: int) -> int:
    return a if a < b else b


@_device
def _upper(a: int, b: int) -> int:
    return a if a > b else b


_NAMES: dict[str, Any] = {"min": _lower, "max": _upper}


def _shared(function: Any) -> Any:
    """Compile a function of the CPU for the device, from the same source.

    Its min and max are ours: numba's own CUDA target of version 0.68 cannot compile the built-in.
    """
    source = function.py_func
    clone = FunctionType(source.__code__, {**source.__globals__, **_NAMES}, source.__name__)
    compiled = _NAMES[source.__name__] = _device(clone)
    return compiled


_bit_length = _shared(bit_length)
_log8 = _shared(log8)
_scaled = _shared(scaled_s7)
_median_edge = _shared(median_edge)
_s7 = _shared(clip_s7)
_cell_of = _shared(cell_of)
_active_rows = _shared(active_rows)
_steps = _shared(steps)
_fold = _shared(fold)
_unfold = _shared(unfold)
_table_of = _shared(table_of)
_token = _shared(token_of)
_corrected = _shared(corrected)


# Votes -------------------------------------------------------------------------------------------


@_device
def _vote(masks: Any, row: int, i: int) -> None:
    """Set bit ``i`` of a mask. Neighbours share a word: on hardware a ballot may take its place."""
    cuda.atomic.or_(masks, (row, i >> 5), np.uint32(1 << (i & 31)))


@_device
def _voted(masks: Any, row: int, i: int) -> bool:
    return (masks[row, i >> 5] >> np.uint32(i & 31)) & np.uint32(1) != 0


@_device
def _place(masks: Any, row: int, i: int) -> int:
    """How many bits below ``i`` are set, after a barrier."""
    word = i >> 5
    count = cuda.popc(np.uint32(masks[row, word] & np.uint32((1 << (i & 31)) - 1)))
    for k in range(word):
        count += cuda.popc(masks[row, k])
    return count


@_device
def _total(masks: Any, row: int, words: int) -> int:
    count = 0
    for k in range(words):
        count += cuda.popc(masks[row, k])
    return count


@_device
def _vote_count(masks: Any, first: int, i: int, count: int) -> None:
    """Vote a number below 32 into as many masks as it has bits."""
    for bit in range(_COUNT_BITS):
        if (count >> bit) & 1:
            _vote(masks, first + _BITS + bit, i)


@_device
def _sum_below(masks: Any, first: int, i: int) -> int:
    """Sum of the numbers voted below ``i``."""
    total = 0
    for bit in range(_COUNT_BITS):
        total += _place(masks, first + _BITS + bit, i) << bit
    return total


@_device
def _sum_all(masks: Any, first: int, words: int) -> int:
    total = 0
    for bit in range(_COUNT_BITS):
        total += _total(masks, first + _BITS + bit, words) << bit
    return total


@_device
def _clear(masks: Any, first: int, words: int) -> None:
    """Zero the words in use of eight masks, by all threads; a barrier must follow."""
    for k in range(cuda.threadIdx.x, _MASKS * words, cuda.blockDim.x):
        masks[first + k // words, k % words] = 0


# Prediction of one sample ------------------------------------------------------------------------


@_device
def _regressors(
    own: Any, refs: Any, ref_errors: Any, n_refs: int, t0: int, yp: int, taps: Any
) -> int:
    """Fill ``taps`` (REGRESSORS,) of the sample at ``[t0, yp]`` of sheared arrays; return base."""
    own_at = cuda.const.array_like(_OWN_AT)
    ref_at = cuda.const.array_like(_REF_AT)
    west, north = own[t0 - 1, yp], own[t0 - SHEAR, yp - 1]
    north_west, north_east = own[t0 - SHEAR - 1, yp - 1], own[t0 - SHEAR + 1, yp - 1]
    base = (west + north + north_west + north_east + 2) >> 2
    for k in range(_N_OWN):
        taps[k] = own[t0 + own_at[k, 0], yp + own_at[k, 1]] - base
    taps[_N_OWN] = _median_edge(west, north, north_west) - base
    for r in range(n_refs):
        first = _N_OWN + 1 + r * (_N_REF + 2)
        west, north = refs[r, t0 - 1, yp], refs[r, t0 - SHEAR, yp - 1]
        north_west = refs[r, t0 - SHEAR - 1, yp - 1]
        north_east = refs[r, t0 - SHEAR + 1, yp - 1]
        mean = (west + north + north_west + north_east + 2) >> 2
        for k in range(_N_REF):
            taps[first + k] = refs[r, t0 + ref_at[k, 0], yp + ref_at[k, 1]] - mean
        taps[first + _N_REF] = refs[r, t0, yp] - _median_edge(west, north, north_west)
        taps[first + _N_REF + 1] = ref_errors[r, t0, yp]
    return base


@_device
def _pattern(taps: Any, n_refs: int) -> int:
    """Return which neighbours are equal, bits as in ``predictor.patterns``."""
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


@_device
def _near(taps: Any) -> int:
    return abs(taps[0]) + abs(taps[1]) + abs(taps[2]) + abs(taps[3])


@_device
def _activity(taps: Any, near: int) -> int:
    act = 2 * near
    for k in range(4, _N_OWN):
        act += abs(taps[k])
    return act


@_device
def _linear(
    taps: Any,
    base: int,
    act_log: int,
    pattern: int,
    n_refs: int,
    top: int,
    sets: int,
    thresholds: Any,
    cells: Any,
    weights: Any,
) -> int:
    """Return the linear path's prediction; ``weights`` is (MAX_SETS · REGRESSORS,) int32."""
    first = 0
    if sets > 1:
        first = cells[_cell_of(act_log, pattern, thresholds)] * REGRESSORS
    total = np.int64(1 << (WEIGHT_BITS - FRACTION_BITS - 1))
    for k in range(_N_OWN + 1 + n_refs * (_N_REF + 2)):
        total += np.int64(weights[first + k]) * np.int64(taps[k])
    moved = (np.int64(base) << FRACTION_BITS) + (total >> (WEIGHT_BITS - FRACTION_BITS))
    return _lower(_upper(moved, 0), np.int64(top) << FRACTION_BITS)


@_device
def _far_errors(errors: Any, t0: int, yp: int) -> int:
    at = cuda.const.array_like(_WIDE_AT)
    wide = 0
    for k in range(5):
        wide += abs(errors[t0 + at[k, 0], yp + at[k, 1]])
    return wide


@_device
def _error_size(errors: Any, t0: int, yp: int, wide: int) -> int:
    at = cuda.const.array_like(_ERROR_AT)
    total = wide
    for k in range(6):
        size = abs(errors[t0 + at[k, 0], yp + at[k, 1]])
        total += 2 * size if k < 2 else size
    return total


@_device
def _own_features(
    errors: Any,
    t0: int,
    yp: int,
    top: int,
    taps: Any,
    base: int,
    linear: int,
    pattern: int,
    near: int,
    act: int,
    act_log: int,
    wide: int,
    error_scale: int,
    error_log: int,
    features: Any,
) -> None:
    """Fill rows 0 … 47 of the features; ``predictor.own_features`` for one sample."""
    at = cuda.const.array_like(_ERROR_AT)
    scale = _bit_length(act) - 9
    for k in range(_N_OWN):
        features[k] = _scaled(taps[k], scale)
    features[16] = _scaled(linear - (base << FRACTION_BITS), scale + FRACTION_BITS)
    features[17] = _scaled(taps[_N_OWN], scale)
    features[18] = (act_log >> 1) - 40
    up, down = _upper(-scale - 2, 0), _upper(scale + 2, 0)
    features[19] = _s7((((act >> down) << up) & 127) - 96)
    features[20] = _s7(_log8(3 * near) - _log8(act - 2 * near))
    features[21] = _scaled(linear, scale + FRACTION_BITS + 1)
    features[22] = _scaled((top << FRACTION_BITS) - linear, scale + FRACTION_BITS + 1)
    for k in range(6):
        features[23 + k] = ((pattern >> k) & 1) << 5
        error = errors[t0 + at[k, 0], yp + at[k, 1]]
        features[29 + k] = _scaled(error, error_scale)
        features[35 + k] = _upper(_log8(abs(error)) - error_log + 28, -63)
    features[41] = _upper(_log8(wide) - error_log + 12, -63)
    features[42] = _lower((error_log >> 1) - 50, 63)
    features[43] = _s7(error_log - act_log - 32)
    features[44] = ((error_log & 7) << 3) - 28
    for k in range(3):
        tap = taps[k if k < 2 else _N_OWN]
        features[45 + k] = _scaled(((base + tap) << FRACTION_BITS) - linear, error_scale)


@_device
def _energy(ref_errors: Any, r: int, t0: int, yp: int) -> int:
    at = cuda.const.array_like(_AROUND_AT)
    total = 0
    for k in range(5):
        total += abs(ref_errors[r, t0 + at[k, 0], yp + at[k, 1]])
    return _lower(total, 1 << 22)


@_device
def _reference_features(
    ref_errors: Any,
    n_refs: int,
    t0: int,
    yp: int,
    taps: Any,
    pattern: int,
    scale: int,
    error_scale: int,
    error_log: int,
    features: Any,
) -> None:
    """Fill rows 48 … 71 of the features; ``predictor.reference_features`` for one sample."""
    at = cuda.const.array_like(_AROUND_AT)
    picked = cuda.const.array_like(_PICKED)
    f, first = OWN_FEATURES, _N_OWN + 1
    features[f] = 32
    for k in range(8):
        features[f + 1 + k] = _scaled(taps[first + picked[k]], scale)
    for k in range(3):  # here, west, north
        step = k if k < 2 else 3
        error = ref_errors[0, t0 + at[step, 0], yp + at[step, 1]]
        features[f + 9 + k] = _scaled(error, error_scale - FRACTION_BITS)
    features[f + 12] = ((pattern >> 6) & 1) << 5
    features[f + 13] = ((pattern >> 7) & 1) << 5
    size = _lower(abs(ref_errors[0, t0, yp]), 1 << 22)
    features[f + 14] = _s7(_log8(size << FRACTION_BITS) - error_log + 16)
    energy = _energy(ref_errors, 0, t0, yp)
    features[f + 15] = _s7(_log8(energy << FRACTION_BITS) - error_log)
    features[f + 16] = (_log8(energy) >> 1) - 32
    f += 17
    if n_refs < 2:
        for k in range(7):
            features[f + k] = 0
        return
    first += _N_REF + 2
    features[f] = 32
    features[f + 1] = _scaled(taps[first], scale)
    features[f + 2] = _scaled(taps[first + 9], scale)
    error = taps[first + 10]
    features[f + 3] = _scaled(error, error_scale - FRACTION_BITS)
    size = _lower(abs(error), 1 << 22)
    features[f + 4] = _s7(_log8(size << FRACTION_BITS) - error_log + 16)
    energy = _energy(ref_errors, 1, t0, yp)
    features[f + 5] = _s7(_log8(energy << FRACTION_BITS) - error_log)
    features[f + 6] = ((pattern >> 8) & 1) << 5


@_device
def _activation(total: float, bias: int, shift: int) -> float:
    value = (np.int32(total) + bias + ((1 << shift) >> 1)) >> shift
    return np.float32(_lower(_upper(value, 0), 127))


@_device
def _dense(
    features: Any,
    n_in: int,
    n_hidden: int,
    weights: Any,
    bias: Any,
    shift: Any,
    out_weights: Any,
    sums: Any,
) -> None:
    """Fill ``sums`` (3,) float32 of both layers: integers below 2^24, exact in any order.

    weights : (FEATURES · n_hidden,) by feature; out_weights : (3, n_hidden).
    """
    zero = np.float32(0)
    sums[0] = zero
    sums[1] = zero
    sums[2] = zero
    for j in range(0, n_hidden, 8):
        a0, a1, a2, a3 = zero, zero, zero, zero
        a4, a5, a6, a7 = zero, zero, zero, zero
        for k in range(n_in):
            x = features[k]
            at = k * n_hidden + j
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
            w = out_weights[k]
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


@_device
def _network(
    errors: Any,
    ref_errors: Any,
    n_refs: int,
    t0: int,
    yp: int,
    top: int,
    taps: Any,
    base: int,
    linear: int,
    pattern: int,
    near: int,
    act: int,
    act_log: int,
    n_hidden: int,
    weights: Any,
    bias: Any,
    shift: Any,
    out_weights: Any,
    out_bias: Any,
    out_shift: Any,
) -> tuple[int, int, int]:
    """Return correction, context and the exponent of the errors; ``predictor.predict_network``."""
    wide = _far_errors(errors, t0, yp)
    size = _error_size(errors, t0, yp, wide)
    error_log = _log8(size)
    error_scale = _bit_length(size) - 8
    if n_hidden == 0:
        level = (3 * error_log - 129) >> 3
        return 0, 3 * _lower(_upper(level, 0), 47) + 1, error_scale
    features = cuda.local.array(FEATURES, nb.float32)
    _own_features(
        errors,
        t0,
        yp,
        top,
        taps,
        base,
        linear,
        pattern,
        near,
        act,
        act_log,
        wide,
        error_scale,
        error_log,
        features,
    )
    n_in = OWN_FEATURES
    if n_refs > 0:
        n_in = FEATURES
        scale = _bit_length(act) - 9
        _reference_features(
            ref_errors, n_refs, t0, yp, taps, pattern, scale, error_scale, error_log, features
        )
    sums = cuda.local.array(3, nb.float32)
    _dense(features, n_in, n_hidden, weights, bias, shift, out_weights, sums)
    c = _lower(_upper((np.int32(sums[0]) + out_bias[0]) >> out_shift[0], -2047), 2047)
    e = error_scale - 4
    up, down = _upper(e, 0), _upper(-e, 0)
    correction = ((c << up) + ((1 << down) >> 1)) >> down
    spread = _lower(_upper((np.int32(sums[1]) + out_bias[1]) >> out_shift[1], -1023), 1023)
    level = (3 * error_log + (spread >> 1) - 129) >> 3
    shape = (np.int32(sums[2]) + out_bias[2]) >> out_shift[2]
    context = 3 * _lower(_upper(level, 0), 47) + int(shape > -16) + int(shape > 16)
    return correction, context, error_scale


@_device
def _property(
    kind: int,
    own: Any,
    refs: Any,
    ref_errors: Any,
    errors: Any,
    t0: int,
    yp: int,
    context: int,
    mean: int,
) -> int:
    """Return one property of a sample; ``properties.step_properties``."""
    pred = (mean + HALF) >> FRACTION_BITS
    if kind == 0:
        return context
    if kind == 1:
        return mean - pred * ONE
    if kind == 2:
        return pred
    if kind >= OWN_PROPERTIES:
        r, kind = (kind - OWN_PROPERTIES) // 6, (kind - OWN_PROPERTIES) % 6
        if kind == 5:
            return ref_errors[r, t0, yp]
        here = refs[r, t0, yp]
        if kind == 0:
            return here
        if kind == 1:
            return here - refs[r, t0 - 1, yp]
        if kind == 2:
            return here - refs[r, t0 - SHEAR, yp - 1]
        if kind == 3:
            return here - refs[r, t0 + 1, yp]
        return here - refs[r, t0 + SHEAR, yp + 1]
    if kind == 13:
        return errors[t0 - 1, yp]
    if kind == 14:
        return errors[t0 - SHEAR, yp - 1]
    west, north = own[t0 - 1, yp], own[t0 - SHEAR, yp - 1]
    if kind == 3:
        return west
    if kind == 4:
        return north
    if kind == 5:
        return west - own[t0 - SHEAR - 1, yp - 1]
    if kind == 6:
        return north - own[t0 - SHEAR - 1, yp - 1]
    if kind == 7:
        return north - own[t0 - SHEAR + 1, yp - 1]
    if kind == 8:
        return west - own[t0 - 2, yp]
    if kind == 9:
        return north - own[t0 - 2 * SHEAR, yp - 2]
    if kind == 10:
        return west - north
    if kind == 11:
        return west - pred
    return north - pred


@_device
def _leaf(
    nodes: Any,
    own: Any,
    refs: Any,
    ref_errors: Any,
    errors: Any,
    t0: int,
    yp: int,
    context: int,
    mean: int,
) -> int:
    """Return the leaf of a sample; ``properties.step_leaves``."""
    node = np.int32(0)
    while node >= 0:
        value = _property(nodes[node, 0], own, refs, ref_errors, errors, t0, yp, context, mean)
        node = nodes[node, 3] if value > nodes[node, 1] else nodes[node, 2]
    return -1 - node


@_device
def _store(sheared: Any, t: int, y: int, value: int, width: int, height: int) -> None:
    """Write a sample, and the margins that repeat it: right of its row, left of the next.

    No thread of the same step reads what is written here.
    """
    x = t - SHEAR * y
    t0, yp = t + TIME_PAD, y + TOP_PAD
    sheared[t0, yp] = value
    if x == width - 1:
        for k in range(1, 4):
            sheared[t0 + k, yp] = value
    if x == 0 and y + 1 < height:
        for k in range(1, 4):
            sheared[t0 + SHEAR - k, yp + 1] = value


@_device
def _load(source: Any, target: Any, count: int) -> None:
    """Copy ``count`` numbers to shared memory by all threads; a barrier must follow."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        target[k] = source[k]


# Decoding ----------------------------------------------------------------------------------------


@_device
def _decode_round(
    tokens: bool,
    order: int,
    count: int,
    first: int,
    lanes: int,
    at: int,
    end: int,
    words: Any,
    states: Any,
    need: Any,
    fault: Any,
    scratch: Any,
    cumulative: Any,
    lookup: Any,
) -> int:
    """Decode ``count`` symbols, lanes by lanes; return where the next word stands.

    first : lane of symbol 0; order : which round of its step this is.
    scratch : takes each symbol's table (or its flag's probability), gives the symbol (or 1).
    """
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    turn = 0
    for start_at in range(0, count, lanes):
        for k in range(tid, lanes, threads):
            j = start_at + k
            if j < count:
                lane = (first + j) % lanes
                state = states[lane]
                slot = state & _SLOT
                param = scratch[_PARAM, j]
                if tokens:
                    symbol = np.int64(lookup[param, slot >> (TABLE_BITS - 8)])
                    while cumulative[param, symbol + 1] <= slot:
                        symbol += 1
                    begin = np.int64(cumulative[param, symbol])
                    size = np.int64(cumulative[param, symbol + 1]) - begin
                else:
                    symbol = np.int64(slot < param)
                    begin = np.int64(0) if symbol else np.int64(param)
                    size = np.int64(param) if symbol else np.int64(32768 - param)
                scratch[_RESULT, j] = symbol
                state = size * (state >> TABLE_BITS) + slot - begin
                states[lane] = state
                if state < _LOW:
                    _vote(need, turn, k)
        cuda.syncthreads()
        for k in range(tid, lanes, threads):
            if start_at + k < count and _voted(need, turn, k):
                word = at + _place(need, turn, k)
                lane = (first + start_at + k) % lanes
                if word < end:
                    states[lane] = (states[lane] << 16) | np.int64(words[word])
                else:
                    cuda.atomic.min(fault, 0, _fault(order, start_at + k, 1))
        at += cuda.popc(need[turn, 0])
        # three masks by turns: this one was last read before the barrier above
        if tid == 0:
            need[(turn + 2) % 3, 0] = 0
        turn = (turn + 1) % 3
    cuda.syncthreads()
    if tid == 0:
        for k in range(3):
            need[k, 0] = 0
    return at


@_device
def _fault(order: int, place: int, code: int) -> int:
    """Rank a fault so that the least is the one that a decoder symbol by symbol meets first."""
    return ((order << 16) + place) * 8 + code


@_device
def _read_bits(raw: Any, length: int, at: int, count: int) -> int:
    """Read ``count`` ≤ 24 bits, least significant first, of ``length`` bytes."""
    value = np.int64(0)
    byte = at >> 3
    for k in range(4):
        if byte + k < length:
            value |= np.int64(raw[byte + k]) << (8 * k)
    return (value >> (at & 7)) & ((1 << count) - 1)


@_device
def _extra_bits(token: int) -> int:
    return ((token - 16) >> 2) + 2 if token >= 16 else 0


@_device
def _settle_escapes(
    count: int, bit_at: int, total_bits: int, raw: Any, used: Any, scratch: Any
) -> int:
    """Move offsets behind escapes by what the escaped tokens take; return what all take.

    One thread walks: how many bits a symbol takes is only known once its own are read.
    """
    added = 0
    for j in range(count):
        scratch[_OFFSET, j] += added
        if scratch[_RESULT, j] == used[scratch[_PARAM, j]]:
            at = bit_at + scratch[_OFFSET, j]
            if at + ESCAPE_BITS <= total_bits:
                added += _extra_bits(_read_bits(raw, total_bits >> 3, at, ESCAPE_BITS) & 127)
    return added


@_device
def _open_gaps(folded: int, low: int, high: int) -> int:
    """Count the ruled-out values, −1 where there is none, back in."""
    if high >= 0 and (low < 0 or high < low):
        low, high = high, low
    if low >= 0 and folded >= low:
        folded += 1
    if high >= 0 and folded >= high:
        folded += 1
    return folded


@_kernel
def decode(
    own: Any,
    errors: Any,
    refs: Any,
    ref_errors: Any,
    mask: Any,
    settings: Any,
    thresholds: Any,
    cells: Any,
    weights: Any,
    flags: Any,
    table_map: Any,
    nodes: Any,
    leaf_tables: Any,
    hidden_weights: Any,
    bias: Any,
    shift: Any,
    out_weights: Any,
    out_bias: Any,
    out_shift: Any,
    cumulative: Any,
    used: Any,
    lookup: Any,
    all_words: Any,
    all_raw: Any,
    all_states: Any,
    all_scratch: Any,
    faults: Any,
    height: int,
    width: int,
    n_refs: int,
    n_hidden: int,
    masked: int,
) -> None:
    """Decode one plane per block: ``decode_loop.decode_plane``, everything on the device.

    own, errors : (planes, T, Y) int32, filled. refs, ref_errors : (planes, 2, T, Y) int32.
    settings : (planes, SETTINGS) int64. all_scratch : (planes, SCRATCH_ROWS, rows) int32.
    nodes : (planes, …, 4) int32; leaf_tables : (planes, MATCH_CONTEXTS) int32, of each leaf its
    table among all, or 0 for the model's. all_states : (planes, 32) int64.
    faults : (planes,) int32, 0 or the code of the first fault.
    """
    plane = cuda.blockIdx.x
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    set_weights = cuda.shared.array(_LINEAR_SIZE, nb.int32)
    layer = cuda.shared.array(_LAYER_SIZE, nb.float32)
    masks = cuda.shared.array((_TWICE_MASKS, _MASK_WORDS), nb.uint32)
    need = cuda.shared.array((3, 1), nb.uint32)
    states = cuda.shared.array(_MAX_LANES, nb.int64)
    fault = cuda.shared.array(1, nb.int32)
    escapes = cuda.shared.array(3, nb.int32)  # by parity whether any, then what they take
    taps = cuda.local.array(REGRESSORS, nb.int32)

    top, first = settings[plane, TOP], settings[plane, FIRST]
    gain, lanes = settings[plane, GAIN], settings[plane, LANES]
    sets, flagged = settings[plane, SETS], settings[plane, FLAGGED]
    grown = settings[plane, NODES] > 0
    words_end = settings[plane, _WORDS_TO]
    raw = all_raw[settings[plane, _RAW_FROM] : settings[plane, _RAW_TO]]
    raw_bytes = settings[plane, _RAW_TO] - settings[plane, _RAW_FROM]
    total_bits = raw_bytes * 8
    limit = top << FRACTION_BITS
    x_own, x_errors, scratch = own[plane], errors[plane], all_scratch[plane]
    x_refs, x_ref_errors = refs[plane], ref_errors[plane]
    x_flags, x_map = flags[plane], table_map[plane]
    x_nodes, x_leaf_tables = nodes[plane], leaf_tables[plane]
    x_thresholds, x_cells = thresholds[plane], cells[plane]

    _load(weights[plane], set_weights, _LINEAR_SIZE)
    _load(hidden_weights, layer, FEATURES * n_hidden)
    _load(all_states[plane], states, _MAX_LANES)
    _clear(masks, 0, _MASK_WORDS)
    _clear(masks, _MASKS, _MASK_WORDS)
    if tid == 0:
        fault[0] = _NO_FAULT
        for k in range(3):
            need[k, 0] = 0
            escapes[k] = 0
    rows, columns = own.shape[1], own.shape[2]
    for k in range(tid, rows * columns, threads):
        t, y = k // columns, k % columns
        above = y < TOP_PAD or (y == TOP_PAD and TIME_PAD - 3 <= t < TIME_PAD)
        x_own[t, y] = first if above else 0
        x_errors[t, y] = 0
    cuda.syncthreads()

    lane, at, bit_at = np.int64(0), settings[plane, _WORDS_FROM], np.int64(0)
    n_steps = _steps(height, width)
    done = 0
    for t in range(n_steps):
        y0, y1 = _active_rows(t, height, width)
        n = y1 - y0
        n_words = (n + 31) >> 5
        now = (t & 1) * _MASKS
        t0 = t + TIME_PAD
        # predict; what is known already of the step is voted on
        for i in range(tid, n, threads):
            y = y0 + i
            yp = y + TOP_PAD
            if masked and mask[plane, t0, yp]:
                mean = (x_own[t0 - 1, yp] + x_own[t0 - SHEAR, yp - 1] + 1) >> 1
                _store(x_own, t, y, mean, width, height)
                scratch[_OPEN, i] = 0
                continue
            base = _regressors(x_own, x_refs, x_ref_errors, n_refs, t0, yp, taps)
            pattern = _pattern(taps, n_refs)
            near = _near(taps)
            act = _activity(taps, near)
            act_log = _log8(act)
            linear = _linear(
                taps,
                base,
                act_log,
                pattern,
                n_refs,
                top,
                sets,
                x_thresholds,
                x_cells,
                set_weights,
            )
            correction, context, _ = _network(
                x_errors,
                x_ref_errors,
                n_refs,
                t0,
                yp,
                top,
                taps,
                base,
                linear,
                pattern,
                near,
                act,
                act_log,
                n_hidden,
                layer,
                bias,
                shift,
                out_weights,
                out_bias,
                out_shift,
            )
            mean = _corrected(linear, correction, gain, limit)
            pred = (mean + HALF) >> FRACTION_BITS
            table = x_map[_table_of(context, mean - pred * ONE)]
            if grown:
                pattern = _leaf(
                    x_nodes, x_own, x_refs, x_ref_errors, x_errors, t0, yp, context, mean
                )
                if x_leaf_tables[pattern] > 0:
                    table = x_leaf_tables[pattern]
            scratch[_LINEAR, i] = linear
            scratch[_MEAN, i] = mean
            scratch[_PATTERN, i] = pattern
            scratch[_TABLE, i] = table
            scratch[_OPEN, i] = _IS_OPEN
            if not flagged:
                _vote(masks, now + _TOKEN, i)
            elif x_flags[0, pattern] > 0:
                _vote(masks, now + _WEST, i)
        _clear(masks, _MASKS - now, n_words + 1)  # the step before may have had a row more
        if tid == 0:
            escapes[1 - (t & 1)] = 0
        cuda.syncthreads()
        if flagged:
            # two rounds of match flags
            for kind in range(2):
                count = _total(masks, now + kind, n_words)
                if count:
                    for i in range(tid, n, threads):
                        if _voted(masks, now + kind, i):
                            j = _place(masks, now + kind, i)
                            scratch[_PARAM, j] = x_flags[kind, scratch[_PATTERN, i]]
                    cuda.syncthreads()
                    at = _decode_round(
                        False,
                        kind,
                        count,
                        lane,
                        lanes,
                        at,
                        words_end,
                        all_words,
                        states,
                        need,
                        fault,
                        scratch,
                        cumulative,
                        lookup,
                    )
                    lane = (lane + count) % lanes
                for i in range(tid, n, threads):
                    y = y0 + i
                    yp = y + TOP_PAD
                    west, north = x_own[t0 - 1, yp], x_own[t0 - SHEAR, yp - 1]
                    state = scratch[_OPEN, i]
                    if _voted(masks, now + kind, i):
                        if scratch[_RESULT, _place(masks, now + kind, i)]:
                            value = west if kind == 0 else north
                            error = (value << FRACTION_BITS) - scratch[_LINEAR, i]
                            _store(x_own, t, y, value, width, height)
                            _store(x_errors, t, y, error, width, height)
                            state = 0
                        else:
                            state |= _NOT_WEST if kind == 0 else _NOT_NORTH
                        scratch[_OPEN, i] = state
                    if state:
                        if kind == 1:
                            _vote(masks, now + _TOKEN, i)
                        elif west != north and x_flags[1, scratch[_PATTERN, i]] > 0:
                            _vote(masks, now + _NORTH, i)
                cuda.syncthreads()
        # the round of tokens
        count = _total(masks, now + _TOKEN, n_words)
        for i in range(tid, n, threads):
            if _voted(masks, now + _TOKEN, i):
                j = _place(masks, now + _TOKEN, i)
                scratch[_PARAM, j] = scratch[_TABLE, i]
                scratch[_ROW, j] = i
        cuda.syncthreads()
        at = _decode_round(
            True,
            2,
            count,
            lane,
            lanes,
            at,
            words_end,
            all_words,
            states,
            need,
            fault,
            scratch,
            cumulative,
            lookup,
        )
        if count:
            lane = (lane + count) % lanes
        # where each token's raw bits stand
        for j in range(tid, count, threads):
            symbol = scratch[_RESULT, j]
            bits = _extra_bits(symbol)
            if symbol == used[scratch[_PARAM, j]]:
                bits = ESCAPE_BITS
                escapes[t & 1] = 1
            _vote_count(masks, now, j, bits)
        cuda.syncthreads()
        step_bits = np.int64(_sum_all(masks, now, n_words))
        for j in range(tid, count, threads):
            scratch[_OFFSET, j] = _sum_below(masks, now, j)
        if escapes[t & 1]:
            cuda.syncthreads()
            if tid == 0:
                escapes[2] = _settle_escapes(count, bit_at, total_bits, raw, used, scratch)
            cuda.syncthreads()
            step_bits += escapes[2]
        # the samples
        for j in range(tid, count, threads):
            i = scratch[_ROW, j]
            y = y0 + i
            yp = y + TOP_PAD
            token = np.int64(scratch[_RESULT, j])
            bits_at = bit_at + scratch[_OFFSET, j]
            code = 0
            if token == used[scratch[_PARAM, j]]:
                if bits_at + ESCAPE_BITS > total_bits:
                    code = 2
                else:
                    token = _read_bits(raw, raw_bytes, bits_at, ESCAPE_BITS)
                    bits_at += ESCAPE_BITS
                    if token >= TOKENS:
                        code = 3
            folded = token
            if code == 0 and token >= 16:
                extra = _extra_bits(token)
                if bits_at + extra > total_bits:
                    code = 2
                else:
                    folded = ((4 + ((token - 16) & 3)) << extra) + _read_bits(
                        raw, raw_bytes, bits_at, extra
                    )
            if code == 0:
                mean = scratch[_MEAN, i]
                pred = (mean + HALF) >> FRACTION_BITS
                flip = mean - pred * ONE < 0
                state = scratch[_OPEN, i]
                low, high = np.int64(-1), np.int64(-1)
                if state & _NOT_WEST:
                    low = np.int64(_fold(x_own[t0 - 1, yp] - pred, top - pred, pred, flip))
                if state & _NOT_NORTH:
                    high = np.int64(_fold(x_own[t0 - SHEAR, yp - 1] - pred, top - pred, pred, flip))
                value = pred + _unfold(_open_gaps(folded, low, high), top - pred, pred, flip)
                if value < 0 or value > top:
                    code = 4
                else:
                    error = (value << FRACTION_BITS) - scratch[_LINEAR, i]
                    _store(x_own, t, y, value, width, height)
                    _store(x_errors, t, y, error, width, height)
            if code:
                cuda.atomic.min(fault, 0, _fault(2, j, code))
        bit_at += step_bits
        cuda.syncthreads()
        done = fault[0]
        if done != _NO_FAULT:
            break
    if tid == 0:
        code = 0
        if done != _NO_FAULT:
            code = done & 7
        elif at != words_end or bit_at + 8 <= total_bits:
            code = 5
        else:
            for k in range(lanes):
                if states[k] != _LOW:
                    code = 5
        faults[plane] = code


# Encoding ----------------------------------------------------------------------------------------


@_kernel
def predict_errors(
    own: Any,
    refs: Any,
    ref_errors: Any,
    mask: Any,
    settings: Any,
    thresholds: Any,
    cells: Any,
    weights: Any,
    errors: Any,
    counts: Any,
    height: int,
    width: int,
    n_refs: int,
    masked: int,
) -> None:
    """Run the linear path over one step per block: errors, sheared, and the step's samples.

    errors : (planes, T, Y) int32, zeros before; counts : (planes, steps) int64.
    """
    n_steps = counts.shape[1]
    plane, t = cuda.blockIdx.x // n_steps, cuda.blockIdx.x % n_steps
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    present = cuda.shared.array(1, nb.int32)
    taps = cuda.local.array(REGRESSORS, nb.int32)
    if tid == 0:
        present[0] = 0
    cuda.syncthreads()
    y0, y1 = _active_rows(t, height, width)
    t0 = t + TIME_PAD
    top, sets = settings[plane, TOP], settings[plane, SETS]
    x_own, x_errors = own[plane], errors[plane]
    for i in range(tid, y1 - y0, threads):
        y = y0 + i
        yp = y + TOP_PAD
        if masked and mask[plane, t0, yp]:
            continue
        base = _regressors(x_own, refs[plane], ref_errors[plane], n_refs, t0, yp, taps)
        pattern = _pattern(taps, n_refs)
        act_log = _log8(_activity(taps, _near(taps)))
        linear = _linear(
            taps,
            base,
            act_log,
            pattern,
            n_refs,
            top,
            sets,
            thresholds[plane],
            cells[plane],
            weights[plane],
        )
        error = (x_own[t0, yp] << FRACTION_BITS) - linear
        _store(x_errors, t, y, error, width, height)
        cuda.atomic.add(present, 0, 1)
    cuda.syncthreads()
    if tid == 0:
        counts[plane, t] = present[0]


@_kernel
def predict_contexts(
    own: Any,
    refs: Any,
    ref_errors: Any,
    mask: Any,
    settings: Any,
    hidden_weights: Any,
    bias: Any,
    shift: Any,
    out_weights: Any,
    out_bias: Any,
    out_shift: Any,
    errors: Any,
    begins: Any,
    columns: Any,
    height: int,
    width: int,
    n_refs: int,
    n_hidden: int,
    masked: int,
) -> None:
    """Run the network over one step per block, after ``predict_errors`` of the whole plane.

    begins : (planes, steps + 1) int64; columns : (planes, COLUMNS, samples) int32, coding order.
    """
    n_steps = begins.shape[1] - 1
    plane, t = cuda.blockIdx.x // n_steps, cuda.blockIdx.x % n_steps
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    layer = cuda.shared.array(_LAYER_SIZE, nb.float32)
    masks = cuda.shared.array((1, _MASK_WORDS), nb.uint32)
    taps = cuda.local.array(REGRESSORS, nb.int32)
    y0, y1 = _active_rows(t, height, width)
    n = y1 - y0
    t0 = t + TIME_PAD
    top = settings[plane, TOP]
    _load(hidden_weights, layer, FEATURES * n_hidden)
    for k in range(tid, (n + 31) >> 5, threads):
        masks[0, k] = 0
    cuda.syncthreads()
    for i in range(tid, n, threads):
        if not (masked and mask[plane, t0, y0 + i + TOP_PAD]):
            _vote(masks, 0, i)
    cuda.syncthreads()
    x_own, x_errors, out = own[plane], errors[plane], columns[plane]
    for i in range(tid, n, threads):
        if not _voted(masks, 0, i):
            continue
        yp = y0 + i + TOP_PAD
        base = _regressors(x_own, refs[plane], ref_errors[plane], n_refs, t0, yp, taps)
        pattern = _pattern(taps, n_refs)
        near = _near(taps)
        act = _activity(taps, near)
        act_log = _log8(act)
        sample = x_own[t0, yp]
        linear = (sample << FRACTION_BITS) - x_errors[t0, yp]
        correction, context, _ = _network(
            x_errors,
            ref_errors[plane],
            n_refs,
            t0,
            yp,
            top,
            taps,
            base,
            linear,
            pattern,
            near,
            act,
            act_log,
            n_hidden,
            layer,
            bias,
            shift,
            out_weights,
            out_bias,
            out_shift,
        )
        j = begins[plane, t] + _place(masks, 0, i)
        out[_C_LINEAR, j] = linear
        out[_C_CORRECTION, j] = correction
        out[_C_CONTEXT, j] = context
        out[_C_PATTERN, j] = pattern
        out[_C_SAMPLE, j] = sample
        out[_C_WEST, j] = x_own[t0 - 1, yp]
        out[_C_NORTH, j] = x_own[t0 - SHEAR, yp - 1]


@_kernel
def write_symbols(
    columns: Any,
    begins: Any,
    settings: Any,
    flags: Any,
    table_map: Any,
    leaf_tables: Any,
    cumulative: Any,
    used: Any,
    symbol_counts: Any,
    bit_counts: Any,
    symbol_begins: Any,
    bit_begins: Any,
    symbols: Any,
    raw: Any,
    write: int,
) -> None:
    """Fold one step per block and turn it into symbols, in their three rounds, and raw bits.

    First, with ``write`` 0, count them: symbol_counts, bit_counts (planes, steps) int64. Then, with
    the prefix sums in hand, write them: symbols (planes, …) uint32, size << 16 | start; raw
    (planes, …) uint32, zeros before, bits least significant first. Where a plane has a tree, its
    leaves stand in the column of patterns; leaf_tables as in ``decode``.
    """
    n_steps = begins.shape[1] - 1
    plane, t = cuda.blockIdx.x // n_steps, cuda.blockIdx.x % n_steps
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    masks = cuda.shared.array((_MASKS, _MASK_WORDS), nb.uint32)
    first = begins[plane, t]
    n = begins[plane, t + 1] - first
    n_words = (n + 31) >> 5
    top, gain, flagged = settings[plane, TOP], settings[plane, GAIN], settings[plane, FLAGGED]
    limit = top << FRACTION_BITS
    x = columns[plane]
    _clear(masks, 0, n_words)
    cuda.syncthreads()
    for turn in range(2):
        for i in range(tid, n, threads):
            j = first + i
            mean = _corrected(x[_C_LINEAR, j], x[_C_CORRECTION, j], gain, limit)
            pred = (mean + HALF) >> FRACTION_BITS
            fraction = mean - pred * ONE
            up, flip = top - pred, fraction < 0
            z = _fold(x[_C_SAMPLE, j] - pred, up, pred, flip)
            west = _fold(x[_C_WEST, j] - pred, up, pred, flip)
            north = _fold(x[_C_NORTH, j] - pred, up, pred, flip)
            p, q = 0, 0
            if flagged:
                p = flags[plane, 0, x[_C_PATTERN, j]]
                if not (p > 0 and z == west) and north != west:
                    q = flags[plane, 1, x[_C_PATTERN, j]]
            matched = (p > 0 and z == west) or (q > 0 and z == north)
            code = z - int(p > 0 and z > west) - int(q > 0 and z > north)
            token = _token(code)
            table = table_map[plane, _table_of(x[_C_CONTEXT, j], fraction)]
            if leaf_tables[plane, x[_C_PATTERN, j]] > 0:
                table = leaf_tables[plane, x[_C_PATTERN, j]]
            symbol = _lower(token, used[table])
            bits = 0
            if not matched:
                bits = _extra_bits(token)
                if symbol == used[table]:
                    bits += ESCAPE_BITS
            if turn == 0:
                if p > 0:
                    _vote(masks, _WEST, i)
                if q > 0:
                    _vote(masks, _NORTH, i)
                if not matched:
                    _vote(masks, _TOKEN, i)
                    _vote_count(masks, 0, i, bits)
                continue
            at = symbol_begins[plane, t]
            if p > 0:
                place = at + _place(masks, _WEST, i)
                symbols[plane, place] = (
                    np.uint32(p << 16) if z == west else np.uint32(((32768 - p) << 16) + p)
                )
            at += _total(masks, _WEST, n_words)
            if q > 0:
                place = at + _place(masks, _NORTH, i)
                symbols[plane, place] = (
                    np.uint32(q << 16) if z == north else np.uint32(((32768 - q) << 16) + q)
                )
            if matched:
                continue
            at += _total(masks, _NORTH, n_words) + _place(masks, _TOKEN, i)
            start = np.int64(cumulative[table, symbol])
            size = np.int64(cumulative[table, symbol + 1]) - start
            symbols[plane, at] = np.uint32((size << 16) + start)
            if bits:
                value = np.int64(code) & ((1 << _extra_bits(token)) - 1)
                if symbol == used[table]:
                    value = (value << ESCAPE_BITS) | token
                bit = bit_begins[plane, t] + _sum_below(masks, 0, i)
                value <<= bit & 31
                cuda.atomic.or_(raw, (plane, bit >> 5), np.uint32(value & 0xFFFFFFFF))
                if value >> 32:
                    cuda.atomic.or_(raw, (plane, (bit >> 5) + 1), np.uint32(value >> 32))
        cuda.syncthreads()
        if not write:
            if tid == 0:
                symbol_counts[plane, t] = (
                    _total(masks, _WEST, n_words)
                    + _total(masks, _NORTH, n_words)
                    + _total(masks, _TOKEN, n_words)
                )
                bit_counts[plane, t] = _sum_all(masks, 0, n_words)
            break


@_kernel
def prefix_sums(counts: Any, begins: Any) -> None:
    """begins[·, k] = Σ counts[·, :k], one row per block; begins is one longer."""
    row = cuda.blockIdx.x
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    n = counts.shape[1]
    sums = cuda.shared.array(_MAX_THREADS, nb.int64)
    each = (n + threads - 1) // threads
    low, high = _lower(tid * each, n), _lower((tid + 1) * each, n)
    total = np.int64(0)
    for k in range(low, high):
        total += counts[row, k]
    sums[tid] = total
    cuda.syncthreads()
    total = np.int64(0)
    for k in range(tid):
        total += sums[k]
    for k in range(low, high):
        begins[row, k] = total
        total += counts[row, k]
    if high == n and (low < n or tid == 0):
        begins[row, n] = total


@_kernel
def encode_states(symbols: Any, lengths: Any, settings: Any, states: Any, words: Any) -> None:
    """Run one lane of a plane's coder per thread, backwards; one plane per block.

    symbols : (planes, …) uint32; lengths : (planes,) int64; states : (planes, 32) int64;
    words : (planes, …) int32, the word that each symbol emits, or NO_WORD.
    """
    plane = cuda.blockIdx.x
    lanes, n = settings[plane, LANES], lengths[plane]
    for lane in range(cuda.threadIdx.x, lanes, cuda.blockDim.x):
        state = np.int64(_LOW)
        i = lane + (n - 1 - lane) // lanes * lanes
        while i >= lane:
            packed = np.int64(symbols[plane, i])
            start, size = packed & 0xFFFF, packed >> 16
            word = NO_WORD
            if state >= size << 17:
                word = state & 0xFFFF
                state >>= 16
            words[plane, i] = word
            quotient = np.int64(np.uint32(state) // np.uint32(size))
            state = (quotient << TABLE_BITS) + (state - quotient * size) + start
            i -= lanes
        states[plane, lane] = state


@_kernel
def gather_words(words: Any, lengths: Any, gathered: Any, found: Any) -> None:
    """Close the ranks of the words that were emitted, one plane per block.

    gathered : (planes, …) uint16; found : (planes,) int64, how many there are.
    """
    plane = cuda.blockIdx.x
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    sums = cuda.shared.array(_MAX_THREADS, nb.int64)
    n = lengths[plane]
    each = (n + threads - 1) // threads
    low, high = _lower(tid * each, n), _lower((tid + 1) * each, n)
    count = np.int64(0)
    for k in range(low, high):
        if words[plane, k] != NO_WORD:
            count += 1
    sums[tid] = count
    cuda.syncthreads()
    at = np.int64(0)
    for k in range(tid):
        at += sums[k]
    for k in range(low, high):
        if words[plane, k] != NO_WORD:
            gathered[plane, at] = words[plane, k]
            at += 1
    if tid == threads - 1:
        found[plane] = at
