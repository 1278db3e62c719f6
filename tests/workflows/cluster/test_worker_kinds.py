"""Kinds of workers: counted by their resources, and chosen for each task."""

from __future__ import annotations

from tilepress.workflows.cluster.worker_kinds import WorkerCounts, WorkerKind


class TestWorkerKinds:
    """Coding goes to GPUs while they have room, then to the workers beside them."""

    def test_room_on_gpus(self):
        counts = WorkerCounts(gpu=2, cpu=3)
        assert [counts.choose(n, codes=True) for n in (0, 3, 4)] == [
            WorkerKind.gpu,
            WorkerKind.gpu,
            WorkerKind.cpu,
        ]
        assert counts.choose(0, codes=False) is WorkerKind.cpu

    def test_only_gpus(self):
        assert WorkerCounts(gpu=1).choose(99, codes=True) is WorkerKind.gpu
        assert WorkerCounts(gpu=1).choose(0, codes=False) is WorkerKind.any

    def test_workers_are_counted_by_their_resources(self):
        told = [
            {"nthreads": 8, "resources": {"GPU": 1.0}},
            {"nthreads": 4, "resources": {"CPU": 1.0}},
            {"nthreads": 6, "resources": {}},
        ]
        assert WorkerCounts.of(told) == WorkerCounts(gpu=1, cpu=1, plain=1, threads=4)
