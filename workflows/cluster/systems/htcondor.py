"""HTCondor."""

from __future__ import annotations

from typing import Any, ClassVar

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.systems.base import BatchSystem

__all__ = ["SYSTEM"]


class _HtCondor(BatchSystem):
    name = "htcondor"
    title = "HTCondor"
    dask_class = "HTCondorCluster"
    keys = frozenset({"account", "disk"})
    needs: ClassVar = {"disk": "10GB"}
    status = ("condor_q", "-autoformat", "JobStatus", "-nobatch")
    over = ("3", "4")
    example_keys = "disk: 10GB  # scratch space; HTCondor takes no walltime\n"
    example_directive = '"+Group = physics"'

    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        asked = dict(_pair(line) for line in profile.directives)
        if profile.gpus:
            asked = {"request_gpus": str(profile.gpus)} | asked
        if profile.account:
            asked = {"accounting_group": profile.account} | asked
        return {"disk": f"{profile.disk}B", "job_extra_directives": asked}


def _pair(line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        raise UsageError(f"reading a profile: directives: got {line!r}, want name = value")
    return name.strip(), value.strip()


SYSTEM = _HtCondor()
