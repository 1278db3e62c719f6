"""Samples of a plane as unsigned integers that established codecs take, and back."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.classical.put import ordered_bits
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import InvalidRecord

__all__ = [
    "PART_BITS",
    "REAL",
    "Numbers",
    "are_reals",
    "as_it_is",
    "of_bits",
    "of_real",
    "on_grid",
    "on_integer_grid",
    "rounded",
]

Array = npt.NDArray[Any]
Wide = npt.NDArray[np.uint64]

PART_BITS = 16
"""Bits of a sample that every codec takes: more are coded as parts."""

INTEGER, REAL, ORDERED = range(3)
_SIGNED = 2**63
_FARTHEST = 2**62
"""Integers that reals become are no further from 0."""


class Numbers(NamedTuple):
    """How integers n stand for samples."""

    kind: int
    """INTEGER: offset + n · unit, in integers. REAL: so in float64, then rounded to the dtype.
    ORDERED: bit patterns in the order of what they mean."""
    offset: float = 0
    unit: float = 1

    def pack(self) -> bytes:
        if self.kind == INTEGER:
            return bytes([self.kind]) + signed_varint(int(self.offset)) + varint(int(self.unit))
        if self.kind == REAL:
            return struct.pack("<Bdd", self.kind, self.offset, self.unit)
        return bytes([self.kind])

    @classmethod
    def read(cls, reader: Reader, dtype: np.dtype[Any]) -> Numbers:
        """Read what ``pack`` gave, not trusted; raises InvalidRecord."""
        kind = reader.byte()
        if kind == INTEGER and dtype.kind in "uib":
            return cls(kind, reader.signed_varint(), reader.varint(2**32))
        if kind == REAL and dtype.kind != "b":
            offset, unit = struct.unpack("<dd", reader.take(16))
            if math.isfinite(offset) and math.isfinite(unit):
                return cls(kind, offset, unit)
        if kind == ORDERED and dtype.kind == "f":
            return cls(kind)
        raise InvalidRecord(f"decoding a payload: got numbers of kind {kind} for {dtype.name}")

    def to_samples(
        self, integers: Wide, dtype: np.dtype[Any], clamp: tuple[Any, Any] | None
    ) -> Array:
        """Return the samples that integers stand for, within ``clamp`` where there is one."""
        if self.kind == ORDERED:
            return _unordered(integers, dtype)
        if self.kind == INTEGER:
            with np.errstate(over="ignore"):
                exact = integers.view(np.int64) * np.int64(self.unit) + np.int64(self.offset)
            return _clamped(exact, dtype, clamp)
        return of_real(self.to_real(integers), dtype, clamp)

    def to_real(self, integers: Wide) -> npt.NDArray[np.float64]:
        """Return what integers stand for as float64."""
        return self.offset + integers.astype(np.float64) * self.unit


def of_real(
    values: npt.NDArray[np.float64], dtype: np.dtype[Any], clamp: tuple[Any, Any] | None
) -> Array:
    """Return real values as samples of ``dtype``, the nearest of those within ``clamp``."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            found = values.astype(dtype)
        return found if clamp is None else np.clip(found, *clamp).astype(dtype)
    most = float(_FARTHEST)
    low, high = (-most, most) if clamp is None else map(float, clamp)
    whole = np.rint(np.clip(np.nan_to_num(values), low, high))
    return _clamped(np.clip(whole, -most, most).astype(np.int64), dtype, clamp)


def are_reals(samples: Array) -> bool:
    """Whether ``of_real`` gives all of these: others are coded as integers."""
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize < 8 or not samples.size:
        return True
    return int(samples.min()) >= -_FARTHEST and int(samples.max()) <= _FARTHEST


def rounded(values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[np.float64]:
    """Return the nearest whole numbers that integers of ``dtype`` have."""
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    top = float(high)
    if int(top) > high:  # the largest of 64 bits is none of float64
        top = math.nextafter(top, 0.0)
    whole: npt.NDArray[np.float64] = np.clip(np.rint(values), float(low), top)
    return whole


def _clamped(
    integers: npt.NDArray[np.int64], dtype: np.dtype[Any], clamp: tuple[Any, Any] | None
) -> Array:
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low, high = limits if clamp is None else (int(clamp[0]), int(clamp[1]))
    if dtype.kind == "u" and dtype.itemsize == 8 and high >= _SIGNED:
        return integers.astype(np.uint64).astype(dtype)
    return np.clip(integers, max(low, -_SIGNED), min(high, _SIGNED - 1)).astype(dtype)


def as_it_is(plane: Array) -> tuple[Numbers, Wide] | None:
    """Return the integers of a plane that is to come back to the bit; None where it has none."""
    if plane.dtype.kind == "f":
        return Numbers(ORDERED), ordered_bits(plane).astype(np.uint64)
    return on_integer_grid(plane, 0)


def on_integer_grid(plane: Array, max_error: int) -> tuple[Numbers, Wide] | None:
    """Return multiples of 2 · max_error + 1 above the least sample, none further than that off."""
    low = int(plane.min())
    if not -_SIGNED <= low < _SIGNED or int(plane.max()) - low >= _SIGNED:
        return None
    step = 2 * max_error + 1
    above = (plane.astype(np.int64) - np.int64(low)).astype(np.uint64)
    return Numbers(INTEGER, low, step), (above + np.uint64(max_error)) // np.uint64(step)


def on_grid(values: npt.NDArray[np.float64], unit: float) -> tuple[Numbers, Wide] | None:
    """Return the nearest multiples of a unit above the least of finite values."""
    low = float(values.min())
    scaled = np.rint((values - low) / unit)
    if not scaled.max() < 2.0**48:
        return None
    return Numbers(REAL, low, unit), scaled.astype(np.uint64)


def of_bits(
    values: npt.NDArray[np.float64], finest: float, bits: int = PART_BITS
) -> tuple[Numbers, Wide]:
    """Return the nearest of 2^bits levels of finite values, at steps of ``finest`` or wider."""
    low, high = float(values.min()), float(values.max())
    unit = max((high - low) / (2**bits - 1), finest)
    return Numbers(REAL, low, unit), np.rint((values - low) / unit).astype(np.uint64)


def _unordered(integers: Wide, dtype: np.dtype[Any]) -> Array:
    """Undo ``ordered_bits``."""
    unsigned = np.dtype(f"<u{dtype.itemsize}")
    bits = integers.astype(unsigned)
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    return np.where(bits & sign, bits ^ sign, ~bits).astype(unsigned).view(dtype)
