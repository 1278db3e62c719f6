"""Which cluster ``--cluster`` means.

local            processes of this machine             local
cuda             dask-cuda: a worker for each GPU      dask_cuda
tcp://  tls://   a scheduler that runs somewhere       address
profile.yaml     jobs of a batch system, or an address profiles, jobs
slurm-runner     every task of one Slurm allocation    slurm_runner
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.contract import ClusterOpener
from tilepress.workflows.cluster.dask_cuda import DaskCudaOpener
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.slurm_runner import RunnerOpener

__all__ = ["choose_cluster"]


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
        return LocalOpener.of(workers, device, codec, dashboard=dashboard, note=note)
    if name == "cuda":
        return DaskCudaOpener.of(workers, device, codec)
    if name == "slurm-runner":
        return RunnerOpener.of(workers, device, codec, note)
    return _of_profile(name, workers, device, codec, note)


def _of_profile(
    name: str,
    workers: int | None,
    device: WantedDevice,
    codec: dict[str, Any] | None,
    note: Callable[[str], None] | None,
) -> ClusterOpener:
    """Return what opens the cluster of a profile, or of an address."""
    # here, for most runs need none of it, and pydantic takes its time
    from tilepress.workflows.cluster.address import AddressOpener
    from tilepress.workflows.cluster.jobs import JobOpener
    from tilepress.workflows.cluster.profile_files import load_profile, parse_profile
    from tilepress.workflows.cluster.profiles import BatchProfile

    if "://" in name:
        profile = parse_profile({"kind": "address", "address": name}, name)
    else:
        profile = load_profile(name)
    if isinstance(profile, BatchProfile):
        if device == "cuda" and not profile.gpus:
            raise UsageError(f"starting workers: --device cuda, and {name} asks for no gpus")
        return JobOpener(profile, device, codec, workers, note)
    if workers is not None:
        raise UsageError(f"starting workers: --workers does not go with --cluster {name}")
    return AddressOpener(profile, device, codec, note)
