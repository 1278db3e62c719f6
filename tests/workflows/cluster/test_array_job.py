"""Array jobs: scripts that a person can read, in the words of each system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profile_files import parse_profile
from tilepress.workflows.cluster.profiles import BatchProfile

pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")

from tilepress.workflows.cluster.array_job import ArrayJob


def scripts(kind: str, parts: int = 4, **more: object) -> dict[str, str]:
    given = {"kind": kind, "jobs": 1, "cores": 2, "memory": "2GB", "shared_folder": "/jobs"} | more
    profile = parse_profile(given, "p.yaml")
    assert isinstance(profile, BatchProfile)
    job = ArrayJob(
        profile=profile,
        parts=parts,
        paths=("/archive/two words", "/out"),
        plan_options=("--tier", "fast"),
        part_options=("--tier", "fast", "--device", "cpu"),
        folder=Path("/jobs"),
    )
    return job.scripts()


class TestScripts:
    """Parts count from 0 everywhere, whatever the system counts from."""

    @pytest.mark.parametrize(
        ("kind", "array", "part"),
        [
            ("slurm", "#SBATCH --array=0-3", "${SLURM_ARRAY_TASK_ID}"),
            ("pbs", "#PBS -J 0-3", "${PBS_ARRAY_INDEX}"),
            ("lsf", '#BSUB -J "tilepress[1-4]"', "$((LSB_JOBINDEX - 1))"),
            ("sge", "#$ -t 1-4", "$((SGE_TASK_ID - 1))"),
        ],
    )
    def test_parts(self, kind: str, array: str, part: str):
        made = scripts(kind)
        lines = made["parts"].splitlines()
        assert array in lines
        wanted = f'-m tilepress compress --part "{part}/4" --tier fast --device cpu -- '
        assert wanted + "'/archive/two words' /out" in lines[-1]
        assert array not in made["plan"]
        assert "-m tilepress plan --tier fast -- '/archive/two words' /out " in made["plan"]
        assert made["finish"].endswith("-m tilepress finish -- /out\n")

    @pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf", "sge"])
    def test_only_parts_take_gpus(self, kind: str):
        made = scripts(kind, gpus=1)
        assert "gpu" in made["parts"]
        assert "gpu" not in made["plan"] + made["finish"]

    @pytest.mark.parametrize(
        ("kind", "parts"), [("oar", 4), ("moab", 4), ("slurm", 0), ("pbs", 1), ("slurm", 10**6)]
    )
    def test_what_cannot_be_an_array(self, kind: str, parts: int):
        with pytest.raises(UsageError, match="submitting an array"):
            scripts(kind, parts)

    def test_an_input_that_cannot_be_read_does_not_hold_up_the_parts(self, tmp_path: Path):
        """They depend on a plan that ends with 0; 1 says that some inputs are none."""
        line = scripts("slurm")["plan"].splitlines()[-1]
        for code, ends in ((0, 0), (1, 0), (2, 1)):
            fake = tmp_path / "fake"
            fake.write_text(f"#!/bin/sh\nexit {code}\n")
            fake.chmod(0o755)
            words = line.replace(sys.executable, str(fake))
            done = subprocess.run(["bash", "-c", f"set -eu\n{words}"], capture_output=True)
            assert done.returncode == ends, words

    def test_a_prologue_may_be_as_careless_as_in_jobs_of_workers(self, tmp_path: Path):
        """Those of module systems read variables that are not set, and end with 1."""
        prologue = ['echo "$NOBODY_SET_THIS"', "false"]
        script = scripts("slurm", prologue=prologue)["parts"]
        script = script.replace(f"cd {Path.cwd()}", f"cd {tmp_path}")
        script = script.replace(f"exec {sys.executable}", "exec echo")
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "-m tilepress compress --part /4" in done.stdout
