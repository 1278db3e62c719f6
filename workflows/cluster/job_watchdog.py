"""A watchdog over jobs: those that end are submitted again until the run is over.

dask-jobqueue does not do that by itself: by ``scale`` a job that died counts on. Where jobs end
soon after they began, again and again, the run gives up and says where their logs are; while others
have stood the test it goes on with these, and tries again now and then.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilepress.errors import TilepressError, UsageError
from tilepress.workflows.interrupts import interrupts_stay_here

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

    from tilepress.workflows.cluster.systems.base import BatchSystem

__all__ = ["JobsEnd", "Watchdog"]

LOOK_EVERY_S = 5.0
"""Seconds between two looks at the queue."""

SOON_S = 60.0
"""A job that ends within so many seconds of its start has failed, rather than used its time."""

FAILURES = 3
"""Jobs that may fail in a row for every job that should run, before the run gives up."""

PAUSE_S = 1800.0
"""Seconds without new jobs after so many failures while other jobs run well; doubled each time."""

LONGEST_WAIT_S = 60.0
"""Seconds between a failure and the next try at most."""

STATUS_WITHIN_S = 30.0

ASKED_AT_ONCE = 20
"""Jobs without a worker that the system is asked about in one look."""


class JobsEnd(TilepressError):
    """Jobs end soon after they begin, again and again."""

    kind = "jobs-end"


@dataclass(slots=True)
class _Seen:
    """What is known of one job."""

    submitted: float
    running: float | None = None
    """When its worker was first seen."""
    proven: bool = False
    """Whether its worker has been there for longer than a job that fails."""
    asked: float = 0.0
    """When the system was last asked about it."""


@dataclass(slots=True)
class Watchdog:
    """Keeps a number of jobs, in a thread; ``check`` raises once it has given up."""

    cluster: JobQueueCluster
    system: BatchSystem
    jobs: int
    where: str
    note: Callable[[str], None] | None = None
    every_s: float = LOOK_EVERY_S
    soon_s: float = SOON_S
    pause_s: float = PAUSE_S

    replaced: int = 0
    """Jobs that were submitted because others had ended."""
    _failures: int = 0
    """Since a job was last proven, or since the last pause."""
    _paused_until: float = 0.0
    _fault: TilepressError | None = None
    _jobs: dict[str, _Seen] = field(default_factory=dict)
    _next_try: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        self._submit()
        with interrupts_stay_here():
            self._thread = threading.Thread(target=self._run, name="tilepress-jobs", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=STATUS_WITHIN_S)

    def check(self) -> None:
        """Raise JobsEnd where jobs do not stay."""
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self._look()
            except TilepressError as error:
                self._fault = error.with_traceback(None)
                return
            except Exception as error:  # the system may be away for a while
                logging.getLogger(__name__).debug("looking after jobs: %r", error)

    def _look(self) -> None:
        """See which jobs are over, and submit others for them."""
        scheduler: Any = self.cluster.scheduler
        names = {str(worker.name) for worker in list(scheduler.workers.values())}
        here = names | {name.rpartition("-")[0] for name in names}  # several of a job: "job-0", …
        now = time.monotonic()
        absent: list[tuple[float, str, _Seen]] = []
        for name in list(self.cluster.worker_spec):
            seen = self._jobs.setdefault(name, _Seen(now))
            if str(name) not in here:
                absent.append((seen.asked, name, seen))
            elif seen.running is None:
                seen.running = now
            elif not seen.proven and now - seen.running > self.soon_s:
                seen.proven = True
                self._failures = 0
        for _, name, seen in sorted(absent, key=lambda one: one[0])[:ASKED_AT_ONCE]:
            job = self.cluster.workers.get(name)
            seen.asked = now
            if job is not None and not self._is_there(str(job.job_id)):
                self._ended(name, str(job.job_id), seen, now)
        if self._stop.is_set() or now < self._next_try:
            return
        if now >= self._paused_until or not self._proven:
            self._submit()

    @property
    def _proven(self) -> int:
        """Jobs that run and have stood the test."""
        return sum(seen.proven for seen in self._jobs.values())

    def _ended(self, name: str, job_id: str, seen: _Seen, now: float) -> None:
        self._jobs.pop(name)
        self.cluster.worker_spec.pop(name, None)
        self.cluster._i += 1  # a name that was used is of a job that is gone
        self.replaced += 1
        if seen.running is None or now - seen.running < self.soon_s:
            self._failures += 1
            self._next_try = now + min(LONGEST_WAIT_S, 2.0 ** (self._failures // self.jobs))
        if self._failures < FAILURES * self.jobs:
            self._tell(f"job {job_id} ended; another one is submitted")
            return
        self._pause_or_raise(
            f"keeping {self.jobs} {self.system.name} jobs running: {self._failures} in a row ended "
            f"soon after they began, the last is job {job_id}; its log is in {self.where}"
        )

    def _pause_or_raise(self, why: str) -> None:
        """Raise JobsEnd, unless jobs run: then submit no others for a while."""
        proven = self._proven
        if not proven:
            if not any(seen.running is not None for seen in self._jobs.values()):
                raise JobsEnd(why)
            self._next_try = time.monotonic() + self.soon_s  # let these show what they are worth
            return
        self._tell(f"{why}; going on with {proven}, next try in {self.pause_s / 60:.0f} min")
        self._failures = 0
        self._paused_until = time.monotonic() + self.pause_s
        self.pause_s *= 2

    def _tell(self, text: str) -> None:
        if self.note is not None:
            self.note(text)

    def _submit(self) -> None:
        """Submit jobs until there are enough; UsageError where the system refuses the first."""
        cluster = self.cluster
        try:
            cluster.sync(self._scale, callback_timeout=STATUS_WITHIN_S * 4)
        except (RuntimeError, OSError, ValueError, TimeoutError) as error:
            told = [line for line in str(error).splitlines() if line.strip()]
            why = told[told.index("stderr:") + 1] if "stderr:" in told[:-1] else (told or ["?"])[0]
            if self._thread is None:
                raise UsageError(f"submitting a {self.system.name} job: {why}") from error
            self._failures += 1
            self._next_try = time.monotonic() + LONGEST_WAIT_S
            if self._failures >= FAILURES * self.jobs:
                self._pause_or_raise(f"submitting {self.system.name} jobs: {why}")

    async def _scale(self) -> None:
        cluster = self.cluster
        while len(cluster.worker_spec) < self.jobs:
            cluster.worker_spec.update(cluster.new_worker_spec())
        await cluster._correct_state()

    def _is_there(self, job_id: str) -> bool:
        """Whether the system has a job that waits or runs; True where it does not answer."""
        command = self.system.status
        if shutil.which(command[0]) is None:
            return True
        try:
            told = subprocess.run(  # noqa: S603  # a fixed command and a number that came from it
                [*command, job_id],
                capture_output=True,
                text=True,
                timeout=STATUS_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return True
        if told.returncode != 0:
            return _is_down(told.stderr)
        return bool(told.stdout.strip()) and not any(s in told.stdout for s in self.system.over)


def _is_down(complaint: str) -> bool:
    """Whether a status command failed because the system is away, not because the job is."""
    words = ("contact", "connect", "communication", "timed out", "timeout", "socket")
    return any(word in complaint.lower() for word in words)
