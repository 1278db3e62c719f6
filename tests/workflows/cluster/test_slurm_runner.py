"""The tasks of a Slurm step find each other, and nobody else finds them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.cluster import slurm_runner
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.slurm_runner import RunnerOpener


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

    def test_a_user_may_go_without_keys_and_is_told_what_that_means(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("TILEPRESS_RUNNER_TLS", "off")
        notes: list[str] = []
        opener = RunnerOpener.of(None, "cpu", note=notes.append)
        assert opener.security is None
        assert not list(opener.folder.iterdir())
        with DaskExecutor(opener):
            pass
        (note,) = notes
        assert "not encrypted; whoever can reach its ports can run code as their user" in note
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
