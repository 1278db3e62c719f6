"""Code two-valued planes (nodata masks, used levels) with adaptive binary arithmetic coding.

The context is a ten-sample causal template as in JBIG2 (ITU-T T.88 §6.2.5.3, template 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.arithmetic import contexts, decode_bit, encode_bits, start
from tilepress.codecs.wave.compiled import jit
from tilepress.errors import InvalidRecord

__all__ = ["decode_bitmap", "encode_bitmap"]

_CONTEXTS = 1024


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
def _context_of_all(bits: Any) -> Any:
    height, width = bits.shape
    out = np.empty((height, width), np.int16)
    for y in range(height):
        for x in range(width):
            out[y, x] = _context(bits, y, x)
    return out


@jit
def _decode(data: Any, height: int, width: int) -> Any:
    bits = np.zeros((height, width), np.uint8)
    state, place = contexts(_CONTEXTS), start(data)
    for y in range(height):
        for x in range(width):
            bits[y, x] = decode_bit(data, place, state, _context(bits, y, x))
    return bits, np.int64(place[2])


def encode_bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    """Code a (y, x) bool plane. Trailing zero bytes are left out."""
    plane = np.ascontiguousarray(bits, np.uint8)
    coded = encode_bits(plane.ravel(), _context_of_all(plane).ravel(), _CONTEXTS)
    return bytes(coded.tobytes())


def decode_bitmap(data: bytes | memoryview, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decode a (y, x) bool plane; raises InvalidRecord when bytes are left over."""
    bits, used = _decode(np.frombuffer(data, np.uint8), height, width)
    if used < len(data):
        raise InvalidRecord(f"decoding a bitmap: {len(data) - used} bytes are left over")
    whole: npt.NDArray[np.bool_] = bits.view(np.bool_)
    return whole
