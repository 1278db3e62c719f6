"""LERC by itself and with zstd behind it, lossless or within its own bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import imagecodecs

from tilepress.codecs.classical.base import Anchor, Measure, Samples, verified

__all__ = ["ANCHOR"]


def _sizes(max_error: float) -> Mapping[str, Measure]:
    def setting(compression: Literal["zstd"] | None) -> Measure:
        def encode(samples: Samples) -> bytes:
            return bytes(imagecodecs.lerc_encode(samples, level=max_error, compression=compression))

        return verified(encode, imagecodecs.lerc_decode, max_error)

    return {f"lerc {max_error:g}": setting(None), f"lerc {max_error:g} zstd": setting("zstd")}


ANCHOR = Anchor(
    library="imagecodecs",
    plane=_sizes(0),
    rgb=_sizes(0),
    bounded=_sizes,
    native=("int8", "int16", "int32", "uint32", "float32", "float64"),
)
