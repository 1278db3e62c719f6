"""Find the level at which chunks that are coded together hold a target.

A level is looked for on a few of the chunks, and then proved on all: what is promised is compared
with what was really coded. Codecs need not be monotone for that, only nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tilepress.codecs.levels import COARSEST, EXACT, FINEST, NOMINAL_DB
from tilepress.codecs.loss import AtLeast, AtMost, Lossy, Quality
from tilepress.errors import UnsupportedArray

__all__ = ["Together", "Trial", "find_level", "spread"]

Result = TypeVar("Result")

_SAMPLED = 4
"""Chunks on which a level is looked for."""
_GRID = 0.25
"""Levels between which nobody tells a difference: 0.125 dB."""
_NEAR = 0.5
"""Levels that a target may be missed by, on the safe side."""
_STEPS = round((FINEST - COARSEST) / _GRID)
_TRIES = 12
"""Levels that are tried on all chunks, at most."""
_BETTER = 2
"""Levels that are tried on all chunks once one holds, for one that is nearer to the target."""
_MAYBE_EXACT = 1.5
"""Bits a sample from which on nothing is lost where that takes fewer bytes."""
_LEVELS_OF_DB, _LEVELS_OF_BIT = 2.0, 12.0


@dataclass(frozen=True, slots=True)
class Trial(Generic[Result]):
    """A chunk, coded at some level."""

    result: Result
    size: int
    """Bytes, with all that belongs to it."""
    squared: float
    """Sum of the squares of its errors."""


Code = Callable[[Sequence[int], float], Sequence[Trial[Result]]]
"""Codes chunks, by number, at a level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Chunks that hold a target together."""

    samples: Sequence[int]
    """How many each has, absent ones included: what ``AtMost`` counts."""
    present: Sequence[int]
    """How many of them are not absent: what ``AtLeast`` counts."""
    peak: float
    """The range of errors."""
    overhead: int
    """Bytes that belong to all of them, beside those of their trials."""
    room: float = 0.0
    """The share of the bits that ``AtMost`` allows which is left to others."""

    def slack(self, loss: Lossy, trials: Sequence[Trial[Result]], numbers: Sequence[int]) -> float:
        """Return how far trials of some chunks are from a target, in levels; below 0: not held."""
        if isinstance(loss, AtMost):
            share = len(numbers) / len(self.samples)
            bits = 8 * (sum(trial.size for trial in trials) + self.overhead * share)
            count = sum(self.samples[n] for n in numbers)
            return _LEVELS_OF_BIT * (loss.value * (1 - self.room) - bits / max(1, count))
        squared = math.fsum(trial.squared for trial in trials)
        count = sum(self.present[n] for n in numbers)
        if not squared:
            return math.inf
        return _LEVELS_OF_DB * (10 * math.log10(self.peak**2 * count / squared) - loss.value)


def find_level(
    loss: Lossy,
    code: Code[Result],
    chunks: Together,
    doing: str,
    estimate: Code[None] | None = None,
) -> list[Result]:
    """Return the results of all chunks at the coarsest level that holds a PSNR, or at the finest
    that holds a number of bits.

    estimate : tells about what ``code`` would give, in less time: then a level is looked for by it,
    and proved by ``code`` alone. Raises UnsupportedArray where none does; ``doing`` is the
    beginning of its message.
    """
    everything = range(len(chunks.samples))
    if isinstance(loss, Quality) or not everything:
        return [trial.result for trial in code(everything, loss.value)]
    finer = 1 if isinstance(loss, AtLeast) else -1  # where it is safer
    sample = spread(everything)
    best: Sequence[Trial[Result]] | None = None
    if estimate is not None:
        at, _ = _bracketed(loss, estimate, chunks, sample, finer)
    else:
        at, best = _bracketed(loss, code, chunks, sample, finer)
    if len(sample) < len(everything) or estimate is not None:
        best = _proved(loss, code, chunks, min(max(at, 0), _STEPS), finer)
    if best is not None and not (finer > 0 and _may_be_exact(best, chunks)):
        return [trial.result for trial in best]
    if best is not None and len(sample) < len(everything):
        exact = code(sample, EXACT)
        if sum(trial.size for trial in exact) > sum(best[n].size for n in sample):
            return [trial.result for trial in best]
    trials = code(everything, EXACT if finer > 0 else COARSEST)
    if best is not None and sum(t.size for t in best) <= sum(t.size for t in trials):
        trials = best
    if chunks.slack(loss, trials, everything) < 0:
        bits = 8 * (sum(trial.size for trial in trials) + chunks.overhead)
        raise UnsupportedArray(
            f"{doing} with {loss}: at its coarsest it takes "
            f"{bits / max(1, sum(chunks.samples)):.3g}; allow more, or choose another codec"
        )
    return [trial.result for trial in trials]


def _bracketed(
    loss: Lossy, code: Code[Result], chunks: Together, sample: Sequence[int], finer: int
) -> tuple[int, Sequence[Trial[Result]] | None]:
    """Return a step of the grid near which a sample of the chunks holds a target, and its trials.

    What is missing says how far to go; where that does not halve what is left, the middle is taken.
    """
    unsafe, safe = (-1, _STEPS + 1) if finer > 0 else (_STEPS + 1, -1)
    best: Sequence[Trial[Result]] | None = None
    guess = (unsafe + safe) // 2
    if isinstance(loss, AtLeast):
        guess = round((_LEVELS_OF_DB * (loss.value - NOMINAL_DB) - COARSEST) / _GRID)
    while (width := abs(safe - unsafe)) > 1:
        at = min(max(guess, min(safe, unsafe) + 1), max(safe, unsafe) - 1)
        trials = code(sample, _level(at))
        slack = chunks.slack(loss, trials, sample)
        if slack >= 0:
            safe, best = at, trials
            if slack <= _NEAR:
                break
        else:
            unsafe = at
        if math.isinf(slack) or 2 * abs(safe - unsafe) > width:
            guess = (safe + unsafe) // 2
        else:
            guess = at - finer * round((slack - _NEAR / 2) / _GRID)
    return safe, best


def _proved(
    loss: Lossy, code: Code[Result], chunks: Together, at: int, finer: int
) -> Sequence[Trial[Result]] | None:
    """Return trials at a level near a step of the grid that holds on all chunks, if any."""
    everything = range(len(chunks.samples))
    best: Sequence[Trial[Result]] | None = None
    better = failed = 0
    for _ in range(_TRIES):
        trials = code(everything, _level(at))
        slack = chunks.slack(loss, trials, everything)
        if slack >= 0:
            best = trials
            nearer = 0 if slack == math.inf else int(0.9 * slack / _GRID)
            if failed or better == _BETTER or not nearer or slack <= _NEAR:
                break
            better += 1
            at -= finer * nearer
        else:
            if best is not None:
                break
            at += finer * max(2**failed, int(-slack / _GRID))
            failed += 1
        if not 0 <= at <= _STEPS:
            break
    return best


def _may_be_exact(trials: Sequence[Trial[Result]], chunks: Together) -> bool:
    """Whether losing nothing may take fewer bytes: only where few bits are saved."""
    return 8 * sum(trial.size for trial in trials) >= _MAYBE_EXACT * sum(chunks.samples)


def _level(step: int) -> float:
    return COARSEST + _GRID * step


def spread(chunks: range) -> list[int]:
    """Return a few of the chunks, from all over."""
    count = len(chunks)
    if count <= _SAMPLED:
        return list(chunks)
    return [(2 * i + 1) * count // (2 * _SAMPLED) for i in range(_SAMPLED)]
