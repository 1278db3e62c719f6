"""Clusters: the right one by name, one line where it cannot be, and never a hang when it ends."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tilepress.codecs.errors import UsageError
from tilepress.workflows import cluster as room
from tilepress.workflows import local_cluster
from tilepress.workflows.address_cluster import AddressOpener
from tilepress.workflows.cli import app
from tilepress.workflows.cluster import VersionMismatch, choose_cluster
from tilepress.workflows.executor import DaskExecutor, Killed
from tilepress.workflows.lanes import Lane, Lanes
from tilepress.workflows.local_cluster import LocalOpener, default_workers, visible_gpus
from tilepress.workflows.watch import NoScheduler
from tilepress.workflows.worker import device


def pid_and_device() -> tuple[int, str]:
    return os.getpid(), device()


def visible() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "-")


def run_one(executor: DaskExecutor) -> object:
    executor.submit("first", pid_and_device, codes=True)
    return executor.next()


@contextlib.contextmanager
def dask(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask command beside the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Return the address of a scheduler in a process of its own, with two workers."""
    file = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(file)]
    quiet = ["--host", "127.0.0.1", "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            dask("distributed.cli.dask_scheduler", *where, *quiet, "--port", "0")
        )
        for resource in ("CPU=1", "GPU=1"):
            stack.enter_context(
                dask(
                    "distributed.cli.dask_worker", *where, *quiet, "--nthreads", "1",
                    "--no-nanny", "--resources", resource, "--death-timeout", "5",
                )
            )  # fmt: skip
        end = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"], process


class TestNames:
    """``--cluster`` takes a name, an address or a file; what makes no sense is one line."""

    @pytest.mark.parametrize(
        ("name", "options", "told"),
        [
            ("cuda", {}, "pip install 'tilepress\\[cuda\\]'|no GPU is visible"),
            ("cuda", {"device": "cpu"}, "exclude each other"),
            ("tls://host:8786", {}, "needs tls with ca, cert and key"),
            ("udp://host:8786", {}, "address: got 'udp://host:8786'"),
            ("tcp://host:8786", {"workers": 2}, "--workers does not go with --cluster tcp://"),
            ("nothing.yaml", {}, "reading profile nothing.yaml: No such file"),
            ("slurm-runner", {}, "for the tasks of a Slurm step"),
        ],
    )
    def test_refused(self, name: str, options: dict[str, object], told: str):
        with pytest.raises(UsageError, match=told):
            choose_cluster(name, **options)  # type: ignore[arg-type]

    def test_cuda_where_there_is_none(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "visible_gpus", tuple)
        with pytest.raises(UsageError, match="no GPU is visible"):
            choose_cluster(None, device="cuda")
        assert choose_cluster("local", workers=3).expected == Lanes(plain=3)

    def test_a_profile_without_gpus_cannot_be_cuda(self, repository: Path):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        path = repository / "examples" / "cluster" / "slurm.yaml"
        with pytest.raises(UsageError, match="asks for no gpus"):
            choose_cluster(str(path), device="cuda")
        assert choose_cluster(str(path)).expected == Lanes(cpu=16, threads=8)


class TestLanes:
    """Coding goes to GPUs while they have room, then to the workers beside them."""

    def test_room_on_gpus(self):
        lanes = Lanes(gpu=2, cpu=3)
        assert [lanes.choose(n, codes=True) for n in (0, 3, 4)] == [Lane.gpu, Lane.gpu, Lane.cpu]
        assert lanes.choose(0, codes=False) is Lane.cpu

    def test_only_gpus(self):
        assert Lanes(gpu=1).choose(99, codes=True) is Lane.gpu
        assert Lanes(gpu=1).choose(0, codes=False) is Lane.any

    def test_workers_are_counted_by_their_resources(self):
        told = [
            {"nthreads": 8, "resources": {"GPU": 1.0}},
            {"nthreads": 4, "resources": {"CPU": 1.0}},
            {"nthreads": 6, "resources": {}},
        ]
        assert Lanes.of(told) == Lanes(gpu=1, cpu=1, plain=1, threads=4)


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
        assert LocalOpener.of(None, "auto").expected == Lanes(gpu=2, cpu=6)
        assert LocalOpener.of(None, "cuda").expected == Lanes(gpu=2, cpu=1)
        assert LocalOpener.of(1, "auto").expected == Lanes(gpu=1)
        assert LocalOpener.of(None, "cpu").expected == Lanes(plain=8)

    def test_a_worker_sees_its_own_gpu_alone(self):
        opener = LocalOpener(workers=2, device="auto", gpus=("GPU-7",))
        with DaskExecutor(opener) as executor:
            executor.submit("codes", visible, codes=True)
            assert executor.next().result == "GPU-7"
            executor.submit("plans", visible)
            assert executor.next().result == ""

    def test_the_simulator_is_a_gpu(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
        assert visible_gpus() == ("0",)
        with DaskExecutor(LocalOpener.of(1, "cuda")) as executor:
            executor.submit("codes", pid_and_device, codes=True)
            pid, where = executor.next().result
        assert where == "cuda"
        assert pid != os.getpid()
        assert device() == "cpu"


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

    def test_other_clusters_have_their_own_way(self):
        with pytest.raises(UsageError, match="its profile"):
            choose_cluster("tcp://127.0.0.1:1", dashboard=True)


def take(amount: int) -> int:
    """Take memory for real and keep it for a while."""
    taken = b"x" * amount
    time.sleep(60)
    return len(taken)


class TestCommands:
    """``cluster init``, ``show`` and ``check``: what they print can be used as it is."""

    def test_what_init_writes_can_be_shown(self, tmp_path: Path):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        path = tmp_path / "pbs.yaml"
        line = ["cluster", "init", "pbs", "--gpu", "--out", str(path)]
        assert CliRunner().invoke(app, line).exit_code == 0
        again = CliRunner().invoke(app, line)
        assert str(again.exception) == f"writing a profile: {path} exists"
        shown = CliRunner().invoke(app, ["cluster", "show", str(path)]).output
        assert "memory: 32GB" in shown
        assert "#PBS -l select=1:ncpus=8:ngpus=1:mem=32768mb" in shown

    def test_no_such_system(self):
        done = CliRunner().invoke(app, ["cluster", "init", "torque"])
        assert str(done.exception).startswith("writing a profile: got torque, want one of slurm")

    def test_check_names_commands_that_are_missing(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch
    ):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        monkeypatch.setenv("PATH", "")
        path = repository / "examples" / "cluster" / "lsf.yaml"
        done = CliRunner().invoke(app, ["cluster", "check", str(path)])
        assert done.exit_code == 1
        for name in ("bsub", "bkill", "bjobs"):
            assert f"checking lsf: there is no command {name} here" in done.output

    def test_check_asks_a_worker(self, tmp_path: Path):
        with LocalOpener(workers=1).open() as opened:
            path = tmp_path / "here.yaml"
            path.write_text(f"kind: address\naddress: {opened.client.scheduler.address}\n")
            line = ["cluster", "check", str(path), "--run", "--destination", str(tmp_path / "out")]
            done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        assert f"tilepress {importlib.metadata.version('tilepress')}" in done.output
        assert f"can write {tmp_path / 'out'}" in done.output

    @pytest.mark.parametrize("name", ["init", "show", "check", "submit"])
    def test_help_has_an_example(self, name: str):
        done = CliRunner().invoke(app, ["cluster", name, "--help"])
        assert f"tilepress cluster {name}" in done.output


class TestMemory:
    """A task that takes too much ends its worker, not the machine."""

    def test_it_is_given_up_and_the_run_goes_on(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "_memory", lambda: 600 * 2**20)
        with DaskExecutor(1) as executor:
            executor.submit("greedy", take, 900 * 2**20)
            assert isinstance(executor.next().error, Killed)
            executor.submit("modest", pid_and_device)
            assert executor.next().error is None


class TestAddress:
    """A scheduler that somebody else runs may end at any moment, or not be what was meant."""

    def test_tasks_run_and_the_cluster_goes_on(
        self, scheduler: tuple[str, subprocess.Popen[bytes]]
    ):
        address, process = scheduler
        for _ in range(2):
            with DaskExecutor(choose_cluster(address)) as executor:
                for number in range(4):
                    executor.submit(f"task-{number}", pid_and_device, codes=True)
                done = [executor.next() for _ in range(4)]
                assert {one.error for one in done} == {None}
                assert executor.slots >= 1
        assert process.poll() is None

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_scheduler_that_ends_is_one_error(
        self, scheduler: tuple[str, subprocess.Popen[bytes]], how: signal.Signals
    ):
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

    def test_nobody_there(self, monkeypatch: pytest.MonkeyPatch):
        from tilepress.workflows import address_cluster

        monkeypatch.setattr(address_cluster, "CONNECT_WITHIN_S", 1)
        with (
            DaskExecutor(choose_cluster("tcp://127.0.0.1:9")) as executor,
            pytest.raises(NoScheduler, match="no scheduler answered within 1 s"),
        ):
            run_one(executor)

    def test_cuda_where_no_worker_has_one(self, tmp_path: Path):
        with LocalOpener(workers=1).open() as opened:
            opener = choose_cluster(opened.client.scheduler.address, device="cuda")
            with (
                DaskExecutor(opener) as executor,
                pytest.raises(UsageError, match="no worker has a GPU"),
            ):
                run_one(executor)

    def test_other_versions_are_refused(self, monkeypatch: pytest.MonkeyPatch):
        with LocalOpener(workers=1).open() as opened:
            opener = choose_cluster(opened.client.scheduler.address)
            assert isinstance(opener, AddressOpener)
            monkeypatch.setattr(room, "_own_version", lambda: "99.0")
            with (
                DaskExecutor(opener) as executor,
                pytest.raises(VersionMismatch, match=f"{importlib.metadata.version('tilepress')}"),
            ):
                run_one(executor)
