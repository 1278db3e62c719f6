"""Decode a batch of planes in one launch: a block a plane, a thread a row of the step.

A step has five barriers, nine with match flags:

    predict ─► vote ─► flags "as west" ─► flags "as north" ─► tokens ─► raw bits ─► samples
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
    pitch_of,
    position_of,
    steps,
    table_of,
    unfold,
)
from tilepress.codecs.wave.cuda.shared import (
    FIRST,
    FLAGGED,
    GAIN,
    LANES,
    LAYER_SIZE,
    LINEAR_SIZE,
    MASK_WORDS,
    MASKS,
    NODES,
    NORTH,
    RAW_FROM,
    RAW_TO,
    SETS,
    TOKEN,
    TOP,
    WEST,
    WORDS_FROM,
    WORDS_TO,
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
from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    HALF,
    ONE,
    OWN_PROPERTIES,
    REGRESSORS,
)
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import ESCAPE_BITS, TOKENS

__all__ = ["SCRATCH_ROWS", "decode"]

SCRATCH_ROWS = 9
"""Rows of a block's scratch: by row of the step, then by place among the coded ones."""
_LINEAR, _MEAN, _PATTERN, _TABLE, _OPEN, _PARAM, _RESULT, _ROW, _OFFSET = range(SCRATCH_ROWS)
_IS_OPEN, _NOT_WEST, _NOT_NORTH = 1, 2, 4
"""Of ``_OPEN``: a token is to come, and what it is known not to be."""

_TWICE_MASKS = 2 * MASKS
_MAX_LANES = 32
_LOW = 1 << 16
_SLOT = (1 << TABLE_BITS) - 1
_NO_FAULT = 1 << 30


class _Block(NamedTuple):
    """What the threads of a block share."""

    masks: Any
    """(_TWICE_MASKS, MASK_WORDS) uint32: those of this step and of the next, by turns."""
    need: Any
    """(3, 1) uint32, which lanes need a word, three by turns."""
    states: Any
    """(_MAX_LANES,) int64."""
    fault: Any
    """(1,) int32, the least that was found."""
    escapes: Any
    """(3,) int32: by parity of the step whether there are any, then what they take."""
    scratch: Any
    """(SCRATCH_ROWS, rows) int32."""


class _Stream(NamedTuple):
    """What a plane is decoded from, and the tables."""

    lanes: int
    words: Any
    words_end: int
    raw: Any
    raw_bytes: int
    cumulative: Any
    used: Any
    lookup: Any


class _Choices(NamedTuple):
    """What the encoder chose for a plane."""

    top: int
    gain: int
    flagged: int
    flags: Any
    """(2, MATCH_CONTEXTS) int32."""
    table_map: Any
    nodes: Any
    """(…, 4) int32 of a tree; none if ``grown`` is false."""
    leaf_tables: Any
    """(MATCH_CONTEXTS,) int32, of each leaf its table among all, or 0 for the model's."""
    grown: bool


class _Step(NamedTuple):
    """A step of the wavefront."""

    t: int
    y0: int
    n: int
    """Rows from ``y0`` on that have a sample."""
    mask_words: int
    """Words of a mask that those take."""
    masks: int
    """The first of this step's masks."""


# Prediction --------------------------------------------------------------------------------------


@device
def _predict(
    step: _Step,
    planes: Planes,
    masked: int,
    absent: Any,
    path: LinearPath,
    network: Network,
    choices: _Choices,
    block: _Block,
    taps: Any,
) -> None:
    """Predict a step's samples into the scratch, and vote on what comes of each first."""
    scratch, own, top = block.scratch, planes.own, choices.top
    pitch = planes.pitch
    limit = top << FRACTION_BITS
    for i in range(cuda.threadIdx.x, step.n, cuda.blockDim.x):
        y = step.y0 + i
        at = position_of(step.t, y, pitch)
        if masked and absent[at]:
            mean = (own[at - pitch] + own[at - 2 * pitch - 1] + 1) >> 1
            store(own, step.t, y, mean, planes)
            scratch[_OPEN, i] = 0
            continue
        around = look_around(planes, at, taps)
        linear = predict_linear(taps, around, path, planes.n_refs, top)
        correction, context = predict_network(planes, at, top, taps, around, linear, network)
        mean = corrected(linear, correction, choices.gain, limit)
        pred = (mean + HALF) >> FRACTION_BITS
        table = choices.table_map[table_of(context, mean - pred * ONE)]
        pattern = around.pattern
        if choices.grown:
            pattern = _leaf_of(choices.nodes, planes, at, context, mean)
            if choices.leaf_tables[pattern] > 0:
                table = choices.leaf_tables[pattern]
        scratch[_LINEAR, i] = linear
        scratch[_MEAN, i] = mean
        scratch[_PATTERN, i] = pattern
        scratch[_TABLE, i] = table
        scratch[_OPEN, i] = _IS_OPEN
        if not choices.flagged:
            vote(block.masks, step.masks + TOKEN, i)
        elif choices.flags[0, pattern] > 0:
            vote(block.masks, step.masks + WEST, i)


# Context tree ------------------------------------------------------------------------------------


@device
def _property_of(kind: int, planes: Planes, at: int, context: int, mean: int) -> int:
    """Return one property of a sample; ``properties.step_properties``."""
    own, errors, refs, ref_errors = planes.own, planes.errors, planes.refs, planes.ref_errors
    pitch = planes.pitch
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
            return ref_errors[r, at]
        here = refs[r, at]
        if kind == 0:
            return here
        if kind == 1:
            return here - refs[r, at - pitch]
        if kind == 2:
            return here - refs[r, at - 2 * pitch - 1]
        if kind == 3:
            return here - refs[r, at + pitch]
        return here - refs[r, at + 2 * pitch + 1]
    if kind == 13:
        return errors[at - pitch]
    if kind == 14:
        return errors[at - 2 * pitch - 1]
    west, north = own[at - pitch], own[at - 2 * pitch - 1]
    if kind == 3:
        return west
    if kind == 4:
        return north
    if kind == 5:
        return west - own[at - 3 * pitch - 1]
    if kind == 6:
        return north - own[at - 3 * pitch - 1]
    if kind == 7:
        return north - own[at - pitch - 1]
    if kind == 8:
        return west - own[at - 2 * pitch]
    if kind == 9:
        return north - own[at - 4 * pitch - 2]
    if kind == 10:
        return west - north
    if kind == 11:
        return west - pred
    return north - pred


@device
def _leaf_of(nodes: Any, planes: Planes, at: int, context: int, mean: int) -> int:
    """Return the leaf of a sample; ``properties.step_leaves``."""
    node = np.int32(0)
    while node >= 0:
        value = _property_of(nodes[node, 0], planes, at, context, mean)
        node = nodes[node, 3] if value > nodes[node, 1] else nodes[node, 2]
    return -1 - node


# Symbols -----------------------------------------------------------------------------------------


@device
def _decode_round(
    tokens: bool, order: int, count: int, first: int, at: int, stream: _Stream, block: _Block
) -> int:
    """Decode ``count`` symbols, lanes by lanes; return where the next word stands.

    first : lane of symbol 0; order : which round of its step this is.
    The scratch has each symbol's table (or its flag's probability), and takes the symbol (or 1).
    """
    tid, threads, lanes = cuda.threadIdx.x, cuda.blockDim.x, stream.lanes
    scratch, states, need = block.scratch, block.states, block.need
    cumulative = stream.cumulative
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
                    symbol = np.int64(stream.lookup[param, slot >> (TABLE_BITS - 8)])
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
                    vote(need, turn, k)
        cuda.syncthreads()
        for k in range(tid, lanes, threads):
            if start_at + k < count and voted(need, turn, k):
                word = at + place(need, turn, k)
                lane = (first + start_at + k) % lanes
                if word < stream.words_end:
                    states[lane] = (states[lane] << 16) | np.int64(stream.words[word])
                else:
                    cuda.atomic.min(block.fault, 0, _fault(order, start_at + k, 1))
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


@device
def _fault(order: int, at: int, code: int) -> int:
    """Rank a fault so that the least is the one that a decoder symbol by symbol meets first."""
    return ((order << 16) + at) * 8 + code


@device
def _decode_flags(
    kind: int,
    step: _Step,
    lane: int,
    at: int,
    planes: Planes,
    choices: _Choices,
    stream: _Stream,
    block: _Block,
) -> tuple[int, int]:
    """Decode the flags "as west" or "as north" of a step; return the next lane and word."""
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    masks, scratch, own = block.masks, block.scratch, planes.own
    count = total(masks, step.masks + kind, step.mask_words)
    if count:
        for i in range(tid, step.n, threads):
            if voted(masks, step.masks + kind, i):
                j = place(masks, step.masks + kind, i)
                scratch[_PARAM, j] = choices.flags[kind, scratch[_PATTERN, i]]
        cuda.syncthreads()
        at = _decode_round(False, kind, count, lane, at, stream, block)
        lane = (lane + count) % stream.lanes
    for i in range(tid, step.n, threads):
        y = step.y0 + i
        here = position_of(step.t, y, planes.pitch)
        west, north = own[here - planes.pitch], own[here - 2 * planes.pitch - 1]
        state = scratch[_OPEN, i]
        if voted(masks, step.masks + kind, i):
            if scratch[_RESULT, place(masks, step.masks + kind, i)]:
                _settle(planes, step.t, y, west if kind == 0 else north, scratch[_LINEAR, i])
                state = 0
            else:
                state |= _NOT_WEST if kind == 0 else _NOT_NORTH
            scratch[_OPEN, i] = state
        if state:
            if kind == 1:
                vote(masks, step.masks + TOKEN, i)
            elif west != north and choices.flags[1, scratch[_PATTERN, i]] > 0:
                vote(masks, step.masks + NORTH, i)
    cuda.syncthreads()
    return lane, at


@device
def _settle(planes: Planes, t: int, y: int, value: int, linear: int) -> None:
    """Write a sample and the error of its linear prediction."""
    error = (value << FRACTION_BITS) - linear
    store(planes.own, t, y, value, planes)
    store(planes.errors, t, y, error, planes)


@device
def _decode_tokens(
    step: _Step, count: int, lane: int, at: int, stream: _Stream, block: _Block
) -> int:
    """Decode the tokens of a step; return where the next word stands."""
    masks, scratch = block.masks, block.scratch
    for i in range(cuda.threadIdx.x, step.n, cuda.blockDim.x):
        if voted(masks, step.masks + TOKEN, i):
            j = place(masks, step.masks + TOKEN, i)
            scratch[_PARAM, j] = scratch[_TABLE, i]
            scratch[_ROW, j] = i
    cuda.syncthreads()
    return _decode_round(True, 2, count, lane, at, stream, block)


# Raw bits ----------------------------------------------------------------------------------------


@device
def _read_bits(raw: Any, length: int, at: int, count: int) -> int:
    """Read ``count`` ≤ 24 bits, least significant first, of ``length`` bytes."""
    value = np.int64(0)
    byte = at >> 3
    for k in range(4):
        if byte + k < length:
            value |= np.int64(raw[byte + k]) << (8 * k)
    return (value >> (at & 7)) & ((1 << count) - 1)


@device
def _place_raw_bits(step: _Step, count: int, bit_at: int, stream: _Stream, block: _Block) -> int:
    """Find where each token's raw bits stand; return how many the step has."""
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    masks, scratch, escapes = block.masks, block.scratch, block.escapes
    for j in range(tid, count, threads):
        symbol = scratch[_RESULT, j]
        bits = extra_bits(symbol)
        if symbol == stream.used[scratch[_PARAM, j]]:
            bits = ESCAPE_BITS
            escapes[step.t & 1] = 1
        vote_count(masks, step.masks, j, bits)
    cuda.syncthreads()
    step_bits = np.int64(sum_all(masks, step.masks, step.mask_words))
    for j in range(tid, count, threads):
        scratch[_OFFSET, j] = sum_below(masks, step.masks, j)
    if escapes[step.t & 1]:
        cuda.syncthreads()
        if tid == 0:
            escapes[2] = _settle_escapes(count, bit_at, stream, scratch)
        cuda.syncthreads()
        step_bits += escapes[2]
    return step_bits


@device
def _settle_escapes(count: int, bit_at: int, stream: _Stream, scratch: Any) -> int:
    """Move offsets behind escapes by what the escaped tokens take; return what all take.

    One thread walks: how many bits a symbol takes is only known once its own are read.
    """
    total_bits = stream.raw_bytes * 8
    added = 0
    for j in range(count):
        scratch[_OFFSET, j] += added
        if scratch[_RESULT, j] == stream.used[scratch[_PARAM, j]]:
            at = bit_at + scratch[_OFFSET, j]
            if at + ESCAPE_BITS <= total_bits:
                token = _read_bits(stream.raw, stream.raw_bytes, at, ESCAPE_BITS)
                added += extra_bits(token & 127)
    return added


# Samples -----------------------------------------------------------------------------------------


@device
def _write_samples(
    step: _Step,
    count: int,
    bit_at: int,
    planes: Planes,
    choices: _Choices,
    stream: _Stream,
    block: _Block,
) -> None:
    """Turn tokens and raw bits into samples, and report what is out of range."""
    scratch, own, top = block.scratch, planes.own, choices.top
    for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        i = scratch[_ROW, j]
        y = step.y0 + i
        here, pitch = position_of(step.t, y, planes.pitch), planes.pitch
        folded, code = _read_folded(j, bit_at + scratch[_OFFSET, j], stream, scratch)
        if code == 0:
            mean = scratch[_MEAN, i]
            pred = (mean + HALF) >> FRACTION_BITS
            flip = mean - pred * ONE < 0
            state = scratch[_OPEN, i]
            low, high = np.int64(-1), np.int64(-1)
            if state & _NOT_WEST:
                low = np.int64(fold(own[here - pitch] - pred, top - pred, pred, flip))
            if state & _NOT_NORTH:
                high = np.int64(fold(own[here - 2 * pitch - 1] - pred, top - pred, pred, flip))
            value = pred + unfold(_open_gaps(folded, low, high), top - pred, pred, flip)
            if value < 0 or value > top:
                code = 4
            else:
                _settle(planes, step.t, y, value, scratch[_LINEAR, i])
        if code:
            cuda.atomic.min(block.fault, 0, _fault(2, j, code))


@device
def _read_folded(j: int, bits_at: int, stream: _Stream, scratch: Any) -> tuple[int, int]:
    """Return what token ``j`` of a step and its raw bits say, and 0 or a fault's code."""
    total_bits = stream.raw_bytes * 8
    token = np.int64(scratch[_RESULT, j])
    code = 0
    if token == stream.used[scratch[_PARAM, j]]:
        if bits_at + ESCAPE_BITS > total_bits:
            code = 2
        else:
            token = _read_bits(stream.raw, stream.raw_bytes, bits_at, ESCAPE_BITS)
            bits_at += ESCAPE_BITS
            if token >= TOKENS:
                code = 3
    folded = token
    if code == 0 and token >= 16:
        extra = extra_bits(token)
        if bits_at + extra > total_bits:
            code = 2
        else:
            folded = ((4 + ((token - 16) & 3)) << extra) + _read_bits(
                stream.raw, stream.raw_bytes, bits_at, extra
            )
    return folded, code


@device
def _open_gaps(folded: int, low: int, high: int) -> int:
    """Count the ruled-out values, −1 where there is none, back in."""
    if high >= 0 and (low < 0 or high < low):
        low, high = high, low
    if low >= 0 and folded >= low:
        folded += 1
    if high >= 0 and folded >= high:
        folded += 1
    return folded


# The kernel --------------------------------------------------------------------------------------


@device
def _begin(planes: Planes, first: int, block: _Block) -> None:
    """Fill what a block starts from, by all threads; a barrier must follow."""
    tid, threads = cuda.threadIdx.x, cuda.blockDim.x
    clear(block.masks, 0, MASK_WORDS)
    clear(block.masks, MASKS, MASK_WORDS)
    if tid == 0:
        block.fault[0] = _NO_FAULT
        for k in range(3):
            block.need[k, 0] = 0
            block.escapes[k] = 0
    for k in range(tid, len(planes.own), threads):
        planes.own[k] = first
        planes.errors[k] = 0


@device
def _verdict(done: int, at: int, bit_at: int, stream: _Stream, states: Any) -> int:
    """Return a plane's fault: the first that was met, or 5 where something is left over."""
    if done != _NO_FAULT:
        return done & 7
    if at != stream.words_end or bit_at + 8 <= stream.raw_bytes * 8:
        return 5
    for k in range(stream.lanes):
        if states[k] != _LOW:
            return 5
    return 0


@kernel
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

    own, errors : (planes, L) int32, filled. refs, ref_errors : (planes, references, L) int32.
    settings : (planes, SETTINGS) int64. all_scratch : (planes, SCRATCH_ROWS, rows) int32.
    nodes : (planes, …, 4) int32; leaf_tables : (planes, MATCH_CONTEXTS) int32, of each leaf its
    table among all, or 0 for the model's. all_states : (planes, 32) int64.
    faults : (planes,) int32, 0 or the code of the first fault.
    """
    plane = cuda.blockIdx.x
    tid = cuda.threadIdx.x
    set_weights = cuda.shared.array(LINEAR_SIZE, nb.int32)
    layer = cuda.shared.array(LAYER_SIZE, nb.float32)
    masks = cuda.shared.array((_TWICE_MASKS, MASK_WORDS), nb.uint32)
    need = cuda.shared.array((3, 1), nb.uint32)
    states = cuda.shared.array(_MAX_LANES, nb.int64)
    fault = cuda.shared.array(1, nb.int32)
    escapes = cuda.shared.array(3, nb.int32)
    taps = cuda.local.array(REGRESSORS, nb.int32)

    x = settings[plane]
    planes = Planes(
        own[plane],
        errors[plane],
        refs[plane],
        ref_errors[plane],
        n_refs,
        height,
        width,
        pitch_of(height, width),
    )
    path = LinearPath(x[SETS], thresholds[plane], cells[plane], set_weights)
    network = Network(n_hidden, layer, bias, shift, out_weights, out_bias, out_shift)
    choices = _Choices(
        x[TOP],
        x[GAIN],
        x[FLAGGED],
        flags[plane],
        table_map[plane],
        nodes[plane],
        leaf_tables[plane],
        x[NODES] > 0,
    )
    raw = all_raw[x[RAW_FROM] : x[RAW_TO]]
    raw_bytes = x[RAW_TO] - x[RAW_FROM]
    stream = _Stream(x[LANES], all_words, x[WORDS_TO], raw, raw_bytes, cumulative, used, lookup)
    block = _Block(masks, need, states, fault, escapes, all_scratch[plane])
    absent = mask[plane if masked else 0]

    load(weights[plane], set_weights, LINEAR_SIZE)
    load(hidden_weights, layer, FEATURES * n_hidden)
    load(all_states[plane], states, _MAX_LANES)
    _begin(planes, x[FIRST], block)
    cuda.syncthreads()

    lane, at, bit_at = np.int64(0), x[WORDS_FROM], np.int64(0)
    done = 0
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        step = _Step(t, y0, n, (n + 31) >> 5, (t & 1) * MASKS)
        _predict(step, planes, masked, absent, path, network, choices, block, taps)
        # the step before may have had a row more
        clear(masks, MASKS - step.masks, step.mask_words + 1)
        if tid == 0:
            escapes[1 - (t & 1)] = 0
        cuda.syncthreads()
        if choices.flagged:
            for kind in range(2):
                lane, at = _decode_flags(kind, step, lane, at, planes, choices, stream, block)
        count = total(masks, step.masks + TOKEN, step.mask_words)
        at = _decode_tokens(step, count, lane, at, stream, block)
        if count:
            lane = (lane + count) % stream.lanes
        step_bits = _place_raw_bits(step, count, bit_at, stream, block)
        _write_samples(step, count, bit_at, planes, choices, stream, block)
        bit_at += step_bits
        cuda.syncthreads()
        done = fault[0]
        if done != _NO_FAULT:
            break
    if tid == 0:
        faults[plane] = _verdict(done, at, bit_at, stream, states)
