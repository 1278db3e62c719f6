"""Code two-valued planes (nodata masks, used levels) with adaptive binary arithmetic coding.

The context is a ten-sample causal template as in JBIG2 (ITU-T T.88 §6.2.5.3, template 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.errors import InvalidRecord

__all__ = ["decode_bitmap", "encode_bitmap"]

_encode = bind("tp_encode_bitmap", "BnnB", "n")
_decode = bind("tp_decode_bitmap", "BnnnB", "n")


def encode_bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    """Code a (y, x) bool plane. Trailing zero bytes are left out."""
    plane = np.ascontiguousarray(bits).view(np.uint8)
    out = np.empty(2 * plane.size + 64, np.uint8)
    size = _encode(plane, *plane.shape, out)
    return out[1 : 1 + size].tobytes()


def decode_bitmap(data: bytes | memoryview, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decode a (y, x) bool plane; raises InvalidRecord when bytes are left over."""
    bits = np.empty((height, width), np.bool_)
    coded = np.frombuffer(data, np.uint8)
    used = _decode(coded, len(coded), height, width, bits.view(np.uint8))
    if used < len(coded):
        raise InvalidRecord(f"decoding a bitmap: {len(coded) - used} bytes are left over")
    return bits
