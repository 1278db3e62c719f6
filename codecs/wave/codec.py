"""``wave`` as one of the codecs: what it promises, its tiers, and the coder of a chunk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import ChunkCoder
from tilepress.codecs.loss import Loss, Lossless, Within
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.wave.backend import Backend, TreeEffort
from tilepress.codecs.wave.chunk import decode_chunk, encode_chunk
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.following import Following
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.weights import load_named

if TYPE_CHECKING:
    from tilepress.codecs.wave.cuda.backend import DeviceBackend

__all__ = ["WaveCoder", "load_model", "parse_model"]

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Tier:
    """What a tier spends."""

    model: str
    """The bundled model."""
    former: tuple[str, ...]
    """Those of earlier versions."""
    trees: TreeEffort
    former_trees: TreeEffort | None = None
    """With weights of wave 2 and wave 3, if others: what they wrote they write for ever."""
    quick: bool = False
    following: Following | None = None
    former_following: Following | None = None
    """As ``former_trees``."""
    thorough: bool = False


_TIERS = {
    "fast": _Tier("wave-3-fast", ("wave-2-fast",), TreeEffort(2.0, 1 << 15), quick=True),
    "standard": _Tier(
        "wave-3",
        ("wave-2",),
        TreeEffort(5.0, 1 << 18, 0.0025),
        TreeEffort(3.25, 1 << 18),
        following=Following(0.0025),
    ),
    "max": _Tier(
        "wave-4-max",
        ("wave-3-max", "wave-2-max"),
        TreeEffort(9.0, 1 << 20, sharing=True),
        TreeEffort(8.0, 1 << 18),
        following=Following(0, tried=((6, 8), (13, 8), (6, 14), (3, 8))),
        former_following=Following(0),
        thorough=True,
    ),
}

_NUMBERS = {2: 1, 3: 4, 4: 4}
"""What records are called whose payloads have a format; wave 4 is wave 3 with one way more."""
_FORMS = {1: 2, 4: 4}


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> WaveModel:
    """Return the model of a weights file; raises ModelError."""
    return WaveModel.from_bytes(data)


def load_model(name: str) -> WaveModel:
    """Return the model of the weights that ``auto``, a name or a path says; raises ModelError."""
    return parse_model(load_named(name).data)


class WaveCoder(ChunkCoder):
    """The learned lossless and near-lossless codec."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Lossless, Within})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType(
        {name: tier.model for name, tier in _TIERS.items()}
    )
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {name: tier.former for name, tier in _TIERS.items()}
    )

    on_device: ClassVar[bool] = True

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        assert loss.max_error is not None, loss
        self._max_error, self._tier, self._weights = loss.max_error, _TIERS[tier], weights
        self.number = _NUMBERS[parse_model(weights).form]
        self._on_device = device == "cuda"
        if self._on_device:
            _open_device()  # refused here, not at the first chunk

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    @staticmethod
    def why_no_device() -> str | None:
        from tilepress.codecs.wave.cuda.backend import cuda_available

        return None if cuda_available() else "no CUDA device is seen"

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        model, tier = parse_model(self._weights), self._tier
        coder = Coder(
            model,
            quick=tier.quick,
            backend=self._backend(),
            trees=tier.trees if model.form > 3 else tier.former_trees or tier.trees,
            following=tier.following if model.form > 3 else tier.former_following or tier.following,
            thorough=tier.thorough,
        )
        return encode_chunk(samples, absent, self._max_error, coder, bands)

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        model = parse_model(self._weights)
        return decode_chunk(
            payload, shape, dtype, model, planes, self._backend(), budget, form=_FORMS[number]
        )

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """On the CPU, in the process's pool; on a GPU, planes of many chunks run in batches."""
        if self._on_device:
            return _open_device().map(function, items)
        return map_chunks(function, items)

    def _backend(self) -> Backend:
        """Return the backend of this process; a coder may have come from another."""
        return _open_device() if self._on_device else CPU


def _open_device() -> DeviceBackend:
    """Return the process's GPU; imported here, so that the CPU's way loads nothing of it."""
    from tilepress.codecs.wave.cuda.backend import open_device

    return open_device()
