"""A dry run says what a run would do, and leaves no trace."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tilepress.errors import UsageError
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.cli.app import app
from tilepress.workflows.report.forecast import Forecast
from tilepress.workflows.run import dry

from ...helpers.samples import smooth
from ...helpers.slide_files import pyramid, write_slide
from ...pipeline.images import dicom
from .conftest import run


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", smooth((200, 300), number))
    (folder / "a.txt").write_text("text")
    os.utime(folder / "a.txt", (1e9, 1e9))
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in [folder, *folder.rglob("*")]
    }


def forecast(*arguments: object, **options: object) -> Forecast:
    found = run(*arguments, dry_run=True, **options).forecast
    assert found is not None
    return found


class TestNothingIsWritten:
    def test_where_nothing_is(self, scene: Path, tmp_path: Path):
        before = tree(tmp_path)
        found = forecast(scene, tmp_path / "deep/out")
        assert tree(tmp_path) == before
        assert (found.new, found.files, found.unchanged) == (3, 3, 0)
        assert found.raw_bytes == 3 * 200 * 300 * 2

    def test_where_an_archive_is(self, scene: Path, tmp_path: Path):
        run(scene, tmp_path / "out")
        np.save(scene / "new.npy", smooth((30, 40)))
        np.save(scene / "0.npy", smooth((201, 300), 9))
        (scene / "b.txt").write_text("new")
        (scene / "a.txt").write_text("changed")
        before = tree(tmp_path)
        for force in (False, True):
            report = run(scene, tmp_path / "out", dry_run=True, force=force)
            found = report.forecast
            assert found is not None
            if force:
                assert (found.new, found.replaced, found.unchanged) == (1, 3, 0)
                assert report.ok
            else:
                assert (found.new, found.replaced, found.unchanged) == (1, 0, 2)
                assert [one.kind for one in report.failures] == ["destination-conflict"] * 2
            assert report.kept.written == 1 + force
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("deidentify", ["", "basic"])
    def test_of_dicom_no_key_is_made(self, tmp_path: Path, deidentify: str):
        dicom(tmp_path / "DOE^JANE/1.dcm", 1, 1)
        (tmp_path / "DOE^JANE/torn.dcm").write_bytes(bytes(128) + b"DICM")
        before = tree(tmp_path)
        report = run(tmp_path / "DOE^JANE", tmp_path / "out", dry_run=True, deidentify=deidentify)
        assert tree(tmp_path) == before
        assert report.forecast is not None
        assert report.forecast.new == 1
        assert len(report.failures) == 1
        assert "JANE" not in report.failures[0].line

    def test_in_a_bucket(self, scene: Path, bucket: str):
        assert forecast(scene, f"{bucket}/out").new == 3
        assert not list(storage_path(bucket).walk())

    def test_of_one_store(self, scene: Path, tmp_path: Path):
        assert forecast(scene / "0.npy", tmp_path / "x.zarr").new == 1
        assert not (tmp_path / "x.zarr").exists()


class TestItSaysWhatARunDoes:
    def test_failures_are_those_of_the_run(self, scene: Path, tmp_path: Path):
        (scene / "torn.npy").write_bytes((scene / "0.npy").read_bytes()[:1000])
        (scene / "noise.tif").write_bytes(bytes(99))
        told = run(scene, tmp_path / "out", dry_run=True)
        wet = run(scene, tmp_path / "out")
        assert sorted(one.line for one in told.failures) == sorted(one.line for one in wet.failures)
        assert not told.ok

    def test_the_size_is_about_right(self, scene: Path, tmp_path: Path):
        found = forecast(scene, tmp_path / "out")
        stored = run(scene, tmp_path / "out").stored_bytes
        assert found.stored_bytes is not None
        assert 0.7 * stored < found.stored_bytes < 1.4 * stored
        assert found.seconds is not None
        assert found.sampled_images == 3

    def test_the_size_of_streams_is_that_of_what_is_kept(self, tmp_path: Path):
        """Their samples would take several times the file."""
        path = write_slide(tmp_path / "in/a.tif", pyramid(700, 800, levels=2), tile=128, jpeg=True)
        found = forecast(path, tmp_path / "out")
        stored = run(path, tmp_path / "out").stored_bytes
        assert found.stored_bytes is not None
        assert 0.7 * stored < found.stored_bytes < 1.4 * stored

    def test_images_beyond_a_number_are_counted(
        self, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(dry, "LISTED_IMAGES", 1)
        result = CliRunner().invoke(app, ["compress", "--dry-run", f"{scene}", f"{tmp_path}/out"])
        assert result.stderr.count("would be written") == 1
        assert result.stderr.count("counted, not listed") == 1

    def test_the_report_has_it(self, scene: Path, tmp_path: Path):
        run(scene, tmp_path / "out", dry_run=True, report=tmp_path / "r.json")
        told = json.loads((tmp_path / "r.json").read_text())
        assert told["dry_run"]["to_write"] == 3
        assert told["kept"]["written"] == 1
        assert not told["images"]

    def test_two_images_for_one_store(self, scene: Path, tmp_path: Path):
        other = tmp_path / "other"
        other.mkdir()
        np.save(other / "0.npy", smooth((20, 30)))
        (failure,) = run(scene, other, tmp_path / "out", dry_run=True).failures
        assert "of another image already" in failure.message

    def test_nothing_found_is_a_usage_error(self, tmp_path: Path):
        (tmp_path / "in").mkdir()
        with pytest.raises(UsageError, match="found no image"):
            run(tmp_path / "in", tmp_path / "out", dry_run=True)

    def test_larger_images_are_left_out(self, scene: Path, tmp_path: Path):
        report = run(scene, tmp_path / "out", dry_run=True, skip_larger=1000)
        assert len(report.excluded) == 3
        assert report.ok


def test_lines_say_it_all():
    found = Forecast(
        new=2, begun=1, replaced=1, unchanged=5, files=14, file_bytes=600_000_000,
        raw_bytes=1_200_000_000, stored_bytes=400_000_000, seconds=190, workers=2,
        sampled_images=8, sampled_bytes=14_000_000,
    )  # fmt: skip
    assert found.lines(3, 0) == [
        "nothing was written: 4 to write, 1 of them replaced, 1 of them begun, 5 unchanged, "
        "3 failed",
        "1.2 GB of samples in 14 files of 600.0 MB",
        "about 1.2 GB → 400.0 MB (ratio 3.00; files 600.0 MB, ratio 1.50), 0:03:10 with 2 "
        "processors: from coding 14.0 MB of 8 images",
    ]
    assert Forecast(unchanged=5).lines(0, 0) == [
        "nothing was written: 0 to write, 5 unchanged, 0 failed"
    ]
