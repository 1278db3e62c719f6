"""Residuals to symbols: folding, tables, tokens, match flags.

A residual is folded to 0, 1, 2 … by likelihood and becomes a *token* (a hybrid unsigned integer)
and raw low bits. A symbol is an interval (start, size) of the table that the sample's context
names, or of a match flag.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory, instruction_set
from tilepress.codecs.wave.layout import MATCH_LEVELS

__all__ = [
    "ESCAPE_BITS",
    "PHASED_CONTEXTS",
    "PHASES",
    "TOKENS",
    "Symbols",
    "flag_probabilities",
    "fold_plane",
    "raw_bits",
    "symbols",
    "tokenise",
]

TOKENS = 72
"""Tokens 0 … 71 cover residuals of MAX_RANGE."""
ESCAPE_BITS = 7
"""Raw bits of a token that its table leaves to the escape."""
PHASES = 4
"""Tables per context by where between two integers the prediction falls."""
PHASED_CONTEXTS = 18 * 3
"""Contexts of small scale have a table for every phase; for larger ones it is no matter."""


def raw_bits() -> npt.NDArray[np.int64]:
    """Return (TOKENS,) how many raw bits follow each token."""
    token = np.arange(TOKENS)
    return np.where(token < 16, 0, (token - 8) >> 2)


def tokenise(folded: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Return the tokens, (N,), of folded residuals."""
    octave = np.frexp(np.maximum(folded, 1))[1] - 1
    beyond = 16 + (octave - 4) * 4 + ((folded >> np.maximum(octave - 2, 0)) & 3)
    return np.where(folded < 16, folded, beyond).astype(np.uint8)


_fold_plane = bind("tp_fold_plane", "wiiiiiinwwhii")


def fold_plane(
    linears: npt.NDArray[np.int32],
    corrections: npt.NDArray[np.int32],
    contexts: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int32],
    gain: int,
    top: int,
    with_candidates: bool,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return tables (N,), folded residuals (N,), and those of west and north (2, N).

    Without candidates the last is (2, 0): no match flag may be coded then.
    """
    n = len(linears)
    tables, folded = np.empty(n, np.int16), np.empty(n, np.int32)
    candidates = np.empty((2, n if with_candidates else 0), np.int32)
    out = (tables, folded, candidates if with_candidates else None)
    _fold_plane(instruction_set(), linears, corrections, contexts, *samples, n, gain, top, *out)
    return tables, folded, candidates


def flag_probabilities(levels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the flags' probabilities of 2^15; 0 where a flag is not coded."""
    return np.where(levels > 0, MATCH_LEVELS[np.maximum(levels - 1, 0)], 0).astype(np.int32)


_symbols = bind("tp_symbols", "hiiinlniiiiHHIBl", "w")


class Symbols(NamedTuple):
    """Coder symbols: intervals of tables, and raw bits."""

    starts: npt.NDArray[np.uint16]
    sizes: npt.NDArray[np.uint16]
    bits: npt.NDArray[np.uint32]
    """Values of raw bits …"""
    counts: npt.NDArray[np.uint8]
    """… and how many each has."""


def symbols(
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    matches: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    flags: npt.NDArray[np.int32],
    table_map: npt.NDArray[np.int32],
    cumulative: npt.NDArray[np.int32],
    used: npt.NDArray[np.int32],
) -> Symbols:
    """Turn residuals into coder symbols: intervals (start, size) and raw bits (value, count).

    A step's samples give their flags "as west", then their flags "as north", then their tokens.

    begins : (steps + 1,) where each step begins.
    flags : (2, MATCH_CONTEXTS), probability of 2^15 of each match flag, 0 where not coded.
    table_map : (tables,), the table that stands in for each.
    """
    n = len(folded)
    starts, sizes = np.empty(3 * n, np.uint16), np.empty(3 * n, np.uint16)
    bits, counts = np.empty(n, np.uint32), np.empty(n, np.uint8)
    written = np.zeros(2, np.int64)
    given = (tables, folded, matches, candidates if candidates.size else None, n)
    tables_of = (flags, table_map, cumulative, used)
    out = (starts, sizes, bits, counts, written)
    check_memory(_symbols(*given, begins, len(begins) - 1, *tables_of, *out))
    m, raw = written.tolist()
    return Symbols(starts[:m], sizes[:m], bits[:raw], counts[:raw])
