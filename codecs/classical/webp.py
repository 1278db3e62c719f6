"""WebP, lossless: RGB of 8 bits only."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, verified

__all__ = ["ANCHOR"]


def _encode(samples: Samples) -> bytes:
    return bytes(imagecodecs.webp_encode(samples, lossless=True, level=100, method=6))


ANCHOR = Anchor(
    library="imagecodecs",
    rgb={"webp": verified(_encode, imagecodecs.webp_decode)},
    rgb_dtypes=(np.uint8,),
)
