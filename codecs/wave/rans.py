"""Symbols to words and back: interleaved rANS, and the raw bits beside it.

Symbols go through a range variant of asymmetric numeral systems (rANS; Duda, arXiv 1311.2540) with
32-bit states and 16-bit words, interleaved over 1, 4, 8 or 32 lanes whose words share one buffer in
symbol order (Giesen, arXiv 1402.3392). Symbol i of a plane belongs to lane i mod lanes.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tilepress.codecs.wave.compiled import jit

__all__ = [
    "LANES",
    "LOW",
    "STATE_LOW",
    "TABLE_BITS",
    "lanes_for",
    "pack_raw",
    "rans_encode",
    "read_raw",
]

TABLE_BITS = 15
"""Frequencies of a table sum to 2^TABLE_BITS."""
STATE_LOW = 1 << 16
"""States of the coder lie in STATE_LOW … 2^32 − 1."""
LOW = np.uint32(STATE_LOW)
LANES = (1, 4, 8, 32)
"""Numbers of lanes that a plane's stream may have."""


def lanes_for(words: int, samples: int) -> int:
    """Return the lanes for a stream of ``words``: each costs two to four bytes.

    Many samples get more than one all the same, for a GPU decodes only lanes side by side.
    """
    if words < 400:
        return 1 if samples < 16384 else 4
    return 4 if words < 2500 else 8 if words < 16000 else 32


@jit
def rans_encode(starts: Any, sizes: Any, lanes: int) -> Any:
    """Return the lanes' states, (lanes,) uint32, and the words, (W,) uint16, of a symbol stream."""
    n = len(starts)
    states = np.full(lanes, LOW, np.uint32)
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


@nb.njit(inline="always")
def read_raw(raw: Any, at: int, count: int) -> int:
    """Read ``count`` ≤ 24 bits, least significant first."""
    byte = at >> 3
    value = np.uint64(0)
    for k in range(4):
        if byte + k < len(raw):
            value |= np.uint64(raw[byte + k]) << np.uint64(8 * k)
    return np.int64(
        (value >> np.uint64(at & 7)) & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))
    )
