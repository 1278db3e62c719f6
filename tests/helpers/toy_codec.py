"""A second codec, as one that loses samples would be added: a coder and a line in the registry."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import ChunkCoder
from tilepress.codecs.loss import Loss, Lossless, Within
from tilepress.codecs.registry import CODECS, Registered
from tilepress.codecs.threads import map_chunks
from tilepress.errors import InvalidRecord, ModelError, UnsupportedFormat

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


class ToyCoder(ChunkCoder):
    """Rounds integers to multiples of 2k + 1 and deflates them; what it must keep lies beside."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Within})
    models: ClassVar[Mapping[str, str | None]] = {"standard": None}
    former_models: ClassVar[Mapping[str, Sequence[str]]] = {}
    number = 200

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        assert isinstance(loss, Within)
        if device == "cuda":
            raise UnsupportedFormat("making a codec: 'toy' knows no device")
        self.check_weights(weights)
        self.step = 2 * int(loss.max_error) + 1

    @staticmethod
    def check_weights(data: bytes) -> None:
        if data:
            raise ModelError("loading a model: 'toy' has no weights")

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        if samples.dtype.kind not in "iu":
            return None
        wide = samples.astype(np.int64)
        levels = (wide + self.step // 2) // self.step
        decoded = self.rounded(levels, samples.dtype)
        kept = np.zeros(samples.shape, bool)
        if absent is not None:
            kept = (samples == absent) | (decoded == absent)
        decoded[kept] = samples[kept]
        parts = (levels.tobytes(), np.packbits(kept).tobytes(), samples[kept].tobytes())
        return zlib.compress(b"".join(parts)), decoded

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        count = int(np.prod(shape))
        try:
            data = zlib.decompress(payload)
        except zlib.error as error:
            raise InvalidRecord("decoding a payload: no zlib stream") from error
        bits = -(-count // 8)
        if len(data) < 8 * count + bits:
            raise InvalidRecord("decoding a payload: it is cut")
        decoded = self.rounded(np.frombuffer(data, np.int64, count).reshape(shape), dtype)
        packed = np.frombuffer(data, np.uint8, bits, 8 * count)
        kept = np.unpackbits(packed, count=count).astype(bool).reshape(shape)
        decoded[kept] = np.frombuffer(data, dtype, int(kept.sum()), 8 * count + bits)
        return decoded

    def rounded(self, levels: Array, dtype: np.dtype[Any]) -> Array:
        limits = np.iinfo(dtype)
        return np.clip(levels * self.step, limits.min, limits.max).astype(dtype)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        return map_chunks(function, items)


class LyingCoder(ToyCoder):
    """Is off by more than it promises, and tells nobody."""

    def rounded(self, levels: Array, dtype: np.dtype[Any]) -> Array:
        return super().rounded(levels, dtype) + np.asarray(self.step, dtype)


class SwallowingCoder(ToyCoder):
    """Forgets which samples were absent."""

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        return super().encode(samples, None, bands)


class BoastingCoder(ToyCoder):
    """Says that it can be lossless, and cannot."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Lossless, Within})

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        super().__init__(Within(1) if loss.is_lossless else loss, tier, weights, device)


@contextmanager
def registered(coder: type[ChunkCoder] = ToyCoder, name: str = "toy") -> Iterator[str]:
    """Add a codec as its line in the registry would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            CODECS, name, Registered(coder.number, f"{coder.__module__}:{coder.__name__}")
        )
        yield name
