"""What coding may change of samples: nothing, each one a little, or what a quality allows.

    Lossless     every sample comes back to the bit
    Within(k)    near-lossless: no present sample is off by more than k
    Quality(q)   lossy, at a level of the codec's own: no bound on any one sample, the squares
    AtLeast(db)  lossy, never below a PSNR                are measured
    AtMost(r)    lossy, never above so many bits a sample

No loss makes or unmakes nodata, or NaN.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference, compare, same_bits
from tilepress.errors import CodecError

__all__ = [
    "WANTED",
    "AtLeast",
    "AtMost",
    "Loss",
    "Lossless",
    "Lossy",
    "Quality",
    "Within",
    "bounded",
    "lossy",
    "parse_target",
    "stated_loss",
]

Array = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]


class _Loss(ABC):
    """How decoded samples are compared with those given, in all losses alike."""

    __slots__ = ()

    def check(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Difference:
        """Return how decoded samples differ from those given, of the same shape and dtype.

        Samples equal to ``nodata`` are absent, and so is NaN. Raises CodecError for what this loss
        does not allow.
        """
        if same_bits(given, decoded):
            return Difference()
        found = compare(given, decoded, nodata)
        if found.unlike.any():
            raise CodecError("checking a record: coding made or unmade nodata")
        distance = found.distance[found.present]
        worst = float(distance.max(initial=0.0))
        if worst > self.limit:
            raise CodecError(f"checking a record: decoding is off by {worst:g}, more than {self}")
        return Difference(worst, float(np.square(distance).sum()))

    def forbidden(self, given: Array, decoded: Array, nodata: float | int | None = None) -> Marks:
        """Mark the samples for which ``check`` raises."""
        found = compare(given, decoded, nodata)
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
class Lossy(_Loss):
    """Any one sample may be off by anything; a target says how good or how small all are."""

    value: float
    """What is asked of the target."""
    peak: float | None = None
    """The range that errors are measured against, in units of the samples; None: 255 for samples of
    8 bits, else the range of those that are coded together."""
    worst: float = field(default=math.inf, compare=False)
    """The largest error that was measured, where that is known: samples that are off by more are
    not those that were coded."""
    within: float | None = None
    """What no present sample is off by more than, whatever the target; None: there is no bound."""
    per_tile: bool = False
    """Whether every chunk holds the target by itself, rather than all of an image together."""
    visible: bool = False
    """Whether errors are those of samples that somebody sees: present ones that neither a mask nor
    alpha hides. Who codes says which these are; without that all present ones are."""

    is_lossless: ClassVar[bool] = False
    kind: ClassVar[str] = "lossy"
    target: ClassVar[str]
    """What options, configurations and attributes call it."""

    def __str__(self) -> str:
        return self.goal if self.within is None else f"{self.goal}, max error {self.bound}"

    @property
    def goal(self) -> str:
        """The target, as a text."""
        raise NotImplementedError

    @property
    def max_error(self) -> float | None:
        """The largest error of any sample; None where there is no bound."""
        return self.within

    @property
    def bound(self) -> str:
        """The largest error of any sample, as a text."""
        return "none" if self.within is None else f"{self.within:g}"

    @property
    def promise(self) -> str:
        """What holds of the samples, as a text."""
        if self.within is None:
            return f"no bound on any stored value, {self}"
        return f"each stored value within {self.bound} of the source, {self.goal}"

    def statement(self) -> dict[str, Any]:
        """Return what attributes say of the loss; ``stated_loss`` reads it."""
        return {"lossless": False, "max_error": self.within, "target": self.target_json()}

    def target_json(self) -> dict[str, Any]:
        """Return what attributes and configurations say of it; ``parse_target`` reads it."""
        scope = {"per": _PER[self.per_tile], "over": _OVER[self.visible]} if self.is_scoped else {}
        return {self.target: self.value, "peak": self.peak, **scope}

    @property
    def is_scoped(self) -> bool:
        """Whether the target says of what it holds: of something else than it did at first."""
        return self.per_tile or self.visible

    @property
    def _of(self) -> str:
        return (" of visible samples" if self.visible else "") + self._in

    @property
    def _in(self) -> str:
        return " in each tile" if self.per_tile else ""

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        """Tell why samples of ``dtype`` cannot be coded so; None where they can."""
        if dtype.kind == "b":
            return f"lossy coding of bool makes no sense; code it without {self.target}"
        return None if self.within is None else Within(self.within).refusal(dtype)

    def peak_of(self, present: Array) -> float:
        """Return the range of errors for samples; ``present`` are those that are not absent."""
        if self.peak is not None:
            return self.peak
        if present.dtype.itemsize == 1:
            return 255.0
        finite = present[np.isfinite(present)] if present.dtype.kind == "f" else present
        span = float(finite.max()) - float(finite.min()) if finite.size else 0.0
        return span or 1.0

    @property
    def limit(self) -> float:
        return self.worst if self.within is None else min(self.worst, self.within)


@dataclass(frozen=True, slots=True)
class Quality(Lossy):
    """As good as a codec makes it at a level of its own, 1 to 100."""

    target: ClassVar[str] = "quality"

    @property
    def goal(self) -> str:
        return f"quality {self.value:g}"


@dataclass(frozen=True, slots=True)
class AtLeast(Lossy):
    """A peak signal-to-noise ratio, in dB, of all present samples together, or a higher one."""

    target: ClassVar[str] = "psnr"

    @property
    def goal(self) -> str:
        return f"PSNR at least {self.value:g} dB{self._of}"


@dataclass(frozen=True, slots=True)
class AtMost(Lossy):
    """So many bits a sample of what is coded together, absent samples counted, or fewer."""

    target: ClassVar[str] = "bits_per_sample"

    @property
    def goal(self) -> str:
        return f"at most {self.value:g} bits per sample{self._in}"


_PER, _OVER = ("image", "tile"), ("present", "visible")
"""What a target holds of, and over, as configurations and attributes say it: false, true."""

_LOSSY: dict[str, type[Lossy]] = {one.target: one for one in (Quality, AtLeast, AtMost)}
_LIMITS = {"quality": (1.0, 100.0), "psnr": (0.0, 200.0), "bits_per_sample": (0.0, 64.0)}
"""What targets may be: above 0, and within these."""

WANTED = {
    "quality": "1 to 100",
    "psnr": "a number of dB above 0, up to 200",
    "bits_per_sample": "a number above 0, up to 64",
}
"""The same for people."""


Loss: TypeAlias = Lossless | Within | Lossy


def bounded(max_error: float) -> Lossless | Within:
    """Return the loss of the largest error that a sample may have; 0 is lossless."""
    return Within(max_error) if max_error else Lossless(max_error)


def lossy(target: str, value: float, peak: float | None = None) -> Lossy | None:
    """Return the loss of a target; None where there is no such target, value or peak."""
    found, (low, high) = _LOSSY.get(target), _LIMITS.get(target, (0.0, 0.0))
    if found is None or not (low <= value <= high and value > 0):
        return None
    if peak is not None and not 0 < peak <= sys.float_info.max:  # integers may be larger
        return None
    return found(float(value), None if peak is None else float(peak))


def parse_target(told: object) -> Lossy | None:
    """Return the loss that ``Lossy.target_json`` told, not trusted; None where it is none."""
    if not isinstance(told, Mapping) or "peak" not in told:
        return None
    names = set(told) - {"peak"}
    scope = (told.get("per"), told.get("over"))
    if names >= {"per", "over"}:
        names -= {"per", "over"}
        if scope not in [(per, over) for per in _PER for over in _OVER][1:]:
            return None
    if len(names) != 1:
        return None
    (target,) = names
    value, peak = told[target], told["peak"]
    for number in (value, 1 if peak is None else peak):
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
    found = lossy(target, value, peak) if isinstance(target, str) else None
    if found is None or scope == (None, None):
        return found
    return replace(found, per_tile=scope[0] == _PER[1], visible=scope[1] == _OVER[1])


def stated_loss(statement: Mapping[str, Any], worst: float | None = None) -> Loss:
    """Return the loss that attributes state, its numbers as float.

    ``worst`` is the largest error that was measured, where they state one, too. Raises KeyError or
    TypeError where they state no loss.
    """
    bound = statement["max_error"]
    if bound is not None and "target" not in statement:
        return bounded(float(bound))
    found = parse_target(statement["target"])
    if found is None:
        raise KeyError("target")
    if bound is not None:
        found = replace(found, within=float(bound))
    return found if worst is None else replace(found, worst=float(worst))
