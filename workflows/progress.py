"""Tell a person how a run goes: one calm line on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

from tilepress.workflows.plan import ImagePlan
from tilepress.workflows.report import ImageFailure, ImageResult

__all__ = ["LogProgress", "Progress", "SilentProgress", "TerminalProgress", "progress_for"]

LOG_EVERY_S = 15.0
"""Seconds between two lines of a log while shards are written."""

RATE_WINDOW_S = 30.0
"""Seconds over which the rate is averaged."""


class Progress(Protocol):
    """What a run tells."""

    def note(self, text: str) -> None:
        """Tell what is not about one image, e.g. that weights are being tuned."""
        ...

    def image_started(self, plan: ImagePlan) -> None: ...

    def shard_done(self, raw_bytes: int, stored_bytes: int, *, reused: bool) -> None: ...

    def image_done(self, result: ImageResult) -> None: ...

    def failed(self, failure: ImageFailure) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SilentProgress:
    """Says nothing: the default of the Python interface."""

    def note(self, text: str) -> None:
        pass

    def image_started(self, plan: ImagePlan) -> None:
        pass

    def shard_done(self, raw_bytes: int, stored_bytes: int, *, reused: bool) -> None:
        pass

    def image_done(self, result: ImageResult) -> None:
        pass

    def failed(self, failure: ImageFailure) -> None:
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


class _Meter:
    """Counts bytes: how much is done, how fast, how long the rest of the known work takes."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self.done_bytes = 0
        self.coded_bytes = 0
        self.stored_bytes = 0
        self.images = 0
        self.failures = 0
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def add(self, raw_bytes: int, stored_bytes: int, *, reused: bool) -> None:
        self.done_bytes += raw_bytes
        self.stored_bytes += stored_bytes
        self.total_bytes = max(self.total_bytes, self.done_bytes)
        if not reused:
            self.coded_bytes += raw_bytes
        now = time.monotonic()
        self._marks.append((now, self.coded_bytes))
        while len(self._marks) > 2 and self._marks[1][0] < now - RATE_WINDOW_S:
            del self._marks[0]

    @property
    def rate(self) -> float:
        """Coded bytes per second, of late."""
        then, before = self._marks[0]
        return (self.coded_bytes - before) / max(1e-3, time.monotonic() - then)

    @property
    def text(self) -> str:
        """E.g. "12.3 MB/s, ratio 2.41, ETA 0:03:10"."""
        rate = self.rate
        parts = [f"{rate / 1e6:.1f} MB/s"]
        if self.stored_bytes:
            parts.append(f"ratio {self.done_bytes / self.stored_bytes:.2f}")
        if rate and self.total_bytes > self.done_bytes:
            parts.append(f"ETA {clock((self.total_bytes - self.done_bytes) / rate)}")
        return ", ".join(parts)


class LogProgress(SilentProgress):
    """Plain lines: one per image, and one now and then while a large image is written."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter = _Meter()
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        self._line(text)

    def image_started(self, plan: ImagePlan) -> None:
        self._meter.total_bytes += plan.raw_bytes

    def shard_done(self, raw_bytes: int, stored_bytes: int, *, reused: bool) -> None:
        self._meter.add(raw_bytes, stored_bytes, reused=reused)
        if time.monotonic() - self._last >= LOG_EVERY_S:
            self._last = time.monotonic()
            meter = self._meter
            share = meter.done_bytes / max(1, meter.total_bytes)
            self._line(f"{size(meter.done_bytes)} done ({share:.0%}), {meter.text}")

    def image_done(self, result: ImageResult) -> None:
        self._line(describe(result))

    def failed(self, failure: ImageFailure) -> None:
        self._line(f"tilepress: {failure.line}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class TerminalProgress(LogProgress):
    """The same lines above a bar with rate, ratio and the time that is left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = RichBar(
            TextColumn("{task.fields[images]} images"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
        )
        self._images = 0
        self._task: TaskID = self._bar.add_task("", total=None, images=0, text="starting workers")

    def image_started(self, plan: ImagePlan) -> None:
        super().image_started(plan)
        self._update()

    def shard_done(self, raw_bytes: int, stored_bytes: int, *, reused: bool) -> None:
        self._meter.add(raw_bytes, stored_bytes, reused=reused)
        self._update()

    def image_done(self, result: ImageResult) -> None:
        self._images += 1
        super().image_done(result)
        self._update()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def _update(self) -> None:
        meter = self._meter
        self._bar.update(
            self._task,
            total=meter.total_bytes or None,
            completed=meter.done_bytes,
            images=self._images,
            text=meter.text,
        )


def progress_for(console: Console, *, quiet: bool = False) -> Progress:
    """Choose by where the output goes."""
    if quiet:
        return SilentProgress()
    return TerminalProgress(console) if console.is_terminal else LogProgress(console)


def describe(result: ImageResult) -> str:
    """Return one line about a sealed store."""
    shape = "×".join(map(str, result.shape))
    more = f" (+{result.files - 1} more)" if result.files > 1 else ""
    text = (
        f"{result.source}{more} → {result.store}: {shape} {result.dtype}, {size(result.raw_bytes)}"
    )
    if result.status == "unchanged":
        return f"{text}, unchanged"
    text += f" → {size(result.stored_bytes)} (ratio {result.ratio:.2f})"
    if result.shards_reused:
        text += f", {result.shards_reused} of {result.shards} shards were there already"
    if result.tuned:
        saved = result.tuning_saved_bytes
        text += ", tuned" if saved is None else f", tuned (saves about {size(saved)})"
    elif result.tuned is not None:
        text += ", not tuned (would not pay)"
    return "; ".join((text, *result.remarks))


def size(n_bytes: float) -> str:
    """Return a size in decimal units, e.g. "1.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2f} TB"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
