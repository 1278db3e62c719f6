"""WebP, lossless: RGB of 8 bits only."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, verified
from tilepress.codecs.classical.stream import Setting, Size, Stream, as_array
from tilepress.codecs.passed.webp import read_head

__all__ = ["ANCHOR", "STREAM"]


def _encode(samples: Samples) -> bytes:
    return bytes(imagecodecs.webp_encode(samples, lossless=True, level=100, method=6))


ANCHOR = Anchor(
    library="imagecodecs",
    rgb={"webp": verified(_encode, imagecodecs.webp_decode)},
    rgb_dtypes=(np.uint8,),
)


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    pixels = samples if samples.ndim == 3 else np.repeat(samples[..., None], 3, axis=-1)
    if setting.is_exact:
        return _encode(pixels)
    quality = min(setting.level, 100.0)
    return bytes(imagecodecs.webp_encode(pixels, level=quality, lossless=False, method=4))


def _decode_stream(data: bytes, like: Samples) -> Samples:
    pixels = as_array(imagecodecs.webp_decode(data, hasalpha=False), like)
    return pixels if like.ndim == 3 else pixels[..., 1]  # green: what grey becomes exactly


def _size_of(data: bytes) -> Size | None:
    head = read_head(data)
    return head.rows, head.columns


STREAM = Stream(
    encode=_encode_stream,
    decode=_decode_stream,
    size=_size_of,
    most_bits=8,
    colours=True,
    irreversible=True,
)
