"""JPEG-LS: for sizes with the true bit depth, and within a bound by its own NEAR."""

from __future__ import annotations

from collections.abc import Mapping

import imagecodecs
import jpeg_ls
import numpy as np

from tilepress.codecs.classical.base import Anchor, Measure, Samples, SpeedSetting, verified

__all__ = ["ANCHOR"]

_MAX_NEAR = 255


def _size(near: int = 0) -> Measure:
    """Its default thresholds follow from the bit depth."""

    def measure(samples: Samples) -> int | None:
        bits = max(2, int(samples.max()).bit_length())
        height, width, *components = samples.shape

        def encode(values: Samples) -> bytes:
            count = components[0] if components else 1
            mode = 2 if components else 0  # samples interleaved, or one plane
            data = values.tobytes()
            return bytes(jpeg_ls.encode_buffer(data, height, width, count, bits, near, mode))

        def decode(data: bytes) -> Samples:
            return np.asarray(imagecodecs.jpegls_decode(data)).astype(samples.dtype)

        if near > (2**bits - 1) // 2:
            return None
        return verified(encode, decode, near)(samples)

    return measure


def _near(max_error: float) -> Mapping[str, Measure]:
    near = int(max_error)
    return {f"jpegls near {near}": _size(near)} if 0 < near <= _MAX_NEAR else {}


ANCHOR = Anchor(
    library="pyjpegls",
    plane={"jpegls": _size()},
    rgb={"jpegls": _size()},
    bounded=_near,
    speeds={
        "jpegls": SpeedSetting(
            # room for noise that grows: the library's own guess is too small for it
            encode=lambda samples, _: bytes(
                imagecodecs.jpegls_encode(samples, out=2 * samples.nbytes + 4096)
            ),
            decode=lambda data, _: np.asarray(imagecodecs.jpegls_decode(data)),
        )
    },
)
