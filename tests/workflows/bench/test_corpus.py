"""Files of a folder are found again in reports that tell no paths, in archives, and on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.workflows.bench import corpus
from tilepress.workflows.bench.corpus import Corpus, Refusal, compressed, packed_in


class TestReports:
    """Numbers and names of stores stand for paths, which a table beside the report has."""

    def test_are_read_with_their_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run(folder: Path, archive: Path, tier: str, report: Path) -> tuple[int, str]:
            rows = [
                {"number": 7, "path": f"{folder}/a"},
                {"store": "CT-1.zarr", "folder": str(folder), "files": ["b", "c"]},
            ]
            table = report.with_name(f"{report.name}.paths.jsonl")
            table.write_text("\n".join(map(json.dumps, rows)))
            images = [
                {"source": "CT-1.zarr", "store": "/out/CT-1.zarr", "remarks": ["1 were left out"]},
                {"source": f"{folder}/d", "store": "/out/d.zarr", "remarks": []},
            ]
            failures = [{"source": "file #00000007", "kind": "internal", "message": "why"}]
            report.write_text(json.dumps({"images": images, "failures": failures}))
            return 70, ""

        monkeypatch.setattr(corpus, "_compress", run)
        found = compressed(tmp_path, tmp_path / "out")
        assert found.stores == {
            tmp_path / "b": (Path("/out/CT-1.zarr"),),
            tmp_path / "c": (Path("/out/CT-1.zarr"),),
            tmp_path / "d": (Path("/out/d.zarr"),),
        }
        assert found.refused == {tmp_path / "a": (Refusal("internal", "why"),)}
        assert found.with_copies == (Path("/out/CT-1.zarr"),)
        assert found.unforeseen == "exit status 70"

    def test_a_run_without_one_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(corpus, "_compress", lambda *_: (2, "no such option"))
        with pytest.raises(RuntimeError, match="ended with 2: no such option"):
            compressed(tmp_path, tmp_path / "out")


class TestFiles:
    def test_are_those_of_packed_ones_and_arrays_too(self, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_bytes(b"PK")
        (tmp_path / "b").write_bytes(b"")
        zarr.create_array(tmp_path / "c.zarr", data=np.zeros((2, 2)), zarr_format=3)
        inner = tmp_path / "a.zip/x/y"
        found = Corpus(
            folder=tmp_path, archive=tmp_path, kept={}, refused={},
            stores={inner: (), tmp_path / "c.zarr": ()},
        )  # fmt: skip
        assert list(found.files) == [inner, tmp_path / "b", tmp_path / "c.zarr"]
        assert packed_in(inner) == tmp_path / "a.zip"
        assert packed_in(tmp_path / "b") is None
