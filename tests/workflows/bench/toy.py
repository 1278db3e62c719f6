"""An established codec that nobody has: what a module in ``codecs/classical`` must say."""

from __future__ import annotations

import zlib

import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting


def _size(samples: Samples) -> int | None:
    return len(zlib.compress(samples.tobytes(), 1))


ANCHOR = Anchor(
    library="numpy",
    plane={"toy": _size},
    takes_all=True,
    speeds={
        "toy 1": SpeedSetting(
            encode=lambda samples, _: zlib.compress(samples.tobytes(), 1),
            decode=lambda data, _: np.frombuffer(zlib.decompress(data), np.uint8),
        )
    },
)
