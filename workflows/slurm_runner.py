"""A whole cluster inside one Slurm allocation.

    srun -n 4 tilepress compress SRC... DST --cluster slurm-runner

Every task of the step runs the same line. Task 0 is scheduler and command; the others become
workers, and end with it. Where they find each other is written to a file in the working folder,
which all nodes must share.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tilepress.codecs.errors import UsageError
from tilepress.workflows.cluster import OpenedCluster, stop, worker_environment
from tilepress.workflows.executor import WORKER_DEATHS, cpu_count
from tilepress.workflows.lanes import Lanes
from tilepress.workflows.local_cluster import visible_gpus
from tilepress.workflows.signals import interrupts_stay_here
from tilepress.workflows.watch import NO_WORKERS_AFTER_S
from tilepress.workflows.worker import WantedDevice

__all__ = ["RunnerOpener"]

WAIT_FOR_SCHEDULER_S = 120
"""Seconds that the other tasks wait for task 0."""


@dataclass(frozen=True, slots=True)
class RunnerOpener:
    """Opens a cluster of the other tasks of this Slurm step."""

    workers: int
    device: WantedDevice = "auto"
    codec: dict[str, Any] | None = None

    shared_threads = None

    @classmethod
    def of(
        cls, workers: int | None, device: WantedDevice, codec: dict[str, Any] | None = None
    ) -> RunnerOpener:
        """Return an opener in task 0; in the other tasks become a worker and never return."""
        try:
            rank, tasks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
        except (KeyError, ValueError) as error:
            raise UsageError(
                "starting workers: --cluster slurm-runner is for the tasks of a Slurm step; "
                "srun -n 4 tilepress compress …"
            ) from error
        if tasks < 2:
            raise UsageError("starting workers: --cluster slurm-runner needs 2 tasks or more")
        if workers is not None:
            raise UsageError("starting workers: --workers does not go with --cluster slurm-runner")
        if rank:
            _become_worker(_scheduler_file(), device)
        return cls(tasks - 1, device, codec)

    @property
    def expected(self) -> Lanes:
        return Lanes(cpu=self.workers, threads=cpu_count())

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Start the scheduler and tell the others; end all on leaving."""
        import dask
        from distributed import Client, Scheduler, SpecCluster

        from tilepress.workflows.worker_plugin import SetUp

        file = _scheduler_file()
        host = os.environ.get("SLURMD_NODENAME") or "0.0.0.0"  # noqa: S104  # no name to listen by
        config = {
            "distributed.scheduler.allowed-failures": WORKER_DEATHS - 1,
            "distributed.admin.log-length": 0,
        }
        options = {
            "host": host,
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
            "scheduler_file": str(file),
        }
        with dask.config.set(config), interrupts_stay_here():
            cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": options},
                silence_logs=logging.CRITICAL + 1,
            )
            client = Client(cluster)
        try:
            client.register_plugin(SetUp(self.device, self.codec))
            yield OpenedCluster(
                client=client,
                address=cluster.scheduler_address,
                patience_s=NO_WORKERS_AFTER_S,
                own_scheduler=True,
            )
        finally:
            file.unlink(missing_ok=True)
            with contextlib.suppress(TimeoutError, OSError):
                client.retire_workers(close_workers=True, remove=True)
            stop(client, cluster)


def _scheduler_file() -> Path:
    job, step = os.environ.get("SLURM_JOB_ID", "0"), os.environ.get("SLURM_STEP_ID", "0")
    return Path.cwd() / f".tilepress-scheduler-{job}-{step}.json"


def _become_worker(file: Path, device: WantedDevice) -> NoReturn:
    """Wait for the scheduler and turn into one of its workers."""
    end = time.monotonic() + WAIT_FOR_SCHEDULER_S
    while not file.exists():
        if time.monotonic() > end:
            raise UsageError(f"joining task 0: {file} did not appear in {WAIT_FOR_SCHEDULER_S} s")
        time.sleep(0.2)
    threads = cpu_count()
    os.environ.update({name: str(value) for name, value in worker_environment(threads).items()})
    for name in ("TARGET", "SPILL", "PAUSE"):
        os.environ[f"DASK_DISTRIBUTED__WORKER__MEMORY__{name}"] = "False"
    resource = "GPU=1" if device != "cpu" and visible_gpus() else "CPU=1"
    command = [
        sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file),
        "--nthreads", str(threads), "--nworkers", "1", "--resources", resource,
        "--no-dashboard", "--death-timeout", "60",
    ]  # fmt: skip
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606  # no shell is meant
