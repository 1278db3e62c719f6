"""A real Slurm runs archives; jobs are cancelled and the node is drained in the middle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tilepress
from tilepress.pipeline.store.seal import is_sealed

from ..helpers.samples import smooth
from ..helpers.slurm import PARTITION, Slurm

IMAGES = 2
SIZE, LARGE = 96, 224
FAST = ("--tier", "fast")
SLOW = (*FAST, "--tile", "32")
"""Many records, so that something is left to do when a job is cancelled."""

PROFILE = f"""
kind: slurm
jobs: {{jobs}}
cores: 1
memory: 1GB
queue: {PARTITION}
interface: lo
shared_folder: {{folder}}/jobs
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a folder of images of several shards each."""
    return make_images(tmp_path / "archive", SIZE)


@pytest.fixture
def slow_archive(tmp_path: Path) -> Path:
    """Return images that take long enough for something to happen meanwhile."""
    return make_images(tmp_path / "archive", LARGE)


def make_images(folder: Path, size: int, count: int = IMAGES) -> Path:
    folder.mkdir()
    for number in range(count):
        np.save(folder / f"image-{number}.npy", smooth((4, size, size), seed=number))
    return folder


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "slurm.yaml"
    path.write_text(PROFILE.format(jobs=2, folder=tmp_path))
    return path


@pytest.fixture
def start(slurm: Slurm) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts ``tilepress`` where it finds this Slurm."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tilepress", *map(str, arguments)],
            env=os.environ | slurm.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen[str], timeout_s: float = 200) -> str:
    """Wait for a command that must do well; return what it printed, and then what it noted."""
    out, error = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, (out, error)
    return out + error


def wait_for(what: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def shards_done(out: Path) -> int:
    # folders go while they are looked into: os.walk passes over these
    return sum(len(files) for folder, _, files in os.walk(out) if "c" in Path(folder).parts)


def assert_whole(archive: Path, out: Path) -> None:
    """Every store verifies, and holds what its source holds."""
    for source in sorted(archive.glob("*.npy")):
        assert tilepress.verify(out / f"{source.stem}.zarr", source=source) == []


class TestJobsAsWorkers:
    """The scheduler is in the command, workers are jobs; jobs that end are submitted again."""

    @pytest.mark.slow
    def test_a_cancelled_job_is_submitted_again(
        self, slurm: Slurm, start: Callable[..., subprocess.Popen[str]],
        slow_archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        profile.write_text(PROFILE.format(jobs=1, folder=tmp_path))
        out = tmp_path / "out"
        process = start("compress", slow_archive, out, "--cluster", profile, *SLOW)
        wait_for(lambda: shards_done(out) > 0)
        (first,) = slurm.jobs()
        slurm.run("scancel", first)
        told = finish(process)
        assert f"job {first} ended; another one is submitted" in told
        # what the job had sealed and not told is found unchanged
        counts = re.search(r"(\d+) written, (\d+) unchanged, 0 failed", told)
        assert counts is not None, told
        assert sum(map(int, counts.groups())) == IMAGES
        assert_whole(slow_archive, out)

    def test_an_archive_which_a_drained_node_only_delays_and_nothing_is_left(
        self, slurm: Slurm, start: Callable[..., subprocess.Popen[str]],
        archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        out = tmp_path / "out"
        slurm.set_node("drain")
        try:
            process = start("compress", archive, out, "--cluster", profile, *FAST)
            wait_for(lambda: len(slurm.jobs("PENDING")) == 2)
            assert process.poll() is None
        finally:
            slurm.set_node("resume")
        wait_for(lambda: shards_done(out) > 0)
        slurm.set_node("drain")
        try:
            told = finish(process)  # jobs that run go on
        finally:
            slurm.set_node("resume")
        assert f"{IMAGES} written" in told
        assert_whole(archive, out)
        slurm.wait_until_idle()
        keys = [p for p in (tmp_path / "jobs").iterdir() if p.name.startswith(".")]
        assert not keys, "keys outlive the run"

    @pytest.mark.long  # every day with jobs that are none: test_cluster.py, TestWatchdog
    def test_jobs_that_end_at_once_are_one_error_that_names_their_log(
        self, start: Callable[..., subprocess.Popen[str]],
        archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        text = PROFILE.format(jobs=1, folder=tmp_path)
        profile.write_text(text + "prologue: [exit 3]\n")
        process = start("compress", archive, tmp_path / "out", "--cluster", profile)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 1
        last = error.strip().splitlines()[-1]
        assert last.startswith("tilepress: keeping 1 slurm jobs running: 3 in a row ended soon")
        assert last.endswith(f"its log is in {tmp_path}/jobs")

    def test_what_slurm_refuses_is_one_error(
        self, start: Callable[..., subprocess.Popen[str]],
        archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        profile.write_text(profile.read_text().replace(PARTITION, "nowhere"))
        process = start("compress", archive, tmp_path / "out", "--cluster", profile)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "tilepress: submitting a slurm job: sbatch: error: invalid partition" in error

    def test_jobs_end_when_the_command_is_killed(
        self, slurm: Slurm, start: Callable[..., subprocess.Popen[str]],
        slow_archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        profile.write_text(PROFILE.format(jobs=1, folder=tmp_path))
        out = tmp_path / "out"
        process = start("compress", slow_archive, out, "--cluster", profile, *SLOW)
        wait_for(lambda: shards_done(out) > 0)
        process.kill()
        process.communicate()
        slurm.wait_until_idle(timeout_s=100)


class TestGpuJobs:
    """A job gets the GPU that its profile asks for."""

    def test_slurm_sets_the_visible_device(
        self, start: Callable[..., subprocess.Popen[str]], profile: Path, tmp_path: Path
    ):
        seen = tmp_path / "seen"
        text = profile.read_text()
        profile.write_text(
            text + f'gpus: 1\nprologue: ["echo $CUDA_VISIBLE_DEVICES > {seen}"]\n'
        )  # fmt: skip
        process = start("cluster", "check", profile, "--run", "--destination", tmp_path / "out")
        out, error = process.communicate(timeout=60)
        assert seen.read_text() == "0\n"
        assert "scheduler: tls://" in out
        assert "workers: 1 of 1 of one job: 1 on GPUs" in out
        assert "round trip the same" in out
        assert f"can write {tmp_path / 'out'}" in out
        assert process.returncode == 1, "the GPU is /dev/null, and a check says so"
        assert "no device is seen" in error


class TestArrays:
    """Without Dask: a job plans, an array writes parts, a job finishes."""

    def test_submit(
        self, slurm: Slurm, start: Callable[..., subprocess.Popen[str]],
        archive: Path, profile: Path, tmp_path: Path,
    ):  # fmt: skip
        out = tmp_path / "out"
        line = ["cluster", "submit", profile, "--parts", 2, "--", archive, out, "--tier", "fast"]
        told = finish(start(*line)).splitlines()
        assert [text.split(":")[0] for text in told[3:]] == ["plan", "parts", "finish"]
        slurm.wait_until_idle(timeout_s=120)
        logs = {path.name: path.read_text() for path in (tmp_path / "jobs").glob("*.log")}
        assert len(logs) == 4, logs
        assert_whole(archive, out)

    @pytest.mark.slow
    def test_what_a_cancelled_part_left_is_named_and_the_script_goes_on_from_there(
        self, slurm: Slurm, start: Callable[..., subprocess.Popen[str]],
        profile: Path, tmp_path: Path,
    ):  # fmt: skip
        archive, out = make_images(tmp_path / "archive", LARGE, count=5), tmp_path / "out"
        line = ["cluster", "submit", profile, "--parts", 1, "--", archive, out, *SLOW]
        told = finish(start(*line)).splitlines()
        wait_for(lambda: shards_done(out) > 0)
        slurm.run("scancel", "--state=RUNNING")
        slurm.wait_until_idle(timeout_s=120)
        (log,) = (tmp_path / "jobs").glob("finish-*.log")
        assert "shards are missing" in log.read_text()
        assert "run the parts again" in log.read_text()
        assert not is_sealed(out / "image-4.zarr")
        (script,) = (text for text in told if text.endswith("parts.sh"))
        slurm.run("sbatch", script.split()[-1])
        slurm.wait_until_idle(timeout_s=120)
        finish(start("finish", out))
        assert_whole(archive, out)


class TestRunner:
    """The whole cluster inside one allocation, with encrypted connections."""

    def test_srun(self, slurm: Slurm, archive: Path, tmp_path: Path):
        out = tmp_path / "out"
        process = subprocess.Popen(
            [
                "srun", "-n", "2", sys.executable, "-m", "tilepress", "compress",
                archive, out, "--cluster", "slurm-runner", "--tier", "fast",
            ],
            env=os.environ | slurm.environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        pattern = ".tilepress-runner-*/scheduler.json"
        wait_for(lambda: any(path.stat().st_size for path in tmp_path.glob(pattern)))
        (file,) = tmp_path.glob(pattern)
        assert json.loads(file.read_text())["address"].startswith("tls://")
        assert file.parent.stat().st_mode & 0o077 == 0
        told = finish(process)
        assert told.count(f"{IMAGES} written") == 1
        assert "distributed." not in told, "workers share the command's terminal"
        assert_whole(archive, out)
        assert not list(tmp_path.glob(".tilepress-runner*"))
