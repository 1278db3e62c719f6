"""The batch systems, a module each, imported at first use; a new one is one more line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilepress.workflows.cluster.systems.base import BatchSystem

__all__ = ["SYSTEMS", "batch_system"]

SYSTEMS: dict[str, str] = {
    "slurm": "tilepress.workflows.cluster.systems.slurm",
    "pbs": "tilepress.workflows.cluster.systems.pbs",
    "lsf": "tilepress.workflows.cluster.systems.lsf",
    "sge": "tilepress.workflows.cluster.systems.sge",
    "oar": "tilepress.workflows.cluster.systems.oar",
    "moab": "tilepress.workflows.cluster.systems.moab",
    "htcondor": "tilepress.workflows.cluster.systems.htcondor",
}
"""Modules by what ``kind`` says in a profile; the object ``SYSTEM`` of each describes it."""


def batch_system(kind: str) -> BatchSystem:
    """Return the batch system of profiles of a kind."""
    system: BatchSystem = importlib.import_module(SYSTEMS[kind]).SYSTEM
    return system
