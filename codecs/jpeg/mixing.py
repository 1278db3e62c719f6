"""Adaptive binary coding: several predictions of a bit, mixed in the logistic domain, in integers.

Each context has a slot: a probability of 22 bits and how often it was seen. A bit's slots are
stretched (ln(p / (1 − p))), weighted, summed and squashed to the probability that an arithmetic
coder uses; then slots and weights learn from the bit (Mahoney, "Adaptive Weighing of Context Models
for Lossless Data Compression", 2005). One function codes both ways, so that they cannot differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit, jit_inline

__all__ = [
    "AT",
    "CAP",
    "FRESH_SLOT",
    "INPUTS",
    "MOST",
    "PLACES",
    "PROBABILITY_OF",
    "code_mixed",
    "code_plain",
    "finish",
    "start",
    "stretched",
]

INPUTS = 6
"""Predictions that are mixed."""

CAP = 255 + 18 * 1024
"""How often a slot counts at most, but where priors are learned."""

MOST = 1023
"""How often it may count at all."""

FRESH_SLOT = (1 << 21) << 10
"""Probability one half, never seen."""

LOW, HIGH, CODE, AT, LIMIT, RATE = range(6)
"""Places of a coder's state."""

PLACES = 8
"""Place from which on callers put the numbers of slots."""

_KNOTS = (
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743,
    32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357,
    64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
)  # fmt: skip
"""65536 / (1 + e^−x) for x = −8, −7.5 … 8."""


def _squash_table() -> Any:
    """Return probabilities of 16 bits for −2048 … 2047, in units of 1/256."""
    x = np.arange(4096)
    knots = np.array(_KNOTS, np.int64)
    low, part = x >> 7, x & 127
    return (knots[low] * (128 - part) + knots[low + 1] * part + 64) >> 7


def _stretch_table(squashed: Any) -> Any:
    """Return the inverse, of probabilities of 12 bits."""
    middle = np.arange(4096) * 16 + 8
    return np.clip(np.searchsorted(squashed, middle) - 2048, -2047, 2047)


_SQUASH = _squash_table().astype(np.uint16)
_STRETCH = _stretch_table(_SQUASH).astype(np.int16)
PROBABILITY_OF = _SQUASH[np.clip(np.arange(64) * 64, 1, 4095)]
"""Of 2^16, that of −2048, −1984 … 1984 when stretched."""


def stretched(probability: Any) -> Any:
    """Return probabilities of 12 bits stretched, in units of 1/256."""
    return _STRETCH[probability].astype(np.int64)


_RATE = np.array([65536 * 2 // (2 * n + 3) for n in range(MOST + 1)], np.int64)
"""Of 2^16, how far a slot goes towards a bit when seen so often."""


@jit
def start(data: Any, decoding: bool, cap: int) -> Any:
    """Return a coder's state, (16,) int64."""
    state = np.zeros(16, np.int64)
    state[HIGH] = 0xFFFFFFFF
    state[LIMIT] = cap & 1023
    state[RATE] = cap >> 10
    if decoding:
        for at in range(4):
            state[CODE] = (state[CODE] << 8) | (np.int64(data[at]) if at < len(data) else 0)
        state[AT] = 4
    return state


@jit_inline
def _code(work: Any, data: Any, decoding: bool, bit: int, p: int) -> int:
    """Code a bit that is 1 with probability p of 2^16, 0 < p < 2^16."""
    low, high = work[LOW], work[HIGH]
    middle = low + (((high - low) * p) >> 16)
    if decoding:
        bit = 1 if work[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & 0xFF000000) == 0:
        at = work[AT]
        if decoding:
            byte = np.int64(data[at]) if at < len(data) else np.int64(0)
            work[CODE] = ((work[CODE] << 8) & 0xFFFFFFFF) | byte
        else:
            data[at] = high >> 24
        work[AT] = at + 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    work[LOW], work[HIGH] = low, high
    return bit


@jit
def finish(state: Any, data: Any) -> int:
    """Write what makes the bits unique; returns the number of bytes, without zeros at the end."""
    n = state[AT]
    value = state[HIGH]
    for kept in range(8, 32, 8):  # as few bytes as lie within the range, zeros after them
        short = (state[HIGH] >> (32 - kept)) << (32 - kept)
        if short >= state[LOW]:
            value = short
            break
    for shift in range(24, -1, -8):
        data[n] = (value >> shift) & 255
        n += 1
    while n > 0 and data[n - 1] == 0:
        n -= 1
    return n


@jit_inline
def _learned(slot: int, bit: int, cap: int) -> int:
    """Return a slot that has seen a bit."""
    n = slot & 1023
    step = (((bit << 22) - (slot >> 10)) * _RATE[n]) >> 16
    return slot + (step << 10) + (n < cap)


@jit_inline
def code_mixed(
    work: Any, data: Any, decoding: bool, bit: int, slots: Any, offset: int, weights: Any,
    first: int,
) -> int:  # fmt: skip
    """Code a bit by the mixture of six slots; returns it.

    work : of ``start``; slots : (n,) uint32, those whose numbers are in ``work`` from PLACES on,
    each plus ``offset``; weights : (m,) int32, those from ``first`` on. Six times each line, for
    a loop over arrays takes twice the time.
    """
    i0 = np.uint64(work[PLACES + 0] + offset)
    i1 = np.uint64(work[PLACES + 1] + offset)
    i2 = np.uint64(work[PLACES + 2] + offset)
    i3 = np.uint64(work[PLACES + 3] + offset)
    i4 = np.uint64(work[PLACES + 4] + offset)
    i5 = np.uint64(work[PLACES + 5] + offset)
    s0 = np.int64(slots[i0])
    s1 = np.int64(slots[i1])
    s2 = np.int64(slots[i2])
    s3 = np.int64(slots[i3])
    s4 = np.int64(slots[i4])
    s5 = np.int64(slots[i5])
    v0 = np.int64(_STRETCH[s0 >> 20])
    v1 = np.int64(_STRETCH[s1 >> 20])
    v2 = np.int64(_STRETCH[s2 >> 20])
    v3 = np.int64(_STRETCH[s3 >> 20])
    v4 = np.int64(_STRETCH[s4 >> 20])
    v5 = np.int64(_STRETCH[s5 >> 20])
    w0 = np.int64(weights[np.uint64(first + 0)])
    w1 = np.int64(weights[np.uint64(first + 1)])
    w2 = np.int64(weights[np.uint64(first + 2)])
    w3 = np.int64(weights[np.uint64(first + 3)])
    w4 = np.int64(weights[np.uint64(first + 4)])
    w5 = np.int64(weights[np.uint64(first + 5)])
    total = v0 * w0 + v1 * w1 + v2 * w2 + v3 * w3 + v4 * w4 + v5 * w5
    total = min(max(total >> 16, -2047), 2047)
    p = np.int64(_SQUASH[total + 2048])
    bit = _code(work, data, decoding, bit, p)
    error = ((bit << 16) - p) * work[RATE]
    cap = work[LIMIT]
    weights[np.uint64(first + 0)] = w0 + ((v0 * error + (1 << 19)) >> 20)
    weights[np.uint64(first + 1)] = w1 + ((v1 * error + (1 << 19)) >> 20)
    weights[np.uint64(first + 2)] = w2 + ((v2 * error + (1 << 19)) >> 20)
    weights[np.uint64(first + 3)] = w3 + ((v3 * error + (1 << 19)) >> 20)
    weights[np.uint64(first + 4)] = w4 + ((v4 * error + (1 << 19)) >> 20)
    weights[np.uint64(first + 5)] = w5 + ((v5 * error + (1 << 19)) >> 20)
    slots[i0] = _learned(s0, bit, cap)
    slots[i1] = _learned(s1, bit, cap)
    slots[i2] = _learned(s2, bit, cap)
    slots[i3] = _learned(s3, bit, cap)
    slots[i4] = _learned(s4, bit, cap)
    slots[i5] = _learned(s5, bit, cap)
    return bit


@jit_inline
def code_plain(work: Any, data: Any, decoding: bool, bit: int, slots: Any, place: int) -> int:
    """Code a bit by one slot; returns it."""
    slot = np.int64(slots[place])
    p = min(max(slot >> 16, 32), 65536 - 32)
    bit = _code(work, data, decoding, bit, p)
    slots[place] = _learned(slot, bit, work[LIMIT])
    return bit
