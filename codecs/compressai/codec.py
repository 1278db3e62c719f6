"""``compressai:ARCH`` as one of the codecs: a checkpoint codes tiles at the rate it has."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import Coded
from tilepress.codecs.compressai.checkpoint import check_file
from tilepress.codecs.compressai.chunk import decode_chunk, encode_chunk
from tilepress.codecs.compressai.network import ARCHITECTURES, loaded
from tilepress.codecs.levels import EXACT
from tilepress.codecs.loss import Loss, Quality
from tilepress.codecs.numbers import shown
from tilepress.codecs.registry import ParameterCoder
from tilepress.errors import UnsupportedFormat

__all__ = ["CompressaiCoder"]

Array = npt.NDArray[Any]


class CompressaiCoder(ParameterCoder):
    """A model of CompressAI; its architecture is its parameter.

    A checkpoint has one rate. A quality, which it must be asked for so that loss is never silent,
    chooses none: who wants another rate takes another checkpoint.
    """

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType({"standard": None})
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    number = 9
    name = "compressai"
    parameters: ClassVar[str] = ""

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        if not self.parameters:
            raise UnsupportedFormat(
                f"making a codec: compressai wants an architecture, as compressai:mbt2018-mean; "
                f"one of {', '.join(ARCHITECTURES)}"
            )
        if device == "cuda":
            raise UnsupportedFormat("making a codec: compressai runs on the CPU only")
        if not weights:
            raise UnsupportedFormat(
                "making a codec: compressai brings no weights; name a checkpoint (--model FILE)"
            )
        loaded(self.parameters, weights)
        super().__init__(loss, tier, weights, device)
        self._weights = weights

    @classmethod
    def of(cls, parameters: str) -> type[CompressaiCoder]:
        return _with_architecture(parameters)

    @staticmethod
    def check_weights(data: bytes) -> None:
        check_file(data)

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        if dtype.kind not in "iu" or dtype.itemsize > 2:
            return f"codec 'compressai' takes integers of 8 or 16 bits, the samples are {dtype}"
        return None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code at the checkpoint's rate, whatever the level; None at ``EXACT``."""
        if level == EXACT:
            return None
        net = loaded(self.parameters, self._weights)
        return Coded(*encode_chunk(samples, absent, bands, net), irreversible=False)

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        net = loaded(self.parameters, self._weights)
        return decode_chunk(payload, shape, dtype, net, budget, planes)


@functools.cache
def _with_architecture(name: str) -> type[CompressaiCoder]:
    if not name:
        return CompressaiCoder
    if name not in ARCHITECTURES:
        raise UnsupportedFormat(
            f"making a codec: got compressai:{shown(name)}, want one of {', '.join(ARCHITECTURES)}"
        )
    return type("CompressaiCoder", (CompressaiCoder,), {"parameters": name})
