"""What is kept is checked, mended from its source alone, and given back where it lay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilepress.pipeline.archive.repair_files import mended_files
from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.kept.check import check_kept, export_kept, totals_of_kept
from tilepress.pipeline.storage.path import storage_path

from .conftest import Keep, other


@pytest.fixture
def files(source: Path, keep: Keep) -> Path:
    keep(source / "a.txt", source / "b.xml")
    return source


def states(archive: Path) -> dict[str, str]:
    return {one.key: one.state for one in check_kept(storage_path(archive))}


class TestVerify:
    def test_names_what_is_wrong(self, files: Path, archive: Path):
        assert states(archive) == {}
        (archive / "files/a.txt").write_bytes(b"fIrst")
        (archive / "files/b.xml").unlink()
        (archive / "files/c.txt").touch()
        (archive / "files/Thumbs.db").touch()
        assert states(archive) == {
            "files/a.txt": "damaged",
            "files/b.xml": "damaged",
            "files/c.txt": "unknown",
        }

    def test_a_lost_or_damaged_index_is_seen(self, files: Path, archive: Path):
        (document,) = (archive / "files/.index").iterdir()
        document.write_bytes(document.read_bytes()[:-9])
        assert states(archive)["files/.index"] == "damaged"
        document.unlink()
        assert states(archive) == {"files/a.txt": "unknown", "files/b.xml": "unknown"}

    def test_compares_with_the_source(self, files: Path, archive: Path):
        (check,) = check_stores(archive, [files])
        assert (check.state, check.files) == ("sound", 2)
        (files / "a.txt").write_text("other")
        (files / "new.txt").touch()
        (check,) = check_stores(archive, [files])
        assert check.state == "unknown"
        assert len(check.findings) == 2
        assert "another version" in check.findings[0]
        assert "does not keep it" in check.findings[1]

    def test_counts(self, files: Path, archive: Path):
        totals = totals_of_kept(storage_path(archive))
        assert (totals.files, totals.bytes) == (2, 9)


class TestRepair:
    def test_writes_the_very_content_again(self, files: Path, archive: Path):
        (archive / "files/a.txt").write_bytes(b"fIrst")
        (archive / "files/b.xml").unlink()
        done = mended_files(storage_path(archive), [files])
        assert done.state == "repaired"
        assert states(archive) == {}

    def test_removes_what_was_abandoned(self, files: Path, archive: Path):
        old, young = (archive / f"files/.{name}.0.partial" for name in ("old", "young"))
        for path in (old, young):
            path.touch()
        os.utime(old, (1e9, 1e9))
        assert mended_files(storage_path(archive), [files]).state == "sound"
        assert (old.exists(), young.exists()) == (False, True)

    def test_takes_no_other_content(self, files: Path, archive: Path):
        (archive / "files/a.txt").unlink()
        (files / "a.txt").write_text("other")
        done = mended_files(storage_path(archive), [files])
        assert done.state == "failed"
        assert "nothing was changed" in str(done.reason)
        assert not (archive / "files/a.txt").exists()


class TestExport:
    def test_gives_files_back_where_they_lay(
        self, files: Path, archive: Path, keep: Keep, tmp_path: Path
    ):
        keep(other(files / "a.txt", "DOE/JANE/n.txt", private=True))
        back = tmp_path / "back"
        found = list(export_kept(storage_path(archive), back, set(), set()))
        assert len(found) == 3
        assert (back / "a.txt").read_bytes() == b"first"
        assert (back / "DOE/JANE/n.txt").read_bytes() == b"first"
        assert (back / "a.txt").stat().st_mtime == 1e9

    def test_two_of_one_name_are_both_there(
        self, files: Path, archive: Path, keep: Keep, tmp_path: Path
    ):
        second = tmp_path / "second"
        second.mkdir()
        (second / "a.txt").write_text("another")
        keep(second / "a.txt")
        back = tmp_path / "back"
        list(export_kept(storage_path(archive), back, set(), set()))
        assert {path.read_bytes() for path in back.glob("a*.txt")} == {b"first", b"another"}
        assert (back / "a.txt").read_bytes() == b"first"

    def test_replaces_nothing_and_writes_nothing_damaged(
        self, files: Path, archive: Path, tmp_path: Path
    ):
        back = tmp_path / "back"
        back.mkdir()
        (back / "a.txt").write_text("mine")
        (archive / "files/b.xml").write_bytes(b"<B/>")
        found = list(export_kept(storage_path(archive), back, set(), set()))
        assert len(found) == 2
        assert all(isinstance(one, Exception) for one in found)
        assert (back / "a.txt").read_text() == "mine"
        assert not (back / "b.xml").exists()
        assert (back / "a.txt") in list(
            export_kept(storage_path(archive), back, set(), {back / "a.txt"})
        )
        assert (back / "a.txt").read_bytes() == b"first"

    def test_an_image_of_the_same_name_stays(self, files: Path, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        back.mkdir()
        (back / "a.txt").write_text("an image")
        found = list(export_kept(storage_path(archive), back, {back / "a.txt"}, set()))
        assert (back / "a.txt").read_text() == "an image"
        (other_name,) = back.glob("a-*.txt")
        assert other_name in found
        assert other_name.read_bytes() == b"first"

    def test_names_with_backslashes_are_names(
        self, files: Path, archive: Path, keep: Keep, tmp_path: Path
    ):
        for name in ("c\\d.txt", "c_d.txt"):
            (files / name).write_text(name)
            keep(files / name)
        back = tmp_path / "back"
        list(export_kept(storage_path(archive), back, set(), set()))
        for name in ("c\\d.txt", "c_d.txt"):
            assert (back / name).read_text() == name

    def test_follows_no_link_out_of_its_folder(
        self, files: Path, archive: Path, keep: Keep, tmp_path: Path
    ):
        keep(other(files / "a.txt", "sub/a.txt"))
        back, outside = tmp_path / "back", tmp_path / "outside"
        back.mkdir()
        outside.mkdir()
        (back / "sub").symlink_to(outside)
        (failed,) = [
            one
            for one in export_kept(storage_path(archive), back, set(), set())
            if isinstance(one, Exception)
        ]
        assert not list(outside.iterdir())
        assert "is a link" in str(failed)
        assert str(back) not in str(failed), "a folder may be called after a patient"
