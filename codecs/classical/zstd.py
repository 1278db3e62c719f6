"""zstd over the bytes of samples: for sizes level 19, as they are and shuffled; for speeds 3."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting
from tilepress.codecs.classical.stream import Setting, Stream

__all__ = ["ANCHOR", "STREAM"]


def _size(samples: Samples) -> int | None:
    """Measure the bytes as they are and byte-shuffled; the smaller counts."""
    raw = np.ascontiguousarray(samples).view(np.uint8).reshape(-1, samples.dtype.itemsize)
    layouts = [raw.tobytes()]
    if samples.dtype.itemsize > 1:
        layouts.append(np.ascontiguousarray(raw.T).tobytes())
    coded = [imagecodecs.zstd_encode(layout, level=19) for layout in layouts]
    if [imagecodecs.zstd_decode(data) for data in coded] != layouts:
        return None
    return min(map(len, coded))


ANCHOR = Anchor(
    library="imagecodecs",
    plane={"zstd 19 shuffle": _size},
    takes_all=True,
    speeds={
        "zstd 3": SpeedSetting(
            encode=lambda samples, _: bytes(imagecodecs.zstd_encode(samples.tobytes(), level=3)),
            decode=lambda data, _: np.frombuffer(imagecodecs.zstd_decode(data), np.uint8),
        )
    },
)


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    little = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
    return bytes(imagecodecs.zstd_encode(little.tobytes(), level=9))


def _decode_stream(data: bytes, like: Samples) -> Samples:
    found = imagecodecs.zstd_decode(data, out=bytearray(like.nbytes))
    return np.frombuffer(found, like.dtype.newbyteorder("<")).reshape(like.shape).astype(like.dtype)


STREAM = Stream(encode=_encode_stream, decode=_decode_stream, size=None, loses=False, memory=4)
