"""Adaptive binary arithmetic coding, of bitmaps and context trees (FORMAT.md §4.2).

A carry-propagating range coder as in LZMA (Pavlov), probabilities of 16 bits adapted per context.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit

__all__ = ["contexts", "decode_bit", "encode_bits", "start"]

_TOP = np.uint64(1 << 24)
_ALL = np.uint64(0xFFFFFFFF)


@jit
def contexts(count: int) -> Any:
    """Return fresh contexts, (2, count) int64: probability of a 0 of 2^16, and how often seen."""
    out = np.zeros((2, count), np.int64)
    out[0] = 32768
    return out


@jit
def _adapt(state: Any, context: int, bit: int) -> None:
    rate = min(state[1, context] + 1, 6)
    if state[1, context] < 6:
        state[1, context] += 1
    probability = state[0, context]
    if bit:
        probability -= probability >> rate
    else:
        probability += (65536 - probability) >> rate
    state[0, context] = min(max(probability, 16), 65520)


@jit
def _shift_low(out: Any, n: int, low: int, cache: int, pending: int) -> Any:
    """Move the top byte of ``low`` out, once no carry can change it; return what that leaves."""
    if low < np.uint64(0xFF000000) or low > _ALL:
        carry = low >> np.uint64(32)
        while pending > 0:
            out[n] = (cache + carry) & np.uint64(0xFF)
            n += 1
            cache = np.uint64(0xFF)
            pending -= 1
        cache = (low >> np.uint64(24)) & np.uint64(0xFF)
    return (low & np.uint64(0x00FFFFFF)) << np.uint64(8), cache, pending + 1, n


@jit
def encode_bits(bits: Any, context_of: Any, count: int) -> Any:
    """Code bits, (n,) uint8, each in its context 0 … count − 1, (n,); trailing zeros left out."""
    state = contexts(count)
    out = np.empty(len(bits) * 2 + 64, np.uint8)
    n = 0
    low, span = np.uint64(0), _ALL
    cache, pending = np.uint64(0), 1
    for i in range(len(bits)):
        context = context_of[i]
        bound = (span >> np.uint64(16)) * np.uint64(state[0, context])
        if bits[i]:
            low += bound
            span -= bound
        else:
            span = bound
        _adapt(state, context, bits[i])
        while span < _TOP:
            span = (span << np.uint64(8)) & _ALL
            low, cache, pending, n = _shift_low(out, n, low, cache, pending)
    for _ in range(5):
        low, cache, pending, n = _shift_low(out, n, low, cache, pending)
    while n > 1 and out[n - 1] == 0:
        n -= 1
    return out[1:n]


@jit
def start(data: Any) -> Any:
    """Return where a decoder of ``data`` begins: code, span, and bytes read, (3,) uint64."""
    code = np.uint64(0)
    for at in range(4):
        code = (code << np.uint64(8)) | np.uint64(data[at] if at < len(data) else 0)
    return np.array([code, _ALL, np.uint64(4)], np.uint64)


@jit
def decode_bit(data: Any, place: Any, state: Any, context: int) -> int:
    """Decode one bit; ``place`` of ``start`` and ``state`` of ``contexts`` move on."""
    code, span = place[0], place[1]
    bound = (span >> np.uint64(16)) * np.uint64(state[0, context])
    bit = 0
    if code < bound:
        span = bound
    else:
        code -= bound
        span -= bound
        bit = 1
    _adapt(state, context, bit)
    while span < _TOP:
        at = np.int64(place[2])
        span = (span << np.uint64(8)) & _ALL
        code = ((code << np.uint64(8)) | np.uint64(data[at] if at < len(data) else 0)) & _ALL
        place[2] += np.uint64(1)
    place[0], place[1] = code, span
    return bit
