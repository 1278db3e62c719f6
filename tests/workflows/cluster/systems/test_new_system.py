"""A new batch system is one module and one line; nothing else has to know it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profile_files import example_profile, known_kinds, parse_profile
from tilepress.workflows.cluster.systems import SYSTEMS

pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")

from tilepress.workflows.cli.app import app
from tilepress.workflows.cluster.jobs import JobOpener, job_script
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.worker_kinds import WorkerCounts

from . import toy

JOB = {"kind": "toy", "jobs": 2, "cores": 3, "memory": "4GB", "queue": "play"}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, "toy", toy.__name__)


def profile(**more: object) -> BatchProfile:
    made = parse_profile(JOB | more, "toy.yaml")
    assert isinstance(made, BatchProfile)
    return made


def run(*line: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in line])
    assert done.exit_code == 0, done.exception
    return done.output


class TestProfiles:
    """It takes and refuses keys, and messages name it beside the others."""

    def test_init_writes_one_that_is_right(self):
        assert known_kinds()[-2:] == ("toy", "address")
        text = run("cluster", "init", "toy", "--gpu")
        assert text == example_profile("toy", gpu=True)
        assert text.startswith("# Workers of tilepress as jobs of Toy.\n")
        loaded = parse_profile(yaml.safe_load(text), "toy.yaml")
        assert (loaded.kind, loaded.queue, loaded.gpus) == ("toy", "play", 1)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"kind": "tory"}, "kind: got 'tory', want one of .*, htcondor, toy, address; .*'toy'"),
            ({"queue": None}, "toy needs queue, e.g. queue: play"),
            ({"account": "physics"}, "toy takes no account"),
            ({"memory_property": "memcore"}, "memory_property is for oar only"),
            ({"kind": "pbs", "disk": "1GB"}, "disk is for htcondor and toy"),
            ({"kind": "pbs", "gpu_type": "a"}, "gpu_type is for slurm, lsf and toy"),
        ],
    )
    def test_keys(self, change: dict[str, object], told: str):
        with pytest.raises(UsageError, match=f"^reading profile toy.yaml: {told}"):
            profile(**change)


class TestJobs:
    """Jobs are described by its own class of dask-jobqueue's kind."""

    def test_the_script(self):
        head = "#TOY -N tilepress\n#TOY -q play\n#TOY -s 3x2\n#TOY -fun\n"
        script = job_script(profile(gpus=2, directives=["-fun"]))
        assert head in script
        assert "export TILEPRESS_THREADS=3" in script
        assert "-m dask_cuda.cli worker tls://SCHEDULER:PORT" in script
        assert "--resources GPU=1" in script

    def test_show(self, tmp_path: Path):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(JOB))
        shown = run("cluster", "show", path)
        assert shown.startswith("kind: toy\n")
        assert "#TOY -s 3x0\n" in shown

    def test_check_names_its_commands(self, tmp_path: Path):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(JOB))
        done = CliRunner().invoke(app, ["cluster", "check", str(path)])
        assert done.exit_code == 1
        for name in ("toysub", "toydel", "toystat"):
            assert f"checking toy: there is no command {name} here" in done.output

    def test_a_cluster_of_them(self):
        assert JobOpener(profile()).expected == WorkerCounts(cpu=2, threads=3)


class TestArrays:
    """Archives are submitted to it as arrays, for it says how."""

    def test_scripts(self, tmp_path: Path):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(JOB | {"shared_folder": str(tmp_path)}))
        run("cluster", "submit", path, "--parts", 5, "--dry-run", "--", "/archive", "/out")
        parts = (tmp_path / "parts.sh").read_text().splitlines()
        assert parts[1:5] == ["#TOY -q play", "#TOY -s 3x0", "#TOY -N tilepress-parts", "#TOY -t 5"]
        assert 'compress --part "${TOY_NUMBER}/5" -- /archive /out' in parts[-1]
        assert "#TOY -N tilepress-plan\n" in (tmp_path / "plan.sh").read_text()

    def test_a_system_without_arrays_is_told_which_have_them(self):
        from tilepress.workflows.cluster.array_job import ArrayJob

        with pytest.raises(UsageError, match="oar is not one of slurm, pbs, lsf, sge, toy; use"):
            ArrayJob(profile=profile(kind="oar"), parts=2, paths=("/a", "/b"), folder=Path("/jobs"))
