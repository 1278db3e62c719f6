"""What lossy coding did to samples, measured: errors by size, and their mean by band."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference, present_samples

__all__ = ["Measured", "Tiles", "squared_error"]

Array = npt.NDArray[Any]

_BLOCK = 2**22
"""Samples that are measured at a time."""

_OF_OCTAVE = 16
"""Classes of errors to an octave: what is told of them is at most 4.5 % too large."""


def squared_error(given: Array, decoded: Array, present: npt.NDArray[np.bool_]) -> float:
    """Return the sum of the squared errors of the samples that are marked."""
    with np.errstate(invalid="ignore"):
        error = decoded.astype(np.float64) - given.astype(np.float64)
    error[~present | (given == decoded)] = 0.0
    return float(np.vdot(error, error))


@dataclass(frozen=True, slots=True)
class Tiles:
    """How good tiles are, each by itself: how many there are of each error, and of none.

    It takes as little for a million of them as for a hundred.
    """

    exact: int = 0
    """Tiles that lost nothing."""
    classes: Mapping[int, int] = field(default_factory=dict)
    """How many root mean squared errors lie below 2^((class + 1) / 16), and not in the class
    before."""

    @classmethod
    def of(cls, squared: float, present: int) -> Tiles:
        """Return one tile, of so many samples; none where it has none that count."""
        if not present:
            return cls()
        return cls(1) if not squared else cls(0, {_class_of(math.sqrt(squared / present)): 1})

    @classmethod
    def total(cls, parts: Iterable[Tiles]) -> Tiles:
        exact, classes = 0, Counter[int]()
        for part in parts:
            exact += part.exact
            classes.update(part.classes)
        return cls(exact, dict(sorted(classes.items())))

    @property
    def count(self) -> int:
        return self.exact + sum(self.classes.values())

    def by_psnr_db(self, peak: float) -> dict[float, int]:
        """Return how many tiles that lost something have which PSNR, the worst first: this one or
        up to 0.38 dB more."""
        finer = sorted(self.classes.items(), reverse=True)
        top_db = 20 * math.log10(peak)
        told = ((top_db - 20 * math.log10(2) * (n + 1) / _OF_OCTAVE, count) for n, count in finer)
        return {math.floor(10 * db) / 10: count for db, count in told}


def _class_of(error: float) -> int:
    return math.floor(math.log2(error) * _OF_OCTAVE + 1e-9)


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors of the present samples of some bands."""

    counts: tuple[int, ...]
    """Present samples of each band."""
    sums: tuple[float, ...]
    """Sum of decoded − given of each band."""
    classes: Mapping[int, int]
    """How many errors lie below 2^((class + 1) / 16), and not in the class before; those of 0 are
    not counted."""
    tiles: Tiles | None = None
    """Of those that were measured one by one; None where it was not done so."""

    def as_tile(self, squared: float) -> Measured:
        """Return it as that of one tile, whose squared errors have this sum."""
        return replace(self, tiles=Tiles.of(squared, self.present))

    @classmethod
    def of(
        cls, given: Array, decoded: Array, present: npt.NDArray[np.bool_], band_axis: int | None
    ) -> Measured:
        """Measure samples of one shape; ``present`` marks those that are not absent."""
        with np.errstate(invalid="ignore"):
            error = decoded.astype(np.float64) - given.astype(np.float64)
        error[~present | (given == decoded)] = 0.0
        axis = 0 if band_axis is None else band_axis
        by_band = np.moveaxis(error, axis, 0) if band_axis is not None else error[None]
        there = np.moveaxis(present, axis, 0) if band_axis is not None else present[None]
        sizes = np.abs(error[error != 0])
        classes = np.floor(np.log2(sizes) * _OF_OCTAVE + 1e-9).astype(np.int64)
        numbers, counts = np.unique(classes, return_counts=True)
        return cls(
            tuple(int(np.count_nonzero(one)) for one in there),
            tuple(float(one.sum()) for one in by_band),
            dict(zip(numbers.tolist(), counts.tolist(), strict=True)),
        )

    @classmethod
    def by_blocks(
        cls,
        given: Array,
        decoded: Array,
        nodata: float | int | None,
        band_axis: int | None,
        exact: Collection[int] = (),
        hidden: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[Difference, Measured]:
        """Measure large arrays (…, y, x) some rows at a time, and how they differ.

        Samples of ``exact`` bands, from 0, and those marked as ``hidden`` are left out.
        """
        bands = 1 if band_axis is None else given.shape[band_axis]
        rows = max(1, _BLOCK * given.shape[-2] // max(1, given.size))
        parts, differences = [], [Difference()]
        for start in range(0, given.shape[-2], rows):
            one, other = (array[..., start : start + rows, :] for array in (given, decoded))
            there = present_samples(one, nodata)
            if band_axis is not None:
                np.moveaxis(there, band_axis, 0)[list(exact)] = False
            if hidden is not None:
                there &= ~hidden[..., start : start + rows, :]
            parts.append((0, cls.of(one, other, there, band_axis)))
            with np.errstate(invalid="ignore"):
                error = np.abs(other.astype(np.float64) - one.astype(np.float64))
            error[~there | (one == other)] = 0.0
            differences.append(
                Difference(float(error.max(initial=0)), float(np.vdot(error, error)))
            )
        return Difference.total(differences), cls.total(parts, bands)

    @classmethod
    def total(cls, parts: Sequence[tuple[int, Measured]], bands: int) -> Measured:
        """Return what was measured of parts, each with its first band, together."""
        counts, sums = [0] * bands, [list[float]() for _ in range(bands)]
        classes: Counter[int] = Counter()
        for first, part in parts:
            for at, (count, total) in enumerate(zip(part.counts, part.sums, strict=True), first):
                counts[at] += count
                sums[at].append(total)
            classes.update(part.classes)
        tiles = [part.tiles for _, part in parts if part.tiles is not None]
        return cls(
            tuple(counts),
            tuple(map(math.fsum, sums)),
            dict(sorted(classes.items())),
            Tiles.total(tiles) if parts and len(tiles) == len(parts) else None,
        )

    @property
    def present(self) -> int:
        """Samples that were measured."""
        return sum(self.counts)

    @property
    def bias(self) -> list[float]:
        """Mean of decoded − given of each band; 0 where it has no samples."""
        pairs = zip(self.sums, self.counts, strict=True)
        return [total / count if count else 0.0 for total, count in pairs]

    def below(self, share: float) -> float:
        """Return what at least this share of the errors does not exceed."""
        left = math.floor((1.0 - share) * self.present + 1e-9)
        for number, count in sorted(self.classes.items(), reverse=True):
            left -= count
            if left < 0:
                return float(2.0 ** ((number + 1) / _OF_OCTAVE))
        return 0.0

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"counts": list(self.counts), "sums": list(self.sums)}
        told["classes"] = _texts(self.classes)
        if self.tiles is not None:
            told["tiles"] = {"exact": self.tiles.exact, "classes": _texts(self.tiles.classes)}
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Measured:
        """Return what ``to_json`` told; raises KeyError, TypeError or ValueError."""
        tiles = told.get("tiles")  # versions before had none
        return cls(
            tuple(map(int, told["counts"])),
            tuple(map(float, told["sums"])),
            _numbers(told["classes"]),
            None if tiles is None else Tiles(int(tiles["exact"]), _numbers(tiles["classes"])),
        )


def _texts(classes: Mapping[int, int]) -> dict[str, int]:
    return {str(number): count for number, count in classes.items()}


def _numbers(classes: Mapping[str, int]) -> dict[int, int]:
    return {int(number): int(count) for number, count in classes.items()}
