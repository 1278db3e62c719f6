"""Samples of any dtype to integers and back, exactly or within a bound (FORMAT.md §3).

Floats go one of three ways: integers that somebody stored as floats (scaled by a power of two or
of ten) are coded as those integers; with a bound, as multiples of twice the bound; else their bit
patterns, ordered so that neighbours in value are neighbours as integers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

__all__ = ["ValueMap", "choose_map"]

INTEGER, BINARY, DECIMAL, ORDERED, STEPPED = range(5)
_KINDS = ("INTEGER", "BINARY", "DECIMAL", "ORDERED", "STEPPED")
_LARGEST = 2**47
"""Integers that the planes take at most, either sign."""
_SIGNED: dict[int, tuple[np.dtype[Any], int]] = {
    2: (np.dtype("<i2"), 2**15 - 1),
    4: (np.dtype("<i4"), 2**31 - 1),
}
"""Integers of a float's size, and their largest."""


@dataclass(frozen=True, slots=True)
class ValueMap:
    """How integers stand for samples."""

    kind: int
    exponent: int = 0
    """BINARY: sample = n·2^exponent. DECIMAL: sample = n / 10^exponent."""
    step: float = 0.0
    """STEPPED: sample = n·step."""

    def pack(self) -> bytes:
        return struct.pack("<Bbd", self.kind, self.exponent, self.step)

    @classmethod
    def read(cls, reader: Reader, dtype: np.dtype[Any]) -> ValueMap:
        kind, exponent, step = struct.unpack("<Bbd", reader.take(10))
        is_float = dtype.kind == "f"
        known = kind < len(_KINDS) and (kind == INTEGER) != is_float
        if not known or (kind == ORDERED and dtype.itemsize not in _SIGNED):
            raise InvalidRecord(f"decoding a payload: value map {kind} for {dtype.name}")
        if kind == DECIMAL and not 0 <= exponent <= 22:
            raise InvalidRecord(f"decoding a payload: decimal exponent {exponent}")
        if kind == STEPPED and not (np.isfinite(step) and step > 0 and exponent in (0, 1)):
            raise InvalidRecord(f"decoding a payload: step {step}, offset {exponent}")
        return cls(kind, exponent, step)

    def to_samples(self, integers: npt.NDArray[np.int64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return samples of ``dtype``. Only single, correctly rounded IEEE operations are used."""
        if self.kind == INTEGER:
            return integers.astype(dtype)
        if self.kind == ORDERED:
            signed, largest = _SIGNED[dtype.itemsize]
            bits = integers.astype(signed)
            flipped = bits ^ np.array(largest, signed)
            ordered: npt.NDArray[Any] = np.where(bits < 0, flipped, bits).astype(signed)
            return ordered.view(dtype)
        with np.errstate(over="ignore"):
            wide = integers.astype(np.float64)
            if self.kind == BINARY:
                np.ldexp(wide, self.exponent, out=wide)
            elif self.kind == DECIMAL:
                wide /= 10.0**self.exponent
            else:
                wide += 0.5 * self.exponent
                wide *= self.step
            return wide.astype(dtype, copy=False)


def _ordered(samples: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    signed, largest = _SIGNED[samples.dtype.itemsize]
    bits: npt.NDArray[Any] = np.ascontiguousarray(samples).view(signed)
    ordered: npt.NDArray[Any] = np.where(bits < 0, bits ^ np.array(largest, signed), bits)
    return ordered.astype(np.int64)


def _same_bits(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.tobytes() == b.tobytes()


def _exact_integers(present: npt.NDArray[Any]) -> tuple[ValueMap, npt.NDArray[np.int64]] | None:
    """Find n·2^e or n/10^e that gives every present sample bit for bit."""
    if not np.all(np.isfinite(present)):
        return None
    wide = present.astype(np.float64)
    probe = slice(None, None, max(1, len(wide) // 4096))
    candidates = [ValueMap(BINARY, 0), *(ValueMap(DECIMAL, e) for e in range(1, 7)),
                  *(ValueMap(BINARY, -e) for e in range(1, 17))]  # fmt: skip
    for candidate in candidates:
        for part in (probe, slice(None)):
            scale = (
                10.0**candidate.exponent if candidate.kind == DECIMAL else 2.0**-candidate.exponent
            )
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = wide[part] * scale
            if not np.all(np.abs(scaled) < 2**31):
                break
            integers = np.rint(scaled).astype(np.int64)
            if not _same_bits(candidate.to_samples(integers, present.dtype), present[part]):
                break
        else:
            return candidate, integers
    return None


def choose_map(
    samples: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None,
    max_error: float,
    absent: npt.NDArray[Any] | None = None,
) -> tuple[ValueMap, npt.NDArray[np.int64]] | None:
    """Choose how to code ``samples`` as integers; absent ones become 0.

    Returns None where no map fits the planes' range (the record is then stored as it is).
    """
    if samples.dtype.kind != "f":
        if samples.dtype.itemsize == 8 and samples.size:
            low, high = int(samples.min()), int(samples.max())
            if low < -_LARGEST or high > _LARGEST or high - low >= _LARGEST:
                return None
        return ValueMap(INTEGER), samples.astype(np.int64)
    present = samples.ravel() if mask is None else samples[~mask]
    found = None
    if max_error > 0:
        found = _stepped(present, max_error, absent)
    if found is None:
        found = _exact_integers(present)
    if found is None and samples.dtype.itemsize in _SIGNED:
        found = ValueMap(ORDERED), _ordered(present)
    if found is None:
        return None
    value_map, integers = found
    out = np.zeros(samples.shape, np.int64)
    if mask is None:
        out[...] = integers.reshape(samples.shape)
    else:
        out[~mask] = integers
    return value_map, out


def _stepped(
    present: npt.NDArray[Any], max_error: float, absent: npt.NDArray[Any] | None
) -> tuple[ValueMap, npt.NDArray[np.int64]] | None:
    """Multiples of a step just below twice the bound, checked sample by sample.

    A grid that is shifted by half a step stands in where the plain one would hit ``absent``. Grids
    that the samples already lie on go first, and a grid is taken only if what it gives lies on it:
    so coding the result again changes nothing.
    """
    if not np.all(np.isfinite(present)):
        return None
    wide = present.astype(np.float64)
    shrinks = [2.0**-20, 2.0**-8]
    grids = [_grid(half, max_error, shrink) for half in (0, 1) for shrink in shrinks]
    if present.dtype == np.float16:
        coarse = _coarse(wide, max_error)
        grids += [_grid(half, max_error, shrink) for half in (0, 1) for shrink in coarse]
    rounded = [_on_grid(wide, grid, present.dtype) for grid in grids]
    for grid, found in zip(grids, rounded, strict=True):
        if found is not None and _same_bits(found[1], present):
            return grid, found[0]
    for grid, found in zip(grids, rounded, strict=True):
        if found is None:
            continue
        integers, back = found
        if absent is not None and (back.view(_bits(back)) == absent.view(_bits(back))).any():
            continue
        if not np.all(np.abs(back.astype(np.float64) - wide) <= max_error):
            continue
        again = _on_grid(back.astype(np.float64), grid, back.dtype)
        if again is not None and _same_bits(again[1], back):
            return grid, integers
    return None


def _grid(half: int, max_error: float, shrink: float) -> ValueMap:
    return ValueMap(STEPPED, half, 2.0 * max_error * (1.0 - shrink))


def _coarse(wide: npt.NDArray[np.float64], max_error: float) -> list[float]:
    """Return by how much steps are smaller for what float16 rounds to stay within a bound: by half
    of the distance of its values, at the largest sample; and at half and twice that sample, for it
    may be another once it was coded."""
    largest = float(np.abs(wide).max(initial=0.0))
    half = 2.0 ** (math.floor(math.log2(max(largest, 2.0**-14))) - 11)
    shrinks = [half * factor / max_error * (1.0 + 2.0**-8) for factor in (1.0, 0.5, 2.0)]
    return [shrink for shrink in shrinks if shrink < 0.5]


def _on_grid(
    wide: npt.NDArray[np.float64], grid: ValueMap, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]] | None:
    """Return the nearest integers of a grid and the samples that they stand for, if they fit."""
    with np.errstate(over="ignore"):
        scaled = wide / grid.step - 0.5 * grid.exponent
    if not np.all(np.abs(scaled) < 2**40):
        return None
    integers = np.rint(scaled).astype(np.int64)
    return integers, grid.to_samples(integers, dtype)


def _bits(samples: npt.NDArray[Any]) -> str:
    return f"u{samples.dtype.itemsize}"
