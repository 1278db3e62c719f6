"""Clusters of jobs: what a profile asks for, and a package that leaves Ctrl-C alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.cluster.jobs import JobOpener, job_script, make_cluster
from tilepress.workflows.cluster.profile_files import parse_profile
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.worker_kinds import WorkerCounts

KEEPS_THE_HANDLER = """
import signal
from tilepress.workflows.cluster.systems import batch_system

def mine(number, frame):
    pass

signal.signal(signal.SIGINT, mine)
assert batch_system("slurm").cluster_class().__name__ == "SLURMCluster"
assert signal.getsignal(signal.SIGINT) is mine
"""


def profile(folder: Path, **more: object) -> BatchProfile:
    given = {"kind": "slurm", "jobs": 3, "cores": 4, "memory": "8GB", "shared_folder": str(folder)}
    made = parse_profile(given | more, "p.yaml")
    assert isinstance(made, BatchProfile)
    return made


class TestExpectedWorkers:
    """How many tasks are in flight at the start follows from the profile alone."""

    @pytest.mark.parametrize(
        ("more", "jobs", "counts"),
        [
            ({}, None, WorkerCounts(cpu=3, threads=4)),
            ({}, 7, WorkerCounts(cpu=7, threads=4)),
            ({"gpus": 2}, None, WorkerCounts(gpu=6, threads=4)),
        ],
    )
    def test_one_for_each_job_or_gpu(
        self, tmp_path: Path, more: dict[str, object], jobs: int | None, counts: WorkerCounts
    ):
        assert JobOpener(profile(tmp_path, **more), jobs=jobs).expected == counts


class TestNothingIsStarted:
    """A person may look at a job script where there is no batch system."""

    def test_a_script_is_shown_and_no_folder_made(self, tmp_path: Path):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        folder = tmp_path / "jobs"
        assert "tls://SCHEDULER:PORT" in job_script(profile(folder))
        assert "tcp://SCHEDULER:PORT" in job_script(profile(folder, tls=False))
        assert not folder.exists()


class TestThePackage:
    """dask-jobqueue is an extra, and sets a handler of SIGINT when it is imported."""

    def test_a_user_is_told_how_to_get_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
        with pytest.raises(UsageError, match=r"not installed; pip install 'tilepress\[cluster\]'"):
            make_cluster(profile(tmp_path), None)

    def test_it_takes_no_signal(self):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        done = subprocess.run(
            [sys.executable, "-c", KEEPS_THE_HANDLER], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
