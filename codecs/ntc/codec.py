"""``ntc`` as one of the codecs: what it promises, its weights, and the coder of a chunk."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.loss import Loss, Quality
from tilepress.codecs.ntc.chunk import decode_chunk, encode_chunk
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.registry import ChunkCoder
from tilepress.codecs.threads import map_chunks
from tilepress.errors import UnsupportedFormat

__all__ = ["NtcCoder", "parse_model"]

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> NtcModel:
    """Return the model of a weights file; raises ModelError."""
    return NtcModel.from_bytes(data)


class NtcCoder(ChunkCoder):
    """The lossy codec of linear transforms and a learned context model."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType({"standard": "ntc-1"})
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({"standard": ()})
    number = 6

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        parse_model(weights)
        if device == "cuda":
            raise UnsupportedFormat("making a codec: ntc runs on the CPU only, got device 'cuda'")
        self._loss, self._weights = loss, weights

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        """Code at the level of ``Quality``, of the range that the present samples have."""
        assert isinstance(self._loss, Quality), self._loss
        present = samples if absent is None else samples[samples != absent]
        if samples.dtype.kind not in "iu" or not present.size:
            return None
        peak = (
            255.0 if samples.dtype.itemsize == 1 else float(int(present.max()) - int(present.min()))
        )
        return self.encode_step(samples, absent, bands, _nominal_step(self._loss.level, peak))

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

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        return map_chunks(function, items)


def _nominal_step(level: float, peak: float) -> float:
    """Return the step whose error lies about 20 + level / 2 dB below a peak."""
    return math.sqrt(12.0) * peak * math.pow(10.0, -(20.0 + level / 2.0) / 20.0)
