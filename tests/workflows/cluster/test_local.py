"""Clusters of this machine: as many workers as fit, seen by nobody else."""

from __future__ import annotations

import os
import time
import urllib.request

import pytest

from tilepress.pipeline.archive.device import device
from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster.executor import DaskExecutor, Killed
from tilepress.workflows.cluster.local import LocalOpener, default_workers, visible_gpus
from tilepress.workflows.cluster.settings import environment_put_back
from tilepress.workflows.cluster.worker_kinds import WorkerCounts

from .running import pid_and_device, run_one


class TestLocal:
    """This machine's memory and GPUs decide what is started."""

    def test_memory_bounds_the_workers(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "cpu_count", lambda: 64)
        monkeypatch.setattr(local_cluster, "_memory", lambda: 5 * 2**30)
        assert default_workers() == 5
        monkeypatch.setattr(local_cluster, "_memory", lambda: 2**20)
        assert default_workers() == 1

    def test_every_gpu_has_a_worker_and_cpus_are_beside(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "cpu_count", lambda: 8)
        monkeypatch.setattr(local_cluster, "_memory", lambda: 64 * 2**30)
        monkeypatch.setattr(local_cluster, "visible_gpus", lambda: ("0", "1"))
        assert LocalOpener.of(None, "auto").expected == WorkerCounts(gpu=2, cpu=6)
        assert LocalOpener.of(None, "cuda").expected == WorkerCounts(gpu=2, cpu=1)
        assert LocalOpener.of(1, "auto").expected == WorkerCounts(gpu=1)
        assert LocalOpener.of(None, "cpu").expected == WorkerCounts(plain=8)

    def test_the_simulator_is_a_gpu(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
        assert visible_gpus() == ("0",)
        with DaskExecutor(LocalOpener.of(1, "cuda")) as executor:
            executor.submit("codes", pid_and_device, codes=True)
            pid, where = executor.next().result
        assert where == "cuda"
        assert pid != os.getpid()
        assert device() == "cpu"


class TestTheEnvironment:
    """It is the user's; workers find more in theirs, which Dask sets in ours to hand it on."""

    def test_it_is_as_before(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        before = dict(os.environ)
        with DaskExecutor(1) as executor:
            executor.submit("first", os.getenv, "PYTHONSAFEPATH")
            assert executor.next().result == "1"
        assert dict(os.environ) == before

    def test_clusters_that_overlap_leave_nothing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("A", "ours")
        monkeypatch.delenv("B", raising=False)
        before = dict(os.environ)
        first, second = environment_put_back(["A"]), environment_put_back(["A", "B"])
        first.__enter__()
        os.environ["A"] = "of a worker"
        second.__enter__()
        os.environ["B"] = "of a worker"
        first.__exit__(None, None, None)
        assert os.environ["A"] == "of a worker", "the second starts workers again"
        second.__exit__(None, None, None)
        assert dict(os.environ) == before


class TestDashboard:
    """Whoever asks for it sees it, on this machine alone, and sees no names of files."""

    def test_its_address_is_told_and_answers(self):
        pytest.importorskip("bokeh", reason="the extra dashboard is not installed")
        told: list[str] = []
        opener = LocalOpener.of(1, "cpu", dashboard=True, note=told.append)
        with DaskExecutor(opener) as executor:
            run_one(executor)
            (line,) = told
            address = line.removeprefix("dashboard: ")
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert answer.status == 200


def take(amount: int) -> int:
    """Take memory for real and keep it for a while."""
    taken = b"x" * amount
    time.sleep(60)
    return len(taken)


class TestMemory:
    """A task that takes too much ends its worker, not the machine."""

    def test_it_is_given_up_and_the_run_goes_on(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "_memory", lambda: 600 * 2**20)
        with DaskExecutor(1) as executor:
            executor.submit("greedy", take, 900 * 2**20)
            assert isinstance(executor.next().error, Killed)
            executor.submit("modest", pid_and_device)
            assert executor.next().error is None
