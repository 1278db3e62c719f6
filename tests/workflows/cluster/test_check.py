"""``cluster check``: what is missing here, and what the workers see there."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tilepress.workflows.cli.app import app
from tilepress.workflows.cluster.check import Seen, _wrong
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.profiles import AddressProfile
from tilepress.workflows.cluster.worker_kinds import WorkerKind

from .running import address_in, dask_command, wait_for_file, write_profile


class TestCheck:
    """Whoever writes a profile learns whether it works before an archive waits for it."""

    def test_it_names_commands_that_are_missing(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch
    ):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        monkeypatch.setenv("PATH", "")
        path = repository / "examples" / "cluster" / "lsf.yaml"
        done = CliRunner().invoke(app, ["cluster", "check", str(path)])
        assert done.exit_code == 1
        for name in ("bsub", "bkill", "bjobs"):
            assert f"checking lsf: there is no command {name} here" in done.output

    def test_it_asks_a_worker(self, tmp_path: Path):
        with LocalOpener(workers=1).open() as opened:
            path = write_profile(opened, tmp_path)
            line = ["cluster", "check", str(path), "--run", "--destination", str(tmp_path / "out")]
            done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        lines = [line for line in done.output.splitlines() if not line.startswith("dashboard:")]
        wanted = (
            r".*: the profile is well formed",
            r"scheduler: tls://127\.0\.0\.1:\d+, joined, encrypted",
            r"first worker: after \d+\.\d s",
            r"workers: 1: 1 without resources",
            rf"versions: Python 3\.\d+ and tilepress {importlib.metadata.version('tilepress')}, .*",
            r"worker 127\.0\.0\.1: 1 threads of \d+ cores, [\d.]+ GiB, GPUs .*, codes on cpu, "
            r"round trip the same",
            rf"worker 127\.0\.0\.1: can write {tmp_path / 'out'}",
        )
        for line, pattern in zip(lines, wanted, strict=True):
            assert re.fullmatch(pattern, line)

    @pytest.mark.slow
    def test_it_asks_a_worker_of_every_kind(self, tmp_path: Path):
        with LocalOpener(workers=2, device="auto", gpus=("GPU-7",)).open() as opened:
            path = write_profile(opened, tmp_path)
            done = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "60"])
        assert "workers: 2: 1 on GPUs, 1 on CPUs" in done.output
        assert done.output.count("round trip the same") == 2
        assert done.exit_code == 1
        assert "it has the resource GPU, and codes on the CPU" in done.output

    def test_it_tells_of_a_round_trip_that_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        seen = Seen(cores=1, gpus=(), device="cpu", round_trip="other samples")
        told = list(
            _wrong(
                "worker node1",
                seen,
                WorkerKind.cpu,
                AddressProfile(kind="address", address="tcp://a"),
            )
        )
        assert told == ["checking worker node1: a tile coded on cpu came back changed"]

    def test_it_waits_as_long_as_it_is_told(self, tmp_path: Path):
        file, path = tmp_path / "scheduler.json", tmp_path / "here.yaml"
        where = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0"]
        with dask_command("distributed.cli.dask_scheduler", *where, "--no-dashboard"):
            wait_for_file(file)
            path.write_text(f"kind: address\naddress: {address_in(file)}\n")
            done = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "1.5"])
        assert str(done.exception).endswith("it had no workers for 1.5 s")
        again = CliRunner().invoke(app, ["cluster", "check", str(path), "--wait", "0"])
        assert str(again.exception).endswith("got --wait 0, want seconds, more than 0")
