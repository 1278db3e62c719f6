"""High-throughput JPEG 2000 (OpenJPH), reversible 5/3; RGB with its colour transform."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting, verified
from tilepress.codecs.classical.stream import Setting, Stream, as_array, size_of_codestream

__all__ = ["ANCHOR", "STREAM"]


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
    step = min(0.5, setting.step / 2 ** (8 * samples.dtype.itemsize))
    return bytes(imagecodecs.htj2k_encode(samples, level=step, reversible=False, rgb=False))


STREAM = Stream(
    encode=_encode_stream,
    decode=lambda data, like: as_array(imagecodecs.htj2k_decode(data), like),
    size=size_of_codestream,
    colours=True,
    mixed=True,
    irreversible=True,
)
