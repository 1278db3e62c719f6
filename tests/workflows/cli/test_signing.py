"""``compress --sign`` and ``verify --key``: exit codes are what a script reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ...pipeline.store.test_signature import write_pair
from .conftest import Command

FAST = ("--workers", 0, "--tier", "fast")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, "key", ssh=True)


class TestVerify:
    """0 signed, 1 wrong, 3 not signed."""

    def test_exit_codes(self, call: Command, image: Path, keys: tuple[Path, Path], tmp_path: Path):
        private, public = keys
        out = tmp_path / "out"
        assert call("compress", image, out, *FAST).returncode == 0
        done = call("verify", out, "--key", public)
        assert (done.returncode, "it is not signed" in done.stdout) == (3, True)
        done = call("compress", image, out, *FAST, "--sign", private)
        assert "1 store from before this run left unsigned" in done.stderr
        assert call("verify", out, "--key", public).returncode == 3
        done = call("compress", image, out, *FAST, "--sign", private, "--checksum")
        assert "1 unchanged" in done.stdout, "what is there is signed once it was compared"
        done = call("verify", out, "--key", public)
        assert (done.returncode, "signed by SHA256:" in done.stdout) == (0, True)
        assert call("verify", out).returncode == 0
        _, other = write_pair(tmp_path, "other", ssh=False)
        done = call("verify", out, "--key", other, "--json")
        assert done.returncode == 1
        (found,) = json.loads(done.stdout)
        assert found["state"] == "damaged"
        assert "another key" in found["findings"][0]

    def test_a_damaged_store_with_a_right_signature_is_damaged(
        self, call: Command, image: Path, keys: tuple[Path, Path], tmp_path: Path
    ):
        out = tmp_path / "out"
        call("compress", image, out, *FAST, "--sign", keys[0])
        shard = next(p for p in (out / "scene.zarr/0/image/c").rglob("*") if p.is_file())
        shard.write_bytes(shard.read_bytes()[:-1])
        assert call("verify", out, "--key", keys[1]).returncode == 1

    def test_2_where_a_key_is_none(self, call: Command, image: Path, tmp_path: Path):
        for line in (
            ("compress", image, tmp_path / "out", "--sign", image),
            ("verify", tmp_path, "--key", image),
        ):
            done = call(*line)
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()


class TestCompress:
    def test_a_wrong_signature_is_a_failure(
        self, call: Command, image: Path, keys: tuple[Path, Path], tmp_path: Path
    ):
        out = tmp_path / "out"
        other, _ = write_pair(tmp_path, "other", ssh=True)
        assert call("compress", image, out, *FAST, "--sign", other).returncode == 0
        done = call("compress", image, out, *FAST, "--sign", keys[0])
        assert done.returncode == 1, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if "signing " in line]
        assert "it is signed by another key" in line


class TestParts:
    """Of the key only the path goes to those who work on their own."""

    def test_finish_signs(
        self, call: Command, image: Path, keys: tuple[Path, Path], tmp_path: Path
    ):
        out, sign = tmp_path / "out", ("--sign", keys[0])
        assert call("plan", image, out).returncode == 0
        for part in range(2):
            done = call("compress", image, out, "--part", f"{part}/2", *sign)
            assert done.returncode == 0, done.stderr
        assert b"PRIVATE" not in b"".join(
            path.read_bytes() for path in out.rglob("*") if path.is_file()
        )
        assert call("finish", out, "--workers", 0, *sign).returncode == 0
        assert call("verify", out, "--key", keys[1]).returncode == 0

    def test_an_array_job_gets_the_path(
        self, call: Command, keys: tuple[Path, Path], tmp_path: Path
    ):
        pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
        profile = tmp_path / "slurm.yaml"
        profile.write_text(
            f"kind: slurm\njobs: 1\ncores: 1\nmemory: 1GB\nshared_folder: {tmp_path}/jobs\n"
        )
        line = ("--dry-run", "--", "/archive", "/out", "--sign", keys[0])
        done = call("cluster", "submit", profile, "--parts", 2, *line)
        assert done.returncode == 0, done.stderr
        texts = {path.stem: path.read_text() for path in (tmp_path / "jobs").glob("*.sh")}
        assert f"--sign {keys[0]}" in texts["parts"]
        assert f"finish --sign {keys[0]} -- /out" in texts["finish"]
        assert "--sign" not in texts["plan"]
