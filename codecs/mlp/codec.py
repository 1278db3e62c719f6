"""``mlp`` as one of the codecs: what it promises, its parameters, and the coder of a chunk."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import Coded
from tilepress.codecs.levels import EXACT, nominal_step
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Quality
from tilepress.codecs.mlp.chunk import Asked, decode_chunk, encode_chunk
from tilepress.codecs.mlp.layout import BLOCKS, MOST_UNITS
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.numbers import shown
from tilepress.codecs.registry import ParameterCoder
from tilepress.errors import UnsupportedFormat

__all__ = ["MlpCoder", "parse_model"]

Array = npt.NDArray[Any]

_MODELS = {4: "mlp-1-4", 8: "mlp-1", 16: "mlp-2-16"}
"""Bundled networks by the side of their blocks."""
_FORMER: Mapping[int, Sequence[str]] = {16: ("mlp-1-16",)}
"""Those that earlier versions had."""
_BLOCK, _ALL, _MOST_BITS = 8, MOST_UNITS, 22
_PARAMETERS = {"block": _BLOCK, "hidden": _ALL, "bits": _MOST_BITS}
"""Their defaults, in the order of their one spelling."""


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> MlpModel:
    """Return the model of a weights file; raises ModelError."""
    return MlpModel.from_bytes(data)


class MlpCoder(ParameterCoder):
    """The lossy codec of blocks that go through the hidden units of a network.

    Its parameters, ``block=8,hidden=16,bits=6``: rows and columns of a block (4, 8 or 16), hidden
    units that are coded (default all), bits that a unit takes at most (default 22: any).
    """

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality, AtLeast, AtMost})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType({"standard": _MODELS[_BLOCK]})
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({"standard": ()})
    number = 8
    name = "mlp"
    parameters: ClassVar[str] = ""
    block: ClassVar[int] = _BLOCK
    asked: ClassVar[Asked] = Asked(_ALL, _MOST_BITS)

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        model = parse_model(weights)
        if device == "cuda":
            raise UnsupportedFormat("making a codec: mlp runs on the CPU only, got device 'cuda'")
        if model.block != self.block:
            raise UnsupportedFormat(
                f"making a codec: the model has blocks of {model.block}, mlp is asked for "
                f"{self.block}; say mlp:block={model.block}"
            )
        super().__init__(loss, tier, weights, device)
        self._weights = weights

    @classmethod
    def of(cls, parameters: str) -> type[MlpCoder]:
        return _with_parameters(parameters)

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        return "codec 'mlp' takes numbers, the samples are bool" if dtype.kind == "b" else None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code with the step that a level means; None at ``EXACT``."""
        if level == EXACT:
            return None
        step, model = nominal_step(level, peak), parse_model(self._weights)
        coded = encode_chunk(samples, absent, bands, step, model, self.asked)
        return None if coded is None else Coded(*coded, irreversible=False)

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


@functools.lru_cache(maxsize=64)
def _with_parameters(text: str) -> type[MlpCoder]:
    told = dict(_PARAMETERS)
    given = [part.partition("=") for part in text.split(",")] if text else []
    for name, _, value in given:
        if name not in told or not (value.isascii() and value.isdecimal()) or len(value) > 4:
            raise _refused(text)
        told[name] = int(value)
    limits = {"hidden": (1, MOST_UNITS), "bits": (1, _MOST_BITS)}
    inside = all(low <= told[name] <= high for name, (low, high) in limits.items())
    if not inside or told["block"] not in BLOCKS or len(given) > len({g[0] for g in given}):
        raise _refused(text)
    spelt = ",".join(f"{k}={told[k]}" for k, default in _PARAMETERS.items() if told[k] != default)
    block, asked = told["block"], Asked(told["hidden"], told["bits"])
    if not spelt:
        return MlpCoder
    if spelt != text:
        return _with_parameters(spelt)
    members = {
        "parameters": spelt,
        "block": block,
        "asked": asked,
        "models": MappingProxyType({"standard": _MODELS[block]}),
        "former_models": MappingProxyType({"standard": _FORMER.get(block, ())}),
    }
    return type("MlpCoder", (MlpCoder,), members)


def _refused(text: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"making a codec: got mlp:{shown(text)}, want some of block=4|8|16, hidden=1…{MOST_UNITS}, "
        f"bits=1…{_MOST_BITS}, as in mlp:block=8,hidden=16,bits=6"
    )
