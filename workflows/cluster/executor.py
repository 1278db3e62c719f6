"""Run tasks one at a time or on a Dask cluster, behind the same few methods.

Nothing here knows images. Tasks are submitted under keys and come back in the order in which they
finish; the caller keeps the number in flight bounded by ``window``. An error of ours comes back as
itself but without what caused it, any other as TaskFailed.

    submit ──► waiting ──(nothing has finished: go in one message)──► scheduler ──► workers
    next ◄──── done ◄──────────────────────────────────────────────────┘
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tilepress.codecs import threads as pool
from tilepress.errors import TilepressError, UsageError
from tilepress.workflows.cluster.contract import ClusterOpener
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.task_errors import run_at_boundary
from tilepress.workflows.cluster.watch import Watch
from tilepress.workflows.cluster.worker import Call, Raised, run_task
from tilepress.workflows.cluster.worker_kinds import GPU_TASKS, WorkerCounts, WorkerKind

if TYPE_CHECKING:
    from distributed import Future

__all__ = ["Completed", "DaskExecutor", "Executor", "InProcessExecutor", "Killed"]

TASKS_PER_WORKER = 3
"""Tasks in flight per worker: one runs, the others hide the round trip to the scheduler."""

QUICK_S = 0.05
"""Where workers take less than this for a task, the messages are the work: then more tasks are in
flight, so that each message carries many."""

QUICK_TASKS_PER_WORKER = 64

GATHER_S = 0.02
"""Seconds for which results of such tasks are let come in before they are fetched together."""

LOOK_EVERY_S = 1.0
"""How often a caller that waits looks whether the cluster is still there."""


class Killed(TilepressError):
    """The worker processes that ran a task died each time."""

    kind = "killed"


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished task: its result, or the error that it raised."""

    key: str
    result: Any = None
    error: Exception | None = None


class Executor(Protocol):
    """Where tasks run."""

    @property
    def window(self) -> int:
        """Tasks that should be in flight at most; changes while workers come and go."""
        ...

    @property
    def slots(self) -> int:
        """Tasks that run at the same time."""
        ...

    def threads(self, tasks: int) -> int:
        """Return the threads that the next task may code with when ``tasks`` run at once."""
        ...

    def submit(
        self, key: str, function: Callable[..., Any], *args: object, codes: bool = False
    ) -> None:
        """Hand over a task. Keys are used once; ``codes`` says that it would gain by a GPU."""
        ...

    def next(self) -> Completed:
        """Wait for any task to finish."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class InProcessExecutor:
    """Runs each task in this process when its result is asked for: tiny images, debugging."""

    window = 1
    slots = 1

    def __init__(self) -> None:
        self._coders = pool.threads()
        self._tasks: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()

    def threads(self, tasks: int) -> int:
        return max(1, self._coders // max(1, tasks))

    def submit(
        self, key: str, function: Callable[..., Any], *args: object, codes: bool = False
    ) -> None:
        self._tasks.append((key, function, args))

    def next(self) -> Completed:
        key, function, args = self._tasks.popleft()
        try:
            return Completed(key, run_at_boundary(function, *args))
        except Exception as error:  # the boundary of a task: every error is the caller's to sort
            return Completed(key, error=error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tasks.clear()


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: str
    call: Call
    kind: WorkerKind
    codes: bool


class DaskExecutor:
    """Runs tasks on the workers of a cluster, which is opened with the first task.

    ``cluster`` may be a number: so many worker processes of this machine.
    """

    def __init__(self, cluster: ClusterOpener | int) -> None:
        if isinstance(cluster, int):
            cluster = LocalOpener(workers=cluster)
        self._opener = cluster
        self._watch: Watch | None = None
        self._stack = contextlib.ExitStack()
        self._waiting: list[_Waiting] = []
        self._futures: dict[str, tuple[_Waiting, Future[Any]]] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready: deque[Completed] = deque()
        self._in_flight = dict.fromkeys(WorkerKind, 0)
        self._pace = _Pace()
        self._run = secrets.token_hex(8)
        """Of this run alone: a scheduler that several share gives equal keys equal results."""
        self._submitted = 0
        self._looked = 0.0

    @property
    def window(self) -> int:
        workers = self._workers
        usual = GPU_TASKS * workers.gpu + TASKS_PER_WORKER * (workers.slots - workers.gpu)
        if self._is_quick:
            usual = QUICK_TASKS_PER_WORKER * workers.slots
        return max(1, usual)

    @property
    def _is_quick(self) -> bool:
        return self._pace.per_s * QUICK_S > self._workers.slots

    @property
    def slots(self) -> int:
        return max(1, self._workers.slots)

    def threads(self, tasks: int) -> int:
        shared = self._opener.shared_threads
        return self._workers.threads if shared is None else max(1, shared // max(1, tasks))

    def submit(
        self, key: str, function: Callable[..., Any], *args: object, codes: bool = False
    ) -> None:
        self._queue(key, Call(function, args), codes)
        if len(self._waiting) >= max(self.slots, self.window // 4):
            self._send()

    def next(self) -> Completed:
        if not self._ready:
            self._ready.extend(self._collect())
        self._pace.count()
        return self._ready.popleft()

    def scheduler_tasks(self) -> int:
        """Return how many tasks the scheduler knows just now."""
        count: int = self._open().client.run_on_scheduler(_count_tasks)
        return count

    def worker_pids(self) -> list[int]:
        """Return the process ids of the live workers."""
        return sorted(self._open().client.run(os.getpid).values())

    def __enter__(self) -> Self:
        if self._opener.at_once:
            self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._futures.clear()
        self._waiting.clear()
        self._ready.clear()
        self._stack.close()
        self._watch = None

    @property
    def _workers(self) -> WorkerCounts:
        return self._opener.expected if self._watch is None else self._watch.workers

    def _open(self) -> Watch:
        if self._watch is None:
            _refuse_unguarded_main()
            opened = self._stack.enter_context(self._opener.open())
            self._watch = self._stack.enter_context(Watch(opened, self._opener.expected))
        return self._watch

    def _queue(self, key: str, call: Call, codes: bool) -> None:
        kind = self._workers.choose(self._in_flight[WorkerKind.gpu], codes=codes)
        self._in_flight[kind] += 1
        self._waiting.append(_Waiting(key, call, kind, codes))

    def _send(self) -> None:
        """Send what was submitted, in a message for each kind: it costs more than a task in it."""
        client = self._open().client
        for kind in WorkerKind:
            tasks = [task for task in self._waiting if task.kind is kind]
            if not tasks:
                continue
            numbers = [self._number(task) for task in tasks]
            futures = client.map(
                run_task,
                [task.call for task in tasks],
                key=numbers,
                pure=False,
                resources=kind.resources,
            )
            for number, task, future in zip(numbers, tasks, futures, strict=True):
                self._futures[number] = (task, future)
                future.add_done_callback(lambda _, number=number: self._done.put(number))
        self._waiting.clear()

    def _number(self, task: _Waiting) -> str:
        """Return a key for the scheduler, which keeps statistics by what stands before the dash."""
        self._submitted += 1
        return f"{task.call.function.__name__}-{self._run}-{self._submitted}"

    def _collect(self) -> Iterator[Completed]:
        """Wait for a task to end; yield it and those that ended beside it, fetched together."""
        if self._done.empty():
            self._send()
        numbers = [self._wait()]
        if self._is_quick:
            time.sleep(GATHER_S)
        with contextlib.suppress(queue.Empty):
            while True:
                number = self._done.get_nowait()
                if number in self._futures:
                    numbers.append(number)
        ended = {number: self._futures.pop(number) for number in numbers}
        for task, _ in ended.values():
            self._in_flight[task.kind] -= 1
        results = self._results({number: future for number, (_, future) in ended.items()})
        for number, (task, future) in ended.items():
            result = results.get(number)
            if future.status == "error":
                yield _failed(task.key, future)
            elif isinstance(result, Raised):
                yield Completed(task.key, error=result.error)
            else:
                yield Completed(task.key, result)

    def _wait(self) -> str:
        """Wait for any future as long as the cluster may go on; return its number."""
        while True:
            if time.monotonic() - self._looked > LOOK_EVERY_S:
                self._look()
            with contextlib.suppress(queue.Empty):
                number = self._done.get(timeout=LOOK_EVERY_S)
                if number in self._futures:  # one that was moved ended as cancelled
                    return number

    def _look(self) -> None:
        """Raise where the cluster cannot go on; move tasks whose kind of worker is gone."""
        watch = self._open()
        for kind in watch.deserted():
            self._move(kind)
        watch.check({kind for kind, count in self._in_flight.items() if count})
        self._looked = time.monotonic()

    def _move(self, kind: WorkerKind) -> None:
        """Hand the tasks that wait for workers of a kind to those that are there."""
        stuck = {
            number: (task, future)
            for number, (task, future) in self._futures.items()
            if task.kind is kind and future.status == "pending"
        }
        if not stuck:
            return
        watch = self._open()
        for number, (task, _) in stuck.items():
            del self._futures[number]
            self._in_flight[kind] -= 1
            self._queue(task.key, task.call, task.codes)
        futures = [future for _, future in stuck.values()]
        watch.wait_for(watch.client.cancel(futures, asynchronous=True))
        self._send()
        others = "CPU workers" if kind is WorkerKind.gpu else "GPU workers"
        watch.note(f"the {kind.value} workers are gone; going on with {others}")

    def _results(self, futures: dict[str, Future[Any]]) -> dict[str, Any]:
        """Fetch what tasks returned, in one message; None of those that failed."""
        watch = self._open()
        fetched: dict[str, Any] = watch.wait_for(
            watch.client.gather(futures, errors="skip", asynchronous=True)
        )
        if any(future.status in ("cancelled", "lost") for future in futures.values()):
            watch.lost()
        return fetched


def _count_tasks(dask_scheduler: Any) -> int:  # noqa: ANN401  # distributed's, by this name
    return len(dask_scheduler.tasks)


def _failed(key: str, future: Future[Any]) -> Completed:
    """Return the error of a task."""
    from distributed import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        text = "running a task: its worker processes died one after another"
        return Completed(key, error=Killed(text))
    if isinstance(error, Exception):
        return Completed(key, error=error)
    raise error


class _Pace:
    """Tasks that end in a second, of late."""

    WINDOW_S = 1.0

    def __init__(self) -> None:
        self.per_s = 0.0
        self._since = time.monotonic()
        self._count = 0

    def count(self) -> None:
        self._count += 1
        passed = time.monotonic() - self._since
        if passed > self.WINDOW_S:
            self.per_s = self._count / passed
            self._since, self._count = time.monotonic(), 0


def _refuse_unguarded_main() -> None:
    """Say what is wrong where a script that is imported by its own workers starts workers."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "starting worker processes: the calling script starts them again on import; put the "
            "call under 'if __name__ == \"__main__\":' or pass workers=0"
        )
