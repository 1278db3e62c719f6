"""Tell many failures in few lines: those for one reason are one line with their number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import PurePosixPath

from tilepress.pipeline.archive.outcome import ImageFailure
from tilepress.pipeline.storage.text import grouped

__all__ = ["LISTED_FAILURES", "Alike", "lines_of"]

LISTED_FAILURES = 20
"""Lines that tell of failures at the end."""

FEW = 3
"""Inputs that are named where each failed for the same reason; more are one line."""

MAX_REASONS = 1000
"""Reasons that are told apart: each may name something else."""


@dataclass(slots=True)
class _Reason:
    of_images: bool
    named: list[ImageFailure] = field(default_factory=list)
    """The first of them."""
    count: int = 0

    def lines(self) -> Iterator[tuple[str, int]]:
        """Yield lines, each with how many failures it tells of."""
        if self.of_images or self.count <= FEW:
            yield from ((failure.line, 1) for failure in self.named)
        else:
            more = grouped(self.count - 1)
            yield f"{self.named[0].line} (and {more} more like it, see --report)", self.count


class Alike:
    """Failures by their reason: what their messages say beside names and numbers."""

    def __init__(self) -> None:
        self.count = 0
        self._reasons: dict[str, _Reason] = {}

    def add(self, failure: ImageFailure, *, of_image: bool = True) -> int:
        """Count a failure; return how many there are by now for its reason."""
        self.count += 1
        key = _reason(failure)
        if key not in self._reasons and len(self._reasons) >= MAX_REASONS:
            key = ""
        found = self._reasons.setdefault(key, _Reason(of_image))
        found.count += 1
        if len(found.named) < LISTED_FAILURES:
            found.named.append(failure)
        return found.count

    def lines(self) -> Iterator[str]:
        """Yield a line for every image, and one for other inputs that failed for one reason.

        After the first lines the rest is counted.
        """
        told = 0
        lines = chain.from_iterable(reason.lines() for reason in self._reasons.values())
        for line, count in islice(lines, LISTED_FAILURES):
            told += count
            yield line
        if told < self.count:
            yield f"… and {grouped(self.count - told)} more, see the lines above or --report"


def lines_of(failures: Iterable[ImageFailure]) -> Iterator[str]:
    """Yield the lines of failures; of many for one reason the first, and how many there are."""
    alike = Alike()
    for failure in failures:
        alike.add(failure, of_image=False)
    return alike.lines()


def _reason(failure: ImageFailure) -> str:
    text = failure.message.replace(failure.source, "…")
    name = PurePosixPath(failure.source).name
    if name:
        text = text.replace(name, "…")
    return f"{failure.kind}: {re.sub(r'[0-9]+', '#', text)}"
