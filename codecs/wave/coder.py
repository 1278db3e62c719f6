"""Code and decode the residuals of one plane: tokens, static tables, interleaved rANS.

A residual becomes a *token* (hybrid unsigned integer) and raw low bits. Tokens go through a
range variant of asymmetric numeral systems (rANS; Duda, arXiv 1311.2540) with 32-bit states and
16-bit words, interleaved over 4, 8 or 32 lanes whose words share one buffer in symbol order
(Giesen, arXiv 1402.3392). Symbol i of a plane belongs to lane i mod lanes.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import (
    FRACTION_BITS,
    GAIN_BITS,
    MATCH_CONTEXTS,
    MATCH_LEVELS,
    PROPERTIES,
    SHEAR,
    TIME_PAD,
    TOP_PAD,
)
from tilepress.codecs.wave.predictor import (
    HALF,
    ONE,
    _log8,
    active_rows,
    empty_sheared,
    predict_linear,
    predict_network,
    steps,
    workspace,
)
from tilepress.codecs.wave.properties import step_leaves, step_properties

__all__ = [
    "ESCAPE_BITS",
    "GAINS",
    "LANES",
    "LOOK_STRIDE",
    "PHASED_CONTEXTS",
    "PHASES",
    "STATE_LOW",
    "TABLE_BITS",
    "TOKENS",
    "best_tables",
    "count_matches",
    "count_tokens",
    "decode_plane",
    "flag_probabilities",
    "fold_plane",
    "gain_costs",
    "lanes_for",
    "pack_raw",
    "pad_edges",
    "plane_means",
    "predict_plane",
    "rans_encode",
    "raw_bits",
    "symbols",
    "tokenise",
]

TABLE_BITS = 15
"""Frequencies of a table sum to 2^TABLE_BITS."""
TOKENS = 72
"""Tokens 0 … 71 cover residuals of MAX_RANGE."""
ESCAPE_BITS = 7
"""Raw bits of a token that its table leaves to the escape."""
PHASES = 4
"""Tables per context by where between two integers the prediction falls."""
PHASED_CONTEXTS = 18 * 3
"""Contexts of small scale have a table for every phase; for larger ones it is no matter."""

STATE_LOW = 1 << 16
"""States of the coder lie in STATE_LOW … 2^32 − 1."""
_LOW = np.uint32(STATE_LOW)
GAINS = (0, 2, 4, 6, 7, 8, 9, 10, 12)
"""Gains that the encoder tries."""
LOOK_STRIDE = 4
"""Choices for a whole plane follow from every fourth step."""


LANES = (1, 4, 8, 32)
"""Numbers of lanes that a plane's stream may have."""


def lanes_for(words: int, samples: int) -> int:
    """Return the lanes for a stream of ``words``: each costs two to four bytes.

    Many samples get more than one all the same, for a GPU decodes only lanes side by side.
    """
    if words < 400:
        return 1 if samples < 16384 else 4
    return 4 if words < 2500 else 8 if words < 16000 else 32


@nb.njit(inline="always")
def _fold(residual: int, up: int, down: int, flip: int) -> int:
    """Map a residual to 0, 1, 2 … by likelihood: alternating signs while both are possible."""
    if flip:
        residual, up, down = -residual, down, up
    least = min(up, down)
    size = abs(residual)
    if size > least:
        return size + least
    return 2 * residual - 1 if residual > 0 else -2 * residual


@nb.njit(inline="always")
def _unfold(folded: int, up: int, down: int, flip: int) -> int:
    if flip:
        up, down = down, up
    least = min(up, down)
    if folded > 2 * least:
        residual = folded - least
        if down > up:
            residual = -residual
    elif folded & 1:
        residual = (folded + 1) >> 1
    else:
        residual = -(folded >> 1)
    return -residual if flip else residual


@nb.njit(inline="always")
def _table_of(context: int, fraction: int) -> int:
    """Index of the static table: context, and phase |fraction| / 8 (units of 1/64), 0 … 3."""
    if context < PHASED_CONTEXTS:
        return context * PHASES + min(abs(fraction) >> 3, 3)
    return PHASED_CONTEXTS * (PHASES - 1) + context


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

    own : (T, Y) int32 sheared samples; mask : (T, Y) uint8 sheared, nonzero where absent.
    Returns, in coding order, (N,) int32 each: linear predictions, corrections before the plane's
    gain, contexts, patterns, samples, west and north neighbours; (steps + 1,) where each step
    begins; the errors of the linear path (T, Y) int32, sheared, in 1/64 steps; and of every fourth
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
    work = workspace(height, width)
    linear, pattern, correction, context = work[3], work[4], work[16], work[17]
    masked = mask.shape[0] > 0
    count = 0
    looked_at, matching = 0, 0
    for t in range(n_steps):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        predict_linear(own, refs, ref_errors, n_refs, t, y0, n, top, classes, work)
        predict_network(errors, ref_errors, n_refs, t, y0, n, top, net, work)
        begins[t] = count
        first = y0 + TOP_PAD
        row = own[t + TIME_PAD, first : first + n]
        west = own[t + TIME_PAD - 1, first : first + n]
        north = own[t + TIME_PAD - SHEAR, first - 1 : first - 1 + n]
        error_row = errors[t + TIME_PAD, first : first + n]
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
            absent = mask[t + TIME_PAD, first : first + n]
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
                if masked and mask[t + TIME_PAD, first + i]:
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


@jit
def gain_costs(linears: Any, corrections: Any, samples: Any, begins: Any) -> Any:
    """Return (GAINS,) int64, about what residuals cost with each gain, in eighths of a bit.

    Logarithms of the errors, not squares: where most samples are nearly exact, the few others would
    decide. An error counts as no less than a quarter of a step.
    """
    costs = np.zeros(len(GAINS), np.int64)
    quarter = np.int32(ONE // 4)
    half = np.int32(1 << (GAIN_BITS - 1))
    for t in range(0, len(begins) - 1, LOOK_STRIDE):
        first, end = begins[t], begins[t + 1]
        for k in range(len(GAINS)):
            gain = np.int32(GAINS[k])
            total = np.int64(0)
            for i in range(first, end):
                error = (samples[i] << np.int32(FRACTION_BITS)) - linears[i]
                left = error - ((corrections[i] * gain + half) >> np.int32(GAIN_BITS))
                total += _log8(abs(left) + quarter)
            costs[k] += total
    return costs


@jit
def fold_plane(
    linears: Any,
    corrections: Any,
    contexts: Any,
    samples: Any,
    gain: int,
    top: int,
    with_candidates: bool,
) -> Any:
    """Return tables (N,) int16, folded residuals (N,) int32, and those of west and north (2, N).

    Without candidates the last is (2, 0): no match flag may be coded then.
    """
    n = len(linears)
    tables = np.empty(n, np.int16)
    folded = np.empty(n, np.int32)
    candidates = np.empty((2, n if with_candidates else 0), np.int32)
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    for i in range(n):
        mean = corrected(linears[i], corrections[i], gain, limit)
        pred = (mean + HALF) >> FRACTION_BITS
        fraction = mean - pred * ONE
        up, flip = top - pred, fraction < 0
        tables[i] = _table_of(contexts[i], fraction)
        folded[i] = _fold(samples[0, i] - pred, up, pred, flip)
        if with_candidates:
            candidates[0, i] = _fold(samples[1, i] - pred, up, pred, flip)
            candidates[1, i] = _fold(samples[2, i] - pred, up, pred, flip)
    return tables, folded, candidates


@jit
def plane_means(linears: Any, corrections: Any, gain: int, top: int) -> Any:
    """Return the means of a plane's samples, (N,) int32 in 1/64 steps, under a gain."""
    means = np.empty(len(linears), np.int32)
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    for i in range(len(linears)):
        means[i] = corrected(linears[i], corrections[i], gain, limit)
    return means


@nb.njit(inline="always")
def corrected(linear: int, correction: int, gain: int, limit: int) -> int:
    """Return the mean in 1/64 steps: linear prediction plus the correction times the gain."""
    half = np.int32(1 << (GAIN_BITS - 1))
    moved = linear + ((correction * np.int32(gain) + half) >> np.int32(GAIN_BITS))
    return min(max(moved, np.int32(0)), limit)


@jit
def pad_edges(sheared: Any, t: int, y0: int, n: int, height: int, width: int) -> None:
    """After step ``t``: repeat a row's last sample to its right, its first below left."""
    if n == 0:
        return
    y = y0
    x = t - SHEAR * y
    if x == width - 1:
        value = sheared[t + TIME_PAD, y + TOP_PAD]
        for k in range(1, 4):
            sheared[t + TIME_PAD + k, y + TOP_PAD] = value
    y = y0 + n - 1
    if t - SHEAR * y == 0 and y + 1 < height:
        value = sheared[t + TIME_PAD, y + TOP_PAD]
        for k in range(1, 4):
            sheared[t + TIME_PAD + SHEAR - k, y + 1 + TOP_PAD] = value


@jit
def tokenise(folded: Any) -> Any:
    """Return the tokens, (N,) uint8, of folded residuals."""
    tokens = np.empty(len(folded), np.uint8)
    for i in range(len(folded)):
        tokens[i] = _token(folded[i])
    return tokens


@jit
def count_matches(tables: Any, folded: Any, matches: Any, candidates: Any, costs: Any) -> Any:
    """Return (2, MATCH_CONTEXTS, 4) int64, for the flags "as west" and "as north" (of the rest):

    how often it is so, how often not, the bits that samples which match cost without the flag, and
    the bits that the others save because the candidate is ruled out.
    costs : (tables, TOKENS) int32, bits of a token with its raw bits, in the unit of the result's.
    """
    out = np.zeros((2, MATCH_CONTEXTS, 4), np.int64)
    for i in range(len(folded)):
        z, west, north = folded[i], candidates[0, i], candidates[1, i]
        cost = costs[tables[i], _token(z)]
        c = matches[i]
        if z == west:
            out[0, c, 0] += 1
            out[0, c, 2] += cost
            continue
        out[0, c, 1] += 1
        out[0, c, 3] += cost - costs[tables[i], _token(z - (z > west))]
        if north == west:
            continue
        if z == north:
            out[1, c, 0] += 1
            out[1, c, 2] += cost
        else:
            out[1, c, 1] += 1
            out[1, c, 3] += cost - costs[tables[i], _token(z - (z > north))]
    return out


@nb.njit(inline="always")
def _token(z: int) -> int:
    if z < 16:
        return z
    octave = 4
    while z >> (octave + 1):
        octave += 1
    return 16 + (octave - 4) * 4 + ((z >> (octave - 2)) & 3)


def raw_bits() -> npt.NDArray[np.int64]:
    """Return (TOKENS,) how many raw bits follow each token."""
    token = np.arange(TOKENS)
    return np.where(token < 16, 0, (token - 8) >> 2)


def flag_probabilities(levels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the flags' probabilities of 2^15; 0 where a flag is not coded."""
    return np.where(levels > 0, MATCH_LEVELS[np.maximum(levels - 1, 0)], 0).astype(np.int32)


@jit
def symbols(
    tables: Any,
    folded: Any,
    matches: Any,
    candidates: Any,
    begins: Any,
    flags: Any,
    table_map: Any,
    cumulative: Any,
    used: Any,
) -> Any:
    """Turn residuals into coder symbols: intervals (start, size) and raw bits (value, count).

    A step's samples give their flags "as west", then their flags "as north", then their tokens.

    begins : (steps + 1,) where each step begins.
    flags : (2, MATCH_CONTEXTS) int32, probability of 2^15 of each match flag, 0 where not coded.
    table_map : (tables,) int32, the table that stands in for each.
    """
    n = len(folded)
    starts = np.empty(3 * n, np.uint16)
    sizes = np.empty(3 * n, np.uint16)
    bits = np.empty(n, np.uint32)
    counts = np.empty(n, np.uint8)
    open_ = np.ones(n, np.bool_)
    m = 0
    raw = 0
    flagged = flags.max() > 0
    for step in range(len(begins) - 1):
        first, end = begins[step], begins[step + 1]
        for kind in range(2):
            if not flagged:
                break
            for i in range(first, end):
                p = flags[kind, matches[i]]
                if p == 0 or not open_[i] or (kind == 1 and candidates[1, i] == candidates[0, i]):
                    continue
                same = folded[i] == candidates[kind, i]
                starts[m], sizes[m] = (0, p) if same else (p, 32768 - p)
                m += 1
                open_[i] = not same
        for i in range(first, end):
            if not open_[i]:
                continue
            code = folded[i]
            if flagged:
                z, west, north = code, candidates[0, i], candidates[1, i]
                code -= flags[0, matches[i]] > 0 and z > west
                code -= flags[1, matches[i]] > 0 and north != west and z > north
            token = _token(code)
            table = table_map[tables[i]]
            symbol = min(token, used[table])
            starts[m] = cumulative[table, symbol]
            sizes[m] = cumulative[table, symbol + 1] - cumulative[table, symbol]
            m += 1
            value, count = np.uint32(0), 0
            if token >= 16:
                count = ((token - 16) >> 2) + 2
                value = np.uint32(code & ((1 << count) - 1))
            if symbol == used[table]:
                value = (value << np.uint32(ESCAPE_BITS)) | np.uint32(token)
                count += ESCAPE_BITS
            if count:
                bits[raw], counts[raw] = value, count
                raw += 1
    return starts[:m], sizes[:m], bits[:raw], counts[:raw]


@jit
def count_tokens(
    tables: Any, folded: Any, matches: Any, candidates: Any, flags: Any, n_tables: int
) -> Any:
    """Return (tables, TOKENS) int64: how often each token is coded in each table, flags applied."""
    out = np.zeros((n_tables, TOKENS), np.int64)
    if flags.max() == 0:
        for i in range(len(folded)):
            out[tables[i], _token(folded[i])] += 1
        return out
    for i in range(len(folded)):
        z, west, north = folded[i], candidates[0, i], candidates[1, i]
        first, second = flags[0, matches[i]] > 0, flags[1, matches[i]] > 0 and north != west
        if (first and z == west) or (second and z == north):
            continue
        out[tables[i], _token(z - (first and z > west) - (second and z > north))] += 1
    return out


@jit
def best_tables(counted: Any, costs: Any) -> Any:
    """Return for each table the one whose costs suit its tokens best, its own cost, the saving.

    counted : (tables, TOKENS) int64; costs : (tables, TOKENS) int32. Of equals the lowest wins.
    """
    n = len(counted)
    best = np.arange(n).astype(np.int32)
    own, saved = np.zeros(n, np.int64), np.zeros(n, np.int64)
    symbols_in_use = np.empty(counted.shape[1], np.int64)
    for table in range(n):
        used = 0
        for token in range(counted.shape[1]):
            if counted[table, token] > 0:
                symbols_in_use[used] = token
                used += 1
        if used == 0:
            continue
        least = np.int64(1) << np.int64(62)
        for other in range(n):
            total = np.int64(0)
            for k in range(used):
                token = symbols_in_use[k]
                total += counted[table, token] * costs[other, token]
            if other == table:
                own[table] = total
            if total < least:
                best[table], least = other, total
        saved[table] = own[table] - least
    return best, own, saved


@jit
def rans_encode(starts: Any, sizes: Any, lanes: int) -> Any:
    """Return the lanes' states, (lanes,) uint32, and the words, (W,) uint16, of a symbol stream."""
    n = len(starts)
    states = np.full(lanes, _LOW, np.uint32)
    words = np.empty(n + 1, np.uint16)
    at = n + 1
    for i in range(n - 1, -1, -1):
        start, size = np.uint32(starts[i]), np.uint32(sizes[i])
        state = states[i % lanes]
        if np.uint64(state) >= np.uint64(size) << np.uint64(17):
            at -= 1
            words[at] = state & np.uint32(0xFFFF)
            state >>= np.uint32(16)
        states[i % lanes] = ((state // size) << np.uint32(TABLE_BITS)) + (state % size) + start
    return states, words[at:]


@jit
def pack_raw(bits: Any, counts: Any) -> Any:
    """Concatenate raw bits, least significant first, (B,) uint8."""
    raw = np.empty(len(bits) * 4 + 16, np.uint8)
    hold = np.uint64(0)
    filled, length = 0, 0
    for i in range(len(bits)):
        hold |= np.uint64(bits[i]) << np.uint64(filled)
        filled += counts[i]
        while filled >= 8:
            raw[length] = hold & np.uint64(0xFF)
            length += 1
            hold >>= np.uint64(8)
            filled -= 8
    if filled > 0:
        raw[length] = hold & np.uint64(0xFF)
        length += 1
    return raw[:length]


@jit
def decode_plane(
    states: Any,
    words: Any,
    raw: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    mask: Any,
    height: int,
    width: int,
    top: int,
    first: int,
    classes: Any,
    net: Any,
    gain: int,
    flags: Any,
    table_map: Any,
    cumulative: Any,
    used: Any,
    lookup: Any,
    nodes: Any,
    leaf_tables: Any,
) -> Any:
    """Decode a plane. Returns (own, errors), sheared, and 0, or a nonzero fault code.

    lookup : (tables, 256) uint8, first candidate symbol of each 1/256 of the interval.
    nodes, leaf_tables : of ``tree.TreeArrays``; ``flags`` are by leaf then, and own tables follow
    the model's.
    Faults: 1 words ran out, 2 raw bits ran out, 3 token out of range, 4 sample out of range,
    5 words, bits or states are left over.
    """
    own = empty_sheared(height, width, 0)
    own[:, :TOP_PAD] = first
    for k in range(1, 4):
        own[TIME_PAD - k, TOP_PAD] = first
    errors = empty_sheared(height, width, 0)
    work = workspace(height, width)
    linear, pattern, correction, context = work[3], work[4], work[16], work[17]
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    rows = len(linear)
    means = np.empty(rows, np.int32)
    ruled_out = np.empty((2, rows), np.int32)
    open_ = np.empty(rows, np.bool_)
    masked = mask.shape[0] > 0
    lanes = len(states)
    lane, at, bit_at = 0, 0, 0
    states = states.copy()
    total_bits = len(raw) * 8
    slot_mask = np.uint32((1 << TABLE_BITS) - 1)
    table_bits = np.uint32(TABLE_BITS)
    flagged = flags.max() > 0
    grown = len(nodes) > 0
    wanted = np.zeros(PROPERTIES, np.bool_)
    for k in range(len(nodes)):
        wanted[nodes[k, 0]] = True
    properties = np.empty((PROPERTIES, rows if grown else 0), np.int32)
    model_tables = len(table_map)
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        predict_linear(own, refs, ref_errors, n_refs, t, y0, n, top, classes, work)
        predict_network(errors, ref_errors, n_refs, t, y0, n, top, net, work)
        row = own[t + TIME_PAD, y0 + TOP_PAD :]
        west = own[t + TIME_PAD - 1, y0 + TOP_PAD :]
        north = own[t + TIME_PAD - SHEAR, y0 + TOP_PAD - 1 :]
        error_row = errors[t + TIME_PAD, y0 + TOP_PAD :]
        for i in range(n):
            means[i] = corrected(linear[i], correction[i], gain, limit)
        if grown:
            step_properties(
                own,
                refs,
                ref_errors,
                n_refs,
                errors,
                t,
                y0,
                n,
                context,
                means,
                wanted,
                properties,
            )
            step_leaves(nodes, properties, n, pattern)
        for i in range(n):
            open_[i] = True
            if masked and mask[t + TIME_PAD, y0 + i + TOP_PAD]:
                row[i] = (west[i] + north[i] + 1) >> 1
                open_[i] = False
        if flagged:
            ruled_out[:, :n] = -1
            for kind in range(2):
                for i in range(n):
                    p = np.uint32(flags[kind, pattern[i]])
                    if p == 0 or not open_[i] or (kind == 1 and west[i] == north[i]):
                        continue
                    state = states[lane]
                    slot = state & slot_mask
                    same = slot < p
                    if same:
                        state = p * (state >> table_bits) + slot
                    else:
                        state = (np.uint32(32768) - p) * (state >> table_bits) + slot - p
                    if state < _LOW:
                        if at >= len(words):
                            return own, errors, 1
                        state = (state << np.uint32(16)) | np.uint32(words[at])
                        at += 1
                    states[lane] = state
                    lane = lane + 1 if lane + 1 < lanes else 0
                    value = west[i] if kind == 0 else north[i]
                    if same:
                        row[i] = value
                        error_row[i] = (value << FRACTION_BITS) - linear[i]
                        open_[i] = False
                    else:
                        pred = (means[i] + HALF) >> FRACTION_BITS
                        flip = means[i] - pred * ONE < 0
                        ruled_out[kind, i] = _fold(value - pred, top - pred, pred, flip)
        for i in range(n):
            if not open_[i]:
                continue
            pred = (means[i] + HALF) >> FRACTION_BITS
            fraction = means[i] - pred * ONE
            table = table_map[_table_of(context[i], fraction)]
            if grown and leaf_tables[pattern[i]] > 0:
                table = model_tables - 1 + leaf_tables[pattern[i]]
            state = states[lane]
            slot = state & slot_mask
            starts = cumulative[table]
            symbol = np.int32(lookup[table, slot >> np.uint32(TABLE_BITS - 8)])
            while np.uint32(starts[symbol + 1]) <= slot:
                symbol += 1
            start = np.uint32(starts[symbol])
            state = (np.uint32(starts[symbol + 1]) - start) * (state >> table_bits) + slot - start
            if state < _LOW:
                if at >= len(words):
                    return own, errors, 1
                state = (state << np.uint32(16)) | np.uint32(words[at])
                at += 1
            states[lane] = state
            lane = lane + 1 if lane + 1 < lanes else 0
            token = symbol
            if symbol == used[table]:
                if bit_at + ESCAPE_BITS > total_bits:
                    return own, errors, 2
                token = np.int32(_bits(raw, bit_at, ESCAPE_BITS))
                bit_at += ESCAPE_BITS
                if token >= TOKENS:
                    return own, errors, 3
            folded = token
            if token >= 16:
                extra = ((token - 16) >> 2) + 2
                if bit_at + extra > total_bits:
                    return own, errors, 2
                folded = ((4 + ((token - 16) & 3)) << extra) + np.int32(_bits(raw, bit_at, extra))
                bit_at += extra
            if flagged:
                low, high = ruled_out[0, i], ruled_out[1, i]
                if high >= 0 and (low < 0 or high < low):
                    low, high = high, low
                if low >= 0 and folded >= low:
                    folded += 1
                if high >= 0 and folded >= high:
                    folded += 1
            x = pred + _unfold(folded, top - pred, pred, fraction < 0)
            if x < 0 or x > top:
                return own, errors, 4
            row[i] = x
            error_row[i] = (x << FRACTION_BITS) - linear[i]
        pad_edges(own, t, y0, n, height, width)
        pad_edges(errors, t, y0, n, height, width)
    if at != len(words) or bit_at + 8 <= total_bits:
        return own, errors, 5
    for k in range(lanes):
        if states[k] != _LOW:
            return own, errors, 5
    return own, errors, 0


@nb.njit(inline="always")
def _bits(raw: Any, at: int, count: int) -> int:
    """Read ``count`` ≤ 24 bits, least significant first."""
    byte = at >> 3
    value = np.uint64(0)
    for k in range(4):
        if byte + k < len(raw):
            value |= np.uint64(raw[byte + k]) << np.uint64(8 * k)
    return np.int64(
        (value >> np.uint64(at & 7)) & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))
    )
