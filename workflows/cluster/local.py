"""A cluster of worker processes on this machine that nobody else can reach.

They listen on the loopback only, for connections with the keys of the run: see ``closed``. They
start with the first task. They end with this process, however it ends: each watches a pipe that
this process holds open. Each GPU has a worker of its own, with CPU workers beside them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.pipeline.guests import client as guests
from tilepress.workflows.cluster.closed import PROTOCOL, keys_of_one_run, scratch_settings
from tilepress.workflows.cluster.contract import (
    NO_WORKERS_AFTER_S,
    OpenedCluster,
    ignore_note,
    starting,
    stop,
)
from tilepress.workflows.cluster.settings import (
    environment_put_back,
    scheduler_settings,
    worker_environment,
)
from tilepress.workflows.cluster.worker_kinds import WorkerCounts
from tilepress.workflows.interrupts import interrupts_stay_here
from tilepress.workflows.unguarded import told_if_unguarded

if TYPE_CHECKING:
    from distributed import SpecCluster

__all__ = ["WORKER_BYTES", "LocalOpener", "cpu_count", "default_workers", "visible_gpus"]

WORKER_BYTES = 2**30
"""Memory that a worker is reckoned to take; a machine with less a processor gets fewer workers."""

TERMINATE_AT = 0.95
"""Share of a worker's memory at which it is started again."""


@dataclass(frozen=True, slots=True)
class LocalOpener:
    """Opens a cluster of this machine's processes."""

    workers: int | None = None
    """None: one a processor, or fewer where memory is short."""
    device: WantedDevice = "cpu"
    codec: dict[str, Any] | None = None
    """Arguments of the TileCodec that every worker loads before its first task."""
    gpus: tuple[str, ...] = ()
    """``CUDA_VISIBLE_DEVICES`` of one GPU worker each."""
    dashboard: bool = False
    """Whether Dask's dashboard is served on the loopback interface."""
    note: Callable[[str], None] | None = None

    @classmethod
    def of(
        cls,
        workers: int | None,
        device: WantedDevice,
        codec: dict[str, Any] | None = None,
        *,
        dashboard: bool = False,
        note: Callable[[str], None] | None = None,
    ) -> LocalOpener:
        """Return an opener with the GPUs that are there and wanted."""
        if dashboard and importlib.util.find_spec("bokeh") is None:
            text = "bokeh is not installed; pip install 'tilepress[dashboard]'"
            raise UsageError(f"serving the dashboard: {text}")
        gpus = () if device == "cpu" else visible_gpus()
        if device == "cuda" and not gpus:
            raise UsageError("starting workers: --device cuda was asked for, and no GPU is visible")
        return cls(workers, device, codec, gpus, dashboard, note)

    at_once = False

    @property
    def expected(self) -> WorkerCounts:
        wanted = default_workers() if self.workers is None else self.workers
        if self.device == "cuda" and self.workers is None:
            wanted = len(self.gpus) + 1  # one for what needs no GPU
        gpu = min(len(self.gpus), max(1, wanted))
        rest = max(0, wanted - gpu)
        return WorkerCounts(gpu=gpu, cpu=rest) if gpu else WorkerCounts(plain=max(1, rest))

    @property
    def shared_threads(self) -> int:
        slots = self.expected.slots
        return slots * _threads_of_each(slots)

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Start processes; stop them on leaving."""
        threads = _threads_of_each(self.expected.slots)
        with told_if_unguarded() as told:
            environment = worker_environment(threads) | guests.for_workers() | told
            with environment_put_back(environment), self._opened(environment) as opened:
                yield opened

    @contextlib.contextmanager
    def _opened(self, environment: dict[str, Any]) -> Iterator[OpenedCluster]:
        import dask
        from distributed import Client

        from tilepress.workflows.cluster.worker_plugin import SetUp

        settings = _config(environment)
        if self.dashboard:
            settings["distributed.worker.profile.enabled"] = True
        with dask.config.set(settings), interrupts_stay_here(), starting():
            cluster = self._start()
            client = Client(cluster)
        try:
            if self.dashboard and self.note is not None:
                self.note(f"dashboard: {client.dashboard_link}")
            client.register_plugin(SetUp(self.device, self.codec))
            yield OpenedCluster(
                client=client,
                address="this machine",
                give_up_after_s=NO_WORKERS_AFTER_S,
                own_scheduler=True,
                end_stopped=functools.partial(_end_stopped, cluster),
                note=self.note or ignore_note,
            )
        finally:
            stop(client, cluster)

    def _start(self) -> SpecCluster:
        from distributed import Nanny, Scheduler, SpecCluster

        from tilepress.workflows.cluster.servers import ClosedScheduler, ClosedWorker

        security = keys_of_one_run()
        closed = {"host": "127.0.0.1", "protocol": PROTOCOL, "security": security}
        counts = self.expected
        kinds: list[tuple[dict[str, int] | None, dict[str, str]]] = [
            ({"GPU": 1}, {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in self.gpus[: counts.gpu]
        ]
        kinds += [({"CPU": 1}, {"CUDA_VISIBLE_DEVICES": ""})] * counts.cpu
        kinds += [(None, {})] * counts.plain
        share = _memory() // len(kinds)
        workers = {
            number: {
                "cls": Nanny,
                "options": {
                    **closed,
                    "worker_class": ClosedWorker,
                    "nthreads": 1,
                    "memory_limit": share,
                    "resources": resources,
                    "env": environment,
                    "silence_logs": logging.CRITICAL + 1,
                },
            }
            for number, (resources, environment) in enumerate(kinds)
        }
        scheduler: dict[str, Any] = {"cls": ClosedScheduler, "options": closed}
        if self.dashboard:
            shown = {"dashboard": True, "dashboard_address": "127.0.0.1:0"}
            scheduler = {"cls": Scheduler, "options": closed | shown}
        return SpecCluster(
            workers=workers,
            scheduler=scheduler,
            security=security,
            silence_logs=logging.CRITICAL + 1,
        )


def _end_stopped(cluster: SpecCluster, address: str) -> bool:
    """Kill the process of a worker if it is stopped; its nanny then starts another."""
    for nanny in list(cluster.workers.values()):
        pid = nanny.pid if nanny.worker_address == address else None
        with contextlib.suppress(OSError):
            if pid is not None and _state(pid) == "T":
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def _state(pid: int) -> str:
    """Return the letter that proc(5) has for the state of a process; t is one in a debugger."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def default_workers() -> int:
    """Return how many workers this machine gets: a processor each, and memory for each."""
    return max(1, min(cpu_count(), _memory() // WORKER_BYTES))


def cpu_count() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """Return names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them.

    Asks the driver and makes no context, which would take memory of the device.
    """
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return ("0",)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in given.split(",") if name.strip()]
    return tuple(names[: count.value] or map(str, range(count.value)))


def _memory() -> int:
    """Return the bytes that this process may use, as its control group says."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def _threads_of_each(workers: int) -> int:
    """Return the threads that one of ``workers`` codes with: its share, unless the user says."""
    wanted = os.environ.get("TILEPRESS_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, cpu_count() // workers)


def _config(environment: dict[str, Any]) -> dict[str, Any]:
    """Return Dask's settings: few retries of deadly tasks, workers with this environment."""
    return {
        **scheduler_settings(),
        **scratch_settings(),
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": TERMINATE_AT,
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.profile.enabled": False,
        "distributed.comm.timeouts.connect": "60s",
    }
