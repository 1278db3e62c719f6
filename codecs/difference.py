"""How decoded samples differ from those given: to the bit, one by one, and all together.

Whoever asks what coding did compares here: the check after encoding, verification, repair, the
benchmark. What of it is allowed is said in loss.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "Difference", "compare", "distance", "present_samples", "same_bits"]

Array = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Difference:
    """What coding did to present samples, measured."""

    worst: float = 0.0
    """Largest |decoded − given|."""
    squared: float = 0.0
    """Sum of the squares of those differences."""

    def __add__(self, other: Difference) -> Difference:
        """Return the difference of both together."""
        return Difference(max(self.worst, other.worst), self.squared + other.squared)

    @classmethod
    def total(cls, parts: Iterable[Difference]) -> Difference:
        """Return the difference of all parts together, the same in whatever order they come."""
        found = list(parts)
        worst = max((part.worst for part in found), default=0.0)
        return cls(worst, math.fsum(part.squared for part in found))

    def psnr_db(self, samples: int, peak: float) -> float | None:
        """Return the peak signal-to-noise ratio; None where nothing differs.

        ``samples`` is their number, absent ones included; ``peak`` the range that they may take.
        """
        if not self.squared:
            return None
        return 10 * math.log10(peak**2 * samples / self.squared)


class Comparison(NamedTuple):
    """Two arrays, sample by sample."""

    present: Marks
    """Samples that were given and are neither nodata nor NaN."""
    unlike: Marks
    """Samples that became nodata or NaN, or ceased to be."""
    distance: npt.NDArray[np.float64]
    """|decoded − given|; 0 between absent samples and between infinities of one sign."""


def compare(given: Array, decoded: Array, nodata: float | int | None) -> Comparison:
    """Compare two arrays of one shape and dtype.

    Samples equal to ``nodata`` are absent, and so is NaN.
    """
    present, unlike = np.ones(given.shape, bool), np.zeros(given.shape, bool)
    pairs = []
    if given.dtype.kind == "f":
        pairs.append((np.isnan(given), np.isnan(decoded)))
    if nodata is not None and nodata == nodata:
        mark = _sample(nodata, given.dtype)
        pairs.append((given == mark, decoded == mark))
    for before, after in pairs:
        present &= ~before
        unlike |= before != after
    apart = distance(given, decoded)
    apart[~present & ~unlike] = 0.0
    return Comparison(present, unlike, apart)


def present_samples(samples: Array, nodata: float | int | None) -> Marks:
    """Mark the samples that errors are measured of: neither nodata nor NaN nor infinite."""
    marks = np.ones(samples.shape, bool)
    if samples.dtype.kind == "f":
        marks &= np.isfinite(samples)
    if nodata is not None and nodata == nodata:
        marks &= samples != _sample(nodata, samples.dtype)
    return marks


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape and dtype are the same to the bit."""
    a, b = (np.ascontiguousarray(v).reshape(-1).view(np.uint8) for v in (a, b))
    return bool(np.array_equal(a, b))


def _sample(nodata: float | int, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  # a NumPy scalar
    """Return nodata as samples of ``dtype`` have it, or as it is where none can."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # float64's lowest as nodata of float32 means −inf
            return dtype.type(nodata)
    return int(nodata) if isinstance(nodata, float) and nodata.is_integer() else nodata


def distance(given: Array, decoded: Array) -> npt.NDArray[np.float64]:
    """Return |decoded − given|: 0 between infinities of one sign, NaN where either is NaN."""
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            apart = np.abs(given.astype(np.float64) - decoded.astype(np.float64))
        apart[given == decoded] = 0.0  # infinities that stayed
        return apart
    high, low = np.maximum(given, decoded), np.minimum(given, decoded)
    return (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)  # no overflow
