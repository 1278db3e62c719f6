"""Adaptive binary coding: several predictions of a bit, mixed in the logistic domain, in integers.

Each context has a slot: a probability of 22 bits and how often it was seen. A bit's slots are
stretched (ln(p / (1 − p))), weighted, summed and squashed to the probability that an arithmetic
coder uses; then slots and weights learn from the bit (Mahoney, "Adaptive Weighing of Context Models
for Lossless Data Compression", 2005). The loops are those of native/mixing.h.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind

__all__ = [
    "AT",
    "CAP",
    "CURVES",
    "FRESH_SLOT",
    "INPUTS",
    "MOST",
    "PROBABILITY_OF",
    "code_bits",
    "finish",
    "start",
    "stretched",
]

Bytes = npt.NDArray[np.uint8]
State = npt.NDArray[np.int64]

INPUTS = 6
"""Predictions that are mixed."""

CAP = 255 + 18 * 1024
"""How often a slot counts at most, but where priors are learned."""

MOST = 1023
"""How often it may count at all."""

FRESH_SLOT = (1 << 21) << 10
"""Probability one half, never seen."""

LOW, HIGH, CODE, AT, LIMIT, RATE = range(6)
"""Places of a coder's state, (6,) int64, between calls."""

_KNOTS = (
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743,
    32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357,
    64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
)  # fmt: skip
"""65536 / (1 + e^−x) for x = −8, −7.5 … 8."""


def _squash_table() -> npt.NDArray[np.uint16]:
    """Return probabilities of 16 bits for −2048 … 2047, in units of 1/256."""
    x = np.arange(4096)
    knots = np.array(_KNOTS, np.int64)
    low, part = x >> 7, x & 127
    found = (knots[low] * (128 - part) + knots[low + 1] * part + 64) >> 7
    return np.asarray(found, np.uint16)


def _stretch_table(squashed: npt.NDArray[np.uint16]) -> npt.NDArray[np.int16]:
    """Return the inverse, of probabilities of 12 bits."""
    middle = np.arange(4096) * 16 + 8
    found = np.searchsorted(squashed, middle) - 2048
    return np.clip(found, -2047, 2047).astype(np.int16)


_SQUASH = _squash_table()
_STRETCH = _stretch_table(_SQUASH)
PROBABILITY_OF = _SQUASH[np.clip(np.arange(64) * 64, 1, 4095)]
"""Of 2^16, that of −2048, −1984 … 1984 when stretched."""


def stretched(probability: npt.NDArray[np.integer]) -> State:
    """Return probabilities of 12 bits stretched, in units of 1/256."""
    return np.asarray(_STRETCH[probability], np.int64)


_RATE = np.array([65536 * 2 // (2 * n + 3) for n in range(MOST + 1)], np.uint16)
"""Of 2^16, how far a slot goes towards a bit when seen so often."""

CURVES = (_SQUASH, _STRETCH, _RATE)
"""What the native code mixes by, ``Curves`` of native/mixing.h."""


def start(data: Bytes, decoding: bool, cap: int) -> State:
    """Return a coder's state."""
    state = np.zeros(6, np.int64)
    state[HIGH] = 0xFFFFFFFF
    state[LIMIT], state[RATE] = cap & 1023, cap >> 10
    if decoding:
        state[CODE] = int.from_bytes(data[:4].tobytes().ljust(4, b"\0"), "big")
        state[AT] = 4
    return state


def finish(state: State, data: Bytes) -> int:
    """Write what makes the bits unique; returns the number of bytes, without zeros at the end."""
    low, high, n = (int(state[place]) for place in (LOW, HIGH, AT))
    value = high
    for kept in range(8, 32, 8):  # as few bytes as lie within the range, zeros after them
        short = high >> (32 - kept) << (32 - kept)
        if short >= low:
            value = short
            break
    data[n : n + 4] = np.frombuffer(value.to_bytes(4, "big"), np.uint8)
    return len(data[: n + 4].tobytes().rstrip(b"\0"))


_code_bits = bind("tp_code_bits", "lBnwllnIiHhH")


def code_bits(
    state: State, data: Bytes, decoding: bool, bits: State, contexts: State,
    slots: npt.NDArray[np.uint32], weights: npt.NDArray[np.int32] | None,
) -> None:  # fmt: skip
    """Code bits, (n,), each by the mixture of the slots that ``contexts``, (n, INPUTS), names.

    weights : (INPUTS,); None: each by its first slot alone. Decoding fills ``bits``.
    """
    if contexts.shape != (len(bits), INPUTS) or contexts.min() < 0 or contexts.max() >= len(slots):
        raise ValueError(f"got contexts of {contexts.shape} for {len(bits)} bits")
    what = (bits, contexts, len(bits), slots, weights)
    _code_bits(state, data, len(data), decoding, *what, *CURVES)
