"""``ntc`` as one of the codecs: what it promises, its weights, and the coder of a chunk.

Records are coded on the CPU, for symbols come one after another; a GPU is for decoders' networks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.levels import EXACT, nominal_step
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Quality
from tilepress.codecs.ntc.chunk import decode_chunk, encode_chunk
from tilepress.codecs.ntc.decoders.choose import check_cuda, is_generative, remake_of
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.registry import Coded, DecoderCoder, LevelCoder
from tilepress.codecs.threads import map_chunks

__all__ = ["NtcCoder", "parse_model"]

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> NtcModel:
    """Return the model of a weights file; raises ModelError."""
    return NtcModel.from_bytes(data)


class NtcCoder(LevelCoder, DecoderCoder):
    """The lossy codec of linear transforms and a learned context model."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality, AtLeast, AtMost})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType({"standard": "ntc-1"})
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({"standard": ()})
    number = 6

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        parse_model(weights)
        if device == "cuda":
            check_cuda()
        self._weights = weights
        self._device = "cuda" if device == "cuda" else "cpu"

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        if dtype.kind not in "iu" or dtype.itemsize > 4:
            return f"codec 'ntc' takes integers of 8 to 32 bits, the samples are {dtype}"
        return None

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        """Return None: nothing is coded without loss."""
        return None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code with the step that a level means; None at ``EXACT``."""
        if level == EXACT:
            return None
        coded = self.encode_step(samples, absent, bands, nominal_step(level, peak))
        return None if coded is None else Coded(*coded, irreversible=False)

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
        return decode_chunk(payload, shape, dtype, parse_model(self._weights), budget, planes)

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
    ) -> Array:
        remake = remake_of(decoder, self._device)
        model = parse_model(self._weights)
        return decode_chunk(payload, shape, dtype, model, budget, planes, remake)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        return map_chunks(function, items)
