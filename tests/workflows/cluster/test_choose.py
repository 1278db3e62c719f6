"""The cluster that a name, an address or a file means, or one line why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.worker_kinds import WorkerCounts


class TestNames:
    """``--cluster`` takes a name, an address or a file; what makes no sense is one line."""

    @pytest.mark.parametrize(
        ("name", "options", "told"),
        [
            ("cuda", {}, "pip install 'tilepress\\[cuda\\]'|no GPU is visible"),
            ("cuda", {"device": "cpu"}, "exclude each other"),
            ("tls://host:8786", {}, "needs tls with ca, cert and key"),
            ("udp://host:8786", {}, "address: got 'udp://host:8786'"),
            ("tcp://host:8786", {"workers": 2}, "--workers does not go with --cluster tcp://"),
            ("nothing.yaml", {}, "reading profile nothing.yaml: No such file"),
            ("slurm-runner", {}, "for the tasks of a Slurm step"),
        ],
    )
    def test_refused(self, name: str, options: dict[str, object], told: str):
        with pytest.raises(UsageError, match=told):
            choose_cluster(name, **options)  # type: ignore[arg-type]

    def test_cuda_where_there_is_none(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(local_cluster, "visible_gpus", tuple)
        with pytest.raises(UsageError, match="no GPU is visible"):
            choose_cluster(None, device="cuda")
        assert choose_cluster("local", workers=3).expected == WorkerCounts(plain=3)

    def test_a_profile_without_gpus_cannot_be_cuda(self, repository: Path):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        path = repository / "examples" / "cluster" / "slurm.yaml"
        with pytest.raises(UsageError, match="asks for no gpus"):
            choose_cluster(str(path), device="cuda")
        assert choose_cluster(str(path)).expected == WorkerCounts(cpu=16, threads=8)


class TestDashboard:
    """Only a local cluster is asked for one on the command line."""

    def test_other_clusters_have_their_own_way(self):
        with pytest.raises(UsageError, match="its profile"):
            choose_cluster("tcp://127.0.0.1:1", dashboard=True)
