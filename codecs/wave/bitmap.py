"""Code two-valued planes (nodata masks, used levels) with adaptive binary arithmetic coding.

A carry-propagating range coder as in LZMA (Pavlov), probabilities of 16 bits adapted per context;
the context is a ten-sample causal template as in JBIG2 (ITU-T T.88 §6.2.5.3, template 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.errors import InvalidRecord
from tilepress.codecs.wave.compiled import jit

__all__ = ["decode_bitmap", "encode_bitmap"]

_TOP = np.uint64(1 << 24)
_ALL = np.uint64(0xFFFFFFFF)


@jit
def _context(bits: Any, y: int, x: int) -> int:
    """Ten earlier neighbours as a number; a single row looks ten samples back."""
    height, width = bits.shape
    value = 0
    if height == 1:
        for k in range(1, 11):
            value = value * 2 + (bits[y, x - k] if x >= k else 0)
        return value
    for k in range(1, 5):
        value = value * 2 + (bits[y, x - k] if x >= k else 0)
    for k in range(-2, 3):
        inside = y >= 1 and 0 <= x + k < width
        value = value * 2 + (bits[y - 1, x + k] if inside else 0)
    return value * 2 + (bits[y - 2, x] if y >= 2 else 0)


@jit
def _adapt(probability: Any, seen: Any, context: int, bit: int) -> None:
    rate = min(seen[context] + 1, 6)
    if seen[context] < 6:
        seen[context] += 1
    if bit:
        probability[context] -= probability[context] >> rate
    else:
        probability[context] += (65536 - probability[context]) >> rate
    probability[context] = min(max(probability[context], 16), 65520)


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
def _encode(bits: Any) -> Any:
    height, width = bits.shape
    probability = np.full(1024, 32768, np.int64)
    seen = np.zeros(1024, np.int64)
    out = np.empty(height * width * 2 + 64, np.uint8)
    n = 0
    low, span = np.uint64(0), _ALL
    cache, pending = np.uint64(0), 1
    for y in range(height):
        for x in range(width):
            context = _context(bits, y, x)
            bound = (span >> np.uint64(16)) * np.uint64(probability[context])
            bit = bits[y, x]
            if bit:
                low += bound
                span -= bound
            else:
                span = bound
            _adapt(probability, seen, context, bit)
            while span < _TOP:
                span = (span << np.uint64(8)) & _ALL
                low, cache, pending, n = _shift_low(out, n, low, cache, pending)
    for _ in range(5):
        low, cache, pending, n = _shift_low(out, n, low, cache, pending)
    while n > 1 and out[n - 1] == 0:
        n -= 1
    return out[1:n]


@jit
def _decode(data: Any, height: int, width: int) -> Any:
    bits = np.zeros((height, width), np.uint8)
    probability = np.full(1024, 32768, np.int64)
    seen = np.zeros(1024, np.int64)
    span, code = _ALL, np.uint64(0)
    at = 0
    for _ in range(4):
        code = (code << np.uint64(8)) | np.uint64(data[at] if at < len(data) else 0)
        at += 1
    for y in range(height):
        for x in range(width):
            context = _context(bits, y, x)
            bound = (span >> np.uint64(16)) * np.uint64(probability[context])
            if code < bound:
                span = bound
                bit = 0
            else:
                code -= bound
                span -= bound
                bit = 1
            bits[y, x] = bit
            _adapt(probability, seen, context, bit)
            while span < _TOP:
                span = (span << np.uint64(8)) & _ALL
                code = (
                    (code << np.uint64(8)) | np.uint64(data[at] if at < len(data) else 0)
                ) & _ALL
                at += 1
    return bits, at


def encode_bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    """Code a (y, x) bool plane. Trailing zero bytes are left out."""
    return bytes(_encode(np.ascontiguousarray(bits, np.uint8)).tobytes())


def decode_bitmap(data: bytes | memoryview, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decode a (y, x) bool plane; raises InvalidRecord when bytes are left over."""
    bits, used = _decode(np.frombuffer(data, np.uint8), height, width)
    if used < len(data):
        raise InvalidRecord(f"decoding a bitmap: {len(data) - used} bytes are left over")
    return bits.astype(np.bool_)
