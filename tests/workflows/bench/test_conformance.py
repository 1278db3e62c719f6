"""Exported DICOM is compared with its sources, as dciodvfy sees both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pydicom
import pytest

from tilepress.workflows.bench import conformance
from tilepress.workflows.bench.conformance import Conformance, check
from tilepress.workflows.bench.corpus import Corpus

from ...pipeline.images import dicom

STORE = Path("/out/CT-1.zarr")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    path = dicom(tmp_path / "in" / "1", 1, 1)
    return Corpus(
        folder=tmp_path, archive=tmp_path, stores={path: (STORE,)}, refused={}, kept={}
    )  # fmt: skip


class TestChecking:
    def test_bytes_that_are_equal_need_none(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (path,) = corpus.stores

        def export(store: Path, out: Path, kind: str) -> None:
            assert (store, kind) == (STORE, "dicom")
            out.write_bytes(path.read_bytes())

        monkeypatch.setattr(conformance, "export", export)
        monkeypatch.setattr(conformance, "errors_in", pytest.fail)
        found = Conformance()
        check(corpus, found)
        assert (found.stores, found.instances, found.equal, found.worse) == (1, 1, 1, 0)

    @pytest.mark.parametrize(("before", "worse"), [(["a", "b"], 1), (["a", "a", "b"], 0)])
    def test_errors_count_where_the_source_has_fewer(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, before: list[str], worse: int
    ) -> None:
        (source,) = corpus.stores

        def export(store: Path, out: Path, kind: str) -> None:
            dataset = pydicom.dcmread(source)
            dataset.SourceImageSequence = [pydicom.Dataset()]
            dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = dataset.SOPInstanceUID
            dataset.SOPInstanceUID = "1.2.3.4"
            dataset.save_as(out)

        def errors(path: Path) -> Counter[str]:
            return Counter(before if path == source else ["a", "a", "b"])

        monkeypatch.setattr(conformance, "export", export)
        monkeypatch.setattr(conformance, "errors_in", errors)
        found = Conformance()
        check(corpus, found)
        assert (found.equal, found.worse) == (0, worse)
        assert found.errors == ({"a": 1} if worse else {})
        assert f"{worse} with errors" in next(found.lines())

    def test_says_what_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("shutil.which", lambda name: None)
        assert conformance.main(["/in"]) == 2
        assert "dicom3tools" in capsys.readouterr().err
