"""What coding may change of samples: nothing, each one a little, or what a quality allows.

    Lossless     every sample comes back to the bit
    Within(k)    near-lossless: no present sample is off by more than k
    Quality(q)   lossy: no bound on any one sample, the squares are measured

No loss makes or unmakes nodata, or NaN. Whoever asks what coding did compares here: the check after
encoding, verification, repair, the benchmark.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tilepress.errors import CodecError

__all__ = [
    "Difference",
    "Loss",
    "Lossless",
    "Quality",
    "Within",
    "bounded",
    "same_bits",
    "stated_loss",
]

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


class _Loss(ABC):
    """How decoded samples are compared with those given, in the three losses alike."""

    __slots__ = ()

    def check(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Difference:
        """Return how decoded samples differ from those given, of the same shape and dtype.

        Samples equal to ``nodata`` are absent, and so is NaN. Raises CodecError for what this loss
        does not allow.
        """
        if same_bits(given, decoded):
            return Difference()
        found = _compare(given, decoded, nodata)
        if found.unlike.any():
            raise CodecError("checking a record: coding made or unmade nodata")
        distance = found.distance[found.present]
        worst = float(distance.max(initial=0.0))
        if worst > self.limit:
            raise CodecError(f"checking a record: decoding is off by {worst:g}, more than {self}")
        return Difference(worst, float(np.square(distance).sum()))

    def forbidden(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Marks:
        """Mark the samples for which ``check`` raises."""
        found = _compare(given, decoded, nodata)
        return np.asarray(found.unlike | (found.distance > self.limit))

    @property
    @abstractmethod
    def limit(self) -> float:
        """What a present sample may be off by at most."""


@dataclass(frozen=True, slots=True)
class Lossless(_Loss):
    """Every sample comes back to the bit, −0.0 and the payloads of NaN included."""

    max_error: float = field(default=0, compare=False)
    """0, as it was written: 0 and 0.0 are two texts in JSON."""

    is_lossless: ClassVar[bool] = True
    kind: ClassVar[str] = "lossless"
    bound: ClassVar[str] = "0"
    promise: ClassVar[str] = "each stored value as in the source"

    def __str__(self) -> str:
        return "lossless"

    def statement(self) -> dict[str, Any]:
        """Return what attributes say of the loss; ``stated_loss`` reads it."""
        return {"lossless": True, "max_error": self.max_error}

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        """Tell why samples of ``dtype`` cannot be coded so; None where they can."""
        return None

    def check(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Difference:
        """Return no difference; raises CodecError where there is one, in any bit."""
        if not same_bits(given, decoded):
            raise CodecError(
                "checking a record: lossless coding did not give back the same samples"
            )
        return Difference()

    def forbidden(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Marks:
        """Mark the samples that differ in any bit."""
        shape = (*given.shape, given.dtype.itemsize)
        a, b = (np.ascontiguousarray(v).view(np.uint8).reshape(shape) for v in (given, decoded))
        return np.asarray((a != b).any(axis=-1))

    @property
    def limit(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Within(_Loss):
    """Near-lossless: no present sample is off by more than ``max_error``, which is above 0."""

    max_error: float
    """In stored units for integers, in physical units for floats."""

    is_lossless: ClassVar[bool] = False
    kind: ClassVar[str] = "near-lossless"

    def __str__(self) -> str:
        return f"max error {self.bound}"

    @property
    def bound(self) -> str:
        """The largest error of any sample, as a text."""
        return f"{self.max_error:g}"

    @property
    def promise(self) -> str:
        """What holds of each sample, as a text."""
        return f"each stored value within {self.bound} of the source"

    def statement(self) -> dict[str, Any]:
        """Return what attributes say of the loss; ``stated_loss`` reads it."""
        return {"lossless": False, "max_error": self.max_error}

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        """Tell why samples of ``dtype`` cannot be coded so; None where they can."""
        if dtype.kind == "b":
            return "near-lossless coding of bool makes no sense"
        if dtype.kind in "ui" and self.max_error != int(self.max_error):
            return f"max_error {self.max_error} is no integer, the samples are"
        if dtype.kind in "ui" and self.max_error > np.iinfo(dtype).max // 2:
            return f"max_error {self.max_error} exceeds the range of {dtype}"
        return None

    @property
    def limit(self) -> float:
        return self.max_error


@dataclass(frozen=True, slots=True)
class Quality(_Loss):
    """Lossy: as good as a codec makes it at ``level``; any one sample may be off by anything."""

    level: float

    max_error: ClassVar[None] = None
    is_lossless: ClassVar[bool] = False
    kind: ClassVar[str] = "lossy"
    bound: ClassVar[str] = "none"
    promise: ClassVar[str] = "no bound on any stored value"

    def __str__(self) -> str:
        return f"quality {self.level:g}"

    def statement(self) -> dict[str, Any]:
        """Return what attributes say of the loss; ``stated_loss`` reads it."""
        return {"lossless": False, "max_error": None, "quality": self.level}

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        """Tell why samples of ``dtype`` cannot be coded so; None where they can."""
        return "lossy coding of bool makes no sense" if dtype.kind == "b" else None

    @property
    def limit(self) -> float:
        return math.inf


Loss: TypeAlias = Lossless | Within | Quality


def bounded(max_error: float) -> Lossless | Within:
    """Return the loss of the largest error that a sample may have; 0 is lossless."""
    return Within(max_error) if max_error else Lossless(max_error)


def stated_loss(statement: Mapping[str, Any]) -> Loss:
    """Return the loss that attributes state, its numbers as float."""
    if statement["max_error"] is None:
        return Quality(float(statement["quality"]))
    return bounded(float(statement["max_error"]))


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape and dtype are the same to the bit."""
    a, b = (np.ascontiguousarray(v).reshape(-1).view(np.uint8) for v in (a, b))
    return bool(np.array_equal(a, b))


# --- the comparison --------------------------------------------------------------------------


class _Comparison(NamedTuple):
    """Two arrays, sample by sample."""

    present: Marks
    """Samples that were given and are neither nodata nor NaN."""
    unlike: Marks
    """Samples that became nodata or NaN, or ceased to be."""
    distance: npt.NDArray[np.float64]
    """|decoded − given|; 0 between absent samples and between infinities of one sign."""


def _compare(given: Array, decoded: Array, nodata: float | int | None) -> _Comparison:
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
    distance = _distance(given, decoded)
    distance[~present & ~unlike] = 0.0
    return _Comparison(present, unlike, distance)


def _sample(nodata: float | int, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  # a NumPy scalar
    """Return nodata as samples of ``dtype`` have it, or as it is where none can."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # float64's lowest as nodata of float32 means −inf
            return dtype.type(nodata)
    return int(nodata) if isinstance(nodata, float) and nodata.is_integer() else nodata


def _distance(given: Array, decoded: Array) -> npt.NDArray[np.float64]:
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            distance = np.abs(given.astype(np.float64) - decoded.astype(np.float64))
        distance[given == decoded] = 0.0  # infinities that stayed
        return distance
    high, low = np.maximum(given, decoded), np.minimum(given, decoded)
    return (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)  # no overflow
