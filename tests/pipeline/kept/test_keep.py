"""Files go along byte for byte; what is kept stays as it is unless somebody asks otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilepress.pipeline.kept import keep as room
from tilepress.pipeline.kept import reading
from tilepress.pipeline.kept.check import check_kept
from tilepress.pipeline.kept.keep import Kept, keep_folder, missing_of
from tilepress.pipeline.storage.path import storage_path

from ..images import upload
from .conftest import KEY, Keep, other


def statuses(done: list[Kept]) -> list[str]:
    return [one.status for one in done]


def kept(archive: Path) -> dict[str, bytes]:
    """Return the objects below files/ that are no documents."""
    root = archive / "files"
    paths = [path for path in root.rglob("*") if path.is_file() and ".index" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


class TestFilesGoAlong:
    """So that a source can be deleted."""

    def test_new_ones_are_copied_and_unchanged_ones_are_not_read(
        self, source: Path, archive: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
    ):
        files = [source / "a.txt", source / "b.xml"]
        assert statuses(keep(*files)) == ["written", "written"]
        assert kept(archive) == {"a.txt": b"first", "b.xml": b"<b/>"}
        monkeypatch.setattr(room, "read", None)
        assert statuses(keep(*files)) == ["unchanged", "unchanged"]
        assert not list(check_kept(storage_path(archive)))

    def test_a_touched_or_moved_source_is_the_same_by_its_content(
        self, source: Path, archive: Path, keep: Keep
    ):
        keep(source / "a.txt")
        os.utime(source / "a.txt", (1.1e9, 1.1e9))
        assert statuses(keep(source / "a.txt")) == ["unchanged"]
        source.rename(source.with_name("moved"))
        assert statuses(keep(source.with_name("moved") / "a.txt")) == ["unchanged"]
        assert list(kept(archive)) == ["a.txt"]

    def test_a_file_that_has_just_been_written_is_read_again(
        self, source: Path, archive: Path, keep: Keep
    ):
        """Its time may be that of a version a moment ago."""
        (source / "a.txt").write_text("11111")
        keep(source / "a.txt")
        found = os.stat(source / "a.txt")
        (source / "a.txt").write_text("22222")
        os.utime(source / "a.txt", ns=(found.st_atime_ns, found.st_mtime_ns))
        assert statuses(keep(source / "a.txt")) == ["failed"]

    def test_an_object_that_is_gone_or_cut_comes_back(
        self, source: Path, archive: Path, keep: Keep
    ):
        keep(source / "a.txt", source / "b.xml")
        (archive / "files/a.txt").unlink()
        (archive / "files/b.xml").write_bytes(b"")
        assert statuses(keep(source / "a.txt", source / "b.xml")) == ["written", "written"]
        assert kept(archive) == {"a.txt": b"first", "b.xml": b"<b/>"}

    def test_checksum_reads_what_looks_unchanged(self, source: Path, archive: Path, keep: Keep):
        keep(source / "a.txt")
        (archive / "files/a.txt").write_bytes(b"fjrst")
        assert statuses(keep(source / "a.txt")) == ["unchanged"]
        assert statuses(keep(source / "a.txt", checksum=True)) == ["written"]
        assert kept(archive) == {"a.txt": b"first"}

    def test_one_who_is_stopped_has_kept_what_he_tells(
        self, source: Path, archive: Path, keep: Keep
    ):
        (done,) = keep(source / "a.txt", source / "b.xml", stop=iter([0, 0, 0, 1]).__next__)
        assert done.file.name == "a.txt"
        assert not list(check_kept(storage_path(archive)))

    def test_in_a_bucket_too(self, source: Path, bucket: str):
        upload(source, f"{bucket}/in")
        from tilepress.pipeline.find.discover import discover
        from tilepress.pipeline.find.others import OtherFiles

        out = storage_path(f"{bucket}/out")
        for status in ("written", "unchanged"):
            others = OtherFiles()
            assert not list(discover([f"{bucket}/in"], others=others))
            (files,) = others.folders()
            assert statuses(keep_folder(out, files, lambda: KEY)) == [status] * 2
        assert (out / "files/a.txt").read() == b"first"
        assert not list(check_kept(out))


class TestWhatChangedIsNotReplacedUnasked:
    """An archive may be the last copy."""

    def test_without_force_it_is_a_failure(self, source: Path, archive: Path, keep: Keep):
        keep(source / "a.txt", source / "b.xml")
        (source / "a.txt").write_text("second")
        done = keep(source / "a.txt", source / "b.xml")
        assert statuses(done) == ["failed", "unchanged"]
        assert "--force" in done[0].reason
        assert done[0].error_kind == "destination-conflict"
        assert kept(archive)["a.txt"] == b"first"
        assert statuses(keep(source / "a.txt", force=True)) == ["written"]
        assert kept(archive)["a.txt"] == b"second"
        assert not list(check_kept(storage_path(archive)))

    def test_what_nobody_listed_stays_too(self, source: Path, archive: Path, keep: Keep):
        (archive / "files").mkdir(parents=True)
        (archive / "files/a.txt").write_text("of somebody else")
        (archive / "files/b.xml").write_text("<b/>")
        done = keep(source / "a.txt", source / "b.xml")
        assert statuses(done) == ["failed", "written"]
        assert "no index lists it" in done[0].reason
        assert kept(archive)["a.txt"] == b"of somebody else"
        assert statuses(keep(source / "a.txt", force=True)) == ["written"]

    def test_what_is_gone_from_the_source_stays(self, source: Path, archive: Path, keep: Keep):
        keep(source / "a.txt", source / "b.xml")
        (source / "b.xml").unlink()
        assert statuses(keep(source / "a.txt")) == ["unchanged"]
        assert "b.xml" in kept(archive)


class TestNamesThatMeet:
    """Files of one name in two sources are both kept, whichever comes first."""

    def test_in_one_run_or_in_two(self, source: Path, tmp_path: Path, archive: Path, keep: Keep):
        second = tmp_path / "second"
        second.mkdir()
        (second / "a.txt").write_text("another")
        assert statuses(keep(source / "a.txt")) == ["written"]
        assert statuses(keep(second / "a.txt")) == ["written"]
        assert sorted(kept(archive).values()) == [b"another", b"first"]
        for files in ((source, second), (second, source)):
            done = keep(*(folder / "a.txt" for folder in files))
            assert statuses(done) == ["unchanged", "unchanged"]
        (second / "a.txt").write_text("changed")
        done = keep(source / "a.txt", second / "a.txt")
        assert statuses(done) == ["unchanged", "failed"]

    def test_the_same_content_is_kept_once(
        self, source: Path, tmp_path: Path, archive: Path, keep: Keep
    ):
        second = tmp_path / "second"
        second.mkdir()
        (second / "a.txt").write_text("first")
        assert statuses(keep(source / "a.txt", second / "a.txt")) == ["written", "unchanged"]
        assert list(kept(archive)) == ["a.txt"]

    def test_names_that_differ_in_case_are_apart_on_any_file_system(
        self, source: Path, archive: Path, keep: Keep
    ):
        (source / "A.TXT").write_text("loud")
        keep(source / "A.TXT", source / "a.txt")
        assert len({key.lower() for key in kept(archive)}) == 2

    @pytest.mark.parametrize(
        "relative",
        [
            "x" * 250 + ".txt",
            "/".join(["deep" * 20] * 12) + "/a.txt",
            "store.zarr/a.txt",
            "zarr.json",
            ".hidden/a.txt",
            "a\\b.txt",
            "a\nb.txt",
            "caf\udce9.txt",
            "file-0123456789ab.txt",
        ],
    )
    def test_unusual_names_become_numbers(
        self, source: Path, archive: Path, keep: Keep, relative: str
    ):
        (done,) = keep(other(source / "a.txt", relative))
        assert done.status == "written"
        ((key, data),) = kept(archive).items()
        assert key.startswith("file-")
        assert "/" not in key
        assert data == b"first"
        assert statuses(keep(other(source / "a.txt", relative))) == ["unchanged"]

    def test_private_names_are_in_no_key(self, source: Path, archive: Path, keep: Keep):
        done = keep(
            other(source / "a.txt", "DOE^JANE/DOE.txt", private=True),
            other(source / "b.xml", "DOE^JANE/SR", "DICOM without pixels", private=True),
        )
        assert statuses(done) == ["written", "written"]
        assert len(kept(archive)) == 2
        assert not [path for path in archive.rglob("*") if "DOE" in path.name]
        assert {key.partition("-")[0] for key in kept(archive)} == {"file", "dicom"}


class TestHostileFiles:
    """Nothing is read that is no file of the source, and nothing written elsewhere."""

    def test_links_pipes_and_devices_are_left_out(self, source: Path, archive: Path, keep: Keep):
        os.mkfifo(source / "pipe.txt")
        (source / "out.txt").symlink_to("/etc/hostname")
        (source / "none.txt").symlink_to("nowhere")
        (source / "loop.txt").symlink_to("loop.txt")
        (source / "null.txt").symlink_to("/dev/null")
        (source / "in.txt").symlink_to("a.txt")
        names = ["pipe", "out", "none", "loop", "null", "in"]
        done = keep(*(source / f"{name}.txt" for name in names))
        assert statuses(done) == ["left out"] * 5 + ["written"]
        assert kept(archive) == {"in.txt": b"first"}

    def test_a_file_that_changes_while_it_is_read_is_a_failure(
        self, source: Path, archive: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
    ):
        opened = reading.open_regular

        class Growing:
            def __init__(self, path: str, roots: object) -> None:
                self._path, self._file = path, opened(path)

            def __enter__(self) -> Growing:
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()

            def fileno(self) -> int:
                return self._file.fileno()

            def read(self, count: int) -> bytes:
                data = self._file.read(count)
                with open(self._path, "r+") as file:
                    file.write("FIRST")
                return data

        monkeypatch.setattr(reading, "open_regular", Growing)
        (done,) = keep(source / "a.txt")
        assert done.status == "failed"
        assert "changed while it was read" in done.reason
        assert kept(archive) == {}

    def test_a_link_in_the_archive_leads_nowhere(
        self, source: Path, tmp_path: Path, archive: Path, keep: Keep
    ):
        outside = tmp_path / "outside"
        outside.mkdir()
        archive.mkdir()
        (archive / "files").symlink_to(outside)
        (done,) = keep(source / "a.txt")
        assert done.status == "failed"
        assert "is a link" in done.reason
        assert not list(outside.iterdir())

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_one_that_cannot_be_read_fails_alone(self, source: Path, keep: Keep):
        (source / "a.txt").chmod(0)
        assert statuses(keep(source / "a.txt", source / "b.xml")) == ["failed", "written"]

    def test_a_large_one_is_a_failure_with_a_remedy(
        self, source: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(reading, "MAX_KEPT_BYTES", 4)
        done = keep(source / "a.txt", source / "b.xml")
        assert statuses(done) == ["failed", "written"]
        assert "keep it yourself" in done[0].reason

    def test_a_damaged_index_fails_its_folder_and_nothing_is_written(
        self, source: Path, archive: Path, keep: Keep
    ):
        keep(source / "a.txt")
        (document,) = (archive / "files/.index").iterdir()
        document.write_bytes(document.read_bytes().replace(b'"a.txt"', b'"x.txt"'))
        done = keep(source / "a.txt", source / "b.xml")
        assert statuses(done) == ["failed", "failed"]
        assert list(kept(archive)) == ["a.txt"]


def test_what_no_part_has_kept_is_named(source: Path, archive: Path, keep: Keep):
    keep(source / "a.txt")
    files = [other(source / name) for name in ("a.txt", "b.xml")]
    done = missing_of(storage_path(archive), files)
    assert statuses(done) == ["unchanged", "failed"]


def test_what_nobody_keeps_is_not_missing(source: Path, archive: Path, keep: Keep):
    import os

    os.mkfifo(source / "pipe.txt")
    (source / "out.txt").symlink_to("/etc/hostname")
    files = [other(source / name) for name in ("a.txt", "pipe.txt", "out.txt")]
    keep(*files)
    done = missing_of(storage_path(archive), files)
    assert [one.status for one in done] == ["unchanged", "left out", "left out"]
