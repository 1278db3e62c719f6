"""Established codecs as codecs of tiles: what they promise, and the coder of a chunk.

samples ─► absent and odd ones apart ─► integers of 16 bits ─► streams of one plane each, or of
           (exact.py)                   (numbers.py)           three as colours, or of
                                                               components (mixing.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.classical import stream_of
from tilepress.codecs.classical.payload import decode_payload, encode_bounded, encode_payload
from tilepress.codecs.coder import Coded, LevelCoder
from tilepress.codecs.levels import EXACT
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Lossless, Quality, Within
from tilepress.errors import ModelError, UnsupportedFormat

__all__ = [
    "AvifCoder",
    "Htj2kCoder",
    "Jpeg2000Coder",
    "JpegLsCoder",
    "JpegXlCoder",
    "LercCoder",
    "WebPCoder",
    "ZstdCoder",
]

Array = npt.NDArray[Any]

_LOSSY: frozenset[type[Loss]] = frozenset({Quality, AtLeast, AtMost})


class _ClassicalCoder(LevelCoder):
    """An established codec; subclasses say which."""

    name: ClassVar[str]
    losses: ClassVar[frozenset[type[Loss]]] = _LOSSY | {Lossless}
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType({"standard": None})
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    number = 5

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        if device == "cuda":
            raise UnsupportedFormat(f"making a codec: {self.name!r} knows no device")
        self.check_weights(weights)
        self._max_error = loss.max_error

    @staticmethod
    def check_weights(data: bytes) -> None:
        if data:
            raise ModelError("loading a model: established codecs have no weights")

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        if stream_of(self.name).most_bits == 8 and dtype not in (np.uint8, np.bool_):
            return f"codec {self.name!r} takes uint8, the samples are {dtype}"
        return None

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        if self._max_error:
            found = encode_bounded(self.name, samples, absent, bands, self._max_error)
        else:
            found = encode_payload(self.name, samples, absent, bands, EXACT, 1.0)
        return None if found is None else (found.payload, found.decoded)

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        return encode_payload(self.name, samples, absent, bands, level, peak)

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        return decode_payload(payload, shape, dtype, budget, planes)


class JpegXlCoder(_ClassicalCoder):
    """JPEG XL; its quality is libjxl's."""

    name = "jpegxl"


class Jpeg2000Coder(_ClassicalCoder):
    """JPEG 2000, 5/3 or 9/7, with a Karhunen-Loève transform across planes where it is lossy."""

    name = "jpeg2000"


class Htj2kCoder(_ClassicalCoder):
    """High-throughput JPEG 2000, likewise."""

    name = "htj2k"


class JpegLsCoder(_ClassicalCoder):
    """JPEG-LS, lossless or within NEAR."""

    name = "jpegls"
    losses = _LOSSY | {Lossless, Within}


class LercCoder(_ClassicalCoder):
    """LERC, lossless or within its bound."""

    name = "lerc"
    losses = _LOSSY | {Lossless, Within}


class WebPCoder(_ClassicalCoder):
    """WebP, of 8 bits; its quality is libwebp's."""

    name = "webp"


class AvifCoder(_ClassicalCoder):
    """AVIF, of 8 bits; its quality is libavif's."""

    name = "avif"


class ZstdCoder(_ClassicalCoder):
    """Zstandard over samples, or over multiples of a step."""

    name = "zstd"
    losses = _LOSSY | {Lossless, Within}
