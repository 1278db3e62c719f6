"""JPEG XL, lossless: for sizes the smallest of three efforts, for speeds two of them."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Measure, Samples, SpeedSetting, verified

__all__ = ["ANCHOR"]


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
