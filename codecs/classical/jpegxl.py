"""JPEG XL, lossless: for sizes the smallest of three efforts, for speeds two of them."""

from __future__ import annotations

import contextlib
import math

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Measure, Samples, SpeedSetting, verified
from tilepress.codecs.classical.stream import Setting, Size, Stream, as_array
from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.jpegxl import read_head

__all__ = ["ANCHOR", "STREAM"]

_EFFORTS = (7, 5)
"""Of streams. From 6 on some have hidden frames, whose sizes nothing bounds: no reader takes them.
"""


def _size(effort: int) -> Measure:
    return verified(lambda samples: _encode(samples, effort, 1), imagecodecs.jpegxl_decode)


def _speed(effort: int) -> SpeedSetting:
    return SpeedSetting(
        encode=lambda samples, threads: _encode(samples, effort, threads),
        decode=lambda data, threads: np.asarray(
            imagecodecs.jpegxl_decode(data, numthreads=threads)
        ),
        own_threads=True,
    )


def _encode(samples: Samples, effort: int, threads: int) -> bytes:
    return bytes(
        imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, numthreads=threads)
    )


_SIZES = {f"jpegxl e{effort}": _size(effort) for effort in (3, 7, 9)}

ANCHOR = Anchor(
    library="imagecodecs",
    plane=_SIZES,
    rgb=_SIZES,
    native=("float32",),
    speeds={f"jpegxl e{effort}": _speed(effort) for effort in (3, 7)},
)


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    for effort in _EFFORTS:
        data = _encode_at(samples, setting, effort)
        with contextlib.suppress(Refused):
            read_head(data)
            break
    return data


def _encode_at(samples: Samples, setting: Setting, effort: int) -> bytes:
    if setting.is_exact:
        return _encode(samples, effort, 1)
    return bytes(
        imagecodecs.jpegxl_encode(
            samples,
            distance=_distance(setting.level),
            effort=effort,
            bitspersample=setting.bits,
            numthreads=1,
        )
    )


def _distance(level: float) -> float:
    """Return what libjxl makes of a quality; beyond 100 it goes down to its least distance."""
    if level >= 100:
        return max(0.01, 0.1 * math.exp((100 - level) / 40 * math.log(10)))
    if level >= 30:
        return 0.1 + (100 - level) * 0.09
    return 53 / 3000 * level**2 - 23 / 20 * level + 25


def _decode_stream(data: bytes, like: Samples) -> Samples:
    return as_array(imagecodecs.jpegxl_decode(data, numthreads=1), like)


def _size_of(data: bytes) -> Size | None:
    head = read_head(data)
    return head.rows, head.columns


STREAM = Stream(
    encode=_encode_stream,
    decode=_decode_stream,
    size=_size_of,
    colours=True,
    irreversible=True,
)
