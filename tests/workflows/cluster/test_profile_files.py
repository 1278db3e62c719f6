"""Profile files: a person is told what is wrong in one, and gets one to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profile_files import (
    example_profile,
    known_kinds,
    load_profile,
    parse_profile,
)
from tilepress.workflows.cluster.profiles import AddressProfile, BatchProfile
from tilepress.workflows.cluster.systems import SYSTEMS

pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")

from tilepress.workflows.cluster.jobs import job_script

JOB = {"jobs": 2, "cores": 8, "memory": "64GB", "gpus": 1, "shared_folder": "/shared/jobs"}


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
    @pytest.mark.parametrize("system", known_kinds())
    def test_they_are_the_same_and_well_formed(self, repository: Path, system: str, gpu: bool):
        name = f"{system}-gpu" if gpu and system != "address" else system
        path = repository / "examples" / "cluster" / f"{name}.yaml"
        assert path.read_text() == example_profile(system, gpu=gpu)
        loaded = load_profile(path)
        assert loaded.kind == system
        assert isinstance(loaded, AddressProfile) or loaded.gpus == gpu

    @pytest.mark.parametrize("system", SYSTEMS)
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
