"""What symbols cost, in integers: choices that enter a record must not hang on a last digit.

NumPy and the C library compute logarithms by what the processor has, and differ in the last place;
here they come from one table, with integer interpolation.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.codecs.wave.layout import MATCH_LEVELS

__all__ = [
    "BIT",
    "TABLE",
    "entropies",
    "entropy",
    "flag_levels",
    "frequency_levels",
    "log2",
    "n_log_n",
]

BIT = 1 << 16
"""What a bit counts as here."""
TABLE = np.rint(np.log2(1 + np.arange(4097) / 4096) * BIT).astype(np.int64)
"""(4097,) logarithms of 1 … 2, in 1/BIT."""
_P = MATCH_LEVELS.astype(np.float64) / 32768
_YES = np.rint(-np.log2(_P) * BIT).astype(np.int64)
_NO = np.rint(-np.log2(1 - _P) * BIT).astype(np.int64)
_LOGIT = np.log(_P / (1 - _P))
_SHARE_BITS = 30
_BETWEEN = np.rint(2**_SHARE_BITS / (1 + np.exp(-(_LOGIT[1:] + _LOGIT[:-1]) / 2))).astype(np.int64)
"""Shares of yes, of 2^30, above which the next level suits better."""


_log2 = bind("tp_log2", "lnll")


def log2(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return binary logarithms of numbers from 1 on, in 1/BIT, linear between 4096 an octave.

    Of a number below 1 it is 0.
    """
    out = np.empty(numbers.shape, np.int64)
    _log2(np.ascontiguousarray(numbers), numbers.size, TABLE, out)
    return out


def n_log_n(most: int) -> npt.NDArray[np.int64]:
    """Return (most + 1,), n·log2(n) in 1/BIT; to be read only."""
    return _n_log_n(most.bit_length())[: most + 1]


@lru_cache(maxsize=2)
def _n_log_n(bits: int) -> npt.NDArray[np.int64]:
    """Return (2^bits,): planes of about one size ask for about the same."""
    n = np.arange(1 << bits)
    return n * log2(n)


def entropies(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (…,) bits of (…, k) counted symbols at their own frequencies, in 1/BIT."""
    total = counts.sum(-1)
    return np.asarray(total * log2(total) - (counts * log2(counts)).sum(-1), np.int64)


def entropy(counts: npt.NDArray[np.int64]) -> int:
    """Return the bits of (k,) counted symbols, as ``entropies``."""
    return int(entropies(counts))


def frequency_levels(counts: npt.NDArray[np.int64], levels: int) -> npt.NDArray[np.int32]:
    """Return (…, k) of (…, k) counts: quarters of an octave below the highest, levels − 1.

    0 where there is none, else at least 1.
    """
    logs = log2(counts)
    below = (4 * (logs - log2(counts.max(-1, keepdims=True))) + BIT // 2) >> 16
    return np.where(counts > 0, np.maximum(levels - 1 + below, 1), 0).astype(np.int32)


def flag_levels(
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the index into MATCH_LEVELS that suits (…, 2) yes and no best, and their 1/BIT."""
    yes, no = counts[..., 0], counts[..., 1]
    share = ((5 * yes + 2) << _SHARE_BITS) // (5 * (yes + no) + 4)
    level = np.searchsorted(_BETWEEN, share)
    return level, yes * _YES[level] + no * _NO[level]
