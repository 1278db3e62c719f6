"""Workers that are jobs of a batch system, through dask-jobqueue.

The scheduler is a part of this process. A watchdog keeps the jobs running until the run is over.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.closed import (
    OPEN_TO_ALL,
    PROTOCOL,
    key_files,
    keys_folder,
    keys_of_one_run,
    scratch_settings,
    write_keys,
)
from tilepress.workflows.cluster.contract import (
    OpenedCluster,
    check_versions,
    ignore_note,
    starting,
    stop,
)
from tilepress.workflows.cluster.job_watchdog import Watchdog
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.settings import scheduler_settings
from tilepress.workflows.cluster.systems import batch_system
from tilepress.workflows.cluster.worker_kinds import WorkerCounts
from tilepress.workflows.interrupts import interrupts_stay_here

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster
    from distributed import Client
    from distributed.security import Security

    from tilepress.workflows.cluster.systems.base import BatchSystem

__all__ = [
    "JobOpener",
    "job_script",
    "make_cluster",
    "make_job",
]


@dataclass(frozen=True, slots=True)
class JobOpener:
    """Opens a cluster of jobs."""

    profile: BatchProfile
    device: WantedDevice = "auto"
    codec: dict[str, Any] | None = None
    jobs: int | None = None
    """None: as many as the profile says."""
    note: Callable[[str], None] | None = None

    shared_threads = None
    at_once = False

    @property
    def expected(self) -> WorkerCounts:
        jobs = self.profile.jobs if self.jobs is None else self.jobs
        if self.profile.gpus:
            return WorkerCounts(gpu=jobs * self.profile.gpus, threads=self.profile.cores)
        return WorkerCounts(cpu=jobs, threads=self.profile.cores)

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Start a scheduler and submit the jobs; cancel them on leaving."""
        import dask
        from distributed import Client

        from tilepress.workflows.cluster.worker_plugin import SetUp

        profile = self.profile
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(_config()))
            stack.enter_context(own_settings(batch_system(profile.kind)))
            keys = None
            if profile.tls:
                profile.folder.mkdir(parents=True, exist_ok=True)
                keys = stack.enter_context(keys_folder(profile.folder))
            elif self.note is not None:
                self.note(f"tls: false: connections are not encrypted; {OPEN_TO_ALL}")
            with interrupts_stay_here(), starting():
                cluster = make_cluster(profile, keys)
                client = Client(cluster)
            stack.callback(_stop, client, cluster)
            client.register_plugin(SetUp(self.device, self.codec))
            jobs = profile.jobs if self.jobs is None else self.jobs
            dog = Watchdog(
                cluster,
                batch_system(profile.kind),
                jobs,
                where=str(profile.folder),
                note=self.note,
            )
            stack.enter_context(dog)
            if self.note is not None and profile.scheduler.dashboard:
                self.note(f"dashboard: {client.dashboard_link}")
            yield OpenedCluster(
                client=client,
                address=cluster.scheduler_address,
                give_up_after_s=math.inf,  # jobs may queue for days
                own_scheduler=True,
                check=dog.check,
                admit=lambda workers: check_versions(client, workers),
                note=self.note or ignore_note,
            )


def _stop(client: Client, cluster: JobQueueCluster) -> None:
    """End client and cluster; jobs of dask-jobqueue never say that they are closed."""
    from distributed.core import Status

    for job in list(cluster._created):
        job.status = Status.closed
    stop(client, cluster)


def make_cluster(profile: BatchProfile, keys: Path | None) -> JobQueueCluster:
    """Start a scheduler that jobs can reach; no job is submitted yet.

    ``keys`` is a folder for the keys of the run, which its jobs read; None: connections are not
    encrypted.
    """
    system = batch_system(profile.kind)
    make = system.cluster_class()
    from distributed import Scheduler

    from tilepress.workflows.cluster.servers import ClosedScheduler

    profile.folder.mkdir(parents=True, exist_ok=True)
    options = profile.scheduler
    scheduler: dict[str, Any] = {
        "dashboard": options.dashboard,
        "dashboard_address": "127.0.0.1:0",
        "port": options.port,
    }
    if options.host is not None:
        scheduler["host"] = options.host
    elif options.interface is not None:
        scheduler["interface"] = options.interface
    arguments = system.job_arguments(profile)
    if keys is not None:
        arguments |= {"security": _shared_keys(keys), "protocol": PROTOCOL}
    try:
        return make(
            scheduler_options=scheduler,
            scheduler_cls=Scheduler if options.dashboard else ClosedScheduler,
            silence_logs=logging.CRITICAL + 1,
            **arguments,
        )
    except (ValueError, RuntimeError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"starting a {profile.kind} cluster: {first}") from error


def _shared_keys(folder: Path) -> Security:
    """Return keys that jobs find in a folder; on their command line are the names of the files."""
    keys: Any = keys_of_one_run()
    write_keys(keys, folder)
    key, certificate = key_files(folder)
    keys.tls_worker_key = str(key)
    keys.tls_worker_cert = keys.tls_ca_file = str(certificate)
    shared: Security = keys
    return shared


def job_script(profile: BatchProfile) -> str:
    """Return the script of a job as it would be submitted; starts nothing."""
    more = {"protocol": "tls://"} if profile.tls else {}
    text: str = make_job(profile, **more).job_script()
    return text


def make_job(profile: BatchProfile, **more: object) -> Any:  # noqa: ANN401  # untyped there
    """Return dask-jobqueue's description of one job; ``more`` are further arguments of it."""
    protocol = "tls" if profile.tls else "tcp"
    system = batch_system(profile.kind)
    # a folder of logs that is given would be made
    arguments = system.job_arguments(profile) | {"log_directory": None} | more
    with own_settings(system):
        return system.job_class()(f"{protocol}://SCHEDULER:PORT", name="NAME", **arguments)


def own_settings(system: BatchSystem) -> AbstractContextManager[None]:
    """Without a walltime in the profile a job gets the queue's; dask-jobqueue would take 30 min."""
    import dask

    # its import first, which adds no defaults to settings that are there
    section = system.job_class().config_name
    context: AbstractContextManager[None] = dask.config.set({f"jobqueue.{section}.walltime": None})
    return context


def _config() -> dict[str, Any]:
    return {
        **scheduler_settings(),
        **scratch_settings(),
        "distributed.deploy.lost-worker-timeout": "1 day",  # the watchdog sees to it
        "distributed.comm.timeouts.connect": "60s",
    }
