"""What lies in packed files is compressed, checked and given back as what lies in folders."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.export_ledger import LEDGER
from tilepress.workflows.run.parts import finish, plan

from ...pipeline.images import dicom, tiff
from .conftest import run


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / "scratch"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A zip of a scene with a companion, a packed tar of a series, and a gzipped slice."""
    tiff(tmp_path / "product/scene.tif")
    (tmp_path / "product/scene_MTL.txt").write_text("metadata")
    shutil.make_archive(str(tmp_path / "in/product"), "zip", tmp_path / "product")
    for number in range(2):
        dicom(tmp_path / f"study/IM{number}", 1, number)
    shutil.make_archive(str(tmp_path / "in/study"), "gztar", tmp_path / "study")
    packed = gzip.compress(dicom(tmp_path / "other/IM9.dcm", 2, 9).read_bytes())
    (tmp_path / "in/IM9.dcm.gz").write_bytes(packed)
    return tmp_path / "in"


class TestPackedSources:
    def test_are_written_and_unchanged_the_next_time(self, source: Path, tmp_path: Path):
        out = tmp_path / "out"
        first = run(source, out)
        assert [len(first.images), len(first.failures), first.kept.files] == [3, 0, 1]
        again = run(source, out)
        assert {image.status for image in again.images} == {"unchanged"}
        assert again.kept.written == 0

    def test_are_the_same_packed_anew(self, source: Path, tmp_path: Path):
        out = tmp_path / "out"
        run(source, out)
        for path in (source / "product.zip", source / "study.tar.gz"):
            path.unlink()
        (tmp_path / "product/new.txt").write_text("a file more")
        shutil.make_archive(str(source / "product"), "zip", tmp_path / "product")
        shutil.make_archive(str(source / "study"), "tar", tmp_path / "study")
        again = run(source, out)
        assert sorted(image.status for image in again.images) == ["unchanged"] * 3
        assert not again.failures

    def test_are_compared_and_given_back(self, source: Path, tmp_path: Path):
        out = tmp_path / "out"
        run(source, out)
        assert {check.state for check in check_stores(out, [source])} == {"sound"}
        list(export_archive(out, tmp_path / "back"))
        back = {
            path.name: path.read_bytes()
            for path in (tmp_path / "back").rglob("*")
            if path.is_file()
        }
        for name, path in (
            ("IM0", "study/IM0"),
            ("IM1", "study/IM1"),
            ("IM9.dcm", "other/IM9.dcm"),
        ):
            assert back[name] == (tmp_path / path).read_bytes()
        assert back["scene_MTL.txt"] == b"metadata"
        assert "scene.tif" in back

    def test_that_changed_are_told(self, source: Path, tmp_path: Path):
        out = tmp_path / "out"
        run(source, out)
        os.unlink(source / "product.zip")
        tiff(tmp_path / "product/scene.tif", nodata=3)
        shutil.make_archive(str(source / "product"), "zip", tmp_path / "product")
        again = run(source, out)
        assert [failure.kind for failure in again.failures] == ["destination-conflict"]

    def test_of_a_size_are_left_out_and_told_ahead(self, source: Path, tmp_path: Path):
        dry = run(source, tmp_path / "out", dry_run=True)
        assert dry.forecast is not None
        assert dry.forecast.to_write == 3
        assert not (tmp_path / "out").exists()
        assert len(run(source, tmp_path / "out", skip_larger=1).excluded) == 3

    def test_are_shared_out(self, source: Path, tmp_path: Path):
        out = tmp_path / "out"
        plan(source, out, workers=0)
        for number in (0, 1):
            run(source, out, part=f"{number}/2")
        report = finish(out, workers=0)
        assert len(report.images) == 3
        assert not report.failures

    def test_files_of_one_name_are_given_back_beside_each_other(self, tmp_path: Path):
        scene = tiff(tmp_path / "in/scene.tif")
        (tmp_path / "in/scene.tif.gz").write_bytes(gzip.compress(scene.read_bytes()))
        run(tmp_path / "in", tmp_path / "out")
        back = tmp_path / "back"
        assert not any(one.problem for one in export_archive(tmp_path / "out", back))
        found = sorted(str(path.relative_to(back)) for path in back.rglob("*.tif"))
        assert found == ["scene.tif", "scene/scene.tif"]
        assert [one.state for one in export_archive(tmp_path / "out", back)] == ["there", "there"]
        (back / LEDGER).unlink()
        problems = [one.problem for one in export_archive(tmp_path / "out", back)]
        assert ["exists" in str(text) for text in problems] == [True, True]
