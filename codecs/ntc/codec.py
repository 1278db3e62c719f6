"""``ntc`` as one of the codecs: what it promises, its weights, and the coder of a chunk.

Records are coded on the CPU, for symbols come one after another; a GPU is for decoders' networks.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import ID_BYTES
from tilepress.codecs.budget import Budget
from tilepress.codecs.levels import nominal_step
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Quality
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk, encode_chunk
from tilepress.codecs.ntc.decoders.choose import check_cuda, is_generative, remake_of
from tilepress.codecs.ntc.mixed import Chunk, encode_mixed
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.parts import NUMBER, decode_parts
from tilepress.codecs.ntc.rivals import Beaten, encode_rival
from tilepress.codecs.registry import (
    BASE,
    Coded,
    DecoderCoder,
    EstimatingCoder,
    ExactCoder,
    RivalledCoder,
    ScaledCoder,
)

__all__ = ["NtcCoder", "parse_model"]

Array = npt.NDArray[Any]


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> NtcModel:
    """Return the model of a weights file; raises ModelError."""
    return NtcModel.from_bytes(data)


class NtcCoder(EstimatingCoder, ExactCoder, RivalledCoder, ScaledCoder, DecoderCoder):
    """The lossy codec of linear transforms and a learned context model."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality, AtLeast, AtMost})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType(
        {"standard": "ntc-2", "fast": "ntc-2"}
    )
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {"standard": ("ntc-1",), "fast": ("ntc-1",)}
    )
    exact_beside: ClassVar[bool] = True
    bounds_lossy: ClassVar[bool] = True
    number = 6

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        parse_model(weights)
        if device == "cuda":
            check_cuda()
        self._weights, self._bound, self._tier = weights, loss.max_error, tier
        self._model_id = hashlib.sha256(weights).digest()[:ID_BYTES]
        self._device = "cuda" if device == "cuda" else "cpu"

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        if dtype.kind not in "iu" or dtype.itemsize > 4:
            return f"codec 'ntc' takes integers of 8 to 32 bits, the samples are {dtype}"
        return None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code with the step that a level means; by the lossless codec at ``EXACT``, and where
        samples span too much for that step."""
        return self.encode_beside(samples, absent, bands, level, peak, frozenset())

    def encode_beside(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        exact: frozenset[int],
    ) -> Coded | None:
        own = (self.number, self._model_id, parse_model(self._weights))
        return encode_mixed(
            Chunk(samples, absent, max(1, bands), exact, self._bound), level, peak, own
        )

    def estimate(
        self, samples: Array, absent: Array | None, bands: int, peak: float
    ) -> Callable[[float], tuple[float, float]] | None:
        """Tell what the chosen values cost and miss: neither words nor samples are made of them."""
        if self._bound is not None:
            return None
        group = bands if bands >= 1 and len(samples) % bands == 0 else 1
        analysis = Analysis.of(samples, absent, group)
        if analysis is None:
            return None
        rounding = samples.size / 12  # samples are integers, what the probe measures is not

        def at(level: float) -> tuple[float, float]:
            probe = analysis.probe(nominal_step(level, peak), parse_model(self._weights))
            return probe.bits / 8, probe.squared + rounding

        return at

    def encode_smaller(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        found: tuple[int, float],
    ) -> Coded | None:
        """Code by an established codec: not with a bound, for its decoders differ."""
        if self._tier == "fast" or self._bound is not None:
            return None
        beaten = Beaten(*found, nominal_step(level, peak))
        return encode_rival(samples, absent, bands, peak, beaten)

    def encode_step(
        self, samples: Array, absent: Array | None, bands: int, step: float
    ) -> tuple[bytes, Array] | None:
        """Code with a step of the quantiser, in units of samples; None where it cannot."""
        return encode_chunk(samples, absent, bands, step, parse_model(self._weights))

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number)

    def decode_scaled(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
        scale: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number, scale=scale)

    def check_decoder(self, decoder: str) -> None:
        remake_of(decoder, self._device)

    @staticmethod
    def makes_up(decoder: str) -> bool:
        return is_generative(decoder)

    def decode_by(
        self,
        decoder: str,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number, decoder=decoder)

    def _decoded(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
        *,
        scale: int = 1,
        decoder: str = BASE,
    ) -> Array:
        if number == NUMBER:
            own = (self, self._model_id)
            return decode_parts(payload, shape, dtype, own, budget, planes, scale, decoder)
        remake = None if decoder == BASE else remake_of(decoder, self._device)
        model = parse_model(self._weights)
        return decode_chunk(payload, shape, dtype, model, budget, planes, scale, remake)
