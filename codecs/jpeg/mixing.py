"""Adaptive binary coding: several predictions of a bit, mixed in the logistic domain, in integers.

Each context has a slot: a probability of 22 bits and how often it was seen. A bit's slots are
stretched (ln(p / (1 − p))), weighted, summed and squashed to the probability that an arithmetic
coder uses; then slots and weights learn from the bit (Mahoney, "Adaptive Weighing of Context Models
for Lossless Data Compression", 2005). One function codes both ways, so that they cannot differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit

__all__ = ["AT", "CAP", "FRESH_SLOT", "INPUTS", "code_mixed", "code_plain", "finish", "start"]

INPUTS = 8
"""Predictions that are mixed."""

CAP = 255
"""How often a slot counts at most."""

FRESH_SLOT = (1 << 21) << 10
"""Probability one half, never seen."""

LOW, HIGH, CODE, AT = range(4)
"""Places of a coder's state."""

_KNOTS = (
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743,
    32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
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


_SQUASH = _squash_table().astype(np.int32)
_STRETCH = _stretch_table(_SQUASH).astype(np.int32)
_RATE = np.array([65536 * 2 // (2 * n + 3) for n in range(CAP + 1)], np.int64)
"""Of 2^16, how far a slot goes towards a bit when seen so often."""
_TRUST = np.array([256 * (4 * n + 1) // (4 * n + 5) for n in range(CAP + 1)], np.int64)
"""Of 2^8, what a stretched probability counts when seen so often."""


@jit
def start(data: Any, decoding: bool) -> Any:
    """Return a coder's state, (4,) int64."""
    state = np.zeros(4, np.int64)
    state[HIGH] = 0xFFFFFFFF
    if decoding:
        for at in range(4):
            state[CODE] = (state[CODE] << 8) | (np.int64(data[at]) if at < len(data) else 0)
        state[AT] = 4
    return state


@jit
def _code(state: Any, data: Any, decoding: bool, bit: int, p: int) -> int:
    """Code a bit that is 1 with probability p of 2^16, 0 < p < 2^16."""
    low, high = state[LOW], state[HIGH]
    middle = low + (((high - low) * p) >> 16)
    if decoding:
        bit = 1 if state[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & 0xFF000000) == 0:
        at = state[AT]
        if decoding:
            byte = np.int64(data[at]) if at < len(data) else np.int64(0)
            state[CODE] = ((state[CODE] << 8) & 0xFFFFFFFF) | byte
        else:
            data[at] = high >> 24
        state[AT] = at + 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    state[LOW], state[HIGH] = low, high
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


@jit
def _learn(slots: Any, at: int, slot: int, bit: int, cap: int) -> None:
    p, n = slot >> 10, slot & 1023
    p += (((bit << 22) - p) * _RATE[n]) >> 16
    p = min(max(p, 1), (1 << 22) - 1)
    slots[at] = (p << 10) | (n + 1 if n < cap else n)


@jit
def code_mixed(
    state: Any, data: Any, decoding: bool, bit: int, slots: Any, places: Any, offset: int,
    weights: Any, stretched: Any, seen: Any, cap: int,
) -> int:  # fmt: skip
    """Code a bit by the mixture of eight slots; returns it.

    slots : (n,) uint32; places : (8,) int64, each plus ``offset`` the number of a slot; weights :
    (8,) int32; stretched, seen : (8,) int64, to work in.
    """
    total = np.int64(0)
    for j in range(INPUTS):
        slot = np.int64(slots[places[j] + offset])
        seen[j] = slot
        value = (_STRETCH[slot >> 20] * _TRUST[slot & 1023]) >> 8
        stretched[j] = value
        total += value * weights[j]
    total = min(max(total >> 16, -2047), 2047)
    p = np.int64(_SQUASH[total + 2048])
    bit = _code(state, data, decoding, bit, p)
    error = ((bit << 16) - p) * 6
    for j in range(INPUTS):
        weights[j] += (stretched[j] * error + (1 << 19)) >> 20
    for j in range(INPUTS):
        _learn(slots, places[j] + offset, seen[j], bit, cap)
    return bit


@jit
def code_plain(
    state: Any, data: Any, decoding: bool, bit: int, slots: Any, place: int, cap: int
) -> int:
    """Code a bit by one slot; returns it."""
    slot = np.int64(slots[place])
    p = min(max(slot >> 16, 32), 65536 - 32)
    bit = _code(state, data, decoding, bit, p)
    _learn(slots, place, slot, bit, cap)
    return bit
