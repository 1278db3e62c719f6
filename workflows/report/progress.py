"""Tell a person how a run goes: a calm bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar
from rich.text import Text

from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.storage.text import clock, compared, grouped, printable, size
from tilepress.workflows.report.alike import Alike
from tilepress.workflows.report.telling import (
    Discovered,
    Event,
    Failed,
    FilesKept,
    ImageDone,
    ImageStarted,
    Note,
    Progress,
    ShardStored,
    SilentProgress,
    Workers,
)

__all__ = [
    "LogProgress",
    "TerminalProgress",
    "describe",
    "progress_for",
]

LOG_EVERY_S = 15.0
"""Seconds between two lines of a log that say how far a run is."""

REDRAW_EVERY_S = 0.1
"""Seconds between two changes of a bar: a run may end thousands of shards in that time."""

RATE_WINDOW_S = 30.0
"""Seconds over which the rate and the stages are averaged."""

MARK_EVERY_S = 0.5
"""Seconds between two marks of that window."""

LISTED_IMAGES = 50
"""Images that get a line of their own; the others of a large archive are summed up."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was done by a moment."""

    time_s: float
    coded_bytes: int
    stages: Stages


def _now() -> _Mark:
    return _Mark(time.monotonic(), 0, Stages())


@dataclass(slots=True)
class _Meter:
    """Counts: how much is done, how fast, how long the rest of what is known will take."""

    done: int = 0
    """Images that are sealed, by this run or before."""
    failures: int = 0
    found: int = 0
    """Images that were discovered."""
    files: int = 0
    """Files that were looked at."""
    found_all: bool = False
    sized: int = 0
    """Images that are being written or were: those whose sizes are in ``sized_bytes``."""
    sized_bytes: int = 0
    passed: int = 0
    """Images that ended otherwise: unchanged or failed; and what is none."""
    refused: int = 0
    """Inputs among them that are no image: the search itself listed them as failures."""
    done_bytes: int = 0
    coded_bytes: int = 0
    stored_bytes: int = 0
    workers: int | None = None
    stages: Stages = field(default_factory=Stages)
    kept: int = 0
    """Files that are no images and lie in the archive."""
    _open: dict[str, ImagePlan] = field(default_factory=dict)
    """Images that are being written, by store."""
    _marks: deque[_Mark] = field(default_factory=lambda: deque([_now()]))

    def count(self, event: Event) -> None:
        """Count what a run tells."""
        match event:
            case Discovered():
                self._discover(event)
            case Workers(number):
                self.workers = number
            case ImageStarted(plan):
                self._start(plan)
            case ShardStored():
                self._store_shard(event)
            case ImageDone(result):
                self._seal(result)
            case Failed(failure):
                self._fail(failure)
            case FilesKept(files):
                self.kept = files

    def _discover(self, event: Discovered) -> None:
        """Count what the search has come to: it tells of every image and of every failure."""
        self.refused += event.files > self.files and event.images == self.found
        self.files, self.found, self.found_all = event.files, event.images, event.done

    def _start(self, plan: ImagePlan) -> None:
        self.sized += 1
        self.sized_bytes += plan.raw_bytes
        self._open[plan.store] = plan

    def _store_shard(self, event: ShardStored) -> None:
        self.done_bytes += event.raw_bytes
        self.stored_bytes += event.stored_bytes
        if not event.reused:
            self.coded_bytes += event.raw_bytes
        if event.stages is not None:
            self.stages += event.stages
        self._mark()

    def _seal(self, result: ImageResult) -> None:
        """Count a store. Small images are told when they are done, never as started."""
        self.done += 1
        if self._open.pop(result.store, None) is not None:
            return
        if result.status == "unchanged":
            self.passed += 1
            return
        self.sized += 1
        self.sized_bytes += result.raw_bytes
        self.stages += result.stages or Stages()
        self._mark()

    def _fail(self, failure: ImageFailure) -> None:
        """Count a failure; what is left undone of its image is not waited for.

        An image fails as often as shards of it do.
        """
        self.failures += 1
        plan = next((p for p in self._open.values() if p.source_name == failure.source), None)
        if plan is not None:
            del self._open[plan.store]
            self.sized -= 1
            self.sized_bytes -= plan.raw_bytes
            self.passed += 1
        elif failure.shard is None:
            self.passed += 1

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marks[-1].time_s < MARK_EVERY_S:
            return
        self._marks.append(_Mark(now, self.coded_bytes, self.stages))
        while len(self._marks) > 2 and self._marks[1].time_s < now - RATE_WINDOW_S:
            self._marks.popleft()

    @property
    def begun(self) -> bool:
        """Whether anything is known of any image."""
        return bool(self.sized or self.passed)

    @property
    def waiting(self) -> int:
        """Images that were found and of which no more is known."""
        return max(0, self.found + self.refused - self.sized - self.passed)

    @property
    def expected_bytes(self) -> float:
        """Bytes in all; the images that wait count as the mean of the others."""
        mean = self.sized_bytes / self.sized if self.sized else 0
        return max(self.done_bytes, self.sized_bytes + mean * self.waiting)

    @property
    def measured(self) -> bool:
        """Whether more is expected than is done, or all is known: else any share would be 100 %."""
        return self.found_all or self.waiting > 0 or bool(self._open)

    @property
    def share(self) -> str:
        """Share of the bytes expected, e.g. "25%"; "" before any size is known.

        Never "100%" before all is done: the seal comes after the last byte.
        """
        if self.complete:
            return "100%"
        if not self.measured or not self.expected_bytes:
            return ""
        return f"{min(self.done_bytes / self.expected_bytes, 0.99):.0%}"

    @property
    def complete(self) -> bool:
        """Whether every image was found and has ended."""
        return self.found_all and not self.waiting and not self._open

    @property
    def rate(self) -> float:
        """Coded bytes per second, of late."""
        then = self._marks[0]
        return (self.coded_bytes - then.coded_bytes) / max(1e-3, time.monotonic() - then.time_s)

    @property
    def images(self) -> str:
        """E.g. "12 of 840 images"; "840+" unless the sources were looked through to the end."""
        known = max(self.found, self.sized + self.passed - self.refused)
        more = "" if self.found_all else "+"
        return f"{grouped(self.done)} of {grouped(known)}{more} images"

    @property
    def looking(self) -> str:
        """E.g. "looking through sources: 12 300 files, 840 images so far"."""
        files, found = grouped(self.files), grouped(self.found)
        return f"looking through sources: {files} files, {found} images so far"

    @property
    def eta(self) -> str:
        """E.g. "ETA 0:03:10", with "~" where not all sizes are known; or ""."""
        rate, left = self.rate, self.expected_bytes - self.done_bytes
        if not rate or left <= 0:
            return ""
        return f"ETA {'~' if self.waiting or not self.found_all else ''}{clock(left / rate)}"

    @property
    def amount(self) -> str:
        """E.g. "1.2 GB of 3.4 GB, 12.3 MB/s"."""
        total = f" of {size(self.expected_bytes)}" if self.measured and self.expected_bytes else ""
        return f"{size(self.done_bytes)}{total}, {size(self.rate)}/s"

    @property
    def details(self) -> str:
        """E.g. "ratio 2.41, 8 workers, code 71 %"; last is the stage that takes most of late."""
        parts = []
        if self.stored_bytes:
            parts.append(f"ratio {self.done_bytes / self.stored_bytes:.2f}")
        if self.workers is not None:
            parts.append(f"{self.workers} worker{'' if self.workers == 1 else 's'}")
        if self.kept:
            parts.append(f"{grouped(self.kept)} other files")
        lately = self.stages - self._marks[0].stages
        if lately.bound_by is not None:
            parts.append(f"{lately.bound_by} {100 * lately.shares[lately.bound_by]:.0f} %")
        return ", ".join(parts)


class LogProgress(SilentProgress):
    """Plain lines: one per image and failure, and one now and then that says how far the run is.

    After ``LISTED_IMAGES`` images only failures get lines of their own, unless ``verbose``, and of
    failures for one reason the first ones.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._meter = _Meter()
        self._last = time.monotonic()
        self._listed = 0
        self._remarks_not_listed = 0
        """Images with remarks that got no line."""
        self._lines = 0
        self._failures = Alike()
        self._named = 0
        """Failures that got a line."""
        self._lines_before_failures = 0

    def tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self._line(event.text)
            return
        self._meter.count(event)
        match event:
            case ImageDone(result):
                self._list(result)
            case Failed(failure, listed):
                self._list_failure(failure, listed)
        self._changed()

    def _list(self, result: ImageResult) -> None:
        self._listed += 1
        if self._verbose or self._listed <= LISTED_IMAGES:
            self._line(describe(result))
            return
        self._remarks_not_listed += bool(result.remarks)
        if self._listed == LISTED_IMAGES + 1:
            self._line("further images are counted, not listed (--verbose lists them)")

    def _list_failure(self, failure: ImageFailure, listed: int) -> None:
        """Name a failure, unless there were such before: then they are counted, and told at the
        end."""
        if not self._failures.count:
            self._lines_before_failures = self._lines
        alike = self._failures.add(failure, of_image=listed >= LISTED_IMAGES)
        if self._verbose or alike <= listed:
            self._named += 1
            self._line(f"tilepress: {failure.line}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._remarks_not_listed:
            images = (
                "1 image that is"
                if self._remarks_not_listed == 1
                else (f"{grouped(self._remarks_not_listed)} images that are")
            )
            self._line(f"there are remarks on {images} not listed: see --report, or --verbose")
        self._repeat_failures()

    def _changed(self) -> None:
        """Say how far the run is, now and then."""
        if time.monotonic() - self._last < LOG_EVERY_S:
            return
        self._last = time.monotonic()
        meter = self._meter
        if meter.begun:
            parts = (meter.images, meter.share, meter.amount, meter.eta, meter.details)
            self._line(", ".join(filter(None, parts)))
        elif meter.files:
            self._line(meter.looking)

    def _repeat_failures(self) -> None:
        """List the failures once more, unless nothing else was said since the first one."""
        count = self._failures.count
        if not count or self._lines - self._lines_before_failures == count == self._named:
            return
        self._line(f"{grouped(count)} failed:")
        for line in self._failures.lines():
            self._line(f"  {line}")

    def _line(self, text: str) -> None:
        self._lines += 1
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


class _Bar(RichBar):
    """A bar with a line of text below: side by side they need more than 80 columns."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["below"], no_wrap=True, overflow="ellipsis")


class TerminalProgress(LogProgress):
    """The same lines above a bar with the time that is left, the rate and what bounds the run."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._bar = _Bar(
            TextColumn("{task.fields[images]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[share]:>4}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            expand=True,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task(
            "", total=None, images="", share="", eta="", below="starting workers"
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self._console.show_cursor(True)  # else a killed command would leave none
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw()
        self._bar.stop()
        super().__exit__(kind, error, trace)

    def _changed(self) -> None:
        """Move the bar instead of writing a line."""
        if time.monotonic() - self._last >= REDRAW_EVERY_S:
            self._last = time.monotonic()
            self._draw()

    def _draw(self) -> None:
        meter = self._meter
        if not meter.begun:
            if meter.files:
                self._bar.update(self._task, below=meter.looking)
            return
        self._bar.update(
            self._task,
            total=(meter.expected_bytes or None) if meter.measured else None,
            completed=meter.done_bytes,
            images=meter.images,
            share=meter.share,
            eta=meter.eta,
            below=", ".join(filter(None, (meter.amount, meter.details))),
        )


def progress_for(
    console: Console, *, quiet: bool = False, verbose: bool = False, bar: bool = True
) -> Progress:
    """Choose by where the output goes; without ``bar``, a terminal gets plain lines, too."""
    if quiet:
        return SilentProgress()
    if bar and console.is_terminal and not console.is_dumb_terminal:
        return TerminalProgress(console, verbose=verbose)
    return LogProgress(console, verbose=verbose)


def describe(result: ImageResult) -> str:
    """Return one line about a sealed store."""
    shape = "×".join(map(str, result.shape))
    more = f" (+{result.files - 1} more)" if result.files > 1 else ""
    text = f"{result.source}{more} → {result.store}: {shape} {result.dtype}, "
    if result.status == "unchanged":
        return f"{text}{size(result.raw_bytes)}, unchanged"
    files = "file" if result.files == 1 else "files"
    text += compared(result.raw_bytes, result.stored_bytes, result.file_bytes, of=files)
    if result.shards_reused:
        text += f", {result.shards_reused} of {result.shards} shards were there already"
    if result.tuned:
        saved = result.tuning_saved_bytes
        text += ", tuned" if saved is None else f", tuned (saves about {size(saved)})"
    elif result.tuned is not None:
        text += ", not tuned (would not pay)"
    return "; ".join((text, *result.remarks))
