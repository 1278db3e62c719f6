"""Executors: tasks come back whatever happens to the processes that run them."""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tilepress.errors import TaskFailed, UnsupportedSource
from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster.executor import DaskExecutor, InProcessExecutor, Killed
from tilepress.workflows.cluster.local import cpu_count
from tilepress.workflows.interrupts import interrupts_stay_here

ORPHANS = """
import os, sys, time
from tilepress.workflows.cluster.executor import DaskExecutor

if __name__ == "__main__":
    with DaskExecutor(2) as executor:
        print(*executor.worker_pids(), flush=True)
        executor.submit("sleep", time.sleep, 600)
        executor.next()
"""


def add(a: int, b: int) -> int:
    return a + b


def refuse(text: str) -> None:
    raise UnsupportedSource(text)


class Fragile(Exception):
    """Cannot be unpickled, as rasterio's errors: its arguments are not those it was made with."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)


def refuse_because() -> None:
    try:
        raise Fragile(1, "PatientName=Doe^Jane")
    except Fragile as error:
        raise UnsupportedSource("no image") from error


def break_down() -> None:
    raise Fragile(1, "PatientName=Doe^Jane")


def die_once(mark: str) -> int:
    """Kill the process that runs this, the first time."""
    if not os.path.exists(mark):
        with open(mark, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def executor() -> Iterator[DaskExecutor]:
    with DaskExecutor(2) as executor:
        yield executor


class TestCodecThreads:
    """Workers share the machine's processors, unless the user says how many threads each takes."""

    @pytest.mark.parametrize(("workers", "all_threads"), [(1, 8), (2, 8), (3, 6), (8, 8), (16, 16)])
    def test_each_worker_has_its_share(
        self, monkeypatch: pytest.MonkeyPatch, workers: int, all_threads: int
    ) -> None:
        monkeypatch.delenv("TILEPRESS_THREADS", raising=False)
        monkeypatch.setattr(local_cluster, "cpu_count", lambda: 8)
        assert DaskExecutor(workers).threads(1) == all_threads
        assert DaskExecutor(workers).threads(workers) == all_threads // workers

    def test_the_environment_decides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TILEPRESS_THREADS", "3")
        assert DaskExecutor(2).threads(2) == 3

    def test_it_reaches_the_workers(self, executor: DaskExecutor) -> None:
        executor.submit("threads", os.getenv, "TILEPRESS_THREADS")
        share = os.environ.get("TILEPRESS_THREADS") or str(max(1, cpu_count() // 2))
        assert executor.next().result == share


class TestInProcess:
    """Without Dask the same calls do the same, in order."""

    def test_results_and_errors_come_back_in_order(self):
        with InProcessExecutor() as executor:
            executor.submit("a", add, 1, 2)
            executor.submit("b", refuse, "no image")
            first, second = executor.next(), executor.next()
        assert (first.key, first.result) == ("a", 3)
        assert (second.key, str(second.error)) == ("b", "no image")


class TestDask:
    """Workers are processes of this machine that nobody else can reach, and that may die."""

    def test_results_come_back_under_their_keys(self, executor: DaskExecutor):
        for n in range(6):
            executor.submit(f"sum-{n}", add, n, n)
        done = [executor.next() for _ in range(6)]
        assert {d.key: d.result for d in done} == {f"sum-{n}": 2 * n for n in range(6)}

    def test_our_errors_come_back_as_they_were_raised(self, executor: DaskExecutor):
        executor.submit("refused", refuse, "no image")
        error = executor.next().error
        assert isinstance(error, UnsupportedSource)
        assert str(error) == "no image"

    @pytest.mark.parametrize("dask", [False, True])
    def test_what_caused_our_errors_stays_where_it_was(self, executor: DaskExecutor, dask: bool):
        chosen = executor if dask else InProcessExecutor()
        chosen.submit(f"because-{dask}", refuse_because)
        error = chosen.next().error
        assert isinstance(error, UnsupportedSource)
        assert str(error) == "no image"
        assert error.__cause__ is error.__context__ is None

    @pytest.mark.parametrize("dask", [False, True])
    def test_errors_of_libraries_come_back_as_a_line(self, executor: DaskExecutor, dask: bool):
        chosen = executor if dask else InProcessExecutor()
        chosen.submit(f"fragile-{dask}", break_down)
        error = chosen.next().error
        assert isinstance(error, TaskFailed)
        assert error.kind == "internal"
        assert "unexpected Fragile at test_executor.py:" in str(error)
        assert "Doe" not in str(error)
        assert error.__cause__ is error.__context__ is None

    def test_workers_leave_ctrl_c_to_the_command(self, executor: DaskExecutor):
        """The terminal sends it to all; workers that die of it would be started again."""
        for number, pid in enumerate(executor.worker_pids()):
            status = Path(f"/proc/{pid}/status").read_text()
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked >> (signal.SIGINT - 1) & 1, number

    def test_a_helper_process_that_somebody_killed_is_started_again(self):
        tracker = multiprocessing.resource_tracker._resource_tracker
        tracker.ensure_running()
        os.kill(tracker._pid, signal.SIGKILL)
        with interrupts_stay_here():
            assert tracker._check_alive()

    def test_every_socket_listens_on_the_loopback_only(self, executor: DaskExecutor):
        pids = [os.getpid(), *executor.worker_pids()]
        listening = [
            connection.laddr.ip
            for pid in pids
            for connection in psutil.Process(pid).net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert {ip for ip in listening if not ip.startswith("127.") and ip != "::1"} == set()

    def test_another_cluster_beside_it_is_no_trouble(self, executor: DaskExecutor):
        """Dask's default is one dashboard port for all; warnings are errors in tests."""
        with DaskExecutor(1) as other:
            other.submit("beside", add, 2, 2)
            assert other.next().result == 4
        executor.submit("still-there", add, 3, 3)
        assert executor.next().result == 6

    def test_a_task_whose_worker_died_is_done_by_another(
        self, executor: DaskExecutor, tmp_path: Path
    ):
        executor.submit("victim", die_once, str(tmp_path / "mark"))
        done = executor.next()
        assert done.error is None
        assert done.result != os.getpid()

    def test_a_task_that_always_kills_its_worker_is_given_up(self, executor: DaskExecutor):
        executor.submit("poison", die)
        assert isinstance(executor.next().error, Killed)
        executor.submit("after", add, 1, 1)
        assert executor.next().result == 2


class TestNoOrphans:
    """Processes that outlive a killed command would hold memory and write into stores."""

    def test_workers_end_when_the_command_is_killed(self, tmp_path: Path):
        script = tmp_path / "script.py"
        script.write_text(ORPHANS)
        parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
        try:
            assert parent.stdout is not None
            workers = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(workers) == 2
        finally:
            parent.kill()
            parent.communicate()
        deadline = time.monotonic() + 30
        while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in workers if psutil.pid_exists(pid)]
