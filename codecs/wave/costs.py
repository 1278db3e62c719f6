"""What symbols cost, in integers: choices that enter a record must not hang on a last digit.

NumPy and the C library compute logarithms by what the processor has, and differ in the last place;
here they come from one table, with integer interpolation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import MATCH_LEVELS

__all__ = ["BIT", "entropies", "entropy", "flag_levels", "frequency_levels", "n_log_n"]

BIT = 1 << 16
"""What a bit counts as here."""
_TABLE = np.rint(np.log2(1 + np.arange(4097) / 4096) * BIT).astype(np.int64)
_P = MATCH_LEVELS.astype(np.float64) / 32768
_YES = np.rint(-np.log2(_P) * BIT).astype(np.int64)
_NO = np.rint(-np.log2(1 - _P) * BIT).astype(np.int64)
_LOGIT = np.log(_P / (1 - _P))
_SHARE_BITS = 30
_BETWEEN = np.rint(2**_SHARE_BITS / (1 + np.exp(-(_LOGIT[1:] + _LOGIT[:-1]) / 2))).astype(np.int64)
"""Shares of yes, of 2^30, above which the next level suits better."""


@jit
def _log2(n: int) -> int:
    """Binary logarithm of n ≥ 1 in 1/BIT, linear between 4096 steps an octave."""
    exponent = 0
    while n >> (exponent + 1):
        exponent += 1
    if exponent <= 12:
        return exponent * BIT + _TABLE[(n << (12 - exponent)) - 4096]
    shift = exponent - 12
    step = n >> shift
    low, high = _TABLE[step - 4096], _TABLE[step - 4095]
    return exponent * BIT + low + (((high - low) * (n - (step << shift))) >> shift)


@jit
def n_log_n(most: int) -> Any:
    """Return (most + 1,) int64, n·log2(n) in 1/BIT."""
    out = np.zeros(most + 1, np.int64)
    for n in range(1, most + 1):
        out[n] = n * _log2(n)
    return out


@jit
def entropy(counts: Any) -> int:
    """Return the bits of (k,) int64 counted symbols at their own frequencies, in 1/BIT."""
    total, bits = np.int64(0), np.int64(0)
    for k in range(len(counts)):
        if counts[k] > 0:
            total += counts[k]
            bits -= counts[k] * _log2(counts[k])
    return bits + total * _log2(max(total, 1))


@jit
def entropies(counts: Any) -> Any:
    """Return (n,) int64 entropies of (n, k) counts, in 1/BIT."""
    out = np.empty(len(counts), np.int64)
    for i in range(len(counts)):
        out[i] = entropy(counts[i])
    return out


@jit
def frequency_levels(counts: Any, levels: int) -> Any:
    """Return (k,) int32 of (k,) counts: quarters of an octave below the highest, levels − 1.

    0 where there is none, else at least 1.
    """
    out = np.zeros(len(counts), np.int32)
    most = _log2(max(counts.max(), 1))
    for k in range(len(counts)):
        if counts[k] > 0:
            below = (4 * (_log2(counts[k]) - most) + BIT // 2) >> 16
            out[k] = max(levels - 1 + below, 1)
    return out


def flag_levels(
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the index into MATCH_LEVELS that suits (…, 2) yes and no best, and their 1/BIT."""
    yes, no = counts[..., 0], counts[..., 1]
    share = ((5 * yes + 2) << _SHARE_BITS) // (5 * (yes + no) + 4)
    level = np.searchsorted(_BETWEEN, share)
    return level, yes * _YES[level] + no * _NO[level]
