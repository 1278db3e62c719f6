"""A batch system that nobody has: what a module in ``workflows/cluster/systems`` must say."""

from __future__ import annotations

from typing import Any, ClassVar

from dask_jobqueue.core import Job, JobQueueCluster

from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.systems.base import ArraySyntax, BatchSystem, given_keys


class ToyJob(Job):
    """What dask-jobqueue would have in a file of its own."""

    submit_command = "toysub"
    cancel_command = "toydel"
    config_name = "local"

    def __init__(self, scheduler=None, name=None, queue=None, size=None, **more):
        super().__init__(scheduler=scheduler, name=name, shebang="#!/usr/bin/env toy", **more)
        lines = [f"-N {self.job_name}", f"-q {queue}", f"-s {size}", *self.job_extra_directives]
        self.job_header = "\n".join(f"#TOY {line}" for line in lines)


class ToyCluster(JobQueueCluster):
    job_cls = ToyJob


class _Toy(BatchSystem):
    name = "toy"
    title = "Toy"
    keys = frozenset({"queue", "gpu_type", "disk"})
    needs: ClassVar = {"queue": "play"}
    status = ("toystat",)
    over = ("broken",)
    array = ArraySyntax(
        mark="#TOY",
        job=("-N tilepress-{name}",),
        array=("-N tilepress-parts", "-t {count}"),
        part="${TOY_NUMBER}",
        submit=("toysub",),
        after_success="-after {id}",
        after_end="-after {id}",
        job_id=r"(\d+)",
    )
    example_keys = "queue: play\n"
    example_directive = '"-fun"'

    def cluster_class(self) -> type[JobQueueCluster]:
        return ToyCluster

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        size = f"{profile.cores}x{profile.gpus}"
        return given_keys(profile, "queue") | {"size": size}


SYSTEM = _Toy()
