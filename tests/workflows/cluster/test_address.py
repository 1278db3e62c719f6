"""A scheduler that somebody else runs is joined, and left as it was."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.archive import write as task
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.contract import NoScheduler
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.local import LocalOpener

from .running import pid_and_device, run_one, write_profile


def tell(name: str) -> str:
    return name


def keep_open() -> int:
    task._sources[secrets.token_hex(4)] = SimpleNamespace(close=lambda: None)  # type: ignore[assignment]
    return count_open()


def count_open() -> int:
    return len(task._sources)


def refuse(name: str) -> str:
    raise UsageError(f"reading {name}: it is none")


class TestAddress:
    """A scheduler that somebody else runs may end at any moment, or not be what was meant."""

    def test_tasks_run_and_the_cluster_goes_on(
        self, scheduler: tuple[str, subprocess.Popen[bytes]]
    ):
        address, process = scheduler
        for _ in range(2):
            notes: list[str] = []
            with DaskExecutor(choose_cluster(address, note=notes.append)) as executor:
                for number in range(4):
                    executor.submit(f"task-{number}", pid_and_device, codes=True)
                done = [executor.next() for _ in range(4)]
                assert {one.error for one in done} == {None}
                assert executor.slots >= 1
            (deaths,) = [note for note in notes if "deaths" in note]
            assert deaths.startswith("the scheduler gives up a task after 4 deaths of its workers")
            (without,) = [note for note in notes if "TLS" in note]
            assert without.startswith(f"the scheduler at {address} runs without TLS: whoever can")
        assert process.poll() is None

    def test_two_runs_at_once_get_their_own_results(
        self, scheduler: tuple[str, subprocess.Popen[bytes]]
    ):
        """Dask takes a task for done whose key it knows, whoever asks."""
        address, _ = scheduler
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(DaskExecutor(choose_cluster(address))) for _ in range(2)]
            for number in range(8):
                for run, executor in enumerate(runs):
                    executor.submit(f"task-{number}", tell, f"run {run} image {number}")
            for run, executor in enumerate(runs):
                done = [executor.next() for _ in range(8)]
                assert {one.key: one.result for one in done} == {
                    f"task-{number}": f"run {run} image {number}" for number in range(8)
                }

    def test_workers_that_go_on_keep_nothing_open(
        self, scheduler: tuple[str, subprocess.Popen[bytes]]
    ):
        address, _ = scheduler
        with DaskExecutor(choose_cluster(address)) as executor:
            for number in range(4):
                executor.submit(f"task-{number}", keep_open)
            assert {executor.next().result for _ in range(4)} <= {1, 2, 3, 4}
        with DaskExecutor(choose_cluster(address)) as executor:
            executor._open()
            assert set(executor._open().client.run(count_open).values()) == {0}

    def test_logs_of_workers_name_no_sources(
        self, scheduler: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
    ):
        """Folders may be named after patients."""
        address, _ = scheduler
        with DaskExecutor(choose_cluster(address)) as executor:
            executor.submit("a", refuse, "/archive/DOE^JANE/1.dcm")
            error = executor.next().error
            assert isinstance(error, UsageError)
            assert str(error) == "reading /archive/DOE^JANE/1.dcm: it is none"
            executor._open().client.run(os.getpid)  # what came before is in the log by now
        log = (tmp_path / "workers.log").read_text()
        assert "Starting established connection" in log or "Registered to" in log
        assert "DOE" not in log

    def test_nobody_there(self, monkeypatch: pytest.MonkeyPatch):
        from tilepress.workflows.cluster import address as address_cluster

        monkeypatch.setattr(address_cluster, "CONNECT_WITHIN_S", 1)
        with (
            DaskExecutor(choose_cluster("tcp://127.0.0.1:9")) as executor,
            pytest.raises(NoScheduler, match="no scheduler answered within 1 s"),
        ):
            run_one(executor)

    def test_cuda_where_no_worker_has_one(self, tmp_path: Path):
        with LocalOpener(workers=1).open() as opened:
            opener = choose_cluster(str(write_profile(opened, tmp_path)), device="cuda")
            with (
                DaskExecutor(opener) as executor,
                pytest.raises(UsageError, match="no worker has a GPU"),
            ):
                run_one(executor)
