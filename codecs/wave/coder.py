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

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.kernel import (
    HALF,
    ONE,
    active_rows,
    empty_sheared,
    predict_step,
    steps,
    workspace,
)
from tilepress.codecs.wave.layout import (
    FRACTION_BITS,
    MATCH_CONTEXTS,
    SHEAR,
    TIME_PAD,
    TOP_PAD,
)

__all__ = [
    "ESCAPE_BITS",
    "PHASED_CONTEXTS",
    "PHASES",
    "TABLE_BITS",
    "TOKENS",
    "count_matches",
    "count_tokens",
    "decode_plane",
    "lanes_for",
    "model_plane",
    "pack_raw",
    "pad_edges",
    "rans_encode",
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

_LOW = np.uint32(1 << 16)


def lanes_for(samples: int) -> int:
    """Lanes of a plane's stream: each costs four bytes, so small planes take fewer."""
    return 4 if samples < 4096 else 8 if samples < 32768 else 32


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
def model_plane(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    mask: Any,
    height: int,
    width: int,
    top: int,
    weights: Any,
    net: Any,
) -> Any:
    """Predict a whole plane whose samples are known.

    own : (T, Y) int32 sheared samples; mask : (T, Y) uint8 sheared, nonzero where absent.
    Returns, in coding order, tables (N,) int16, folded residuals (N,) int32, match contexts (N,)
    uint8 and the folded residuals that the west and the north neighbour would give, (2, N) int32;
    and the linear path's residuals (T, Y) int32, sheared, which later planes refer to.
    """
    n_samples = height * width
    tables = np.empty(n_samples, np.int16)
    folded = np.empty(n_samples, np.int32)
    matches = np.empty(n_samples, np.uint8)
    candidates = np.empty((2, n_samples), np.int32)
    errors = empty_sheared(height, width, 0)
    linear_errors = empty_sheared(height, width, 0)
    work = workspace(height, width)
    linear = work[3]
    rows = len(linear)
    mean1, mean2 = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    context = np.zeros(rows, np.int32)
    masked = mask.shape[0] > 0
    count = 0
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        predict_step(
            own,
            refs,
            ref_errors,
            n_refs,
            errors,
            t,
            y0,
            n,
            top,
            weights,
            net,
            work,
            mean1,
            mean2,
            context,
        )
        row = own[t + TIME_PAD]
        west, north = own[t + TIME_PAD - 1], own[t + TIME_PAD - SHEAR]
        error_row = errors[t + TIME_PAD]
        linear_row = linear_errors[t + TIME_PAD]
        for i in range(n):
            y = y0 + i + TOP_PAD
            x = row[y]
            if masked and mask[t + TIME_PAD, y]:
                continue
            error_row[y] = (x << FRACTION_BITS) - mean1[i]
            linear_row[y] = x - ((linear[i] + HALF) >> FRACTION_BITS)
            pred = (mean2[i] + HALF) >> FRACTION_BITS
            fraction = mean2[i] - pred * ONE
            up, flip = top - pred, fraction < 0
            tables[count] = _table_of(context[i], fraction)
            folded[count] = _fold(x - pred, up, pred, flip)
            matches[count] = _match_context(own, refs, n_refs, t, y)
            candidates[0, count] = _fold(west[y] - pred, up, pred, flip)
            candidates[1, count] = _fold(north[y - 1] - pred, up, pred, flip)
            count += 1
        pad_edges(errors, t, y0, n, height, width)
        pad_edges(linear_errors, t, y0, n, height, width)
    return tables[:count], folded[:count], matches[:count], candidates[:, :count], linear_errors


@nb.njit(inline="always")
def _match_context(own: Any, refs: Any, n_refs: int, t: int, y: int) -> int:
    """Return which of the sample's neighbours are equal, one bit a pair (FORMAT.md §6)."""
    t0 = t + TIME_PAD
    w, n = own[t0 - 1, y], own[t0 - SHEAR, y - 1]
    nw, ne = own[t0 - SHEAR - 1, y - 1], own[t0 - SHEAR + 1, y - 1]
    ww, nn = own[t0 - 2, y], own[t0 - 2 * SHEAR, y - 2]
    value = (
        (n == nw) + 2 * (w == nw) + 4 * (n == ne) + 8 * (ww == w) + 16 * (nn == n) + 32 * (w == n)
    )
    if n_refs > 0:
        here = refs[0, t0, y]
        value += 64 * (here == refs[0, t0 - 1, y]) + 128 * (here == refs[0, t0 - SHEAR, y - 1])
    return value


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
        if y == 0:
            for k in range(1, 4):
                sheared[t + TIME_PAD - k, TOP_PAD] = value


@jit
def tokenise(folded: Any) -> Any:
    """Return the tokens, (N,) uint8, of folded residuals."""
    tokens = np.empty(len(folded), np.uint8)
    for i in range(len(folded)):
        tokens[i] = _token(folded[i])
    return tokens


@jit
def count_matches(tables: Any, folded: Any, matches: Any, candidates: Any, costs: Any) -> Any:
    """Return (2, MATCH_CONTEXTS, 4) float64, for the flags "as west" and "as north" (of the rest):

    how often it is so, how often not, the bits that samples which match cost without the flag, and
    the bits that the others save because the candidate is ruled out.
    costs : (tables, TOKENS) float64, bits of a token with its raw bits.
    """
    out = np.zeros((2, MATCH_CONTEXTS, 4))
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


@jit
def symbols(
    tables: Any,
    folded: Any,
    matches: Any,
    candidates: Any,
    flags: Any,
    table_map: Any,
    cumulative: Any,
    used: Any,
) -> Any:
    """Turn residuals into coder symbols: intervals (start, size) and raw bits (value, count).

    flags : (2, MATCH_CONTEXTS) int32, probability of 2^15 of each match flag, 0 where not coded.
    table_map : (tables,) int32, the table that stands in for each.
    """
    n = len(folded)
    starts = np.empty(3 * n, np.uint16)
    sizes = np.empty(3 * n, np.uint16)
    bits = np.empty(n, np.uint32)
    counts = np.empty(n, np.uint8)
    m = 0
    raw = 0
    for i in range(n):
        z, west, north = folded[i], candidates[0, i], candidates[1, i]
        first, second = flags[0, matches[i]], flags[1, matches[i]]
        if first > 0:
            same = z == west
            starts[m], sizes[m] = (0, first) if same else (first, 32768 - first)
            m += 1
            if same:
                continue
        if second > 0 and north != west:
            same = z == north
            starts[m], sizes[m] = (0, second) if same else (second, 32768 - second)
            m += 1
            if same:
                continue
        code = z - (first > 0 and z > west) - (second > 0 and north != west and z > north)
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
    for i in range(len(folded)):
        z, west, north = folded[i], candidates[0, i], candidates[1, i]
        first, second = flags[0, matches[i]] > 0, flags[1, matches[i]] > 0 and north != west
        if (first and z == west) or (second and z == north):
            continue
        out[tables[i], _token(z - (first and z > west) - (second and z > north))] += 1
    return out


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
    weights: Any,
    net: Any,
    flags: Any,
    table_map: Any,
    cumulative: Any,
    used: Any,
    lookup: Any,
) -> Any:
    """Decode a plane. Returns (own, linear errors), sheared, and 0, or a nonzero fault code.

    lookup : (tables, 256) uint8, first candidate symbol of each 1/256 of the interval.
    Faults: 1 words ran out, 2 raw bits ran out, 3 token out of range, 4 sample out of range,
    5 words, bits or states are left over.
    """
    own = empty_sheared(height, width, 0)
    own[:, :TOP_PAD] = first
    for k in range(1, 4):
        own[TIME_PAD - k, TOP_PAD] = first
    errors = empty_sheared(height, width, 0)
    linear_errors = empty_sheared(height, width, 0)
    work = workspace(height, width)
    linear = work[3]
    rows = len(linear)
    mean1, mean2 = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    context = np.zeros(rows, np.int32)
    masked = mask.shape[0] > 0
    lanes = len(states)
    at, bit_at, count = 0, 0, 0
    total_bits = len(raw) * 8
    slot_mask = np.uint32((1 << TABLE_BITS) - 1)
    flagged = flags.max() > 0
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        predict_step(
            own,
            refs,
            ref_errors,
            n_refs,
            errors,
            t,
            y0,
            n,
            top,
            weights,
            net,
            work,
            mean1,
            mean2,
            context,
        )
        row = own[t + TIME_PAD]
        west, north = own[t + TIME_PAD - 1], own[t + TIME_PAD - SHEAR]
        error_row = errors[t + TIME_PAD]
        linear_row = linear_errors[t + TIME_PAD]
        for i in range(n):
            y = y0 + i + TOP_PAD
            if masked and mask[t + TIME_PAD, y]:
                row[y] = (west[y] + north[y - 1] + 1) >> 1
                continue
            pred = (mean2[i] + HALF) >> FRACTION_BITS
            fraction = mean2[i] - pred * ONE
            up, flip = top - pred, fraction < 0
            low, high = -1, -1
            x = -1
            if flagged:
                c = _match_context(own, refs, n_refs, t, y)
                w, nn = west[y], north[y - 1]
                for kind in range(2):
                    p = np.uint32(flags[kind, c])
                    if p == 0 or (kind == 1 and w == nn):
                        continue
                    lane = count % lanes
                    count += 1
                    state = states[lane]
                    slot = state & slot_mask
                    same = slot < p
                    if same:
                        state = p * (state >> np.uint32(TABLE_BITS)) + slot
                    else:
                        state = (np.uint32(32768) - p) * (state >> np.uint32(TABLE_BITS)) + slot - p
                    if state < _LOW:
                        if at >= len(words):
                            return own, linear_errors, 1
                        state = (state << np.uint32(16)) | np.uint32(words[at])
                        at += 1
                    states[lane] = state
                    value = w if kind == 0 else nn
                    if same:
                        x = value
                        break
                    z = _fold(value - pred, up, pred, flip)
                    low, high = (z, low) if low < 0 or z < low else (low, z)
            if x < 0:
                table = table_map[_table_of(context[i], fraction)]
                lane = count % lanes
                count += 1
                state = states[lane]
                slot = state & slot_mask
                starts = cumulative[table]
                symbol = np.int32(lookup[table, slot >> np.uint32(TABLE_BITS - 8)])
                while np.uint32(starts[symbol + 1]) <= slot:
                    symbol += 1
                start = np.uint32(starts[symbol])
                state = (
                    (np.uint32(starts[symbol + 1]) - start) * (state >> np.uint32(TABLE_BITS))
                    + slot
                    - start
                )
                if state < _LOW:
                    if at >= len(words):
                        return own, linear_errors, 1
                    state = (state << np.uint32(16)) | np.uint32(words[at])
                    at += 1
                states[lane] = state
                token = symbol
                if symbol == used[table]:
                    if bit_at + ESCAPE_BITS > total_bits:
                        return own, linear_errors, 2
                    token = np.int32(_bits(raw, bit_at, ESCAPE_BITS))
                    bit_at += ESCAPE_BITS
                    if token >= TOKENS:
                        return own, linear_errors, 3
                folded = token
                if token >= 16:
                    extra = ((token - 16) >> 2) + 2
                    if bit_at + extra > total_bits:
                        return own, linear_errors, 2
                    folded = ((4 + ((token - 16) & 3)) << extra) + np.int32(
                        _bits(raw, bit_at, extra)
                    )
                    bit_at += extra
                if low >= 0 and folded >= low:
                    folded += 1
                if high >= 0 and folded >= high:
                    folded += 1
                x = pred + _unfold(folded, up, pred, flip)
                if x < 0 or x > top:
                    return own, linear_errors, 4
            row[y] = x
            error_row[y] = (x << FRACTION_BITS) - mean1[i]
            linear_row[y] = x - ((linear[i] + HALF) >> FRACTION_BITS)
        if n > 0:
            last = y0 + n - 1
            if t - SHEAR * last == 0 and last + 1 < height:
                for k in range(1, 4):
                    own[t + TIME_PAD + SHEAR - k, last + 1 + TOP_PAD] = row[last + TOP_PAD]
            if t - SHEAR * y0 == width - 1:
                for k in range(1, 4):
                    own[t + TIME_PAD + k, y0 + TOP_PAD] = row[y0 + TOP_PAD]
        pad_edges(errors, t, y0, n, height, width)
        pad_edges(linear_errors, t, y0, n, height, width)
    if at != len(words) or bit_at + 8 <= total_bits:
        return own, linear_errors, 5
    for lane in range(lanes):
        if states[lane] != _LOW:
            return own, linear_errors, 5
    return own, linear_errors, 0


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
