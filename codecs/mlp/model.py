"""The network of ``mlp`` and the model of its hidden units, as integers.

block (b²) ──► inverse ──► hidden units, quantised ──► dense ─────────────────────► + ──► block
                                      └─► dense 32 ──► hard tanh ──► dense ─────────┘
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from tilepress.codecs.mlp.layout import (
    BLOCKS,
    CLASSES,
    DECODER_UNITS,
    FEATURES,
    MATRIX_UNIT,
    MOST_UNITS,
    PARENTS,
    TABLE_BITS,
    TABLES,
    TOKENS,
)
from tilepress.codecs.tensors import format_of, read_tensors, unpack_tables
from tilepress.errors import ModelError

__all__ = ["ANALYSIS_BITS", "MlpModel"]

Doubles = npt.NDArray[np.float64]

ANALYSIS_BITS = 20
"""Behind the binary point of the encoder's matrix."""

_FORMAT = "tilepress-mlp-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpModel:
    """Integer weights and tables, checked against their limits. ``n`` hidden units, b² samples."""

    dense: npt.NDArray[np.int16]
    """(b², n) from hidden units to samples, in MATRIX_UNIT; no unit is a sum of others."""
    first: npt.NDArray[np.int16]
    """(DECODER_UNITS, n), in TANH_UNIT"""
    second: npt.NDArray[np.int16]
    """(b², DECODER_UNITS), in MATRIX_UNIT / TANH_UNIT."""
    weights: npt.NDArray[np.int16]
    """(2, n, FEATURES), none below 0, of what is around; without and with a plane before."""
    parents: npt.NDArray[np.int16]
    """(n, PARENTS): units before that say most of each, −1 for none."""
    classes: npt.NDArray[np.uint8]
    """(2, n, CLASSES): which table codes a value."""
    frequencies: npt.NDArray[np.uint16]
    """(TABLES, TOKENS + 1); a row holds its tokens, then its escape, then zeros; sum 2^15."""
    cumulative: npt.NDArray[np.int32] = field(init=False)
    used: npt.NDArray[np.int32] = field(init=False)
    analysis: Doubles = field(init=False)
    """(n, b²) from samples to hidden units, integers in 2^ANALYSIS_BITS: the encoder's alone."""

    def __post_init__(self) -> None:
        self._check()
        cumulative = np.zeros((TABLES, TOKENS + 2), np.int32)
        cumulative[:, 1:] = np.cumsum(self.frequencies.astype(np.int32), axis=1)
        counts = np.count_nonzero(self.frequencies, axis=1).astype(np.int32)
        object.__setattr__(self, "cumulative", cumulative)
        object.__setattr__(self, "used", counts - 1)
        object.__setattr__(self, "analysis", _inverse(self.dense))

    @property
    def block(self) -> int:
        """Rows and columns of a block."""
        return math.isqrt(len(self.dense))

    @property
    def units(self) -> int:
        return self.dense.shape[1] if self.dense.ndim == 2 else 0

    def _check(self) -> None:
        if self.dense.ndim != 2 or len(self.dense) not in [b * b for b in BLOCKS]:
            raise ModelError(
                f"loading a model: dense is of {self.dense.shape}, want rows of a block"
            )
        n = self.units
        if not 1 <= n <= min(MOST_UNITS, len(self.dense)):
            raise ModelError(f"loading a model: got {n} hidden units of {len(self.dense)} samples")
        want = {
            "dense": ((len(self.dense), n), np.int16),
            "first": ((DECODER_UNITS, n), np.int16),
            "second": ((len(self.dense), DECODER_UNITS), np.int16),
            "weights": ((2, n, FEATURES), np.int16),
            "parents": ((n, PARENTS), np.int16),
            "classes": ((2, n, CLASSES), np.uint8),
        }
        for name, (shape, dtype) in want.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ModelError(
                    f"loading a model: {name} is {array.dtype} of {array.shape}, want {shape}"
                )
        if self.weights.min() < 0:
            raise ModelError("loading a model: weights of features are below 0")
        if self.parents.min() < -1 or np.any(self.parents >= np.arange(n)[:, None]):
            raise ModelError("loading a model: a parent does not come before")
        if self.classes.max() >= TABLES:
            raise ModelError("loading a model: a class has no table")
        _check_tables(self.frequencies)

    def to_bytes(self) -> bytes:
        filled = self.frequencies > 0
        tensors: dict[str, npt.NDArray[Any]] = {
            name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS
        }
        tensors["tables"] = self.frequencies[filled]
        tensors["tables.sizes"] = filled.sum(axis=1).astype(np.uint8)
        return bytes(save_tensors(tensors, metadata={"format": _FORMAT}))

    @classmethod
    def from_bytes(cls, data: bytes) -> MlpModel:
        """Parse a weights file; raises ModelError unless every tensor is as it must be."""
        tensors = read_tensors(data)
        if set(tensors) != {*_TENSORS, "tables", "tables.sizes"} or format_of(data) != _FORMAT:
            raise ModelError("loading a model: tensors are not those of an mlp model")
        flat, sizes = tensors.pop("tables"), tensors.pop("tables.sizes")
        if flat.dtype != np.uint16 or sizes.dtype != np.uint8:
            raise ModelError("loading a model: tables have the wrong type")
        tables = unpack_tables(flat, sizes, (TABLES, TOKENS + 1))
        return cls(frequencies=tables, **tensors)


_TENSORS = ("dense", "first", "second", "weights", "parents", "classes")


def _inverse(dense: npt.NDArray[np.int16]) -> Doubles:
    """Return the matrix of least squares of one, (b², n), in integers; by Gauss and Jordan.

    Written out, number by number: no library decides a bit, so that a chunk coded again, elsewhere,
    has the same bytes.
    """
    matrix = dense.astype(np.float64)
    gram = matrix.T @ matrix  # of integers, exact
    rows = np.hstack([gram, matrix.T])
    for column in range(len(rows)):
        if not rows[column, column] >= 1.0:
            raise ModelError(f"loading a model: hidden unit {column} is a sum of others")
        rows[column] = rows[column] / rows[column, column]
        factors = rows[:, column].copy()
        factors[column] = 0.0
        rows -= np.multiply.outer(factors, rows[column])
    found = np.rint(rows[:, len(rows) :] * MATRIX_UNIT * 2.0**ANALYSIS_BITS)
    if not np.abs(found).max() < 2.0**24:
        raise ModelError("loading a model: hidden units are nearly sums of others")
    return found


def _check_tables(frequencies: npt.NDArray[np.uint16]) -> None:
    if frequencies.shape != (TABLES, TOKENS + 1) or np.any(
        frequencies.astype(np.int64).sum(axis=1) != 1 << TABLE_BITS
    ):
        raise ModelError("loading a model: tables have the wrong shape or sum")
    counts = np.count_nonzero(frequencies, axis=1)
    filled = np.arange(TOKENS + 1) < counts[:, None]
    if counts.min() < 2 or np.any((frequencies > 0) != filled):
        raise ModelError("loading a model: a table has holes or no escape")
