"""What a cluster is to a run: who opens it, what it then gives, and how it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tilepress.errors import TilepressError
from tilepress.workflows.cluster.worker_kinds import WorkerCounts

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "NO_WORKERS_AFTER_S",
    "STOP_AFTER_S",
    "ClusterOpener",
    "NoScheduler",
    "NoWorkers",
    "OpenedCluster",
    "VersionMismatch",
    "check_versions",
    "ignore_note",
    "starting",
    "stop",
]

STOP_AFTER_S = 5.0
"""Seconds that workers get to end by themselves."""

ABANDON_FOR_S = 0.2
"""Seconds in which a process that is just being started shows up, to be ended."""

NO_WORKERS_AFTER_S = 120.0
"""Seconds without any live worker after which a run gives up, where jobs need not queue."""


class NoWorkers(TilepressError):
    """No worker process could be kept alive."""

    kind = "no-workers"


class NoScheduler(TilepressError):
    """The scheduler ended, or cannot be reached."""

    kind = "no-scheduler"


class VersionMismatch(TilepressError):
    """A worker runs other versions than the command, so tasks would not mean the same there."""

    kind = "version-mismatch"


def _all_is_well() -> None:
    return None


def _admit_all(_: frozenset[str]) -> None:
    return None


def _not_stopped(_: str) -> bool:
    return False


def ignore_note(_: str) -> None:
    """Take a note that nobody wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCluster:
    """A cluster that takes tasks."""

    client: Client
    address: str
    """Of the scheduler, for messages."""
    give_up_after_s: float
    """Seconds without any live worker; infinite where jobs queue for days."""
    own_scheduler: bool = False
    """Whether the scheduler is a part of this process, and cannot end alone."""
    check: Callable[[], None] = _all_is_well
    """Raises where the cluster cannot go on."""
    admit: Callable[[frozenset[str]], None] = _admit_all
    """Looks at new workers, by address, and raises where they do not suit."""
    end_stopped: Callable[[str], bool] = _not_stopped
    """Ends the process of a worker, by address, if that is stopped as by SIGSTOP; its tasks then go
    elsewhere. False: it is not stopped, or nobody knows."""
    note: Callable[[str], None] = ignore_note
    """Is told what a user wants to know while tasks run."""


class ClusterOpener(Protocol):
    """Opens a cluster when the first task is there."""

    @property
    def expected(self) -> WorkerCounts:
        """Workers that will be there, as far as is known before."""
        ...

    @property
    def shared_threads(self) -> int | None:
        """Threads to share out among the tasks that run; None: each worker uses its own."""
        ...

    @property
    def at_once(self) -> bool:
        """Whether to open it before the first task is there, for others wait to join it."""
        ...

    def open(self) -> AbstractContextManager[OpenedCluster]:
        """Start or join the cluster; leave or stop it at the end."""
        ...


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Start a cluster; where that is broken off, e.g. by Ctrl-C, leave no process of it behind.

    Dask would close such a cluster when the interpreter ends, and print how that failed.
    """
    from distributed import SpecCluster

    before, children = set(SpecCluster._instances), set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for cluster in set(SpecCluster._instances) - before:
            cluster.shutdown_on_close = False
            loop: Any = cluster.loop
            loop.add_callback(threading.Event().wait)  # so that no nanny starts another
        end = time.monotonic() + ABANDON_FOR_S
        while time.monotonic() < end:
            for child in set(multiprocessing.active_children()) - children:
                child.kill()
            time.sleep(ABANDON_FOR_S / 10)
        raise


def stop(client: Client, cluster: Any = None) -> None:  # noqa: ANN401  # distributed's clusters
    """End client and workers; those that are in the middle of a shard are not waited for long."""
    with contextlib.suppress(TimeoutError, OSError):
        client.close(timeout=STOP_AFTER_S)
    if cluster is not None:
        with contextlib.suppress(TimeoutError, OSError):
            cluster.close(timeout=STOP_AFTER_S)


def check_versions(client: Client, workers: Iterable[str]) -> None:
    """Raise VersionMismatch where workers run another Python or tilepress than this process."""
    import importlib.metadata
    import platform

    addresses = list(workers)
    if not addresses:
        return
    here = {
        "Python": (platform.python_version, (), _minor(platform.python_version())),
        "tilepress": (importlib.metadata.version, ("tilepress",), _own_version()),
    }
    for what, (ask, arguments, expected) in here.items():
        told = client.run(ask, *arguments, workers=addresses, on_error="return")
        for worker, answer in told.items():
            if isinstance(answer, OSError):
                continue  # it went away meanwhile
            if isinstance(answer, Exception):
                raise VersionMismatch(
                    f"joining worker {worker}: it has no {what}; install it there"
                )
            found = _minor(answer) if what == "Python" else answer
            if found != expected:
                raise VersionMismatch(
                    f"joining worker {worker}: it has {what} {found}, this command has {expected}; "
                    "both must be the same"
                )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _own_version() -> str:
    import importlib.metadata

    return importlib.metadata.version("tilepress")
