"""Slurm."""

from __future__ import annotations

import math
from typing import Any

from tilepress.workflows.cluster.profiles import USUAL_KEYS, BatchProfile
from tilepress.workflows.cluster.systems.base import ArraySyntax, BatchSystem, given_keys

__all__ = ["SYSTEM"]


class _Slurm(BatchSystem):
    name = "slurm"
    title = "Slurm"
    dask_class = "SLURMCluster"
    keys = frozenset({*USUAL_KEYS, "gpu_type", "memory_per_gpu"})
    status = ("squeue", "--noheader", "--format=%T", "--jobs")
    over = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
    array = ArraySyntax(
        mark="#SBATCH",
        job=("-J tilepress-{name}", "-o {folder}/{name}-%j.log"),
        array=("-J tilepress-parts", "-o {folder}/parts-%A_%a.log", "--array=0-{last}"),
        part="${SLURM_ARRAY_TASK_ID}",
        submit=("sbatch", "--parsable"),
        after_success="--dependency=afterok:{id} --kill-on-invalid-dep=yes",
        after_end="--dependency=afterany:{id}",
        job_id=r"(\d+)",
    )
    example_keys = 'queue: {queue}  # partition\nwalltime: "04:00:00"\n# account: my-project\n'
    example_gpu_keys = (
        "# gpu_type: a100\n# memory_per_gpu: 64GB  # where the site wants --mem-per-gpu\n"
    )
    example_directive = '"--exclusive"'

    def mistake(self, profile: BatchProfile) -> str | None:
        if profile.memory_per_gpu and not profile.gpus:
            return "memory_per_gpu needs gpus"
        return None

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        directives = list(profile.directives)
        skipped = list(profile.skip_directives)
        if profile.memory_per_gpu:  # in place of the job's, which Slurm refuses beside it
            skipped.append("--mem=")
            directives.insert(0, f"--mem-per-gpu={math.ceil(profile.memory_per_gpu / 2**20)}M")
        if profile.gpus:
            kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
            directives.insert(0, f"--gres=gpu:{kind}{profile.gpus}")
        return given_keys(profile, "queue", "account", "walltime") | {
            "job_extra_directives": directives,
            "job_directives_skip": skipped,
        }


SYSTEM = _Slurm()
