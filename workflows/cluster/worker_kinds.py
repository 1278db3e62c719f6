"""Which kinds of workers a cluster has, and which kind a task goes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["GPU_TASKS", "WorkerCounts", "WorkerKind"]

GPU_TASKS = 2
"""Tasks of a GPU that are in flight: one runs, one waits beside it."""


class WorkerKind(Enum):
    """The Dask resource that a task asks for; ``any`` asks for none and runs on every worker."""

    gpu = "GPU"
    cpu = "CPU"
    any = ""

    @property
    def resources(self) -> dict[str, int] | None:
        """Return what Dask wants to know."""
        return {self.value: 1} if self.value else None


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """How many workers of each kind there are. One process runs one task at a time."""

    gpu: int = 0
    """Workers with the resource GPU."""
    cpu: int = 0
    """Workers with the resource CPU and no GPU."""
    plain: int = 0
    """Workers with neither."""
    threads: int = 1
    """Threads of the least of them."""

    @classmethod
    def of(cls, workers: Iterable[Mapping[str, Any]]) -> WorkerCounts:
        """Count workers as the scheduler describes them."""
        gpu = cpu = plain = 0
        threads: list[int] = []
        for worker in workers:
            resources = worker.get("resources") or {}
            threads.append(int(worker.get("nthreads", 1)))
            if resources.get(WorkerKind.gpu.value):
                gpu += 1
            elif resources.get(WorkerKind.cpu.value):
                cpu += 1
            else:
                plain += 1
        return cls(gpu, cpu, plain, max(1, min(threads, default=1)))

    @property
    def slots(self) -> int:
        """Tasks that run at the same time."""
        return self.gpu + self.cpu + self.plain

    def count(self, kind: WorkerKind) -> int:
        """Return how many workers take tasks for a kind."""
        return {WorkerKind.gpu: self.gpu, WorkerKind.cpu: self.cpu, WorkerKind.any: self.slots}[
            kind
        ]

    def choose(self, on_gpu: int, *, codes: bool) -> WorkerKind:
        """Return the kind for the next task when ``on_gpu`` tasks are with GPUs."""
        beside = WorkerKind.cpu if self.cpu else WorkerKind.any
        if not self.gpu or not codes:
            return beside
        only_gpus = not self.cpu and not self.plain
        return WorkerKind.gpu if only_gpus or on_gpu < GPU_TASKS * self.gpu else beside
