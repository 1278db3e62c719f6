"""LSF."""

from __future__ import annotations

import math
from typing import Any

from tilepress.workflows.cluster.profiles import USUAL_KEYS, BatchProfile
from tilepress.workflows.cluster.systems.base import ArraySyntax, BatchSystem, given_keys

__all__ = ["SYSTEM"]


class _Lsf(BatchSystem):
    name = "lsf"
    title = "LSF"
    dask_class = "LSFCluster"
    keys = frozenset({*USUAL_KEYS, "gpu_type"})
    status = ("bjobs", "-noheader", "-o", "stat")
    over = ("DONE", "EXIT", "ZOMBI")
    array = ArraySyntax(
        mark="#BSUB",
        job=("-J tilepress-{name}", "-o {folder}/{name}-%J.log"),
        # an empty line stands where other systems name the job: here the array has the name
        array=("", "-o {folder}/parts-%J_%I.log", '-J "tilepress[1-{count}]"'),
        part="$((LSB_JOBINDEX - 1))",
        submit=("bsub",),
        after_success="-w done({id})",
        after_end="-w ended({id})",
        job_id=r"Job <(\d+)>",
        stdin=True,
    )
    example_gpu_keys = "# gpu_type: NVIDIAA100\n"
    example_directive = '"-x"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        arguments = given_keys(profile, "queue", account="project")
        if profile.walltime_s is not None:  # LSF takes hours and minutes only
            minutes = math.ceil(profile.walltime_s / 60)
            arguments["walltime"] = f"{minutes // 60:02d}:{minutes % 60:02d}"
        if profile.gpus:
            kind = f":gmodel={profile.gpu_type}" if profile.gpu_type else ""
            asked = f'-gpu "num={profile.gpus}:mode=exclusive_process{kind}"'
            arguments["job_extra_directives"] = [asked, *profile.directives]
        return arguments


SYSTEM = _Lsf()
