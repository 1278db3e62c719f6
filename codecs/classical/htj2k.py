"""High-throughput JPEG 2000 (OpenJPH), reversible 5/3; RGB with its colour transform."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting, verified

__all__ = ["ANCHOR"]


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
