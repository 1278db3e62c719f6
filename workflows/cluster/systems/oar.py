"""OAR."""

from __future__ import annotations

import math
from typing import Any

from tilepress.workflows.cluster.profiles import USUAL_KEYS, BatchProfile
from tilepress.workflows.cluster.systems.base import BatchSystem, given_keys

__all__ = ["SYSTEM"]


class _Oar(BatchSystem):
    name = "oar"
    title = "OAR"
    dask_class = "OARCluster"
    keys = frozenset({*USUAL_KEYS, "memory_property"})
    status = ("oarstat", "-s", "-j")
    over = ("Terminated", "Error")
    example_keys = (
        'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n'
        "# memory_property: memcore  # the site's property, MiB of memory per core\n"
    )
    example_directive = '"-t besteffort"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        # of several -p lines OAR takes the last alone, so all wishes go into one
        wishes = ["gpu_count>0"] if profile.gpus else []
        if profile.memory_property:
            mib = math.ceil(profile.memory / profile.cores / 2**20)
            wishes.append(f"{profile.memory_property}>={mib}")
        given = [line for line in profile.directives if line.startswith("-p")]
        wishes += [line[2:].strip().strip("'\"") for line in given]
        wish = [f"-p '{' AND '.join(wishes)}'"] if wishes else []
        others = [line for line in profile.directives if line not in given]
        return given_keys(profile, "queue", "walltime", account="project") | {
            "resource_spec": f"/nodes=1/core={profile.cores}",
            "memory_per_core_property_name": "not_applicable",
            "job_extra_directives": [*wish, *others],
        }


SYSTEM = _Oar()
