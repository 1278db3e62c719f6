"""LERC by itself and with zstd behind it, lossless or within its own bound."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal

import imagecodecs

from tilepress.codecs.classical.base import Anchor, Measure, Samples, verified
from tilepress.codecs.classical.stream import Setting, Size, Stream, as_array

__all__ = ["ANCHOR", "STREAM"]

_KINDS = (1, 3)
"""What blobs call uint8 and uint16."""


def _sizes(max_error: float) -> Mapping[str, Measure]:
    def setting(compression: Literal["zstd"] | None) -> Measure:
        def encode(samples: Samples) -> bytes:
            return bytes(imagecodecs.lerc_encode(samples, level=max_error, compression=compression))

        return verified(encode, imagecodecs.lerc_decode, max_error)

    return {f"lerc {max_error:g}": setting(None), f"lerc {max_error:g} zstd": setting("zstd")}


ANCHOR = Anchor(
    library="imagecodecs",
    plane=_sizes(0),
    rgb=_sizes(0),
    bounded=_sizes,
    native=("int8", "int16", "int32", "uint32", "float32", "float64"),
)


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    error = 0.0 if setting.is_exact else setting.near or setting.step / 2
    return bytes(imagecodecs.lerc_encode(samples, level=error))


def _decode_stream(data: bytes, like: Samples) -> Samples:
    return as_array(imagecodecs.lerc_decode(data), like)


def _size_of(data: bytes) -> Size | None:
    """Return rows and columns by the head of a second-generation blob."""
    if len(data) < 42 or data[:6] != b"Lerc2 ":
        return None
    high, wide, depth, _, _, length, kind = struct.unpack_from("<7I", data, 14)
    is_one = depth == 1 and kind in _KINDS and length == len(data)
    return (high, wide) if is_one else None


STREAM = Stream(
    encode=_encode_stream,
    decode=_decode_stream,
    size=_size_of,
    bounded=True,
)
