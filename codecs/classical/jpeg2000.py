"""JPEG 2000, reversible 5/3, one tile; RGB with the reversible colour transform."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting, verified

__all__ = ["ANCHOR"]


def _encode(samples: Samples, threads: int) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            reversible=True,
            codecformat="j2k",
            mct=samples.ndim == 3,
            numthreads=threads,
        )
    )


_SIZE = verified(lambda samples: _encode(samples, 1), imagecodecs.jpeg2k_decode)

ANCHOR = Anchor(
    library="imagecodecs",
    plane={"jpeg2000": _SIZE},
    rgb={"jpeg2000 rct": _SIZE},
    speeds={
        "jpeg2000": SpeedSetting(
            encode=_encode,
            decode=lambda data, threads: np.asarray(
                imagecodecs.jpeg2k_decode(data, numthreads=threads)
            ),
            own_threads=True,
        )
    },
)
