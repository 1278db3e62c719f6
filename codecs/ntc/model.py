"""The context model of ``ntc`` as integers: a net for the bands of each transform, and the tables.

features (22 logarithms) ──► dense 32, bias by band ──► relu ──► dense 1, base by band ──► table
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from tilepress.codecs.ntc.layout import (
    ESCAPE_BITS,
    FEATURES,
    HIDDEN,
    LAPPED_BANDS,
    NETS,
    OFFSETS,
    PAIRS,
    QUANTISERS,
    TABLE_BITS,
    TABLES,
    TOKENS,
    WAVELET_BANDS,
    raw_bits,
)
from tilepress.codecs.tensors import format_of, read_tensors, unpack_tables
from tilepress.errors import ModelError

__all__ = ["COST_UNIT", "Net", "NtcModel", "lookup_of"]

_FORMATS = {TABLES: "tilepress-ntc-1", QUANTISERS * TABLES: "tilepress-ntc-2"}
"""By the number of tables: of plain and of dependent quantisation."""
COST_UNIT = 256
"""What a bit counts as in the encoder's choices."""
_BANDS = {"lapped": LAPPED_BANDS, "wavelet": WAVELET_BANDS}
_LARGEST_BIAS = 2**24
_LARGEST_BASE = 2**29


class _Structure(ctypes.Structure):
    """``Model`` of tile.h."""

    _fields_ = (
        ("first", ctypes.c_void_p * 2),
        ("bias", ctypes.c_void_p * 2),
        ("second", ctypes.c_void_p * 2),
        ("base", ctypes.c_void_p * 2),
        ("hidden_shift", ctypes.c_int32 * 2),
        ("output_shift", ctypes.c_int32 * 2),
        ("cumulative", ctypes.c_void_p),
        ("used", ctypes.c_void_p),
        ("lookup", ctypes.c_void_p),
        ("costs", ctypes.c_void_p),
        ("reconstruction", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Net:
    """From features to the number of a table, in integers."""

    first: npt.NDArray[np.int8]
    """(FEATURES, HIDDEN)"""
    bias: npt.NDArray[np.int32]
    """(2, bands, HIDDEN): without and with a plane before."""
    second: npt.NDArray[np.int16]
    """(HIDDEN,)"""
    base: npt.NDArray[np.int32]
    """(2, bands)"""
    shifts: npt.NDArray[np.int32]
    """(2,): to the right, of hidden units and of the output."""

    def check(self, name: str) -> None:
        """Raise ModelError unless shapes and sizes keep every sum within 31 bits."""
        bands = _BANDS[name]
        want = {
            "first": ((FEATURES, HIDDEN), np.int8),
            "bias": ((2, bands, HIDDEN), np.int32),
            "second": ((HIDDEN,), np.int16),
            "base": ((2, bands), np.int32),
            "shifts": ((2,), np.int32),
        }
        for key, (shape, dtype) in want.items():
            array = getattr(self, key)
            if array.shape != shape or array.dtype != dtype:
                raise ModelError(
                    f"loading a model: {name}.{key} is {array.dtype} of {array.shape}, want {shape}"
                )
        if np.abs(self.bias.astype(np.int64)).max() > _LARGEST_BIAS:
            raise ModelError(f"loading a model: {name}.bias is beyond its limit")
        if np.abs(self.base.astype(np.int64)).max() > _LARGEST_BASE:
            raise ModelError(f"loading a model: {name}.base is beyond its limit")
        if np.abs(self.second.astype(np.int64)).sum() > 32767:
            raise ModelError(f"loading a model: {name}.second sums up beyond its limit")
        if self.shifts.min() < 0 or self.shifts.max() > 30:
            raise ModelError(f"loading a model: {name}.shifts are outside 0 … 30")

    def tables(
        self, features: npt.NDArray[np.int16], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return the tables, (n,), of features (n, FEATURES) and rows of bias (n,).

        Native code does the same, many times faster.
        """
        sums = features.astype(np.int64) @ self.first.astype(np.int64)
        sums += self.bias.reshape(-1, HIDDEN)[rows]
        hidden = np.clip(sums >> self.shifts[0], 0, 32767)
        out = hidden @ self.second.astype(np.int64) + self.base.reshape(-1)[rows]
        chosen: npt.NDArray[np.int64] = np.clip(out >> self.shifts[1], 0, TABLES - 1)
        return chosen


@dataclass(frozen=True, slots=True)
class NtcModel:
    """Integer weights and tables, checked against their limits."""

    nets: dict[str, Net]
    """By the names of ``NETS``."""
    frequencies: npt.NDArray[np.uint16]
    """(tables, TOKENS + 1); a row holds its tokens, then its escape, then zeros; sum 2^15.

    There are TABLES of them, or where quantisation is dependent QUANTISERS · TABLES."""
    offsets: npt.NDArray[np.int8]
    """(tables, OFFSETS): what is taken off a magnitude of 1, 2, … when it is decoded, 1/256."""
    cumulative: npt.NDArray[np.int32] = field(init=False)
    used: npt.NDArray[np.int32] = field(init=False)
    costs: npt.NDArray[np.int32] = field(init=False)
    """(tables, TOKENS) 1/256 bits of a token with sign and raw bits; for the encoder's choices."""
    _held: list[npt.NDArray[Any]] = field(init=False, repr=False)
    _structure: _Structure = field(init=False, repr=False)
    _plain: NtcModel | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in NETS:
            self.nets[name].check(name)
        _check_tables(self.frequencies)
        tables = len(self.frequencies)
        if self.offsets.shape != (tables, OFFSETS) or self.offsets.dtype != np.int8:
            raise ModelError("loading a model: offsets have the wrong shape")
        counts = np.count_nonzero(self.frequencies, axis=1).astype(np.int32)
        cumulative = np.zeros((tables, TOKENS + 2), np.int32)
        cumulative[:, 1:] = np.cumsum(self.frequencies.astype(np.int32), axis=1)
        object.__setattr__(self, "cumulative", cumulative)
        object.__setattr__(self, "used", counts - 1)
        object.__setattr__(self, "costs", self._costs())
        object.__setattr__(self, "_held", [])
        object.__setattr__(self, "_structure", self._filled())
        plain = None
        if self.is_dependent:
            plain = NtcModel(self.nets, self.frequencies[:TABLES], self.offsets[:TABLES])
        object.__setattr__(self, "_plain", plain)

    @property
    def is_dependent(self) -> bool:
        """Whether values are of two quantisers, which values before choose (FORMAT.md §15.3)."""
        return len(self.frequencies) > TABLES

    @property
    def plain(self) -> NtcModel:
        """The same with one quantiser, the first: several times faster where costs are compared."""
        return self if self._plain is None else self._plain

    def taken_off(self) -> npt.NDArray[np.float32]:
        """Return (tables, OFFSETS + 1) what is taken off a magnitude of 0, 1, … when it is decoded,
        in steps: its offset, and the half of the second quantiser."""
        found = np.zeros((len(self.used), OFFSETS + 1), np.float32)
        found[:, 1:] = self.offsets / np.float32(256)
        found[TABLES:, 1:] += np.float32(0.5)
        return found

    def _costs(self) -> npt.NDArray[np.int32]:
        tokens = np.arange(TOKENS)
        share = np.maximum(self.frequencies[:, :TOKENS], 1) / (1 << TABLE_BITS)
        escape = self.frequencies[np.arange(len(self.used)), self.used] / (1 << TABLE_BITS)
        coded = tokens < self.used[:, None]
        costs = np.where(coded, -np.log2(share), ESCAPE_BITS - np.log2(escape)[:, None])
        costs = costs + np.array([raw_bits(t) + (t > 0) for t in range(TOKENS)])
        whole: npt.NDArray[np.int32] = np.rint(costs * COST_UNIT).astype(np.int32)
        return whole

    def _filled(self) -> _Structure:
        """Return the structure that native code takes; what it points to is held."""

        def at(array: npt.NDArray[Any]) -> int:
            self._held.append(np.ascontiguousarray(array))
            return int(self._held[-1].ctypes.data)

        lookup = lookup_of(self.cumulative, self.used)
        nets = [self.nets[name] for name in NETS]
        pairs = [n.first.reshape(PAIRS, 2, HIDDEN).swapaxes(1, 2).astype(np.int16) for n in nets]
        pointers = ctypes.c_void_p * 2
        numbers = ctypes.c_int32 * 2
        return _Structure(
            first=pointers(*(at(p) for p in pairs)),
            bias=pointers(*(at(n.bias) for n in nets)),
            second=pointers(*(at(n.second) for n in nets)),
            base=pointers(*(at(n.base) for n in nets)),
            hidden_shift=numbers(*(int(n.shifts[0]) for n in nets)),
            output_shift=numbers(*(int(n.shifts[1]) for n in nets)),
            cumulative=at(self.cumulative),
            used=at(self.used),
            lookup=at(lookup),
            costs=at(self.costs),
            reconstruction=at(self.taken_off()),
        )

    def structure(self) -> Any:  # noqa: ANN401  # what ctypes calls a pointer
        """Return what native code takes; it is good for as long as the model lives."""
        return ctypes.byref(self._structure)

    def to_bytes(self) -> bytes:
        filled = self.frequencies > 0
        tensors: dict[str, npt.NDArray[Any]] = {
            "tables": self.frequencies[filled],
            "tables.sizes": filled.sum(axis=1).astype(np.uint8),
            "offsets": self.offsets,
        }
        for name, net in self.nets.items():
            for key in ("first", "bias", "second", "base", "shifts"):
                tensors[f"{name}.{key}"] = getattr(net, key)
        return bytes(save_tensors(tensors, metadata={"format": _FORMATS[len(self.frequencies)]}))

    @classmethod
    def from_bytes(cls, data: bytes) -> NtcModel:
        """Parse a weights file; raises ModelError unless every tensor is as it must be."""
        tensors = read_tensors(data)
        want = {f"{name}.{key}" for name in NETS for key in Net.__dataclass_fields__}
        counts = {form: count for count, form in _FORMATS.items()}
        count = counts.get(str(format_of(data)))
        if set(tensors) != want | {"tables", "tables.sizes", "offsets"} or count is None:
            raise ModelError("loading a model: tensors are not those of an ntc model")
        nets = {
            name: Net(*(tensors[f"{name}.{key}"] for key in Net.__dataclass_fields__))
            for name in NETS
        }
        flat, sizes = tensors["tables"], tensors["tables.sizes"]
        if flat.dtype != np.uint16 or sizes.dtype != np.uint8:
            raise ModelError("loading a model: tables have the wrong type")
        tables = unpack_tables(flat, sizes, (count, TOKENS + 1))
        return cls(nets, tables, tensors["offsets"])


def lookup_of(
    cumulative: npt.NDArray[np.int32], used: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint8]:
    """Return the token that each 256th of a table begins in, (tables, 256)."""
    lookup = np.zeros((len(used), 256), np.uint8)
    slots = np.arange(256) << (TABLE_BITS - 8)
    for row in range(len(used)):
        ends = cumulative[row, 1 : used[row] + 1]
        lookup[row] = np.searchsorted(ends, slots, side="right")
    return lookup


def _check_tables(frequencies: npt.NDArray[np.uint16]) -> None:
    shapes = {(tables, TOKENS + 1) for tables in _FORMATS}
    if frequencies.shape not in shapes or np.any(
        frequencies.astype(np.int64).sum(axis=1) != 1 << TABLE_BITS
    ):
        raise ModelError("loading a model: tables have the wrong shape or sum")
    counts = np.count_nonzero(frequencies, axis=1)
    filled = np.arange(TOKENS + 1) < counts[:, None]
    if counts.min() < 2 or np.any((frequencies > 0) != filled):
        raise ModelError("loading a model: a table has holes or no escape")
