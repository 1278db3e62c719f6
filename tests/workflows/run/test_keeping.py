"""An archive keeps what comes with images, so that its source can be deleted."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pydicom
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.storage.local import FolderPath
from tilepress.workflows.report.telling import Event, Note, SilentProgress
from tilepress.workflows.run import driver
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.driver import NoRoom
from tilepress.workflows.run.parts import finish, plan

from ...pipeline.images import dicom, npy, tiff
from .conftest import run

FILES = {"a_MTL.txt": "mtl", "README": "read", "sub/b.xml": "<b/>", "sub/c/manifest.safe": "<s/>"}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    npy(folder / "a.npy")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        os.utime(folder / name, (1e9, 1e9))
    return folder


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    """Return a dump with an image, a report and a text, in a folder called after a patient."""
    folder = tmp_path / "dump"
    dicom(folder / "DOE^JANE/CT/1.dcm", 1, 1)
    path = dicom(folder / "DOE^JANE/SR/JANE.dcm", 2, 1)
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.PatientName = "DOE^JANE"
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(path)
    (folder / "DOE^JANE/JANE.txt").write_text("JANE")
    return folder


class TestACleanSource:
    def test_ends_well_and_is_unchanged_the_next_time(self, scene: Path, tmp_path: Path):
        out = tmp_path / "out"
        told = tmp_path / "report.json"
        first = run(scene, out, report=told)
        assert first.ok
        assert (first.kept.files, first.kept.written) == (4, 4)
        assert json.loads(told.read_text())["kept"]["kinds"][".txt"] == 1
        second = run(scene, out)
        assert second.ok
        assert (second.kept.files, second.kept.written) == (4, 0)
        assert second.kept.text.startswith("kept 4 files that are no images (15 B, unchanged):")

    def test_comes_back_whole(self, scene: Path, tmp_path: Path):
        tiff(scene / "sub/t.tif")
        assert run(scene, tmp_path / "out").ok
        done = list(export_archive(tmp_path / "out", tmp_path / "back"))
        assert not [one.problem for one in done if one.problem]
        for name, text in FILES.items():
            assert (tmp_path / "back" / name).read_text() == text
        assert (tmp_path / "back/sub/t.tif").exists()
        assert (tmp_path / "back/a.npy").exists()

    def test_of_files_alone_is_an_archive_too(self, scene: Path, tmp_path: Path):
        (scene / "a.npy").unlink()
        assert run(scene, tmp_path / "out").kept.files == 4
        assert [check.state for check in check_stores(tmp_path / "out")] == ["sound"]

    def test_in_a_destination_within_the_source(self, scene: Path):
        for _ in range(3):
            report = run(scene, scene / "out")
            assert report.ok
            assert report.kept.files == 4
        assert {check.state for check in check_stores(scene / "out", [scene])} == {"sound"}

    def test_into_one_store_keeps_nothing(self, scene: Path, tmp_path: Path):
        report = run(scene, tmp_path / "a.zarr")
        assert report.ok
        assert not report.kept.files
        assert sum(report.passed_over.values()) == 4

    def test_in_a_bucket(self, scene: Path, tmp_path: Path, bucket: str):
        assert run(scene, f"{bucket}/out").kept.written == 4
        assert run(scene, f"{bucket}/out").kept.written == 0
        assert {check.state for check in check_stores(f"{bucket}/out", [scene])} == {"sound"}
        list(export_archive(f"{bucket}/out", tmp_path / "back"))
        for name, text in FILES.items():
            assert (tmp_path / "back" / name).read_text() == text


class TestAStudy:
    def test_keeps_its_reports_under_names_of_nobody(self, pacs: Path, tmp_path: Path):
        out = tmp_path / "out"
        report = run(pacs, out, report=tmp_path / "report.json")
        assert report.ok
        assert report.kept.kinds == {"DICOM without pixels": 1, ".txt": 1}
        assert not [path for path in out.rglob("*") if "JANE" in path.name]
        told = (tmp_path / "report.json").read_text()
        assert "JANE" not in told
        assert run(pacs, out).kept.written == 0
        list(export_archive(out, tmp_path / "back"))
        for name in ("DOE^JANE/SR/JANE.dcm", "DOE^JANE/JANE.txt"):
            assert (tmp_path / "back" / name).read_bytes() == (pacs / name).read_bytes()

    def test_failures_name_nobody(self, pacs: Path, tmp_path: Path):
        run(pacs, tmp_path / "out")
        (pacs / "DOE^JANE/JANE.txt").write_text("other")
        (failure,) = run(pacs, tmp_path / "out").failures
        assert "JANE" not in failure.line
        assert "file #" in failure.line
        assert "--force replaces" in failure.line

    def test_that_is_de_identified_keeps_none(self, pacs: Path, tmp_path: Path):
        report = run(pacs, tmp_path / "out", deidentify="basic")
        assert report.ok
        assert not report.kept.files
        assert report.passed_over == {"DICOM without pixels": 1, ".txt": 1}
        assert not (tmp_path / "out/files").exists()

    def test_is_not_de_identified_into_an_archive_with_files(self, pacs: Path, tmp_path: Path):
        run(pacs / "DOE^JANE/SR", tmp_path / "out")
        with pytest.raises(UsageError, match="has files that are not de-identified"):
            run(pacs, tmp_path / "out", deidentify="basic")


class TestParts:
    def test_one_part_keeps_a_file_and_finish_looks(self, scene: Path, tmp_path: Path):
        out = tmp_path / "out"
        plan(scene, out, workers=0)
        reports = [compress(scene, out, part=f"{n}/3") for n in range(3)]
        assert sum(report.kept.files for report in reports) == 4
        assert all(report.ok for report in reports)
        done = finish(out, workers=0)
        assert done.ok
        assert (done.kept.files, done.kept.written) == (4, 0)
        assert not (out / ".tilepress").exists()

    def test_what_no_part_kept_is_a_failure(self, scene: Path, tmp_path: Path):
        out = tmp_path / "out"
        plan(scene, out, workers=0)
        for number in (0, 1):
            compress(scene, out, part=f"{number}/2")
        (out / "files/README").unlink()
        (failure,) = finish(out, workers=0).failures
        assert "run the parts again" in failure.message
        compress(scene, out, part="0/1")
        assert finish(out, workers=0).ok

    def test_parts_agree_on_what_is_kept(self, scene: Path, tmp_path: Path):
        plan(scene, tmp_path / "out", workers=0, keep="none")
        with pytest.raises(UsageError, match="keep"):
            compress(scene, tmp_path / "out", part="0/2")
        assert compress(scene, tmp_path / "out", part="0/1", keep="none").kept.files == 0


class TestChoice:
    def test_of_files(self, scene: Path, tmp_path: Path):
        npy(scene / "sub/b.npy")
        report = run(scene, tmp_path / "out", exclude=["sub"])
        assert [Path(image.store).stem for image in report.images] == ["a"]
        assert report.kept.files == 2
        assert "left out 3 files by --include and --exclude" in report.passed_over_text
        assert run(scene, tmp_path / "other", include="*.npy").kept.files == 0
        choice = Choice.of((), "sub")
        for chosen, states in ((choice, {"sound"}), (Choice(), {"sound", "unknown"})):
            found = check_stores(tmp_path / "out", [scene], choice=chosen)
            assert {check.state for check in found} == states

    def test_of_small_images(self, scene: Path, tmp_path: Path):
        size = (scene / "a.npy").stat().st_size
        report = run(scene, tmp_path / "out", skip_larger=size - 1)
        assert report.ok
        assert not report.images
        assert len(report.excluded) == 1
        assert "--skip-larger" in report.excluded[0].line
        assert len(run(scene, tmp_path / "out", skip_larger=size).images) == 1

    def test_a_thousand_larger_ones_are_no_thousand_lines(
        self, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(driver, "LISTED_IMAGES", 2)
        for number in range(5):
            npy(scene / f"{number}.npy")
        told: list[str] = []

        class Notes(SilentProgress):
            def tell(self, event: Event) -> None:
                told.extend([event.text] if isinstance(event, Note) else [])

        report = run(scene, tmp_path / "out", skip_larger=1, progress=Notes())
        assert len(report.excluded) == 6
        assert len([text for text in told if "left out" in text]) == 3


def test_a_full_disk_ends_the_run(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    create = FolderPath.create

    def full(self: FolderPath, data: bytes) -> bool:
        if "files" in self.path.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(self, data)

    monkeypatch.setattr(FolderPath, "create", full)
    with pytest.raises(NoRoom, match="make room"):
        run(scene, tmp_path / "out")
