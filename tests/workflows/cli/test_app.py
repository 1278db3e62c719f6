"""The command line: exit codes, one-line errors, and help that shows how."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import rasterio
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tilepress.pipeline.archive.repair import StoreRepair
from tilepress.pipeline.archive.verify import StoreCheck
from tilepress.workflows.cli import app as cli

from ...helpers.samples import smooth

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the command in this process: quick, no signal handlers."""
    monkeypatch.setattr(cli, "interrupts", contextlib.nullcontext)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(argument) for argument in arguments]
        monkeypatch.setattr(cli.sys, "argv", ["tilepress", *line])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(line, code, out, err)

    return run


def write_tiff(path: Path, side: int = 100) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(smooth((side, side)), 1)


def write_dicom_without_pixels(path: Path) -> None:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.StudyInstanceUID = "1.2"
    dataset.PatientName = "Canary^Patient"
    dataset.Modality = "SR"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


class TestExitCodes:
    """Scripts and batch systems read nothing else."""

    def test_0_and_a_last_line_that_sums_up(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "out", "--workers", 0)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("1 written, 0 unchanged, 0 failed, 180.0 kB →")

    def test_1_where_an_input_failed(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "gone.tif", tmp_path / "out", "--workers", 0)
        assert done.returncode == 1
        assert "1 written, 0 unchanged, 1 failed" in done.stdout

    @pytest.mark.parametrize(
        "line",
        [
            [],
            ["compress"],
            ["compress", "only-a-source.tif"],
            ["compress", "a.tif", "out", "--no-such-option"],
            ["compress", "a.tif", "out", "--max-error", "much"],
            ["compress", "a.tif", "out", "--max-error", "2", "--lossless"],
            ["compress", "a.tif", "out", "--max-error", "-1"],
            ["compress", "a.tif", "out", "--max-error", "nan"],
            ["compress", "a.tif", "out", "--quiet", "--verbose"],
            ["compress", "a.tif", "out", "--tile", "3"],
            ["compress", "a.tif", "out", "--tile", "4096"],
            ["compress", "a.tif", "out", "--tier", "best"],
            ["compress", "a.tif", "out", "--tune", "0"],
            ["compress", "a.tif", "out", "--codec", "jpeg"],
            ["compress", "a.tif", "out", "--model", "no-such-model"],
            ["compress", "a.tif", "out", "--model", "no-such.safetensors"],
            ["no-such-command"],
            ["ls", "no-such-folder"],
            ["info", "no-such.zarr"],
            ["verify", "no-such.zarr"],
            ["export", "no-such.zarr", "out.tif"],
        ],
    )
    def test_2_and_one_line_for_what_makes_no_sense(
        self, call: Command, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        done = call(*line)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == (1 if line else 0)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["notes.txt", "empty", "empty.zarr", "foreign.zarr"])
    def test_3_where_what_is_verified_is_no_store(self, call: Command, name: str, tmp_path: Path):
        path = tmp_path / name
        if path.suffix == ".txt":
            path.write_text("no store")
        else:
            path.mkdir()
        if name == "foreign.zarr":
            (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
        done = call("verify", path)
        assert done.returncode == 3
        assert f"{path}: unknown" in done.stdout
        assert "Traceback" not in done.stderr

    def test_70_and_one_line_for_a_bug_of_ours(
        self, call: Command, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.delenv("TILEPRESS_DEBUG", raising=False)
        monkeypatch.setattr(cli, "_must_exist", dict[str, str]().__getitem__)
        done = call("info", "a bug")
        assert (done.returncode, done.stdout) == (70, "")
        assert done.stderr == (
            "tilepress: unexpected error: KeyError: 'a bug' "
            "(please report it; --debug shows where)\n"
        )

    def test_of_what_may_have_read_an_image_only_the_type_is_told(
        self, call: Command, monkeypatch: pytest.MonkeyPatch, image: Path
    ):
        """The text of such an error may quote a header."""

        def broken(*_: object) -> None:
            raise RuntimeError("PATIENT^NAME")

        monkeypatch.delenv("TILEPRESS_DEBUG", raising=False)
        monkeypatch.setattr("tilepress.pipeline.storage.path.FolderPlace.exists", broken)
        done = call("info", image)
        assert (done.returncode, done.stdout) == (70, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("tilepress: unexpected error: RuntimeError (please report it")

    @pytest.mark.parametrize("line", ["--debug info x", "info x --debug", "info --debug x"])
    def test_debug_shows_where(self, call: Command, monkeypatch: pytest.MonkeyPatch, line: str):
        monkeypatch.setenv("TILEPRESS_DEBUG", "")  # so that it is as before at the end
        monkeypatch.setattr(cli, "_must_exist", lambda _: 1 / 0)
        done = call(*line.split())
        assert done.returncode == 70
        assert "in info\n" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("tilepress: unexpected error: ZeroDivision")

    def test_what_came_to_nothing_leaves_no_folder(self, call: Command, tmp_path: Path):
        (tmp_path / "notes.txt").write_text("no image")
        (tmp_path / "kept").mkdir()
        for out in ("new", "new/er/out", "kept"):
            done = call("compress", tmp_path / "notes.txt", tmp_path / out, "--workers", 0)
            assert done.returncode != 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "notes.txt"]

    def test_version(self, call: Command):
        done = call("--version")
        assert (done.returncode, done.stdout.split()[0]) == (0, "tilepress")

    def test_an_empty_destination_is_not_the_current_folder(self, call: Command, image: Path):
        """What a script gives whose variable is not set."""
        done = call("compress", image, "")
        assert done.returncode == 2
        assert "the destination is empty" in done.stderr

    def test_quiet_is_not_silent_about_failures(self, call: Command, image: Path, tmp_path: Path):
        done = call("plan", image, tmp_path / "gone.tif", tmp_path / "out", "--quiet")
        assert done.returncode == 1
        assert "gone.tif" in done.stderr

    def test_help_offers_what_there_is(self, call: Command):
        assert "fast|standard|max" in call("compress", "--help").stdout
        told = " ".join(call("verify", "--help").stdout.replace("│", " ").split())
        assert "no tilepress store" in told

    @pytest.mark.parametrize("name", ["compress", "finish", "export", "train", "demo", "bench"])
    def test_help_names_what_options_take(self, call: Command, name: str):
        told = call(name, "--help").stdout
        assert not re.search(r"<(bool|int|str|float|path)> ", told.partition("Options")[2])

    def test_the_module_is_the_command(self, command: Command):
        done = command("--help")
        assert done.returncode == 0
        assert "compress" in done.stdout

    @pytest.mark.parametrize(
        "name",
        [
            *("compress", "plan", "finish", "repair", "info", "ls", "verify", "export", "train"),
            *("demo", "bench", "models show", "models add"),
        ],
    )
    def test_help_shows_an_example(self, call: Command, name: str):
        done = call(*name.split(), "--help")
        assert done.returncode == 0
        assert f"tilepress {name} " in done.stdout.replace("Usage: tilepress", "")


class TestBadInput:
    """One clear line each; the other inputs are done; nothing half-written looks whole."""

    def test_a_mixed_folder(self, call: Command, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        write_tiff(source / "good.tif")
        write_tiff(source / "torn.tif", side=300)
        (source / "torn.tif").write_bytes((source / "torn.tif").read_bytes()[:60_000])
        (source / "noise.tif").write_bytes(bytes(range(256)) * 4)
        (source / "page.bin").write_bytes(b"<html>")
        write_dicom_without_pixels(source / "report.dcm")
        done = call("compress", source, tmp_path / "gone.tif", tmp_path / "out", "--workers", 0)
        assert done.returncode == 1
        assert "1 written, 0 unchanged, 5 failed" in done.stdout
        complaints = [line for line in done.stderr.splitlines() if line.startswith("tilepress: ")]
        assert len(complaints) == 5
        for name in ("torn.tif", "noise.tif", "page.bin", "gone.tif"):
            assert sum(name in line for line in complaints) == 1, name
        assert "Canary" not in done.stdout + done.stderr
        sealed = [path.parent.name for path in (tmp_path / "out").glob("*/zarr.json")]
        assert sealed == ["good.zarr"]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_the_line_is_the_same_from_a_worker(self, call: Command, tmp_path: Path, workers: int):
        """Errors are pickled on their way here; those of GDAL and DICOM readers do not allow it."""
        source = tmp_path / "in"
        source.mkdir()
        write_tiff(source / "torn.tif", side=300)
        (source / "torn.tif").write_bytes((source / "torn.tif").read_bytes()[:60_000])
        write_dicom_without_pixels(source / "report.dcm")
        told = tmp_path / "report.json"
        done = call("compress", source, tmp_path / "out", "--workers", workers, "--report", told)
        assert done.returncode == 1
        assert "unexpected" not in done.stderr
        failures = {Path(f["source"]).name: f for f in json.loads(told.read_text())["failures"]}
        assert {name: f["kind"] for name, f in failures.items()} == {
            "torn.tif": "damaged-source", "report.dcm": "unsupported-source",
        }  # fmt: skip
        assert "Canary" not in done.stdout + done.stderr + told.read_text()

    def test_an_unwritable_destination(self, call: Command, image: Path, tmp_path: Path):
        (tmp_path / "file").write_text("not a folder")
        done = call("compress", image, tmp_path / "file" / "out", "--workers", 0)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert str(tmp_path / "file") in done.stderr

    def test_a_destination_that_is_a_file(self, call: Command, image: Path, tmp_path: Path):
        (tmp_path / "out.zarr").write_text("not a store")
        done = call("compress", image, tmp_path / "out.zarr", "--workers", 0)
        assert done.returncode == 2
        assert (tmp_path / "out.zarr").read_text() == "not a store"

    def test_a_destination_of_another_image(self, call: Command, image: Path, tmp_path: Path):
        call("compress", image, tmp_path / "x.zarr", "--workers", 0)
        np.save(tmp_path / "other.npy", smooth((50, 60), seed=3))
        done = call("compress", tmp_path / "other.npy", tmp_path / "x.zarr", "--workers", 0, "-q")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "another image (3×150×200 uint16, this one is 50×60 uint16)" in done.stderr


class TestLines:
    """One line per image."""

    def test_a_stack_says_of_how_many_files_it_is(self, call: Command, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        for band in (1, 2, 3):
            write_tiff(source / f"s_B{band}.tif")
        line = ("compress", source, tmp_path / "s.zarr", "--stack", "*_B*.tif", "--workers", 0)
        for status in ("ratio", "unchanged"):
            (told,) = call(*line).stderr.splitlines()
            assert told.startswith(f"{source / 's_B1.tif'} (+2 more) → "), told
            assert status in told

    def test_finish_says_what_parts_sealed_and_then_that_there_is_nothing(
        self, call: Command, image: Path, tmp_path: Path
    ):
        call("compress", image, tmp_path / "out", "--part", "0/1")
        done = call("finish", tmp_path / "out", "--workers", 0)
        assert done.returncode == 0
        assert done.stdout.startswith("0 written, 1 sealed before, 0 failed")
        again = call("finish", tmp_path / "out", "--workers", 0, "--events", tmp_path / "events")
        assert (again.returncode, again.stdout) == (0, "")
        assert again.stderr == (
            f"nothing to finish in {tmp_path / 'out'}: every image of the archive is sealed\n"
        )
        lines = (tmp_path / "events").read_text().splitlines()
        told = [json.loads(line)["event"] for line in lines]
        assert told == ["run-started", "note", "run-done"]
        assert call("finish", tmp_path / "in").returncode == 2

    def test_the_report_is_a_file(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "out", "--report", "-")
        assert done.returncode == 2
        assert done.stderr.startswith("tilepress: writing the report: got '-', want a file")
        assert not (tmp_path / "out").exists()

    def test_the_events_begin_with_what_was_asked_for(
        self, call: Command, image: Path, tmp_path: Path
    ):
        done = call("compress", image, tmp_path / "out", "--workers", 0, "--events", "-")
        options = json.loads(done.stdout.splitlines()[0])["options"]
        assert options["workers"] == 0
        assert not {"untold", "run_compress", "paths"} & set(options)

    def test_companions_are_counted_and_not_named(self, call: Command, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        write_tiff(source / "a.tif")
        for name in ("doe.txt", "doe.tfw", "b.txt", "README.doe"):
            (source / name).touch()
        told = tmp_path / "report.json"
        done = call("compress", source, tmp_path / "out", "--workers", 0, "--report", told)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1] == (
            "passed over 4 files that are no images: .txt 2, .tfw 1, others 1"
        )
        assert json.loads(told.read_text())["passed_over"] == {"": 1, ".tfw": 1, ".txt": 2}
        assert "doe" not in done.stdout + done.stderr

    def test_one_file_has_no_more(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "x.zarr", "--workers", 0)
        assert done.stderr.startswith(f"{image} → ")


class TestShelf:
    """ls and info tell what lies there, finished or not."""

    @pytest.fixture
    def archive(self, call: Command, image: Path, tmp_path: Path) -> Path:
        source = tmp_path / "in"
        (source / "deep").mkdir(parents=True)
        shutil.copy(image, source / "deep")
        write_tiff(source / "map.tif")
        call("compress", source, tmp_path / "out", "--workers", 0)
        (tmp_path / "out" / "half.zarr" / "0" / "image" / "c").mkdir(parents=True)
        return tmp_path / "out"

    def test_ls_lists_sealed_and_marks_unsealed(self, call: Command, archive: Path):
        done = call("ls", archive)
        assert done.returncode == 0, done.stderr
        lines = {line.split()[0]: line for line in done.stdout.splitlines() if ".zarr" in line}
        assert set(lines) == {"deep/scene.zarr", "half.zarr", "map.zarr"}
        assert "unsealed" in lines["half.zarr"]
        assert "lossless" in lines["map.zarr"]
        assert "EPSG:32631" in lines["map.zarr"]
        assert "3×150×200" in lines["deep/scene.zarr"]

    def test_a_store_that_is_gone_is_damage(self, call: Command, archive: Path):
        """Whoever verifies an archive asks for all of it."""
        shutil.rmtree(archive / "half.zarr")
        assert call("verify", archive).returncode == 0
        shutil.rmtree(archive / "map.zarr")
        done = call("verify", archive)
        assert done.returncode == 1
        assert "the catalogue lists it, and it is gone" in done.stdout

    def test_a_damaged_store_is_one_and_not_missing(self, call: Command, archive: Path):
        (archive / "map.zarr/zarr.json").unlink()
        done = call("verify", archive, "--source", archive.parent / "in")
        assert "holds no store of it" not in done.stdout

    def test_a_name_of_a_store_stays_in_its_line(self, call: Command, archive: Path):
        odd = (archive / "map.zarr").rename(archive / "map\n\x1b[31m.zarr")
        for line in (("ls", archive), ("verify", archive), ("info", odd)):
            done = call(*line)
            assert "map\\n\\x1b[31m.zarr" in done.stdout
            assert "\x1b" not in done.stdout

    @pytest.mark.parametrize("command", ["verify", "repair"])
    def test_long_work_is_told_as_it_goes(
        self, call: Command, archive: Path, command: str, capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ):  # fmt: skip
        def work(*_: object) -> Iterator[StoreCheck | StoreRepair]:
            kind = StoreCheck if command == "verify" else StoreRepair
            yield kind(store="first", state="sound")
            assert capfd.readouterr().out == "first: sound\n"
            yield kind(store="second", state="sound")

        monkeypatch.setattr("tilepress.pipeline.archive.verify.check_stores", work)
        monkeypatch.setattr("tilepress.pipeline.archive.repair.repair_stores", work)
        done = call(command, archive, "--source", archive)
        assert (done.returncode, done.stdout) == (0, "second: sound\n")

    def test_repair_names_what_is_gone(self, call: Command, archive: Path):
        """An update of the catalogue would forget it, so that nobody missed it again."""
        source = archive.parent / "in"
        shard = next(p for p in (archive / "deep/scene.zarr/0/image/c").rglob("*") if p.is_file())
        shard.unlink()
        shutil.rmtree(archive / "map.zarr")
        for _ in range(2):
            done = call("repair", archive, "--source", source)
            assert done.returncode == 1
            assert "map.zarr: the catalogue lists it, and it is gone" in done.stdout

    def test_repair_lists_in_the_catalogue_what_it_repaired(self, call: Command, archive: Path):
        shutil.rmtree(archive / "half.zarr")
        manifest = archive / "map.zarr/zarr.json"
        manifest.write_bytes(manifest.read_bytes()[:-2])
        collection = archive / "catalogue/collection.json"
        source = archive.parent / "in"
        assert "run tilepress repair" in call("compress", source, archive, "--workers", 0).stderr
        assert "map" not in collection.read_text()
        done = call("repair", archive, "--source", source)
        assert done.returncode == 0, done.stdout
        assert "map" in collection.read_text()

    def test_ls_as_json(self, call: Command, archive: Path):
        told = {item["path"]: item for item in json.loads(call("ls", archive, "--json").stdout)}
        assert told["map.zarr"]["state"] == "sealed"
        assert told["map.zarr"]["shape"] == [100, 100]
        assert told["half.zarr"]["state"] == "unsealed"

    def test_info(self, call: Command, archive: Path):
        assert "EPSG:32631" in call("info", archive / "map.zarr").stdout
        told = json.loads(call("info", archive / "map.zarr", "--json").stdout)
        assert told["tilepress"]["loss"]["lossless"] is True
        assert told["dtype"] == "uint16"

    def test_info_of_an_unfinished_store(self, call: Command, archive: Path):
        done = call("info", archive / "half.zarr")
        assert done.returncode == 1
        assert "not sealed" in done.stderr

    def test_verify_says_sound_damaged_or_unknown(self, call: Command, archive: Path):
        assert call("verify", archive / "map.zarr").returncode == 0
        assert call("verify", archive / "half.zarr").returncode == 3
        assert call("verify", archive).returncode == 3
        shard = next(p for p in (archive / "map.zarr/0/image/c").rglob("*") if p.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 4
        shard.write_bytes(data)
        done = call("verify", archive)
        assert done.returncode == 1
        assert "map.zarr: 0/image/c/0/0: " in done.stdout

    def test_verify_against_the_source(self, call: Command, archive: Path, tmp_path: Path):
        source = tmp_path / "in" / "map.tif"
        assert call("verify", archive / "map.zarr", "--source", source).returncode == 0
        with rasterio.open(source, "r+") as file:
            samples = file.read(1)
            samples[7, 8] += 1
            file.write(samples, 1)
        done = call("verify", archive / "map.zarr", "--source", source, "--json")
        assert done.returncode == 1
        (told,) = json.loads(done.stdout)
        assert (told["state"], told["differs"]) == ("damaged", True)
        done = call("verify", archive / "map.zarr", "--source", source)
        assert "map.zarr: sound, and differs from its source" in done.stdout
        shard = next(p for p in (archive / "map.zarr/0/image/c").rglob("*") if p.is_file())
        shard.unlink()
        done = call("verify", archive / "map.zarr", "--source", source)
        assert "map.zarr: damaged" in done.stdout
        assert call("verify", archive, "--source", tmp_path / "none").returncode == 2

    def test_verify_an_archive_against_its_sources(self, call: Command, tmp_path: Path):
        folder = tmp_path / "in" / "deep"
        folder.mkdir(parents=True)
        for seed, name in enumerate(("a", "b", "c")):
            np.save(folder / f"{name}.npy", smooth((40, 50), seed))
        out = tmp_path / "out"
        assert call("compress", tmp_path / "in", out, "--workers", "0").returncode == 0
        line = ("verify", out, "--source", tmp_path / "in")
        assert call(*line).returncode == 0
        np.save(folder / "b.npy", smooth((40, 50), 7))
        (folder / "c.npy").rename(folder / "d.npy")
        told = json.loads(call(*line, "--json").stdout)
        states = {Path(check["store"]).name: check["state"] for check in told}
        assert states == {
            "a.zarr": "sound",
            "b.zarr": "damaged",
            "c.zarr": "unknown",
            "d.npy": "unknown",
        }

    def test_export_of_a_part(self, call: Command, archive: Path, tmp_path: Path):
        out = tmp_path / "part.tif"
        with rasterio.open(tmp_path / "in" / "map.tif") as file:
            left, top, pixel = file.transform.c, file.transform.f, file.transform.a
        box = (left + 20 * pixel, top - 40 * pixel, left + 70 * pixel, top - 10 * pixel)
        text = ",".join(map(repr, box))
        done = call("export", archive / "map.zarr", out, "--bands", "1", "--bbox", text)
        assert done.returncode == 0, done.stderr
        with rasterio.open(out) as file:
            assert np.array_equal(file.read(1), smooth((100, 100))[10:40, 20:70])
        for line in (["--bands", "a"], ["--bands", "3-1"], ["--bbox", "1,2"], ["--slices", "1"]):
            done = call("export", archive / "map.zarr", tmp_path / "none.tif", *line)
            assert done.returncode == 2, done.stderr
            assert len(done.stderr.splitlines()) == 1

    def test_export_into_a_folder(self, call: Command, archive: Path, tmp_path: Path):
        for _ in range(2):
            done = call("export", archive / "map.zarr", tmp_path / "back")
            assert done.stdout.strip() == str(tmp_path / "back" / "map.tif") or done.returncode == 1
        assert "exists" in done.stderr

    def test_export_gives_the_pixels_back(self, call: Command, archive: Path, tmp_path: Path):
        done = call("export", archive / "map.zarr", tmp_path / "back.tif")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / "back.tif")
        with rasterio.open(tmp_path / "back.tif") as file:
            assert np.array_equal(file.read(1), smooth((100, 100)))
            assert file.crs.to_epsg() == 32631
