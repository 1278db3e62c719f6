"""A cluster that ends or loses its workers is one error or a note, never a hang."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster import watch
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.contract import NoScheduler, NoWorkers
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.worker_kinds import WorkerKind

from .running import pid_and_device, visible


def visible_after(mark: str) -> str:
    """Wait until a file is there; tell which GPU this process sees."""
    end = time.monotonic() + 60
    while not os.path.exists(mark):
        assert time.monotonic() < end
        time.sleep(0.05)
    return visible()


def retire(executor: DaskExecutor, *resources: str) -> None:
    """End the workers with these resources, for good."""
    client = executor._open().client
    workers = client.scheduler_info(n_workers=-1)["workers"].items()
    gone = [address for address, worker in workers if {*worker["resources"]} & {*resources}]
    assert gone
    client.retire_workers(gone, close_workers=True, remove=True)


class TestLostKindOfWorker:
    """A worker sees its own GPU alone; where those of one kind are gone, others do their tasks."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.2)
        monkeypatch.setattr(watch, "KIND_AFTER_S", 1.0)

    @pytest.mark.parametrize(
        ("lost", "codes", "seen", "told"),
        [
            ("GPU", True, "", "the GPU workers are gone; going on with CPU workers"),
            ("CPU", False, "GPU-7", "the CPU workers are gone; going on with GPU workers"),
        ],
    )
    def test_tasks_that_wait_for_it_are_moved(
        self, tmp_path: Path, lost: str, codes: bool, seen: str, told: str
    ):
        notes: list[str] = []
        mark = tmp_path / "mark"
        opener = LocalOpener(workers=2, device="auto", gpus=("GPU-7",), note=notes.append)
        with DaskExecutor(opener) as executor:
            executor.submit("before", visible, codes=codes)
            assert executor.next().result == {"GPU": "GPU-7", "CPU": ""}[lost]
            for key in ("runs", "waits"):
                executor.submit(key, visible_after, str(mark), codes=codes)
            executor._send()
            assert executor._in_flight[WorkerKind(lost)] == 2
            retire(executor, lost)
            mark.touch()
            done = {one.key: one.result for one in (executor.next(), executor.next())}
            assert done == {"runs": seen, "waits": seen}
            assert notes == [told]
            executor.submit("later", visible, codes=True)
            assert executor.next().result == seen
            assert executor._in_flight[WorkerKind(lost)] == 0 or lost == "CPU"

    def test_without_any_worker_the_run_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "NO_WORKERS_AFTER_S", 2.0)
        with DaskExecutor(LocalOpener(workers=2, device="auto", gpus=("GPU-7",))) as executor:
            executor.submit("waits", visible_after, str(tmp_path / "mark"), codes=True)
            executor._send()
            retire(executor, "GPU", "CPU")
            with pytest.raises(NoWorkers, match="process was alive for 2 s"):
                executor.next()


class TestLostScheduler:
    """A scheduler that somebody else runs may end at any moment."""

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_scheduler_that_ends_is_one_error(
        self,
        scheduler: tuple[str, subprocess.Popen[bytes]],
        how: signal.Signals,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(watch, "NO_SCHEDULER_AFTER_S", 6.0)
        monkeypatch.setattr(watch, "ANSWER_WITHIN_S", 3.0)
        address, process = scheduler
        began = 0.0
        with DaskExecutor(choose_cluster(address)) as executor:
            executor.submit("first", pid_and_device)
            executor.next()
            executor.submit("long", time.sleep, 600)
            executor._send()
            process.send_signal(how)
            began = time.monotonic()
            with pytest.raises(NoScheduler, match="run the same line again"):
                executor.next()
        assert time.monotonic() - began < 60  # a hang would be for ever
