"""The network and the static tables of ``wave`` as integers, and their file.

features (48 or 72, s7) ──► dense n ──► relu u7 ──► dense 3 ──► correction of the mean, scale, shape
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from tilepress.codecs.tensors import format_of, read_tensors, unpack_tables
from tilepress.codecs.wave.layout import FEATURES, MAX_HIDDEN, REGRESSORS
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import ESCAPE_BITS, PHASED_CONTEXTS, PHASES, TOKENS
from tilepress.errors import ModelError

__all__ = ["CONTEXTS", "COST_UNIT", "NO_NETWORK", "TABLES", "WaveModel"]

CONTEXTS = 48 * 3
"""Scale and shape as the network chooses them."""
TABLES = PHASED_CONTEXTS * PHASES + CONTEXTS - PHASED_CONTEXTS

_LAYERS = ("hidden", "output")
_FORMATS = {2: "tilepress-wave-2", 3: "tilepress-wave-3", 4: "tilepress-wave-4"}
"""What the metadata of a weights file call the format that it codes in."""
_ACC_LIMIT = 2**20
NO_NETWORK = tuple(np.zeros(size, np.int32) for size in ((0, FEATURES), 0, 0, (4, 0), 3, 3))
"""What ``WaveModel.arrays`` returns where there are no hidden units."""
COST_UNIT = 256
"""What a bit counts as in the encoder's choices, whose sums are of integers."""


@dataclass(frozen=True, slots=True)
class WaveModel:
    """Integer weights, tables and default linear weights, checked against their limits."""

    layers: dict[str, tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int32]]]
    """name → weights (out, in) −63 … 63, bias (out,), right shift (out,)."""
    frequencies: npt.NDArray[np.uint16]
    """(TABLES, TOKENS + 1); a row holds its symbols, then its escape, then zeros; sum 2^15."""
    linear: npt.NDArray[np.int32]
    """(3, REGRESSORS) default linear weights with 0, 1, 2 references, units of 2^-14."""
    form: int = 3
    """The format of what is coded with it, 2 … 4, which stays what it was; a new model's is that of
    ``standard``, for wave 4 takes readers longer."""
    cumulative: npt.NDArray[np.int32] = field(init=False)
    used: npt.NDArray[np.int32] = field(init=False)
    lookup: npt.NDArray[np.uint8] = field(init=False)
    costs: npt.NDArray[np.int32] = field(init=False)
    """(TABLES, TOKENS) 1/256 bits of a token with its raw bits; for the encoder's choices only."""
    _arrays: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check()
        counts = np.count_nonzero(self.frequencies, axis=1).astype(np.int32)
        cumulative = np.zeros((TABLES, TOKENS + 2), np.int32)
        cumulative[:, 1:] = np.cumsum(self.frequencies.astype(np.int32), axis=1)
        lookup = np.zeros((TABLES, 256), np.uint8)
        slots = np.arange(256) << (TABLE_BITS - 8)
        for row in range(TABLES):
            lookup[row] = np.searchsorted(cumulative[row, 1 : counts[row]], slots, side="right")
        tokens = np.arange(TOKENS)
        share = np.maximum(self.frequencies[:, :TOKENS], 1) / (1 << TABLE_BITS)
        escape = self.frequencies[np.arange(TABLES), counts - 1] / (1 << TABLE_BITS)
        coded = tokens < counts[:, None] - 1
        costs = np.where(coded, -np.log2(share), ESCAPE_BITS - np.log2(escape)[:, None])
        costs = costs + np.where(tokens < 16, 0, (tokens - 8) // 4)
        object.__setattr__(self, "costs", np.rint(costs * COST_UNIT).astype(np.int32))
        object.__setattr__(self, "cumulative", cumulative)
        object.__setattr__(self, "used", counts - 1)
        object.__setattr__(self, "lookup", lookup)
        arrays: list[Any] = []
        for name in _LAYERS:
            weights, bias, shift = self.layers[name]
            rows = -(-len(bias) // 4) * 4  # the predictor takes outputs by fours
            padded = np.zeros((rows, weights.shape[1]), np.float32)
            padded[: len(bias)] = weights
            arrays += [padded, bias.copy(), shift.copy()]
        object.__setattr__(self, "_arrays", tuple(arrays))

    def _check(self) -> None:
        units = self.hidden
        if units % 8 or units > MAX_HIDDEN:
            raise ModelError(f"loading a model: {units} hidden units, want 0, 8, … {MAX_HIDDEN}")
        for name, shape in (("hidden", (units, FEATURES)), ("output", (3, units))):
            weights, bias, shift = self.layers[name]
            if weights.shape != shape or bias.shape != shape[:1] or shift.shape != shape[:1]:
                raise ModelError(f"loading a model: {name} has shape {weights.shape}, want {shape}")
            largest = np.abs(weights.astype(int)).max(initial=0)
            if largest > 63 or np.abs(bias.astype(np.int64)).max(initial=0) > _ACC_LIMIT:
                raise ModelError(f"loading a model: {name} has weights beyond s7 or its bias limit")
            if shift.min(initial=0) < 0 or shift.max(initial=0) > 20:
                raise ModelError(f"loading a model: {name} has shifts outside 0 … 20")
        f = self.frequencies
        if f.shape != (TABLES, TOKENS + 1) or np.any(
            f.astype(np.int64).sum(axis=1) != 1 << TABLE_BITS
        ):
            raise ModelError("loading a model: tables have the wrong shape or sum")
        n = np.count_nonzero(f, axis=1)
        filled = np.arange(TOKENS + 1) < n[:, None]
        if n.min() < 2 or np.any((f > 0) != filled):
            raise ModelError("loading a model: a table has holes or no escape")
        if (
            self.linear.shape != (3, REGRESSORS)
            or np.abs(self.linear.astype(np.int64)).max() >= 1 << 18
        ):
            raise ModelError("loading a model: default linear weights have the wrong shape or size")

    @property
    def hidden(self) -> int:
        """Hidden units; 0 leaves the linear path alone."""
        return len(self.layers["hidden"][1])

    def arrays(self) -> tuple[Any, ...]:
        """Return what a backend takes: float32 weights (integers), the rest int32."""
        return self._arrays

    def to_bytes(self) -> bytes:
        filled = self.frequencies > 0
        tensors: dict[str, npt.NDArray[Any]] = {
            "tables": self.frequencies[filled],
            "tables.sizes": filled.sum(axis=1).astype(np.uint8),
            "linear": self.linear,
        }
        for name, (weights, bias, shift) in self.layers.items():
            tensors[f"{name}.weight"] = weights
            tensors[f"{name}.bias"] = bias
            tensors[f"{name}.shift"] = shift
        return bytes(save_tensors(tensors, metadata={"format": _FORMATS[self.form]}))

    @classmethod
    def from_bytes(cls, data: bytes) -> WaveModel:
        """Parse a weights file; raises ModelError unless every tensor is as it must be."""
        tensors = read_tensors(data)
        want: dict[str, Any] = {"tables": np.uint16, "tables.sizes": np.uint8, "linear": np.int32}
        for name in _LAYERS:
            want |= {f"{name}.weight": np.int8, f"{name}.bias": np.int32, f"{name}.shift": np.int32}
        if set(tensors) != set(want) or any(tensors[k].dtype != d for k, d in want.items()):
            raise ModelError("loading a model: tensors are not those of a wave model")
        layers = {
            name: (tensors[f"{name}.weight"], tensors[f"{name}.bias"], tensors[f"{name}.shift"])
            for name in _LAYERS
        }
        tables = unpack_tables(tensors["tables"], tensors["tables.sizes"], (TABLES, TOKENS + 1))
        return cls(layers, tables, tensors["linear"], _form_of(data))


def _form_of(data: bytes) -> int:
    """Return the format that a safetensors file's metadata name; 2 where they name none."""
    named = format_of(data)
    return next((form for form, name in _FORMATS.items() if name == named), 2)
