"""What a run tells as it goes: events, and whoever receives them.

A run tells everything from one thread, by ``progress.tell(event)``. The bar and the lines of a
terminal (``progress``) and the log of events (``events``) are receivers; a receiver passes over
the events that are nothing to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.stages import Stages

__all__ = [
    "Discovered",
    "Event",
    "Failed",
    "FilesKept",
    "ImageDone",
    "ImageStarted",
    "Note",
    "Progress",
    "ShardStored",
    "SilentProgress",
    "Workers",
    "several",
]


@dataclass(frozen=True, slots=True)
class Note:
    """What is not about one image, e.g. that weights are being tuned."""

    text: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """How many files were looked at so far, and how many images are among them."""

    files: int
    images: int
    done: bool = False
    """Whether these are all."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers live."""

    count: int


@dataclass(frozen=True, slots=True)
class ImageStarted:
    """The shards of an image are being written; small images are told when they are done."""

    plan: ImagePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStored:
    """A shard is in storage and in the ledger."""

    raw_bytes: int
    stored_bytes: int
    reused: bool
    """Whether an earlier run had written it."""
    stages: Stages | None = None
    """Where the time of its worker went."""
    store: str | None = None
    shard: str | None = None


@dataclass(frozen=True, slots=True)
class ImageDone:
    """A store is sealed, by this run or before."""

    result: ImageResult


@dataclass(frozen=True, slots=True)
class Failed:
    """An input did not become a sealed store."""

    failure: ImageFailure
    listed: int = 50
    """How many failures for the same reason get a line at once, the others being counted: of images
    many, of other inputs few."""


@dataclass(frozen=True, slots=True)
class FilesKept:
    """Files that are no images lie in the archive, by this run or before."""

    files: int
    bytes: int
    written: int
    """Files that were not there before as they are now."""


Event = Note | Discovered | Workers | ImageStarted | ShardStored | ImageDone | Failed | FilesKept


class Progress(Protocol):
    """Receives what a run tells, between its beginning and its end."""

    def tell(self, event: Event) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SilentProgress:
    """Says nothing: the default of the Python interface."""

    def tell(self, event: Event) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class _Several:
    """Tells everything to each of several, in their order."""

    def __init__(self, parts: Sequence[Progress]) -> None:
        self._parts = parts
        self._entered = contextlib.ExitStack()

    def tell(self, event: Event) -> None:
        """Tell every part, also when one fails; raise the first error then."""
        first: Exception | None = None
        for part in self._parts:
            try:
                part.tell(event)
            except Exception as error:  # the others are told before it goes up
                first = first or error
        if first is not None:
            raise first

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entered:
            for part in self._parts:
                entered.enter_context(part)
            self._entered = entered.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.__exit__(kind, error, trace)


def several(*progress: Progress | None) -> Progress:
    """Return one Progress that tells all of these; None stands for nobody."""
    parts = [part for part in progress if part is not None]
    if len(parts) == 1:
        return parts[0]
    return _Several(parts) if parts else SilentProgress()
