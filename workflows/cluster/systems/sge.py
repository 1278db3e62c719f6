"""Grid Engine of Sun, Univa and Altair."""

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


class _Sge(BatchSystem):
    name = "sge"
    title = "(Sun, Univa, Altair) Grid Engine"
    dask_class = "SGECluster"
    status = ("qstat", "-j")
    over = ()
    array = ArraySyntax(
        mark="#$",
        job=("-N tilepress-{name}", "-o {folder}/"),
        array=("-N tilepress-parts", "-o {folder}/", "-t 1-{count}"),
        part="$((SGE_TASK_ID - 1))",
        submit=("qsub", "-terse"),
        after_success="-hold_jid {id}",
        after_end="-hold_jid {id}",
        job_id=r"(\d+)",
    )
    example_directive = '"-pe smp 8"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        # h_vmem counts for each slot; without a parallel environment a job has one
        gpu = f",gpu={profile.gpus}" if profile.gpus else ""
        asked = f"h_vmem={mebibytes(profile)}M{gpu}"
        return given_keys(profile, "queue", "walltime", account="project") | {
            "resource_spec": asked
        }


SYSTEM = _Sge()
