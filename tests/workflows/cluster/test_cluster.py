"""Clusters: the right one by name, one line where it cannot be, and never a hang when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tilepress.errors import UsageError
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.device import device
from tilepress.workflows.cli.app import app
from tilepress.workflows.cluster import choose as room
from tilepress.workflows.cluster import jobs as job_cluster
from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster import slurm_runner, watch
from tilepress.workflows.cluster.address import AddressOpener
from tilepress.workflows.cluster.check import Seen, _wrong
from tilepress.workflows.cluster.choose import VersionMismatch, choose_cluster
from tilepress.workflows.cluster.executor import DaskExecutor, Killed
from tilepress.workflows.cluster.jobs import JobsEnd, Watchdog
from tilepress.workflows.cluster.local import LocalOpener, default_workers, visible_gpus
from tilepress.workflows.cluster.profiles import AddressProfile
from tilepress.workflows.cluster.slurm_runner import RunnerOpener
from tilepress.workflows.cluster.systems import batch_system
from tilepress.workflows.cluster.watch import NoScheduler, NoWorkers
from tilepress.workflows.cluster.worker_kinds import Lane, Lanes


def pid_and_device() -> tuple[int, str]:
    return os.getpid(), device()


def visible() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "-")


def run_one(executor: DaskExecutor) -> object:
    executor.submit("first", pid_and_device, codes=True)
    return executor.next()


@contextlib.contextmanager
def dask(*arguments: str, log: Path = Path(os.devnull)) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask command beside the test."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def tell(name: str) -> str:
    return name


def keep_open() -> int:
    task._sources[secrets.token_hex(4)] = SimpleNamespace(close=lambda: None)  # type: ignore[assignment]
    return count_open()


def count_open() -> int:
    return len(task._sources)


def refuse(name: str) -> str:
    raise UsageError(f"reading {name}: it is none")


def wait_for_file(file: Path) -> None:
    """Wait until a file has something in it."""
    end = time.monotonic() + 60
    while not file.exists() or not file.stat().st_size:
        assert time.monotonic() < end
        time.sleep(0.1)


def address_in(file: Path) -> str:
    address: str = json.loads(file.read_text())["address"]
    return address


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
                    log=tmp_path / "workers.log",
                )
            )  # fmt: skip
        wait_for_file(file)
        yield address_in(file), process


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


class TestLostLane:
    """A worker sees its own GPU alone; where those of one kind are gone, others do their tasks."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.2)
        monkeypatch.setattr(watch, "LANE_AFTER_S", 1.0)

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
            assert executor._in_lane[Lane(lost)] == 2
            retire(executor, lost)
            mark.touch()
            done = {one.key: one.result for one in (executor.next(), executor.next())}
            assert done == {"runs": seen, "waits": seen}
            assert notes == [told]
            executor.submit("later", visible, codes=True)
            assert executor.next().result == seen
            assert executor._in_lane[Lane(lost)] == 0 or lost == "CPU"

    def test_without_any_worker_the_run_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "NO_WORKERS_AFTER_S", 2.0)
        with DaskExecutor(LocalOpener(workers=2, device="auto", gpus=("GPU-7",))) as executor:
            executor.submit("waits", visible_after, str(tmp_path / "mark"), codes=True)
            executor._send()
            retire(executor, "GPU", "CPU")
            with pytest.raises(NoWorkers, match="process was alive for 2 s"):
                executor.next()


class FakeJobs:
    """A cluster of jobs without a batch system; ``lives_s`` tells how long a job lives."""

    def __init__(self, lives_s: Callable[[int], float]) -> None:
        self.lives_s = lives_s
        self.now = 1000.0
        self.submitted = 0
        self.ends: dict[str, float] = {}
        self.worker_spec: dict[str, Any] = {}
        self.workers: dict[str, SimpleNamespace] = {}
        self.endings: tuple[str, ...] = ("",)
        """Of the names of a job's workers."""
        self._i = 0

    def new_worker_spec(self) -> dict[str, Any]:
        while str(self._i) in self.worker_spec:
            self._i += 1
        return {str(self._i): {}}

    async def _correct_state(self) -> None:
        for name in self.worker_spec.keys() - self.workers.keys():
            self.submitted += 1
            self.workers[name] = SimpleNamespace(job_id=name)
            self.ends[name] = self.now + self.lives_s(self.submitted)

    def sync(self, call: Callable[[], Coroutine[Any, Any, None]], callback_timeout: float) -> None:
        asyncio.run(call())

    @property
    def scheduler(self) -> SimpleNamespace:
        alive = [
            SimpleNamespace(name=f"{name}{ending}")
            for name in self.ends
            for ending in self.endings
            if self.is_there(name)
        ]
        return SimpleNamespace(workers=dict(enumerate(alive)))

    def is_there(self, job_id: str) -> bool:
        return self.now < self.ends[job_id]


class TestWatchdog:
    """Jobs that end are submitted again, but not for ever where they end at once."""

    @pytest.fixture
    def watched(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., tuple[FakeJobs, list[str], Callable[[float], None]]]:
        """Return a function that returns jobs, what is told of them, and what lets time pass."""

        def start(
            jobs: int, lives_s: Callable[[int], float]
        ) -> tuple[FakeJobs, list[str], Callable[[float], None]]:
            fake = FakeJobs(lives_s)
            told: list[str] = []
            monkeypatch.setattr(job_cluster, "time", SimpleNamespace(monotonic=lambda: fake.now))
            monkeypatch.setattr(Watchdog, "_is_there", lambda _, job_id: fake.is_there(job_id))
            system = batch_system("slurm")
            dog = Watchdog(fake, system, jobs, where="/jobs", note=told.append)  # type: ignore[arg-type]
            dog._submit()

            def passes(seconds: float) -> None:
                end = fake.now + seconds
                while fake.now < end:
                    fake.now += dog.every_s
                    dog._look()

            return fake, told, passes

        return start

    def test_all_end_at_once(self, watched: Any):
        jobs, _, passes = watched(4, lambda _: 0)
        with pytest.raises(JobsEnd, match="keeping 4 slurm jobs running: 12 in a row ended soon"):
            passes(600)
        assert jobs.submitted == 12

    def test_most_end_at_once_and_one_runs(self, watched: Any):
        jobs, told, passes = watched(10, lambda number: 1e9 if number == 1 else 0)
        passes(3600)
        assert jobs.submitted < 10 * 3 * 4
        assert any("going on with 1, next try in 30 min" in text for text in told)
        before = jobs.submitted
        passes(24 * 3600)
        assert before < jobs.submitted < before + 10 * 3 * 6

    def test_one_that_comes_up_late_is_waited_for(self, watched: Any):
        """Others fail before it has stood the test."""
        _, _, passes = watched(2, lambda number: {1: 30}.get(number, 0))
        with pytest.raises(JobsEnd):
            passes(600)

    def test_the_last_that_ran_ends_in_the_pause(self, watched: Any):
        jobs, told, passes = watched(3, lambda number: 300 if number == 1 else 0)
        with pytest.raises(JobsEnd):
            passes(1200)
        assert any("going on with 1" in text for text in told)
        assert jobs.submitted < 3 * 3 * 4

    def test_jobs_that_use_their_time_are_replaced_for_ever(self, watched: Any):
        jobs, told, passes = watched(4, lambda _: 900)
        passes(36000)
        assert jobs.submitted > 4 * 30
        assert not [text for text in told if "going on" in text]

    def test_jobs_of_several_gpus_have_several_workers(self, watched: Any):
        """dask-cuda numbers them: "job-0", "job-1"."""
        jobs, told, passes = watched(2, lambda _: 900)
        jobs.endings = ("-0", "-1")
        passes(36000)
        assert jobs.submitted > 2 * 30
        assert not [text for text in told if "going on" in text]

    def test_failures_now_and_then_do_no_harm(self, watched: Any):
        jobs, told, passes = watched(4, lambda number: 0 if number % 3 == 0 else 900)
        passes(36000)
        assert jobs.submitted > 4 * 30
        assert not [text for text in told if "going on" in text]


class TestRunner:
    """The tasks of a Slurm step meet in a folder of their own; nobody else can join."""

    @pytest.fixture(autouse=True)
    def _step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        step = {"PROCID": "0", "NTASKS": "2", "JOB_ID": "7", "STEP_ID": "0"}
        for name, value in step.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        monkeypatch.setenv("SLURMD_NODENAME", "127.0.0.1")

    def test_the_scheduler_is_there_before_the_first_task(self):
        from distributed import Client

        opener = RunnerOpener.of(None, "cpu")
        assert opener.folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in opener.folder.iterdir()} == {0o600}
        with DaskExecutor(opener):
            address = json.loads((opener.folder / "scheduler.json").read_text())["address"]
            assert address.startswith("tls://")
            with pytest.raises((OSError, TypeError)):
                Client(address.replace("tls", "tcp"), timeout=1)
        assert not opener.folder.exists()

    def test_without_the_package_that_makes_keys_a_user_must_say_so(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match="or set TILEPRESS_RUNNER_TLS=off where the network"):
            RunnerOpener.of(None, "cpu")
        monkeypatch.setenv("TILEPRESS_RUNNER_TLS", "off")
        opener = RunnerOpener.of(None, "cpu")
        assert opener.security is None
        assert not list(opener.folder.iterdir())
        monkeypatch.setenv("TILEPRESS_RUNNER_TLS", "no")
        with pytest.raises(UsageError, match="TILEPRESS_RUNNER_TLS: got 'no', want on or off"):
            RunnerOpener.of(None, "cpu")

    def test_workers_join_with_the_keys(self, monkeypatch: pytest.MonkeyPatch):
        folder = RunnerOpener.of(None, "cpu").folder
        (folder / "scheduler.json").touch()
        monkeypatch.setenv("SLURM_PROCID", "1")
        lines: list[list[str]] = []
        monkeypatch.setattr(os, "environ", os.environ.copy())

        def become(_: str, line: list[str]) -> None:
            lines.append(line)
            raise SystemExit(0)

        monkeypatch.setattr(os, "execv", become)
        with pytest.raises(SystemExit):
            RunnerOpener.of(None, "cpu")
        (line,) = [" ".join(line) for line in lines]
        for option, name in (("ca-file", "cert"), ("key", "key"), ("cert", "cert")):
            assert f"--tls-{option} {folder / name}.pem" in line

    def test_a_folder_that_others_may_enter_is_refused(self):
        folder = slurm_runner._meeting_place()
        folder.mkdir()
        folder.chmod(0o755)
        with pytest.raises(UsageError, match="is not ours alone"):
            slurm_runner._scheduler_comes(folder)
        (folder / "scheduler.json").touch()
        with pytest.raises(UsageError, match=r"making .*: Directory not empty"):
            RunnerOpener.of(None, "cpu")

    def test_workers_wait_while_task_0_lives(self, monkeypatch: pytest.MonkeyPatch):
        folder = RunnerOpener.of(None, "cpu").folder
        monkeypatch.setattr(slurm_runner, "WAIT_FOR_FOLDER_S", 0)
        looks = iter(range(5))

        def look(_: float) -> None:
            if next(looks) == 3:
                (folder / "scheduler.json").touch()

        monkeypatch.setattr(
            slurm_runner, "time", SimpleNamespace(monotonic=time.monotonic, sleep=look)
        )
        assert slurm_runner._scheduler_comes(folder)

    def test_workers_end_with_task_0(self, monkeypatch: pytest.MonkeyPatch):
        folder = RunnerOpener.of(None, "cpu").folder

        def end(_: float) -> None:
            for path in (*folder.iterdir(), folder):
                path.rmdir() if path.is_dir() else path.unlink()

        monkeypatch.setattr(
            slurm_runner, "time", SimpleNamespace(monotonic=time.monotonic, sleep=end)
        )
        assert not slurm_runner._scheduler_comes(folder)


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
        lines = [line for line in done.output.splitlines() if not line.startswith("dashboard:")]
        wanted = (
            r".*: the profile is well formed",
            r"scheduler: tcp://127\.0\.0\.1:\d+, joined, not encrypted",
            r"first worker: after \d+\.\d s",
            r"workers: 1: 1 without resources",
            rf"versions: Python 3\.\d+ and tilepress {importlib.metadata.version('tilepress')}, .*",
            r"worker 127\.0\.0\.1: 1 threads of \d+ cores, [\d.]+ GiB, GPUs .*, codes on cpu, "
            r"round trip the same",
            rf"worker 127\.0\.0\.1: can write {tmp_path / 'out'}",
        )
        for line, pattern in zip(lines, wanted, strict=True):
            assert re.fullmatch(pattern, line)

    def test_check_asks_a_worker_of_every_kind(self, tmp_path: Path):
        with LocalOpener(workers=2, device="auto", gpus=("GPU-7",)).open() as opened:
            path = tmp_path / "here.yaml"
            path.write_text(f"kind: address\naddress: {opened.client.scheduler.address}\n")
            done = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "60"])
        assert "workers: 2: 1 on GPUs, 1 on CPUs" in done.output
        assert done.output.count("round trip the same") == 2
        assert done.exit_code == 1
        assert "it has the resource GPU, and codes on the CPU" in done.output

    def test_check_tells_of_a_round_trip_that_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        seen = Seen(cores=1, gpus=(), device="cpu", round_trip="other samples")
        told = list(
            _wrong(
                "worker node1", seen, Lane.cpu, AddressProfile(kind="address", address="tcp://a")
            )
        )
        assert told == ["checking worker node1: a tile coded on cpu came back changed"]

    def test_check_waits_as_long_as_it_is_told(self, tmp_path: Path):
        file, path = tmp_path / "scheduler.json", tmp_path / "here.yaml"
        where = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0"]
        with dask("distributed.cli.dask_scheduler", *where, "--no-dashboard"):
            wait_for_file(file)
            path.write_text(f"kind: address\naddress: {address_in(file)}\n")
            done = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "1.5"])
        assert str(done.exception).endswith("it had no workers for 1.5 s")
        again = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "0"])
        assert str(again.exception).endswith("got --wait 0, want seconds, more than 0")

    def test_every_mistake_in_a_profile_is_a_line(self, tmp_path: Path):
        path = tmp_path / "slurm.yaml"
        path.write_text("kind: slurm\njobs: many\ncore: 4\nmemory: 4GB\n")
        done = CliRunner().invoke(app, ["cluster", "check", str(path)])
        assert done.output.splitlines() == [
            f"tilepress: reading profile {path}: unknown key 'core'; did you mean 'cores'?",
            f"tilepress: reading profile {path}: cores: it is missing",
        ]
        told = f"reading profile {path}: jobs: got 'many', want a whole number"
        assert str(done.exception) == told

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
            notes: list[str] = []
            with DaskExecutor(choose_cluster(address, note=notes.append)) as executor:
                for number in range(4):
                    executor.submit(f"task-{number}", pid_and_device, codes=True)
                done = [executor.next() for _ in range(4)]
                assert {one.error for one in done} == {None}
                assert executor.slots >= 1
            (deaths,) = [note for note in notes if "deaths" in note]
            assert deaths.startswith("the scheduler gives up a task after 4 deaths of its workers")
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
