"""JPEG-LS: for sizes with the true bit depth, and within a bound by its own NEAR."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import imagecodecs
import jpeg_ls
import numpy as np

from tilepress.codecs.classical.base import Anchor, Measure, Samples, SpeedSetting, verified
from tilepress.codecs.classical.stream import Setting, Stream, as_array

__all__ = ["ANCHOR", "STREAM"]

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


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    height, width = samples.shape
    near = min(setting.largest_error, _MAX_NEAR, (2**setting.bits - 1) // 2)
    return bytes(jpeg_ls.encode_buffer(samples.tobytes(), height, width, 1, setting.bits, near, 0))


def _size_of(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns of the frame (ITU-T T.87, C.2.2)."""
    at = data.find(b"\xff\xf7")
    if data[:2] != b"\xff\xd8" or at < 0 or len(data) < at + 10:
        return None
    high, wide, components = struct.unpack_from(">HHB", data, at + 5)
    return (high, wide) if components == 1 else None


STREAM = Stream(
    encode=_encode_stream,
    decode=lambda data, like: as_array(imagecodecs.jpegls_decode(data), like),
    size=_size_of,
    bounded=True,
)
