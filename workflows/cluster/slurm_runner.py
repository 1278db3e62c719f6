"""A whole cluster inside one Slurm allocation.

    srun -n 4 tilepress compress SRC... DST --cluster slurm-runner

Every task of the step runs the same line. Task 0 is scheduler and command; the others become
workers, and end with it. They find each other through a folder in the working folder, which all
nodes must share and only this user may enter:

    .tilepress-runner-JOB-STEP/          made by task 0 at its start, removed at its end
        key.pem, cert.pem                of this run: connections are encrypted, and only who can
                                         read these can join
        scheduler.json                   where the scheduler listens

Where the network between the nodes is trusted, TILEPRESS_RUNNER_TLS=off goes without keys: then
whoever can reach the scheduler's port can run code as this user.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.closed import (
    OPEN_TO_ALL,
    PROTOCOL,
    WORKER_CLASS,
    key_files,
    keys_of_one_run,
    scratch_settings,
    write_keys,
)
from tilepress.workflows.cluster.contract import (
    NO_WORKERS_AFTER_S,
    NoScheduler,
    OpenedCluster,
    ignore_note,
    starting,
    stop,
)
from tilepress.workflows.cluster.local import cpu_count, visible_gpus
from tilepress.workflows.cluster.settings import scheduler_settings, worker_environment
from tilepress.workflows.cluster.worker_kinds import WorkerCounts
from tilepress.workflows.interrupts import interrupts_stay_here

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["RunnerOpener"]

WAIT_FOR_FOLDER_S = 120
"""Seconds that the other tasks wait for a sign of task 0; after it they wait while it lives."""

LOOK_EVERY_S = 0.2

TLS = "TILEPRESS_RUNNER_TLS"
"""Variable of the environment; "off" goes without encryption."""


@dataclass(frozen=True, slots=True)
class RunnerOpener:
    """Opens a cluster of the other tasks of this Slurm step."""

    workers: int
    folder: Path
    security: Security | None
    device: WantedDevice = "auto"
    codec: dict[str, Any] | None = None
    note: Callable[[str], None] | None = None

    shared_threads = None
    at_once = True

    @classmethod
    def of(
        cls,
        workers: int | None,
        device: WantedDevice,
        codec: dict[str, Any] | None = None,
        note: Callable[[str], None] | None = None,
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
        folder = _meeting_place()
        if rank:
            _become_worker(folder, device)
        security = None if _trusted() else keys_of_one_run()
        _make_private(folder, security)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return cls(tasks - 1, folder, security, device, codec, note)

    @property
    def expected(self) -> WorkerCounts:
        """The workers, of which nobody knows yet whether they have GPUs."""
        return WorkerCounts(plain=self.workers, threads=cpu_count())

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Start the scheduler and tell the others; end all on leaving."""
        import dask
        from distributed import Client, SpecCluster

        from tilepress.workflows.cluster.servers import ClosedScheduler
        from tilepress.workflows.cluster.worker_plugin import SetUp

        config = scheduler_settings() | scratch_settings()
        if self.security is None and self.note is not None:
            self.note(f"{TLS}=off: the connections of this run are not encrypted; {OPEN_TO_ALL}")
        options = {
            # no name to listen by: all interfaces
            "host": os.environ.get("SLURMD_NODENAME") or "0.0.0.0",  # noqa: S104
            "protocol": "tcp://" if self.security is None else PROTOCOL,
            "security": self.security,
            "scheduler_file": str(_scheduler_file(self.folder)),
        }
        with dask.config.set(config), interrupts_stay_here(), starting():
            cluster = SpecCluster(
                scheduler={"cls": ClosedScheduler, "options": options},
                security=self.security,
                silence_logs=logging.CRITICAL + 1,
            )
            client = Client(cluster)
        try:
            client.register_plugin(SetUp(self.device, self.codec))
            yield OpenedCluster(
                client=client,
                address=cluster.scheduler_address,
                give_up_after_s=NO_WORKERS_AFTER_S,
                own_scheduler=True,
                note=self.note or ignore_note,
            )
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(TimeoutError, OSError):
                client.retire_workers(close_workers=True, remove=True)
            stop(client, cluster)


def _meeting_place() -> Path:
    """Return the folder through which the tasks of this step find each other."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    job, step, restart = (os.environ.get(name, "0") for name in names)
    return Path.cwd() / f".tilepress-runner-{job}-{step}-{restart}"


def _trusted() -> bool:
    """Whether the user says that connections need no encryption."""
    given = os.environ.get(TLS, "on")
    if given not in ("on", "off"):
        raise UsageError(f"starting workers: {TLS}: got {given!r}, want on or off")
    return given == "off"


def _make_private(folder: Path, security: Security | None) -> None:
    """Make the folder with the keys in it; it appears whole."""
    making = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        making.mkdir(mode=0o700)
        if security is not None:
            write_keys(security, making)
        making.rename(folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise UsageError(f"starting workers: making {folder}: {error.strerror}") from error


def _scheduler_file(folder: Path) -> Path:
    return folder / "scheduler.json"


def _scheduler_comes(folder: Path) -> bool:
    """Wait until the scheduler listens, however long tuning takes before; False: task 0 ended."""
    end = time.monotonic() + WAIT_FOR_FOLDER_S
    while not folder.exists():
        if time.monotonic() > end:
            raise NoScheduler(
                f"joining task 0: {folder} did not appear in {WAIT_FOR_FOLDER_S} s; all nodes must "
                "share the working folder"
            )
        time.sleep(LOOK_EVERY_S)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UsageError(f"joining task 0: {folder} is not ours alone; it may hold anybody's keys")
    while not _scheduler_file(folder).exists():
        if not folder.exists():
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _become_worker(folder: Path, device: WantedDevice) -> NoReturn:
    """Wait for the scheduler and turn into one of its workers."""
    if not _scheduler_comes(folder):
        raise SystemExit(0)  # task 0 tells how the run ended
    threads = cpu_count()
    os.environ.update({name: str(value) for name, value in worker_environment(threads).items()})
    for name in ("TARGET", "SPILL", "PAUSE"):
        os.environ[f"DASK_DISTRIBUTED__WORKER__MEMORY__{name}"] = "False"
    os.environ["DASK_TEMPORARY_DIRECTORY"] = scratch_settings()["temporary-directory"]
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "CRITICAL"  # the command tells; this is its terminal
    resource = "GPU=1" if device != "cpu" and visible_gpus() else "CPU=1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, _worker_line(folder, resource, threads))  # noqa: S606  # no shell


def _worker_line(folder: Path, resource: str, threads: int) -> list[str]:
    line = [
        sys.executable, "-m", "distributed.cli.dask_worker",
        "--scheduler-file", str(_scheduler_file(folder)),
        "--nthreads", str(threads), "--nworkers", "1", "--resources", resource,
        "--worker-class", WORKER_CLASS, "--no-dashboard", "--death-timeout", "60",
    ]  # fmt: skip
    key, cert = key_files(folder)
    if key.exists():
        line += ["--tls-ca-file", str(cert), "--tls-key", str(key), "--tls-cert", str(cert)]
        line += ["--protocol", "tls"]
    return line
