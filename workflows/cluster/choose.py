"""What a cluster is to a run, and which one ``--cluster`` means.

local            processes of this machine             local_cluster
cuda             dask-cuda: a worker for each GPU      dask_cuda_cluster
tcp://  tls://   a scheduler that runs somewhere       address_cluster
profile.yaml     jobs of a batch system, or an address profiles, job_cluster
slurm-runner     every task of one Slurm allocation    slurm_runner
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tilepress.errors import TilepressError, UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.worker_kinds import Lanes

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

__all__ = [
    "STOP_AFTER_S",
    "TICK",
    "ClusterOpener",
    "OpenedCluster",
    "VersionMismatch",
    "check_versions",
    "choose_cluster",
    "stop",
    "temporary_security",
    "unheard",
    "worker_environment",
]

TICK = "500ms"
"""How often Dask looks whether an event loop lags: 50 times a second, its own way, takes 1 % of a
core from every process."""

STOP_AFTER_S = 5.0
"""Seconds that workers get to end by themselves."""


def _nothing() -> None:
    return None


def _welcome(_: frozenset[str]) -> None:
    return None


def unheard(_: str) -> None:
    """Take a note that nobody wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCluster:
    """A cluster that takes tasks."""

    client: Client
    address: str
    """Of the scheduler, for messages."""
    patience_s: float
    """Seconds without workers after which a run gives up; infinite where jobs queue for days."""
    own_scheduler: bool = False
    """Whether the scheduler is a part of this process, and cannot end alone."""
    check: Callable[[], None] = _nothing
    """Raises where the cluster cannot go on."""
    admit: Callable[[frozenset[str]], None] = _welcome
    """Looks at new workers, by address, and raises where they do not suit."""
    note: Callable[[str], None] = unheard
    """Is told what a user wants to know while tasks run."""


class VersionMismatch(TilepressError):
    """A worker runs other versions than the command, so tasks would not mean the same there."""

    kind = "version-mismatch"


class ClusterOpener(Protocol):
    """Opens a cluster when the first task is there."""

    @property
    def expected(self) -> Lanes:
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


def worker_environment(threads: int) -> dict[str, Any]:
    """Return what a worker's process finds in its environment: lean libraries, few threads."""
    return {
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
        "TILEPRESS_THREADS": threads,
        "GDAL_NUM_THREADS": 1,
        "GDAL_CACHEMAX": 256,  # MiB; GDAL's default of 5 % of the machine is too much per process
        "MALLOC_ARENA_MAX": 2,
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": TICK,
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": False,  # 3 % of a core for every worker
    }


def temporary_security(otherwise: str) -> Security:
    """Return keys of one run, for its scheduler, workers and client.

    Raises UsageError where the package that makes them is missing; ``otherwise`` says how to go on
    without.
    """
    from distributed.security import Security

    try:
        made: Security = Security.temporary()
    except ImportError as error:
        raise UsageError(
            "starting a cluster: tls needs the package cryptography; pip install "
            f"'tilepress[cluster]', or {otherwise} where the network is trusted"
        ) from error
    return made


def stop(client: Client, cluster: Any = None) -> None:  # noqa: ANN401  # distributed's clusters
    """End client and workers; those that are in the middle of a shard are not waited for long."""
    with contextlib.suppress(TimeoutError, OSError):
        client.close(timeout=STOP_AFTER_S)
    if cluster is not None:
        with contextlib.suppress(TimeoutError, OSError):
            cluster.close(timeout=STOP_AFTER_S)


def choose_cluster(
    name: str | None,
    *,
    workers: int | None = None,
    device: WantedDevice = "auto",
    codec: dict[str, Any] | None = None,
    note: Callable[[str], None] | None = None,
    dashboard: bool = False,
) -> ClusterOpener:
    """Return what opens the cluster that ``--cluster`` names; None is "local".

    ``codec`` are arguments of the TileCodec that workers load before their first task. ``note`` is
    told what a user wants to know, e.g. where the dashboard is. ``dashboard`` serves one of a local
    cluster; profiles say themselves whether theirs have one. Raises UsageError.
    """
    if dashboard and name not in (None, "local"):
        raise UsageError(f"serving the dashboard: {name} has its own way, see its profile")
    if name is None or name == "local":
        from tilepress.workflows.cluster.local import LocalOpener

        return LocalOpener.of(workers, device, codec, dashboard=dashboard, note=note)
    if name == "cuda":
        from tilepress.workflows.cluster.dask_cuda import DaskCudaOpener

        return DaskCudaOpener.of(workers, device, codec)
    if name == "slurm-runner":
        from tilepress.workflows.cluster.slurm_runner import RunnerOpener

        return RunnerOpener.of(workers, device, codec, note)
    from tilepress.workflows.cluster.profile_files import load_profile, parse_profile
    from tilepress.workflows.cluster.profiles import BatchProfile

    if "://" in name:
        profile = parse_profile({"kind": "address", "address": name}, name)
    else:
        profile = load_profile(name)
    if isinstance(profile, BatchProfile):
        from tilepress.workflows.cluster.jobs import JobOpener

        if device == "cuda" and not profile.gpus:
            raise UsageError(f"starting workers: --device cuda, and {name} asks for no gpus")
        return JobOpener(profile, device, codec, workers, note)
    from tilepress.workflows.cluster.address import AddressOpener

    if workers is not None:
        raise UsageError(f"starting workers: --workers does not go with --cluster {name}")
    return AddressOpener(profile, device, codec, note)


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
