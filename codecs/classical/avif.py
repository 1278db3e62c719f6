"""AVIF, of 8 bits: lossy, and lossless at its highest quality."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Samples
from tilepress.codecs.classical.stream import Setting, Size, Stream, as_array

__all__ = ["STREAM"]

_SPEED = 6
_LOSSLESS = 100


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    grey = samples.ndim == 2
    pixels = np.repeat(samples[..., None], 3, axis=-1) if grey else samples
    formats = imagecodecs.AVIF.PIXEL_FORMAT  # not "420": versions from 2026.10 on know no such name
    quality = _LOSSLESS if setting.is_exact else int(min(setting.level, _LOSSLESS - 1))
    return bytes(
        imagecodecs.avif_encode(
            pixels,
            level=quality,
            speed=_SPEED,
            pixelformat=formats.YUV420 if grey and not setting.is_exact else formats.YUV444,
            numthreads=1,
        )
    )


def _decode_stream(data: bytes, like: Samples) -> Samples:
    pixels = as_array(imagecodecs.avif_decode(data, numthreads=1), like)
    return pixels if like.ndim == pixels.ndim else pixels[..., 1]  # green, as all three are


def _size_of(data: bytes) -> Size | None:
    """Return rows and columns where all images of a file say the same (ISO/IEC 23008-12, 6.5.3)."""
    found, at = set(), data.find(b"ispe")
    while at >= 0 and len(data) >= at + 16:
        found.add(struct.unpack_from(">II", data, at + 8))
        at = data.find(b"ispe", at + 4)
    if len(found) != 1:
        return None
    ((wide, high),) = found
    return high, wide


STREAM = Stream(
    encode=_encode_stream,
    decode=_decode_stream,
    size=_size_of,
    most_bits=8,
    colours=True,
    irreversible=True,
)
