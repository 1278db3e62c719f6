"""Watch a cluster while tasks run: which workers there are, and whether anything still answers.

A thread asks the scheduler every few seconds. What it finds wrong is raised where the caller waits
for tasks, so that a run ends with one line and never hangs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from tilepress.errors import TilepressError
from tilepress.workflows.cluster.contract import NoScheduler, NoWorkers, OpenedCluster
from tilepress.workflows.cluster.silence import SILENT_AFTER_S, Silence
from tilepress.workflows.cluster.worker_kinds import WorkerCounts, WorkerKind
from tilepress.workflows.interrupts import interrupts_stay_here

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Watch"]

T = TypeVar("T")

LOOK_EVERY_S = 2.0
"""Seconds between two looks at a cluster of few workers; of many, each look costs more."""

WORKERS_PER_S = 500
"""Workers for which the next look waits a second longer."""

ANSWER_WITHIN_S = 8.0
"""Seconds that the scheduler has to answer one look."""

NO_SCHEDULER_AFTER_S = 20.0
"""Seconds without any answer after which a scheduler is taken for gone."""

KIND_AFTER_S = 60.0
"""Seconds without any live worker of one kind after which those of the other get its tasks."""


class Watch:
    """What is known of an opened cluster now."""

    def __init__(self, opened: OpenedCluster, expected: WorkerCounts) -> None:
        self.client: Client = opened.client
        self.workers = expected
        """Those that are there; before the first came those that were asked for."""
        self.note = opened.note
        self._opened = opened
        self._fault: TilepressError | None = None
        self._known: frozenset[str] = frozenset()
        self._silence = Silence()
        self._told: frozenset[str] = frozenset()
        """Workers that are silent, and whose silence is known."""
        now = time.monotonic()
        self._answered = now
        self._alive = dict.fromkeys(WorkerKind, now)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="tilepress-watch", daemon=True)

    def __enter__(self) -> Self:
        with interrupts_stay_here():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=1.0)  # it may wait for a scheduler that no longer answers

    def check(self, kinds: Iterable[WorkerKind] = (WorkerKind.any,)) -> None:
        """Raise what keeps the run from going on: no scheduler, or no workers of ``kinds``."""
        if self._fault is not None:
            raise self._fault
        if self.client.status not in ("running", "newly-created"):
            self.lost()
        now = time.monotonic()
        if now - self._answered > NO_SCHEDULER_AFTER_S and not self._opened.own_scheduler:
            raise NoScheduler(
                f"waiting for tasks: the scheduler at {self._opened.address} has not answered for "
                f"{NO_SCHEDULER_AFTER_S:.0f} s; run the same line again to go on"
            )
        for kind in kinds:
            if now - self._alive[kind] > self._opened.give_up_after_s:
                workers = f"{kind.value} worker" if kind.value else "worker"
                raise NoWorkers(
                    f"waiting for workers: no {workers} process was alive for "
                    f"{self._opened.give_up_after_s:.0f} s"
                )

    def deserted(self) -> list[WorkerKind]:
        """Return the kinds that have had no worker for long while other workers are there."""
        now, workers = time.monotonic(), self.workers
        after_s = min(KIND_AFTER_S, self._opened.give_up_after_s / 2)
        if now - self._alive[WorkerKind.any] > NO_SCHEDULER_AFTER_S:
            return []
        return [
            kind
            for kind in (WorkerKind.gpu, WorkerKind.cpu)
            if not workers.count(kind) and now - self._alive[kind] > after_s
        ]

    def wait_for(self, answer: Coroutine[Any, Any, T]) -> T:
        """Wait for something that the client does, as long as the cluster is there."""
        loop: Any = self.client.loop
        waiting = asyncio.run_coroutine_threadsafe(answer, loop.asyncio_loop)
        while True:
            try:
                return waiting.result(timeout=LOOK_EVERY_S)
            except TimeoutError:
                if waiting.done():
                    raise
                self.check()
            except OSError:  # CommClosedError
                self.lost()

    def lost(self) -> NoReturn:
        """Raise NoScheduler, for the connection to it broke and it has forgotten our tasks."""
        raise NoScheduler(
            f"waiting for tasks: the scheduler at {self._opened.address} ended or cannot be "
            "reached any more; run the same line again to go on"
        )

    def _look_on(self) -> None:
        pause = LOOK_EVERY_S
        while not self._stop.wait(pause):
            try:
                workers = self._look()
                self._opened.check()
                self._opened.admit(frozenset(workers) - self._known)
            except TilepressError as error:
                self._fault = error
                return
            except (
                Exception
            ) as error:  # the connection breaks in many ways; check() has the last word
                logging.getLogger(__name__).debug("looking at the cluster: %r", error)
                continue
            self._note(workers)
            self._tell_of_silent(workers, pause)
            pause = LOOK_EVERY_S + len(workers) / WORKERS_PER_S

    def _look(self) -> Mapping[str, Mapping[str, Any]]:
        client = self.client
        scheduler: Any = client.scheduler
        found = client.sync(scheduler.identity, n_workers=-1, callback_timeout=ANSWER_WITHIN_S)
        self._answered = time.monotonic()
        workers: Mapping[str, Mapping[str, Any]] = found["workers"]
        return workers

    def _tell_of_silent(self, workers: Mapping[str, Mapping[str, Any]], passed_s: float) -> None:
        """Tell of workers that no longer answer, and end those that are stopped."""
        silent = self._silence.look(workers, passed_s)
        for address, worker in silent.items():
            ended = self._opened.end_stopped(address)
            if ended or address not in self._told:
                name = f"worker {worker.get('name')} on {worker.get('host')}"
                then = "its tasks go elsewhere once the scheduler gives it up, or it goes on"
                if ended:
                    then = "its process was stopped; another is started, its tasks go elsewhere"
                self.note(f"{name} has not answered for {SILENT_AFTER_S:.0f} s: {then}")
        self._told = frozenset(silent)

    def _note(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        now = time.monotonic()
        self._known = frozenset(workers)
        if not workers:
            return
        self.workers = WorkerCounts.of(workers.values())
        for kind in WorkerKind:
            if self.workers.count(kind):
                self._alive[kind] = now
