"""Residuals to symbols: folding, tables, tokens, match flags.

A residual is folded to 0, 1, 2 … by likelihood and becomes a *token* (a hybrid unsigned integer)
and raw low bits. A symbol is an interval (start, size) of the table that the sample's context
names, or of a match flag.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import FRACTION_BITS, MATCH_LEVELS
from tilepress.codecs.wave.predictor import HALF, ONE, corrected

__all__ = [
    "ESCAPE_BITS",
    "PHASED_CONTEXTS",
    "PHASES",
    "TOKENS",
    "flag_probabilities",
    "fold",
    "fold_plane",
    "raw_bits",
    "symbols",
    "table_of",
    "token_of",
    "tokenise",
    "unfold",
]

TOKENS = 72
"""Tokens 0 … 71 cover residuals of MAX_RANGE."""
ESCAPE_BITS = 7
"""Raw bits of a token that its table leaves to the escape."""
PHASES = 4
"""Tables per context by where between two integers the prediction falls."""
PHASED_CONTEXTS = 18 * 3
"""Contexts of small scale have a table for every phase; for larger ones it is no matter."""


@nb.njit(inline="always")
def fold(residual: int, up: int, down: int, flip: int) -> int:
    """Map a residual to 0, 1, 2 … by likelihood: alternating signs while both are possible."""
    if flip:
        residual, up, down = -residual, down, up
    least = min(up, down)
    size = abs(residual)
    if size > least:
        return size + least
    return 2 * residual - 1 if residual > 0 else -2 * residual


@nb.njit(inline="always")
def unfold(folded: int, up: int, down: int, flip: int) -> int:
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
def table_of(context: int, fraction: int) -> int:
    """Index of the static table: context, and phase |fraction| / 8 (units of 1/64), 0 … 3."""
    if context < PHASED_CONTEXTS:
        return context * PHASES + min(abs(fraction) >> 3, 3)
    return PHASED_CONTEXTS * (PHASES - 1) + context


@nb.njit(inline="always")
def token_of(z: int) -> int:
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


@jit
def tokenise(folded: Any) -> Any:
    """Return the tokens, (N,) uint8, of folded residuals."""
    tokens = np.empty(len(folded), np.uint8)
    for i in range(len(folded)):
        tokens[i] = token_of(folded[i])
    return tokens


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
        tables[i] = table_of(contexts[i], fraction)
        folded[i] = fold(samples[0, i] - pred, up, pred, flip)
        if with_candidates:
            candidates[0, i] = fold(samples[1, i] - pred, up, pred, flip)
            candidates[1, i] = fold(samples[2, i] - pred, up, pred, flip)
    return tables, folded, candidates


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
            token = token_of(code)
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
