"""Encode a batch of planes in several launches, for the host chooses in between.

    predict_errors ─► prefix_sums ─► predict_contexts ─► (the host chooses) ─► write_symbols twice,
    to count and to write, with prefix_sums between ─► encode_states ─► gather_words

What a step holds follows from the samples, which are known: a block holds a step until symbols are
written, then a plane.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numba import cuda

from tilepress.codecs.wave.cuda.scalar import (
    active_rows,
    corrected,
    device,
    extra_bits,
    fold,
    lower,
    pitch_of,
    position_of,
    table_of,
    token_of,
)
from tilepress.codecs.wave.cuda.shared import (
    FLAGGED,
    GAIN,
    LANES,
    LAYER_SIZE,
    MASK_WORDS,
    MASKS,
    NORTH,
    SETS,
    TOKEN,
    TOP,
    WEST,
    LinearPath,
    Network,
    Planes,
    clear,
    kernel,
    load,
    look_around,
    place,
    predict_linear,
    predict_network,
    store,
    sum_all,
    sum_below,
    total,
    vote,
    vote_count,
    voted,
)
from tilepress.codecs.wave.layout import FEATURES, FRACTION_BITS, HALF, ONE, REGRESSORS
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import ESCAPE_BITS

__all__ = [
    "COLUMNS",
    "NO_WORD",
    "PATTERNS",
    "encode_states",
    "gather_words",
    "predict_contexts",
    "predict_errors",
    "prefix_sums",
    "write_symbols",
]

COLUMNS = 7
"""What ``predict_contexts`` finds of every sample, in coding order."""
_LINEAR, _CORRECTION, _CONTEXT, PATTERNS, _SAMPLE, _WEST, _NORTH = range(COLUMNS)
"""A tree's leaves take the place of the column PATTERNS."""
NO_WORD = -1
"""Stands in ``encode_states``'s words where a symbol emits none."""

_MAX_THREADS = 1024
_LOW = 1 << 16


# Prediction --------------------------------------------------------------------------------------


@kernel
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

    errors : (planes, L) int32, zeros before; counts : (planes, steps) int64.
    """
    n_steps = counts.shape[1]
    plane, t = cuda.blockIdx.x // n_steps, cuda.blockIdx.x % n_steps
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    present = cuda.shared.array(1, nb.int32)
    taps = cuda.local.array(REGRESSORS, nb.int32)
    if tid == 0:
        present[0] = 0
    cuda.syncthreads()
    y0, y1 = active_rows(t, height, width)
    top = settings[plane, TOP]
    pitch = pitch_of(height, width)
    planes = Planes(
        own[plane], errors[plane], refs[plane], ref_errors[plane], n_refs, height, width, pitch
    )
    path = LinearPath(settings[plane, SETS], thresholds[plane], cells[plane], weights[plane])
    for i in range(tid, y1 - y0, threads):
        y = y0 + i
        at = position_of(t, y, pitch)
        if masked and mask[plane, at]:
            continue
        around = look_around(planes, at, taps)
        linear = predict_linear(taps, around, path, n_refs, top)
        error = (planes.own[at] << FRACTION_BITS) - linear
        store(planes.errors, t, y, error, planes)
        cuda.atomic.add(present, 0, 1)
    cuda.syncthreads()
    if tid == 0:
        counts[plane, t] = present[0]


@kernel
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
    layer = cuda.shared.array(LAYER_SIZE, nb.float32)
    masks = cuda.shared.array((1, MASK_WORDS), nb.uint32)
    taps = cuda.local.array(REGRESSORS, nb.int32)
    y0, y1 = active_rows(t, height, width)
    n = y1 - y0
    pitch = pitch_of(height, width)
    planes = Planes(
        own[plane], errors[plane], refs[plane], ref_errors[plane], n_refs, height, width, pitch
    )
    network = Network(n_hidden, layer, bias, shift, out_weights, out_bias, out_shift)
    load(hidden_weights, layer, FEATURES * n_hidden)
    for k in range(tid, (n + 31) >> 5, threads):
        masks[0, k] = 0
    cuda.syncthreads()
    for i in range(tid, n, threads):
        if not (masked and mask[plane, position_of(t, y0 + i, pitch)]):
            vote(masks, 0, i)
    cuda.syncthreads()
    x_own, out = planes.own, columns[plane]
    for i in range(tid, n, threads):
        if not voted(masks, 0, i):
            continue
        at = position_of(t, y0 + i, pitch)
        around = look_around(planes, at, taps)
        sample = x_own[at]
        linear = (sample << FRACTION_BITS) - planes.errors[at]
        correction, context = predict_network(
            planes, at, settings[plane, TOP], taps, around, linear, network
        )
        j = begins[plane, t] + place(masks, 0, i)
        out[_LINEAR, j] = linear
        out[_CORRECTION, j] = correction
        out[_CONTEXT, j] = context
        out[PATTERNS, j] = around.pattern
        out[_SAMPLE, j] = sample
        out[_WEST, j] = x_own[at - pitch]
        out[_NORTH, j] = x_own[at - 2 * pitch - 1]


# Symbols -----------------------------------------------------------------------------------------


class _Choices(NamedTuple):
    """What the host chose for a plane."""

    top: int
    gain: int
    flagged: int
    flags: Any
    table_map: Any
    leaf_tables: Any


class _Coded(NamedTuple):
    """How a sample is coded: its flags, then a token where neither says yes."""

    west: int
    """Probability of the flag "as west"; 0 where none is coded."""
    is_west: bool
    north: int
    is_north: bool
    matched: bool
    """Whether one of the flags says yes, so that no token is coded."""
    code: int
    """The folded residual, less what the flags rule out."""
    token: int
    table: int
    symbol: int
    bits: int
    """How many raw bits follow."""


@device
def _coded(x: Any, j: int, choices: _Choices, used: Any) -> _Coded:
    """Say how sample ``j`` of the columns ``x`` is coded."""
    top, flags = choices.top, choices.flags
    limit = top << FRACTION_BITS
    mean = corrected(x[_LINEAR, j], x[_CORRECTION, j], choices.gain, limit)
    pred = (mean + HALF) >> FRACTION_BITS
    fraction = mean - pred * ONE
    up, flip = top - pred, fraction < 0
    z = fold(x[_SAMPLE, j] - pred, up, pred, flip)
    west = fold(x[_WEST, j] - pred, up, pred, flip)
    north = fold(x[_NORTH, j] - pred, up, pred, flip)
    p, q = 0, 0
    if choices.flagged:
        p = flags[0, x[PATTERNS, j]]
        if not (p > 0 and z == west) and north != west:
            q = flags[1, x[PATTERNS, j]]
    matched = (p > 0 and z == west) or (q > 0 and z == north)
    code = z - int(p > 0 and z > west) - int(q > 0 and z > north)
    token = token_of(code)
    table = choices.table_map[table_of(x[_CONTEXT, j], fraction)]
    if choices.leaf_tables[x[PATTERNS, j]] > 0:
        table = choices.leaf_tables[x[PATTERNS, j]]
    symbol = lower(token, used[table])
    bits = 0
    if not matched:
        bits = extra_bits(token)
        if symbol == used[table]:
            bits += ESCAPE_BITS
    return _Coded(p, z == west, q, z == north, matched, code, token, table, symbol, bits)


@device
def _vote_symbols(coded: _Coded, i: int, masks: Any) -> None:
    """Vote on what symbols and how many raw bits sample ``i`` of a step takes."""
    if coded.west > 0:
        vote(masks, WEST, i)
    if coded.north > 0:
        vote(masks, NORTH, i)
    if not coded.matched:
        vote(masks, TOKEN, i)
        vote_count(masks, 0, i, coded.bits)


@device
def _write_symbols(
    coded: _Coded, i: int, at: int, n_words: int, masks: Any, cumulative: Any, symbols: Any
) -> None:
    """Write flags and token of sample ``i`` of a step, whose symbols begin at ``at``."""
    if coded.west > 0:
        symbols[at + place(masks, WEST, i)] = _interval_of_flag(coded.west, coded.is_west)
    at += total(masks, WEST, n_words)
    if coded.north > 0:
        symbols[at + place(masks, NORTH, i)] = _interval_of_flag(coded.north, coded.is_north)
    if coded.matched:
        return
    at += total(masks, NORTH, n_words) + place(masks, TOKEN, i)
    start = np.int64(cumulative[coded.table, coded.symbol])
    size = np.int64(cumulative[coded.table, coded.symbol + 1]) - start
    symbols[at] = np.uint32((size << 16) + start)


@device
def _interval_of_flag(probability: int, yes: bool) -> int:
    if yes:
        return np.uint32(probability << 16)
    return np.uint32(((32768 - probability) << 16) + probability)


@device
def _write_raw_bits(coded: _Coded, i: int, bit: int, masks: Any, used: Any, raw: Any) -> None:
    """Write the raw bits of sample ``i`` of a step, whose raw bits begin at ``bit``."""
    value = np.int64(coded.code) & ((1 << extra_bits(coded.token)) - 1)
    if coded.symbol == used[coded.table]:
        value = (value << ESCAPE_BITS) | coded.token
    bit += sum_below(masks, 0, i)
    value <<= bit & 31
    cuda.atomic.or_(raw, bit >> 5, np.uint32(value & 0xFFFFFFFF))
    if value >> 32:
        cuda.atomic.or_(raw, (bit >> 5) + 1, np.uint32(value >> 32))


@kernel
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
    masks = cuda.shared.array((MASKS, MASK_WORDS), nb.uint32)
    first = begins[plane, t]
    n = begins[plane, t + 1] - first
    n_words = (n + 31) >> 5
    choices = _Choices(
        settings[plane, TOP],
        settings[plane, GAIN],
        settings[plane, FLAGGED],
        flags[plane],
        table_map[plane],
        leaf_tables[plane],
    )
    clear(masks, 0, n_words)
    cuda.syncthreads()
    for turn in range(2):
        for i in range(tid, n, threads):
            coded = _coded(columns[plane], first + i, choices, used)
            if turn == 0:
                _vote_symbols(coded, i, masks)
            else:
                at, bit = symbol_begins[plane, t], bit_begins[plane, t]
                _write_symbols(coded, i, at, n_words, masks, cumulative, symbols[plane])
                if coded.bits:
                    _write_raw_bits(coded, i, bit, masks, used, raw[plane])
        cuda.syncthreads()
        if not write:
            if tid == 0:
                symbol_counts[plane, t] = (
                    total(masks, WEST, n_words)
                    + total(masks, NORTH, n_words)
                    + total(masks, TOKEN, n_words)
                )
                bit_counts[plane, t] = sum_all(masks, 0, n_words)
            break


# Sums and words ----------------------------------------------------------------------------------


@kernel
def prefix_sums(counts: Any, begins: Any) -> None:
    """begins[·, k] = Σ counts[·, :k], one row per block; begins is one longer."""
    row = cuda.blockIdx.x
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    n = counts.shape[1]
    sums = cuda.shared.array(_MAX_THREADS, nb.int64)
    each = (n + threads - 1) // threads
    low, high = lower(tid * each, n), lower((tid + 1) * each, n)
    running = np.int64(0)
    for k in range(low, high):
        running += counts[row, k]
    sums[tid] = running
    cuda.syncthreads()
    running = np.int64(0)
    for k in range(tid):
        running += sums[k]
    for k in range(low, high):
        begins[row, k] = running
        running += counts[row, k]
    if high == n and (low < n or tid == 0):
        begins[row, n] = running


@kernel
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


@kernel
def gather_words(words: Any, lengths: Any, gathered: Any, found: Any) -> None:
    """Close the ranks of the words that were emitted, one plane per block.

    gathered : (planes, …) uint16; found : (planes,) int64, how many there are.
    """
    plane = cuda.blockIdx.x
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    sums = cuda.shared.array(_MAX_THREADS, nb.int64)
    n = lengths[plane]
    each = (n + threads - 1) // threads
    low, high = lower(tid * each, n), lower((tid + 1) * each, n)
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
