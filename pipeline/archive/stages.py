"""Time the stages of the work: read, code, check, write; tell which of them bounds a run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["STAGES", "Stage", "StageClock", "Stages"]

Stage = Literal["read", "code", "check", "write"]

STAGES: tuple[Stage, ...] = ("read", "code", "check", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Where the time of workers went, summed over all threads that did the work."""

    read_s: float = 0.0
    """Thread-seconds in which samples were read from the source and decoded."""
    code_s: float = 0.0
    """Thread-seconds in which records were coded."""
    check_s: float = 0.0
    """Thread-seconds in which records were decoded again and compared."""
    write_s: float = 0.0
    """Thread-seconds in which objects were written, synced and noted."""
    read_bytes: int = 0
    """Decoded bytes that the sources gave."""
    written_bytes: int = 0
    """Bytes of the objects written."""

    def __add__(self, other: Stages) -> Stages:
        return Stages(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _FIELDS})

    def __sub__(self, other: Stages) -> Stages:
        """Return what came since ``other``, an earlier sum."""
        return Stages(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in _FIELDS})

    @property
    def seconds(self) -> float:
        """Thread-seconds of all stages."""
        return self.read_s + self.code_s + self.check_s + self.write_s

    @property
    def shares(self) -> dict[Stage, float]:
        """Share of each stage in those seconds, the largest first; {} where nothing was timed."""
        total = self.seconds
        if total <= 0:
            return {}
        shares = {stage: getattr(self, f"{stage}_s") / total for stage in STAGES}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    @property
    def bound_by(self) -> Stage | None:
        """The stage that takes most of the time: to make the run faster, begin there."""
        return next(iter(self.shares), None)

    @property
    def text(self) -> str:
        """E.g. "code 71 %, check 20 %, read 6 %, write 3 % of worker time"; "" for nothing."""
        shares = [f"{stage} {100 * share:.0f} %" for stage, share in self.shares.items()]
        return f"{', '.join(shares)} of worker time" if shares else ""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values, seconds to the microsecond."""
        values = ((f.name, getattr(self, f.name)) for f in _FIELDS)
        return {name: round(v, 6) if isinstance(v, float) else v for name, v in values}


_FIELDS = fields(Stages)


class StageClock:
    """Sums up the stages of one task, in however many threads it works.

        clock = StageClock()
        with clock.time("read"):
            samples = source.read(box)
        clock.count(read_bytes=samples.nbytes)
        ...
        clock.stages

    Elapsed time is taken, not processor time: a thread that waits for a disk or a GPU is bound by
    it. A block must not contain another one of the same thread, or its time counts twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages = Stages()

    @contextlib.contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Add the time that the block takes to a stage, also where the block raises."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            taken: dict[str, Any] = {f"{stage}_s": time.perf_counter() - begin}
            self._add(Stages(**taken))

    def count(self, *, read_bytes: int = 0, written_bytes: int = 0) -> None:
        """Add bytes."""
        self._add(Stages(read_bytes=read_bytes, written_bytes=written_bytes))

    @property
    def stages(self) -> Stages:
        """What was timed so far; blocks that are still open are not in it."""
        with self._lock:
            return self._stages

    def _add(self, more: Stages) -> None:
        with self._lock:
            self._stages += more
