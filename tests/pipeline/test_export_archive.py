"""All of an archive comes back, once, whatever stops the run and whatever lies in its way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
import rasterio
from pydicom.uid import RLELossless

from tilepress.errors import StoreError, UsageError
from tilepress.pipeline import export_archive as module
from tilepress.pipeline import export_staging as staging
from tilepress.pipeline.export_archive import Exported, export_archive
from tilepress.pipeline.export_ledger import LEDGER, ExportLedger
from tilepress.pipeline.export_staging import Wanted
from tilepress.pipeline.storage import placed
from tilepress.workflows.run.compress import compress

from .images import IMAGE, dicom, npy, tiff


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with sources and an archive: a raster, two arrays, a series, other files."""
    folder = tmp_path_factory.mktemp("made") / "in"
    tiff(folder / "sub/scene.tif")
    npy(folder / "a.npy")
    npy(folder / "deep/er/b.npy")
    for number in (1, 2):
        dicom(folder / f"ct/{number}.dcm", 1, number)
    (folder / "sub/scene.xml").write_text("<x/>")
    (folder / "notes.txt").write_text("read me")
    assert compress(folder, folder.parent / "out", workers=0, keep="all").ok
    return folder.parent


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """Return a copy of that archive, beside one of its sources."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bands")
    for number in (1, 2):
        tiff(folder / f"scene/L_B{number}.tif", IMAGE + number)
    tiff(folder / "scene/other.tif")
    assert compress(folder / "scene", folder / "out", workers=0, stack="*_B*.tif").ok
    return folder / "out"


def run(archive: Path | str, out: Path, format_: str | None = None) -> list[Exported]:
    return list(export_archive(archive, out, format_))


def states(done: list[Exported]) -> Counter[str]:
    return Counter(one.state for one in done if one.total)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name != LEDGER}


def series(back: Path) -> Path:
    (folder,) = back.glob("CT-*")
    return folder


class TestAWholeArchive:
    def test_comes_back_where_it_lay(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        done = run(archive, back)
        assert states(done) == {"written": 4}
        assert [one.number for one in done if one.total] == [1, 2, 3, 4]
        given, found = tree(tmp_path / "in"), tree(back)
        assert {found[f"{series(back).name}/{n}.dcm"] for n in (1, 2)} == {
            given[f"ct/{n}.dcm"] for n in (1, 2)
        }
        for name in ("a.npy", "deep/er/b.npy", "sub/scene.xml", "notes.txt"):
            assert found[name] == given[name]
        with (
            rasterio.open(back / "sub/scene.tif") as a,
            rasterio.open(tmp_path / "in/sub/scene.tif") as b,
        ):
            np.testing.assert_array_equal(a.read(), b.read())
        assert len(found) == 7
        assert (back / LEDGER).stat().st_mode & 0o777 == 0o600, "it names files of patients"

    def test_of_a_bucket(self, archive: Path, tmp_path: Path, bucket: str):
        assert compress(tmp_path / "in", f"{bucket}/out", workers=0, keep="all").ok
        assert states(run(f"{bucket}/out", tmp_path / "back")) == {"written": 4}
        run(archive, tmp_path / "other")
        found, other = tree(tmp_path / "back"), tree(tmp_path / "other")
        assert sorted(found.values()) == sorted(other.values())
        named = [{name for name in one if "CT-" not in name} for one in (found, other)]
        assert named[0] == named[1]

    def test_is_not_written_again(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        run(archive, back)
        before = {path: path.stat().st_mtime_ns for path in back.rglob("*") if path.is_file()}
        done = run(archive, back)
        assert states(done) == {"there": 4}
        assert not [one.problem for one in done if one.problem]
        after = {path: path.stat().st_mtime_ns for path in back.rglob("*") if path.is_file()}
        assert before == after

    def test_what_was_removed_is_written_again(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        run(archive, back)
        (back / "a.npy").unlink()
        gone = series(back) / "1.dcm"
        gone.unlink()
        kept = (series(back) / "2.dcm").stat()
        assert states(run(archive, back)) == {"written": 2, "there": 2}
        assert gone.exists()
        assert (back / "a.npy").exists()
        assert (series(back) / "2.dcm").stat().st_ino == kept.st_ino, "it was there"

    def test_what_somebody_changed_is_not_touched(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        run(archive, back)
        (back / "a.npy").write_bytes(b"mine")
        (back / "notes.txt").write_bytes(b"mine")
        done = run(archive, back)
        assert states(done) == {"failed": 1, "there": 3}
        problems = " ".join(one.problem for one in done if one.problem)
        assert "a.npy exists" in problems
        assert "notes.txt exists" in problems
        assert (back / "a.npy").read_bytes() == (back / "notes.txt").read_bytes() == b"mine"

    def test_what_was_there_before_is_not_touched(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        back.mkdir()
        (back / "a.npy").write_bytes(b"mine")
        (back / "deep").symlink_to(tmp_path / "nowhere")
        done = run(archive, back)
        assert states(done) == {"failed": 2, "written": 2}
        assert (back / "a.npy").read_bytes() == b"mine"
        assert not (tmp_path / "nowhere").exists()

    def test_a_damaged_store_fails_alone(self, archive: Path, tmp_path: Path):
        shard = next(
            p for p in (archive / "a.zarr/0/image").rglob("*") if p.is_file() and "c" in p.parts
        )
        shard.write_bytes(shard.read_bytes()[:-9])
        (archive / "deep/er/b.zarr/zarr.json").unlink()
        done = run(archive, tmp_path / "back")
        assert states(done) == {"failed": 2, "written": 2}
        told = {one.name: one.problem for one in done if one.problem}
        assert set(told) == {"a.zarr", "deep/er/b.zarr"}
        assert not (tmp_path / "back/a.npy").exists()
        assert not list((tmp_path / "back").rglob(".tilepress-export-*"))

    def test_an_error_that_nobody_expected_fails_alone(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        real = staging.export_part

        def fails(reader, *arguments, **options):
            if "scene" in reader.path.name:
                raise KeyError("DOE^JANE")
            return real(reader, *arguments, **options)

        monkeypatch.setattr(staging, "export_part", fails)
        done = run(archive, tmp_path / "back")
        (problem,) = (one.problem for one in done if one.problem)
        assert "sub/scene.zarr" in str(problem)
        assert "JANE" not in str(problem)
        assert states(done) == {"failed": 1, "written": 3}


class TestAFormat:
    def test_is_that_of_every_store_that_has_it(self, archive: Path, tmp_path: Path):
        done = run(archive, tmp_path / "back", "cog")
        assert states(done) == {"written": 1, "left out": 3}
        assert all(one.problem for one in done if one.state == "left out")
        assert (tmp_path / "back/sub/scene.tif").exists()

    def test_of_any_store_is_called_as_the_store(self, archive: Path, tmp_path: Path):
        assert states(run(archive, tmp_path / "npy", "npy")) == {"written": 4}
        names = sorted(p.name for p in (tmp_path / "npy").rglob("*.npy"))
        assert [name[:5] for name in names] == ["CT-" + names[0][3:5], "a.npy", "b.npy", "scene"]
        assert states(run(archive, tmp_path / "zarr", "zarr")) == {"written": 4}
        assert (tmp_path / "zarr/deep/er/b.zarr/zarr.json").exists()
        assert states(run(archive, tmp_path / "zarr", "zarr")) == {"there": 4}

    def test_another_one_finds_the_names_taken(self, archive: Path, tmp_path: Path):
        run(archive, tmp_path / "back", "geotiff")
        done = run(archive, tmp_path / "back", "cog")
        assert states(done) == {"failed": 1, "left out": 3}

    def test_that_nobody_knows(self, archive: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="'png' is unknown"):
            run(archive, tmp_path / "back", "png")
        assert not (tmp_path / "back").exists()


class TestStacks:
    """Bands in files of their own come back so, or as one raster where that is asked for."""

    @pytest.mark.parametrize("format_", [None, "geotiff", "cog"])
    def test_are_one_raster(self, bands: Path, tmp_path: Path, format_: str | None):
        wanted = Wanted(format=format_, join_stacks=True)
        done = list(export_archive(bands, tmp_path / "back", wanted))
        assert states(done) == {"written": 2}
        assert sorted(tree(tmp_path / "back")) == ["L.tif", "other.tif"]
        with rasterio.open(tmp_path / "back/L.tif") as file:
            np.testing.assert_array_equal(file.read(), [IMAGE + 1, IMAGE + 2])
        done = list(export_archive(bands, tmp_path / "back", wanted))
        assert states(done) == {"there": 2}

    def test_are_files_where_nobody_asks(self, bands: Path, tmp_path: Path):
        run(bands, tmp_path / "back")
        assert sorted(tree(tmp_path / "back")) == ["L_B1.tif", "L_B2.tif", "other.tif"]

    def test_asked_for_both_ways_are_told_apart(self, bands: Path, tmp_path: Path):
        run(bands, tmp_path / "back")
        done = list(export_archive(bands, tmp_path / "back", Wanted(join_stacks=True)))
        assert states(done) == {"there": 1, "written": 1}

    def test_are_not_joined_in_another_format(self, bands: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="joined in geotiff or cog only"):
            list(export_archive(bands, tmp_path / "back", Wanted(format="npy", join_stacks=True)))


class TestATransferSyntax:
    def test_is_that_of_every_series(self, archive: Path, tmp_path: Path):
        wanted = Wanted(transfer_syntax="rle")
        done = list(export_archive(archive, tmp_path / "back", wanted))
        assert states(done) == {"written": 4}
        for number in (1, 2):
            found = pydicom.dcmread(series(tmp_path / "back") / f"{number}.dcm")
            given = pydicom.dcmread(tmp_path / f"in/ct/{number}.dcm")
            assert found.file_meta.TransferSyntaxUID == RLELossless
            np.testing.assert_array_equal(found.pixel_array, given.pixel_array)
        assert states(list(export_archive(archive, tmp_path / "back", wanted))) == {"there": 4}
        assert states(run(archive, tmp_path / "back")) == {"there": 3, "failed": 1}

    def test_leaves_out_what_came_as_no_dicom_and_is_asked_for_as_such(
        self, archive: Path, tmp_path: Path
    ):
        wanted = Wanted(format="dicom", transfer_syntax="rle")
        done = list(export_archive(archive, tmp_path / "back", wanted))
        assert states(done) == {"written": 1, "left out": 3}
        told = [str(one.problem) for one in done if one.state == "left out"]
        assert all("which gives no dicom" in text for text in told)

    def test_of_a_format_that_has_none_is_refused(self, archive: Path, tmp_path: Path):
        wanted = Wanted(format="nifti", transfer_syntax="rle")
        with pytest.raises(UsageError, match="nifti has no transfer syntax"):
            list(export_archive(archive, tmp_path / "back", wanted))
        assert not (tmp_path / "back").exists()


class TestTheNameOfAFile:
    @pytest.mark.parametrize("name", ["x.tif", "x.nii.gz", "X.ZARR", "x.ome.tif"])
    def test_is_refused_for_a_folder(self, archive: Path, tmp_path: Path, name: str):
        with pytest.raises(UsageError, match=f"got {name}, and an archive goes into a folder"):
            run(archive, tmp_path / name)
        assert not (tmp_path / name).exists()

    def test_is_taken_where_it_is_a_folder(self, archive: Path, tmp_path: Path):
        (tmp_path / "x.tif").mkdir()
        assert states(run(archive, tmp_path / "x.tif")) == {"written": 4}
        assert states(list(export_archive(archive, f"{tmp_path}/x.zarr/"))) == {"written": 4}
        assert states(run(archive, tmp_path / "of.2024")) == {"written": 4}


class TestAnInterruptedRun:
    def test_that_is_killed_anywhere_is_gone_on_with(self, archive: Path, tmp_path: Path):
        """Kill it after each of the steps that move files; nothing is torn, nothing in the way."""
        code = (
            "import os, signal, sys\n"
            "from tilepress.pipeline import export_archive as m\n"
            "from tilepress.pipeline.storage import placed\n"
            "left = int(sys.argv[3])\n"
            "real = m.place_new\n"
            "def place(made, target):\n"
            "    global left\n"
            "    left -= 1\n"
            "    if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(made, target)\n"
            "m.place_new = place\n"
            "list(m.export_archive(sys.argv[1], sys.argv[2]))\n"
        )
        back = tmp_path / "back"
        run(archive, tmp_path / "whole")
        for steps in range(5):
            done = subprocess.run([sys.executable, "-c", code, archive, back, str(min(steps, 1))])
            assert done.returncode in (0, -signal.SIGKILL)
            found = tree(back)
            torn = {name for name in found if not name.startswith(".tilepress-export-")}
            whole = tree(tmp_path / "whole")
            assert all(found[name] == whole[name] for name in torn)
        for folder in back.glob(".tilepress-export-*"):
            os.utime(folder, (1, 1))
        done = run(archive, back)
        assert not [one.problem for one in done if one.problem]
        assert tree(back) == tree(tmp_path / "whole")
        assert not list(back.rglob(".tilepress-export-*"))

    def test_a_torn_line_of_the_ledger_is_nothing(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        run(archive, back)
        lines = (back / LEDGER).read_bytes().splitlines(keepends=True)
        (back / LEDGER).write_bytes(b"".join(lines[:3]) + lines[3][:40])
        (back / "a.npy").unlink()
        done = run(archive, back)
        assert states(done)["there"] == 2
        assert states(done)["failed"] == 1, "what is not known as ours is not touched"

    @pytest.mark.parametrize(
        "line", [b"[]", b"1", b"{}", b'{"store":1,"seal":2,"format":3,"files":{"a":1}}', b"\xff"]
    )
    def test_nonsense_in_the_ledger_is_nothing(self, archive: Path, tmp_path: Path, line: bytes):
        back = tmp_path / "back"
        back.mkdir()
        (back / LEDGER).write_bytes(line)
        assert states(run(archive, back)) == {"written": 4}
        assert states(run(archive, back)) == {"there": 4}


class TestWhereNothingCanBeWritten:
    def test_a_full_disk_stops_the_run(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        real, calls = module.place_new, []

        def place(made: Path, target: Path) -> None:
            calls.append(target)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(made, target)

        monkeypatch.setattr(module, "place_new", place)
        done = run(archive, tmp_path / "back")
        assert done[-1].stops
        assert "no room left" in str(done[-1].problem)
        assert len(done) == 1
        monkeypatch.undo()
        done = run(archive, tmp_path / "back")
        assert not [one.problem for one in done if one.problem]

    def test_a_library_that_does_not_say_why(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(module, "ROOM_BYTES", 2**70)

        def fails(*_: object) -> None:
            raise StoreError("write x.tif: GDAL cannot write it")

        monkeypatch.setattr(staging, "export_part", fails)
        done = run(archive, tmp_path / "back")
        assert [one.stops for one in done] == [True]

    def test_a_folder_that_is_read_only(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def refuses(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(module.ExportLedger, "open", refuses)
        with pytest.raises(StoreError, match="back: Permission denied"):
            run(archive, tmp_path / "back")

    def test_a_file_or_the_archive_itself(self, archive: Path, tmp_path: Path):
        (tmp_path / "file").write_text("mine")
        for out, text in ((tmp_path / "file", "is a file"), (archive / "x", "in the archive")):
            with pytest.raises(UsageError, match=text):
                run(archive, out)
        with pytest.raises(UsageError, match="path of this machine"):
            run(archive, "s3://bucket/x")  # type: ignore[arg-type]

    def test_two_runs_at_once(self, archive: Path, tmp_path: Path):
        (tmp_path / "back").mkdir()
        with (
            ExportLedger.open(tmp_path / "back"),
            pytest.raises(UsageError, match="another export writes there"),
        ):
            run(archive, tmp_path / "back")

    def test_a_ledger_that_is_a_link(self, archive: Path, tmp_path: Path):
        (tmp_path / "back").mkdir()
        (tmp_path / "back" / LEDGER).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError):
            run(archive, tmp_path / "back")
        assert not (tmp_path / "elsewhere").exists()


class TestPlacing:
    def test_nothing_is_replaced(self, tmp_path: Path):
        (tmp_path / "made").write_text("new")
        (tmp_path / "there").write_text("mine")
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("there", "link"):
            with pytest.raises(StoreError, match="exists"):
                placed.place_new(tmp_path / "made", tmp_path / name)
        assert (tmp_path / "there").read_text() == "mine"
        placed.place_new(tmp_path / "made", tmp_path / "target")
        assert (tmp_path / "target").read_text() == "new"
        assert not (tmp_path / "made").exists()

    def test_without_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def no_links(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(placed.os, "link", no_links)
        for name in ("a", "b"):
            (tmp_path / name).write_text(name)
        placed.place_new(tmp_path / "a", tmp_path / "c")
        with pytest.raises(StoreError, match="exists"):
            placed.place_new(tmp_path / "b", tmp_path / "c")
        assert (tmp_path / "c").read_text() == "a"

    def test_a_folder(self, tmp_path: Path):
        (tmp_path / "made/in").mkdir(parents=True)
        (tmp_path / "there").mkdir()
        with pytest.raises(StoreError, match="exists"):
            placed.place_new(tmp_path / "made", tmp_path / "there")
        placed.place_new(tmp_path / "made", tmp_path / "target")
        assert (tmp_path / "target/in").is_dir()


def test_a_second_signal_leaves_nothing_torn(archive: Path, tmp_path: Path):
    line = [sys.executable, "-m", "tilepress", "export", archive, tmp_path / "back"]
    running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "back").exists() and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 130), err
    done = run(archive, tmp_path / "back")
    assert not [one.problem for one in done if one.problem]


class TestAForgedLedger:
    """Whoever may write to the folder may have put it there."""

    @pytest.mark.parametrize(
        "line",
        [
            b'{"store": "a.zarr", "seal": "", "format": null, "files": [1]}',
            b'{"store": "a.zarr", "seal": "", "format": null, "files": {"a": [1e999, 0]}}',
            b'{"store": "a.zarr", "seal": "", "format": null, "files": {"a": [1' + b"0" * 5000,
            b"[" * 200_000,
            b"\xff\x00",
        ],
        ids=["list", "infinite", "long", "deep", "binary"],
    )
    def test_lines_of_any_kind_are_passed_over(self, tmp_path: Path, line: bytes):
        (tmp_path / LEDGER).write_bytes(line + b"\n")
        with ExportLedger.open(tmp_path) as ledger:
            ledger.add("b.zarr", "seal", None, [])
        with ExportLedger.open(tmp_path) as ledger:
            assert ledger.is_done("a.zarr", "", None) is None

    @pytest.mark.parametrize("name", ["../x", "{0}/x", "a/../../x", "a\0b", "\ud800"])
    def test_names_nothing_outside(self, tmp_path: Path, name: str):
        outside, out = tmp_path / "x", tmp_path / "out"
        outside.write_bytes(b"mine")
        out.mkdir()
        mark = [outside.stat().st_size, outside.stat().st_mtime_ns]
        files = {name.format(tmp_path): mark}
        entry = {"store": "a.zarr", "seal": "s", "format": None, "files": files}
        (out / LEDGER).write_text(json.dumps(entry) + "\n")
        with ExportLedger.open(out) as ledger:
            assert ledger.is_done("a.zarr", "s", None) is None

    def test_is_a_file_of_its_own(self, archive: Path, tmp_path: Path):
        back = tmp_path / "back"
        back.mkdir()
        os.mkfifo(back / LEDGER)
        with pytest.raises(UsageError, match="is no file of ours"):
            run(archive, back)
        (back / LEDGER).unlink()
        mine = tmp_path / "mine"
        mine.write_text("x")
        os.link(mine, back / LEDGER)
        with pytest.raises(UsageError, match="is no file of ours"):
            run(archive, back)
        assert mine.read_text() == "x"
