"""zstd over the bytes of samples: for sizes level 19, as they are and shuffled; for speeds 3."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting

__all__ = ["ANCHOR"]


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
