"""Batch systems: one way to say what a job is, the right words for each of them."""

from __future__ import annotations

import pytest

from tilepress.workflows.cluster.profile_files import parse_profile
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.systems import SYSTEMS, batch_system

pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")

from tilepress.workflows.cluster.jobs import job_script

JOB = {"jobs": 2, "cores": 8, "memory": "64GB", "gpus": 1, "shared_folder": "/shared/jobs"}


def profile(kind: str, **more: object) -> BatchProfile:
    given = JOB | ({"disk": "10GB"} if kind == "htcondor" else {}) | {"kind": kind} | more
    made = parse_profile(given, "profile.yaml")
    assert isinstance(made, BatchProfile)
    return made


def directives(kind: str, **more: object) -> list[str]:
    """Return the head of a job script."""
    script = job_script(profile(kind, **more))
    marks = ("#SBATCH", "#PBS", "#BSUB", "#$", "#OAR")
    return [line for line in script.splitlines() if line.startswith(marks) or " = " in line]


@pytest.mark.parametrize("kind", SYSTEMS)
def test_each_is_registered_under_its_name_and_uses_its_own_section_of_settings(kind: str):
    system = batch_system(kind)
    assert system.name == kind
    assert system.job_class().config_name == kind


class TestEachSystemIsAskedForAGpuInItsOwnWords:
    """A directive that a system does not know is an error there, or worse: it is ignored."""

    def test_slurm(self):
        assert "#SBATCH --gres=gpu:1" in directives("slurm")
        assert "#SBATCH --gres=gpu:a100:2" in directives("slurm", gpus=2, gpu_type="a100")
        assert "#SBATCH --mem=64G" in directives("slurm")

    def test_slurm_takes_memory_by_the_gpu_or_by_the_job_not_both(self):
        lines = directives("slurm", memory_per_gpu="40GB")
        assert "#SBATCH --mem-per-gpu=40960M" in lines
        assert not [line for line in lines if "--mem=" in line]

    def test_pbs(self):
        assert "#PBS -l select=1:ncpus=8:ngpus=1:mem=65536mb" in directives("pbs")

    def test_lsf(self):
        lines = directives("lsf", walltime="04:30:00")
        assert '#BSUB -gpu "num=1:mode=exclusive_process"' in lines
        assert "#BSUB -W 04:30" in lines

    def test_sge(self):
        assert "#$ -l h_vmem=65536M,gpu=1" in directives("sge")

    def test_oar_takes_the_last_property_line_alone(self):
        lines = directives("oar", memory_property="memcore", directives=["-p \"cluster='a'\""])
        properties = [line for line in lines if line.startswith("#OAR -p")]
        assert len(properties) == 1
        assert properties[0].startswith("#OAR -p 'gpu_count>0 AND memcore>=8192 AND cluster=")

    def test_moab(self):
        assert "#PBS -l nodes=1:ppn=8:gpus=1,mem=65536mb" in directives("moab")

    def test_htcondor(self):
        lines = directives("htcondor", directives=["+Group = physics"])
        assert "request_gpus = 1" in lines
        assert "+Group = physics" in lines

    @pytest.mark.parametrize("kind", SYSTEMS)
    def test_without_gpus_none_is_asked_for(self, kind: str):
        script = job_script(profile(kind, gpus=0))
        assert "gpu" not in script.lower()
        assert "--resources CPU=1" in script

    @pytest.mark.parametrize("kind", SYSTEMS)
    def test_one_process_with_all_cores_and_no_spilling(self, kind: str):
        script = job_script(profile(kind))
        assert "--resources GPU=1" in script
        assert "--nthreads 8" in script
        assert "--nworkers" not in script
        assert "MEMORY__SPILL=False" in script
        assert "TILEPRESS_THREADS=8" in script

    @pytest.mark.parametrize("kind", [kind for kind in SYSTEMS if kind != "htcondor"])
    def test_without_walltime_the_queue_decides(self, kind: str):
        assert not [line for line in directives(kind) if "00:30" in line]

    def test_workers_leave_before_the_job_ends(self):
        """A worker that is killed with its job takes a task along."""
        assert "--lifetime 13950s" in job_script(profile("slurm", walltime="04:00:00"))
        assert "--lifetime" not in job_script(profile("slurm", walltime="00:10:00"))

    def test_directives_can_be_added_and_left_out(self):
        lines = directives("slurm", directives=["--exclusive"], skip_directives=["--cpus-per-task"])
        assert "#SBATCH --exclusive" in lines
        assert not [line for line in lines if "cpus-per-task" in line]

    def test_several_gpus_are_for_dask_cuda(self):
        assert "-m dask_cuda.cli worker" in job_script(profile("slurm", gpus=4))
