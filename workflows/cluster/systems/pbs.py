"""PBS Pro and OpenPBS."""

from __future__ import annotations

from typing import Any

from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.systems.base import (
    ArraySyntax,
    BatchSystem,
    given_keys,
    mebibytes,
)

__all__ = ["SYSTEM"]


class _Pbs(BatchSystem):
    name = "pbs"
    title = "PBS Pro or OpenPBS"
    dask_class = "PBSCluster"
    status = ("qstat",)
    over = (" C ", " F ", " X ")
    array = ArraySyntax(
        mark="#PBS",
        job=("-N tilepress-{name}", "-j oe -o {folder}/"),
        array=("-N tilepress-parts", "-j oe -o {folder}/", "-J 0-{last}"),
        part="${PBS_ARRAY_INDEX}",
        submit=("qsub",),
        after_success="-W depend=afterok:{id}",
        after_end="-W depend=afterany:{id}",
        job_id=r"(\S+)",
        least=2,
    )
    example_directive = '"-l place=excl"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        gpus = f":ngpus={profile.gpus}" if profile.gpus else ""
        asked = f"select=1:ncpus={profile.cores}{gpus}:mem={mebibytes(profile)}mb"
        return given_keys(profile, "queue", "account", "walltime") | {"resource_spec": asked}


SYSTEM = _Pbs()
