"""Moab."""

from __future__ import annotations

from typing import Any

from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.systems.base import BatchSystem, given_keys, mebibytes

__all__ = ["SYSTEM"]


class _Moab(BatchSystem):
    name = "moab"
    title = "Moab"
    dask_class = "MoabCluster"
    status = ("checkjob",)
    over = ("State: Completed", "State: Removed")
    example_directive = '"-l qos=high"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        gpus = f":gpus={profile.gpus}" if profile.gpus else ""
        asked = f"nodes=1:ppn={profile.cores}{gpus},mem={mebibytes(profile)}mb"
        return given_keys(profile, "queue", "account", "walltime") | {"resource_spec": asked}


SYSTEM = _Moab()
