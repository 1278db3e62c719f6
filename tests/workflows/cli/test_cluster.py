"""``cluster init``, ``show``, ``check`` and ``submit``: what they print can be used as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tilepress.errors import UsageError
from tilepress.workflows.cli.app import app


class TestCommands:
    """Profiles are written, shown and checked."""

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


class TestSubmit:
    """``cluster submit`` takes what compress takes, and refuses what parts cannot do."""

    @pytest.fixture
    def profile(self, tmp_path: Path) -> Path:
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        path = tmp_path / "slurm.yaml"
        path.write_text(f"kind: slurm\njobs: 1\ncores: 1\nmemory: 1GB\nshared_folder: {tmp_path}\n")
        return path

    def test_a_dry_run_writes_and_submits_nothing(self, profile: Path, tmp_path: Path):
        line = ["cluster", "submit", str(profile), "--parts", "2", "--dry-run", "--"]
        line += ["/archive", "/out", "--max-error", "2", "--stack", "*_B*.TIF", "--quiet"]
        line += [
            "--exclude",
            "*.tmp",
            "--exclude",
            "raw/**",
            "--keep",
            "all",
            "--skip-larger",
            "2GB",
        ]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        assert [text.split(":")[0] for text in done.output.splitlines()] == [
            "plan", "parts", "finish",
        ]  # fmt: skip
        last = (tmp_path / "parts.sh").read_text().splitlines()[-1]
        assert "--max-error 2.0 --stack '*_B*.TIF'" in last
        for options in ("--exclude '*.tmp' --exclude 'raw/**'", "--keep all", "--skip-larger 2GB"):
            assert options in last
        assert last.endswith("--quiet -- /archive /out")

    @pytest.mark.parametrize("words", [("show",), ("submit", "--parts", "3", "--dry-run")])
    def test_in_a_process_that_has_not_imported_anything(
        self, profile: Path, tmp_path: Path, words: tuple[str, ...]
    ):
        """dask-jobqueue's settings come with its import, and only where none are there yet."""
        more = ["--", str(tmp_path), str(tmp_path / "out")] if "submit" in words else []
        line = [sys.executable, "-m", "tilepress", "cluster", words[0], str(profile)]
        done = subprocess.run(
            [*line, *words[1:], *more], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        "more",
        [
            ["--workers", "2"],
            ["--part", "0/2"],
            ["--cluster", "local"],
            ["--tune", "60"],
            ["--checksum"],
            ["--dashboard"],
        ],
    )
    def test_what_parts_cannot_do(self, profile: Path, more: list[str]):
        line = ["cluster", "submit", str(profile), "--parts", "2", "--", "/archive", "/out", *more]
        done = CliRunner().invoke(app, line)
        assert isinstance(done.exception, UsageError)
        assert f"{more[0]} does not go with parts" in str(done.exception)

    def test_jobs_have_no_stdin(self, profile: Path):
        done = CliRunner().invoke(
            app, ["cluster", "submit", str(profile), "--parts", "2", "--", "-", "/out"]
        )
        assert "no stdin" in str(done.exception)
