"""JPEG 2000, reversible 5/3, one tile; RGB with the reversible colour transform."""

from __future__ import annotations

import imagecodecs
import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting, verified
from tilepress.codecs.classical.stream import Setting, Stream, as_array, size_of_codestream

__all__ = ["ANCHOR", "STREAM"]


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


def _encode_stream(samples: Samples, setting: Setting) -> bytes:
    if setting.is_exact:
        return _encode(samples, 1)
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=max(1.0, setting.psnr_db()),  # type: ignore[arg-type]  # it takes floats
            reversible=False,
            codecformat="j2k",
            bitspersample=setting.bits,
            mct=False,
            numthreads=1,
        )
    )


STREAM = Stream(
    encode=_encode_stream,
    decode=lambda data, like: as_array(imagecodecs.jpeg2k_decode(data, numthreads=1), like),
    size=size_of_codestream,
    colours=True,
    mixed=True,
    irreversible=True,
)
