"""High-throughput JPEG 2000 (OpenJPH), reversible 5/3; RGB with its colour transform."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting, verified
from tilepress.codecs.classical.stream import Setting, Stream, as_array, size_of_codestream

__all__ = ["ANCHOR", "STREAM"]

_COD = 0xFF52
_LIFT = 2**14
"""Added to integers of 15 bits where they are coded lossily: the decoder lets what overshoots 16
bits come out at the other end."""


def _encode(samples: Samples) -> bytes:
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, rgb=samples.ndim == 3))


_SIZES = {"htj2k": verified(_encode, imagecodecs.htj2k_decode)}

ANCHOR = Anchor(
    library="imagecodecs",
    plane=_SIZES,
    rgb=_SIZES,
    speeds={
        "htj2k": SpeedSetting(
            encode=lambda samples, _: _encode(samples),
            decode=lambda data, _: np.asarray(imagecodecs.htj2k_decode(data)),
        )
    },
)


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    if setting.is_exact:
        return _encode(samples)
    lifted = samples.astype(np.uint16) + np.uint16(_LIFT)
    step = min(0.5, setting.step / 2**16)
    return bytes(imagecodecs.htj2k_encode(lifted, level=step, reversible=False, rgb=False))


def _decode_stream(data: bytes, like: Samples) -> Samples:
    # by OpenJPEG: a forged stream brings OpenJPH down, and the reader with it
    found = np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    if not _is_irreversible(data):
        return as_array(found, like)
    if found.dtype != np.uint16:
        raise ValueError("it has not 16 bits")
    lowered = found.astype(np.int32) - _LIFT
    return lowered.clip(0, np.iinfo(like.dtype).max).astype(like.dtype)


def _is_irreversible(data: bytes) -> bool:
    """Whether a codestream has the transform 9/7 (ISO/IEC 15444-1, A.6.1)."""
    at = 2
    while at + 14 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _COD:
            return data[at + 13] == 0
        at += 2 + length
    raise ValueError("it does not say how it is coded")


STREAM = Stream(
    encode=_encode_stream,
    decode=_decode_stream,
    lossy_bits=15,
    size=size_of_codestream,
    colours=True,
    mixed=True,
    irreversible=True,
)
