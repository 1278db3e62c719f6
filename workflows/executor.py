"""Run tasks one at a time or on a local Dask cluster, behind the same few methods.

Nothing here knows images. Tasks are submitted under keys and come back in the order in which they
finish; the caller keeps the number in flight bounded by ``window``. An error of ours comes back as
itself but without what caused it, any other as TaskFailed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.resource_tracker
import os
import queue
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tilepress.codecs import batcher
from tilepress.codecs.errors import TilepressError, UsageError
from tilepress.workflows.edge import at_edge

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

__all__ = ["Completed", "DaskExecutor", "Executor", "InProcessExecutor", "Killed", "NoWorkers"]

TASKS_PER_WORKER = 3
"""Tasks in flight per worker: one runs, the others hide the round trip to the scheduler."""

WORKER_DEATHS = 2
"""Deaths of a worker that one submission of a task may see. Neighbours in the same queue are
counted too, so the caller tries such a task once more on its own before it blames it."""

NO_WORKERS_AFTER_S = 120.0
"""Seconds without any live worker after which a run gives up."""

STOP_AFTER_S = 5.0
"""Seconds that workers get to end by themselves."""


class Killed(TilepressError):
    """The worker processes that ran a task died each time."""

    kind = "killed"


class NoWorkers(TilepressError):
    """No worker process could be kept alive."""

    kind = "no-workers"


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished task: its result, or the error that it raised."""

    key: str
    result: Any = None
    error: Exception | None = None


class Executor(Protocol):
    """Where tasks run."""

    window: int
    """Tasks that should be in flight at most."""
    slots: int
    """Tasks that run at the same time."""
    coders: int
    """Threads that all running tasks together may code with."""

    def submit(self, key: str, function: Callable[..., Any], *args: object) -> None:
        """Hand over a task. Keys are used once."""
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

    def __init__(self) -> None:
        self.window = self.slots = 1
        self.coders = batcher.threads()
        self._tasks: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, key: str, function: Callable[..., Any], *args: object) -> None:
        self._tasks.append((key, function, args))

    def next(self) -> Completed:
        key, function, args = self._tasks.popleft()
        try:
            return Completed(key, at_edge(function, *args))
        except Exception as error:  # the edge of a task: every error is the caller's to sort
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


class DaskExecutor:
    """Runs tasks on worker processes of this machine that listen on the loopback only.

    They start with the first task. They end with this process, however it ends: each watches a pipe
    that this process holds open.
    """

    def __init__(self, workers: int) -> None:
        self.window = TASKS_PER_WORKER * workers
        self.slots = workers
        self.coders = workers * _threads_of_each(workers)
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._futures: dict[str, Future[Any]] = {}
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None

    def submit(self, key: str, function: Callable[..., Any], *args: object) -> None:
        future = self._open_client().submit(at_edge, function, *args, key=key, pure=False)
        self._futures[key] = future
        future.add_done_callback(lambda _: self._done.put(key))

    def next(self) -> Completed:
        key = self._wait()
        return _completed(key, self._futures.pop(key))

    def worker_pids(self) -> list[int]:
        """Return the process ids of the live workers."""
        return sorted(self._open_client().run(os.getpid).values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._futures.clear()
        self._stack.close()
        self._client = None

    def _open_client(self) -> Client:
        if self._client is None:
            _refuse_unguarded_main()
            self._client = self._stack.enter_context(_start(self.slots))
        return self._client

    def _wait(self) -> str:
        """Wait for any future, for ever as long as there are workers; return its key."""
        alive = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._done.get(timeout=2.0)
            if self._open_client().scheduler_info(n_workers=-1)["workers"]:
                alive = time.monotonic()
            elif time.monotonic() - alive > NO_WORKERS_AFTER_S:
                raise NoWorkers(
                    f"waiting for worker processes: none was alive for {NO_WORKERS_AFTER_S:.0f} s"
                )


def cpu_count() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads_of_each(workers: int) -> int:
    """Return the threads that one of ``workers`` codes with: its share, unless the user says."""
    wanted = os.environ.get("TILEPRESS_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, cpu_count() // workers)


def _completed(key: str, future: Future[Any]) -> Completed:
    from distributed import KilledWorker

    try:
        return Completed(key, future.result())
    except KilledWorker:
        text = f"running a task: {WORKER_DEATHS} worker processes died in turn"
        return Completed(key, error=Killed(text))
    except Exception as error:  # the edge of a task: every error is the caller's to sort
        return Completed(key, error=error)


@contextlib.contextmanager
def _start(workers: int) -> Iterator[Client]:
    """Start a cluster of processes on the loopback without dashboard; stop it on leaving."""
    import dask
    from distributed import Client, LocalCluster

    with dask.config.set(_config(_threads_of_each(workers))), _interrupts_stay_here():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            memory_limit=0,
            silence_logs=logging.CRITICAL + 1,
        )
        client = Client(cluster)
    try:
        yield client
    finally:
        _stop(client, cluster)


def _stop(client: Client, cluster: LocalCluster) -> None:
    """End client and workers; those that are in the middle of a shard are not waited for long."""
    with contextlib.suppress(TimeoutError, OSError):
        client.close(timeout=STOP_AFTER_S)
    with contextlib.suppress(TimeoutError, OSError):
        cluster.close(timeout=STOP_AFTER_S)


def _config(threads: int) -> dict[str, Any]:
    """Return Dask's settings: few retries of deadly tasks, lean libraries in the workers."""
    environment = {
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
        "TILEPRESS_THREADS": threads,
        "GDAL_NUM_THREADS": 1,
        "GDAL_CACHEMAX": 256,  # MiB; GDAL's default of 5 % of the machine is too much per process
        "MALLOC_ARENA_MAX": 2,
        "MALLOC_TRIM_THRESHOLD_": 65536,
    }
    return {
        "distributed.scheduler.allowed-failures": WORKER_DEATHS - 1,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.admin.log-length": 0,
        "distributed.comm.timeouts.connect": "60s",
    }


@contextlib.contextmanager
def _interrupts_stay_here() -> Iterator[None]:
    """Block SIGINT while threads and processes are started, which they inherit for good.

    Ctrl-C reaches every process of the terminal's group; only this thread may act on it.
    """
    with warnings.catch_warnings():  # of a tracker that somebody killed: nothing of ours leaks
        warnings.simplefilter("ignore")
        multiprocessing.resource_tracker.ensure_running()  # else it unblocks the signal later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refuse_unguarded_main() -> None:
    """Say what is wrong where a script that is imported by its own workers starts workers."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "starting worker processes: the calling script starts them again on import; put the "
            "call under 'if __name__ == \"__main__\":' or pass workers=0"
        )
