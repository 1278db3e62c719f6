"""Writing on the command line: one line for each image and failure, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tilepress.pipeline.catalogue.stores import list_stores

from ...helpers.samples import smooth
from .conftest import Command, write_tiff


def write_torn_dicom(path: Path) -> None:
    """Write an image of 8 × 8 samples that holds half of them."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.StudyInstanceUID = "1.2"
    dataset.PatientName = "Canary^Patient"
    dataset.Modality = "CT"
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.add_new("PixelData", "OW", bytes(64))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


class TestDestinations:
    """Nothing is made where nothing came of it."""

    def test_what_came_to_nothing_leaves_no_folder(self, call: Command, tmp_path: Path):
        (tmp_path / "notes.txt").write_text("no image")
        (tmp_path / "kept").mkdir()
        for out in ("new", "new/er/out", "kept"):
            done = call("compress", tmp_path / "notes.txt", tmp_path / out, "--workers", 0)
            assert done.returncode != 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "notes.txt"]

    def test_an_empty_destination_is_not_the_current_folder(self, call: Command, image: Path):
        """What a script gives whose variable is not set."""
        done = call("compress", image, "")
        assert done.returncode == 2
        assert "the destination is empty" in done.stderr


class TestBadInput:
    """One clear line each; the other inputs are done; nothing half-written looks whole."""

    def test_a_mixed_folder(self, call: Command, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        write_tiff(source / "good.tif")
        write_tiff(source / "torn.tif", side=300)
        (source / "torn.tif").write_bytes((source / "torn.tif").read_bytes()[:60_000])
        (source / "noise.tif").write_bytes(bytes(range(256)) * 4)
        (source / "page.zip").write_bytes(b"<html>")
        (source / "medical").mkdir()
        write_torn_dicom(source / "medical/report.dcm")
        done = call("compress", source, tmp_path / "gone.tif", tmp_path / "out", "--workers", 0)
        assert done.returncode == 1
        assert "1 written, 0 unchanged, 5 failed" in done.stdout
        complaints = [line for line in done.stderr.splitlines() if line.startswith("tilepress: ")]
        assert len(complaints) == 5
        for name in ("torn.tif", "noise.tif", "page.zip", "gone.tif"):
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
        (source / "medical").mkdir()
        write_torn_dicom(source / "medical/report.dcm")
        told = tmp_path / "report.json"
        done = call("compress", source, tmp_path / "out", "--workers", workers, "--report", told)
        assert done.returncode == 1
        assert "unexpected" not in done.stderr
        failures = {Path(f["source"]).name: f for f in json.loads(told.read_text())["failures"]}
        assert failures.pop("torn.tif")["kind"] == "damaged-source"
        ((name, failure),) = failures.items()
        assert (name[:6], failure["kind"]) == ("file #", "damaged-source")
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

    def test_every_pattern_makes_its_images(self, call: Command, tmp_path: Path):
        (tmp_path / "in").mkdir()
        for name in ("a_B1", "a_B2", "a_m1", "a_m2", "other"):
            write_tiff(tmp_path / "in" / f"{name}.tif")
        patterns = ("--stack", "*_B*.tif", "--stack", "*_m*.tif")
        done = call("compress", tmp_path / "in", tmp_path / "out", *patterns, "--workers", 0)
        assert done.returncode == 0, done.stderr
        stores = list_stores(tmp_path / "out")
        shapes = sorted(tuple(store.shape) for store in stores)
        assert shapes == [(2, 100, 100), (2, 100, 100), (100, 100)]

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
        told_of = "kept 4 files that are no images (0 B): .txt 2, .tfw 1, others 1"
        assert told_of in done.stdout.splitlines()
        assert json.loads(told.read_text())["kept"]["kinds"] == {"": 1, ".tfw": 1, ".txt": 2}
        assert "doe" not in done.stdout + done.stderr

    def test_one_file_has_no_more(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "x.zarr", "--workers", 0)
        assert done.stderr.startswith(f"{image} → ")

    def test_a_plan_counts_in_words(self, call: Command, image: Path, tmp_path: Path):
        done = call("plan", image, tmp_path / "out")
        assert done.stdout.startswith("1 image to write in 1 shard (")

    def test_quiet_is_not_silent_about_failures(self, call: Command, image: Path, tmp_path: Path):
        done = call("plan", image, tmp_path / "gone.tif", tmp_path / "out", "--quiet")
        assert done.returncode == 1
        assert "gone.tif" in done.stderr


class TestThumbnails:
    """One flag draws all, the other none; of parts they are drawn when these are finished."""

    def test_are_drawn_where_asked_for(self, call: Command, tmp_path: Path):
        (tmp_path / "in").mkdir()
        write_tiff(tmp_path / "in/map.tif")
        line = ["compress", tmp_path / "in", tmp_path / "out", "--workers", "0"]
        picture = tmp_path / "out/catalogue/thumbnails/map.zarr.webp"
        assert call(*line).returncode == 0
        assert not picture.exists()
        assert call(*line, "--thumbnails").returncode == 0
        assert picture.exists()

    def test_of_what_has_no_catalogue_are_refused(self, call: Command, tmp_path: Path):
        write_tiff(tmp_path / "map.tif")
        for out, more in (
            ("one.zarr", ["--thumbnails"]),
            ("out", ["--thumbnails", "--part", "0/2"]),
            ("out", ["--thumbnails", "--no-thumbnails"]),
            ("out", ["--thumbnails", "--dry-run"]),
        ):
            done = call("compress", tmp_path / "map.tif", tmp_path / out, *more)
            assert done.returncode == 2, done.stdout
            assert more[-1] in done.stderr or "catalogue of an archive" in done.stderr
            assert not (tmp_path / out).exists()
