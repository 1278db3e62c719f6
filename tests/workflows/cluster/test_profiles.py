"""Profiles: one way to say what a job is, the right words for every batch system."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profile_texts import SYSTEMS, example_profile
from tilepress.workflows.cluster.profiles import (
    AddressProfile,
    BatchProfile,
    load_profile,
    parse_profile,
)

pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")

from tilepress.workflows.cluster.jobs import job_script

BATCH = [system for system in SYSTEMS if system != "address"]

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

    @pytest.mark.parametrize("kind", BATCH)
    def test_without_gpus_none_is_asked_for(self, kind: str):
        script = job_script(profile(kind, gpus=0))
        assert "gpu" not in script.lower()
        assert "--resources CPU=1" in script

    @pytest.mark.parametrize("kind", BATCH)
    def test_one_process_with_all_cores_and_no_spilling(self, kind: str):
        script = job_script(profile(kind))
        assert "--resources GPU=1" in script
        assert "--nthreads 8" in script
        assert "--nworkers" not in script
        assert "MEMORY__SPILL=False" in script
        assert "TILEPRESS_THREADS=8" in script

    @pytest.mark.parametrize("kind", [kind for kind in BATCH if kind != "htcondor"])
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


class TestWrongProfilesAreOneLine:
    """Who writes a profile is told the file, the key, what was found and what is wanted."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"kind": "torque"}, "kind: got 'torque', want one of slurm, pbs"),
            ({"jobs": 0}, "jobs: got 0, want 1 or more"),
            ({"jobs": "many"}, "jobs: got 'many', want a whole number"),
            ({"memory": "lots"}, "memory: got 'lots', want a size such as 32GB"),
            ({"memory": "1MB"}, "memory: got '1MB', want 256MB or more"),
            ({"walltime": "4h"}, "walltime: got '4h', want hours:minutes:seconds"),
            ({"walltime": 14400}, "walltime: got 14400, want hours:minutes:seconds in quotes"),
            ({"jobs": 1.5}, "jobs: got 1.5, want a whole number"),
            ({"cores": 4096}, "cores: got 4096, want 1024 or less"),
            ({"core": 8}, "unknown key 'core'; did you mean 'cores'?"),
            ({"xyzzy": 8}, "unknown key 'xyzzy'; known are kind, jobs, cores"),
            ({"scheduler": {"hosts": "a"}}, "unknown key 'scheduler.hosts'; did you mean 'host'?"),
            ({"scheduler": "login1"}, "scheduler: got 'login1', want keys and values"),
            ({"cores": None}, "cores: got None, want a whole number"),
            ({"account": 3}, "account: got 3, want text; put it in quotes"),
            ({"tls": "perhaps"}, "tls: got 'perhaps', want true or false"),
            ({"prologue": "module load"}, "prologue: got 'module load', want a list: [one, two]"),
            ({"kind": "slrum"}, "kind: got 'slrum', want one of slurm, pbs"),
            ({"memory_property": "memcore"}, "memory_property is for oar only"),
            ({"kind": "htcondor"}, "htcondor needs disk"),
        ],
    )
    def test_values(self, tmp_path: Path, change: dict[str, object], told: str):
        path = tmp_path / "profile.yaml"
        path.write_text(yaml.safe_dump(JOB | {"kind": "slurm"} | change))
        with pytest.raises(UsageError) as caught:
            load_profile(path)
        line = str(caught.value)
        assert line.startswith(f"reading profile {path}: {told}")
        assert "\n" not in line

    def test_what_is_missing_is_named(self):
        with pytest.raises(UsageError, match="memory: it is missing"):
            parse_profile({"kind": "slurm", "jobs": 1, "cores": 1}, "p.yaml")

    def test_unknown_keys_come_first_then_what_is_missing(self):
        with pytest.raises(UsageError) as caught:
            parse_profile({"kind": "slurm", "jobs": "many", "core": 4, "tsl": 1}, "p.yaml")
        assert str(caught.value).splitlines() == [
            "reading profile p.yaml: unknown key 'core'; did you mean 'cores'?",
            "reading profile p.yaml: unknown key 'tsl'; did you mean 'tls'?",
            "reading profile p.yaml: cores: it is missing",
            "reading profile p.yaml: memory: it is missing",
            "reading profile p.yaml: jobs: got 'many', want a whole number",
        ]

    def test_an_address(self):
        with pytest.raises(UsageError, match="address: got 'localhost', want tcp://HOST:PORT, tls"):
            parse_profile({"kind": "address", "address": "localhost"}, "p.yaml")
        with pytest.raises(UsageError, match="kind: it is missing; want one of slurm"):
            parse_profile({"address": "tcp://a:1"}, "p.yaml")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("jobs: [", "it is not YAML"),
            ("", "got no keys"),
            ("- a", "got no keys"),
            ("kind: slurm\njobs: !!python/object/apply:os.getcwd []", "it is not YAML"),
        ],
    )
    def test_files(self, tmp_path: Path, text: str, told: str):
        path = tmp_path / "profile.yaml"
        path.write_text(text)
        with pytest.raises(UsageError, match=told):
            load_profile(path)

    def test_no_file(self, tmp_path: Path):
        with pytest.raises(UsageError, match="No such file"):
            load_profile(tmp_path / "none.yaml")


class TestExamples:
    """What init writes is what the repository shows, and it is right."""

    @pytest.mark.parametrize("gpu", [False, True])
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_they_are_the_same_and_well_formed(self, repository: Path, system: str, gpu: bool):
        name = f"{system}-gpu" if gpu and system != "address" else system
        path = repository / "examples" / "cluster" / f"{name}.yaml"
        assert path.read_text() == example_profile(system, gpu=gpu)
        loaded = load_profile(path)
        assert loaded.kind == system
        assert isinstance(loaded, AddressProfile) or loaded.gpus == gpu

    @pytest.mark.parametrize("system", BATCH)
    def test_what_is_commented_out_is_right_too(self, system: str):
        text = example_profile(system, gpu=True)
        keys = "python:", "prologue:", "directives:", "interface:", "scheduler:", "tls:", "account:"
        optional = (*keys, "gpu_type:", "memory_per_gpu:", "memory_property:")
        lines = [
            line[2:] if line.startswith("# ") and line[2:].startswith(optional) else line
            for line in text.splitlines()
        ]
        loaded = parse_profile(yaml.safe_load("\n".join(lines)), system)
        assert isinstance(loaded, BatchProfile)
        assert loaded.prologue == ("module load python",)
        assert job_script(loaded)

    def test_the_kubernetes_manifest_is_yaml_with_one_task_at_a_time(self, repository: Path):
        text = (repository / "examples" / "cluster" / "kubernetes.yaml").read_text()
        documents = list(yaml.safe_load_all(text))
        assert [d["kind"] for d in documents] == ["DaskCluster", "DaskWorkerGroup"]
        workers = [documents[0]["spec"]["worker"], documents[1]["spec"]["worker"]]
        for worker, resource in zip(workers, ("CPU=1", "GPU=1"), strict=True):
            (container,) = worker["spec"]["containers"]
            assert resource in container["args"]
