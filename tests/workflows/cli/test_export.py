"""The command that writes stores back: what it says, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.pipeline.formats import exports
from tilepress.workflows.cli.export import ExportFormat

from ...helpers.samples import smooth
from .conftest import Command, write_tiff


@pytest.fixture
def archive(call: Command, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    write_tiff(tmp_path / "in/map.tif")
    np.save(tmp_path / "in/a.npy", smooth((40, 50)))
    (tmp_path / "in/map.txt").write_text("beside")
    done = call("compress", tmp_path / "in", tmp_path / "out", "--workers", "0", "--keep", "all")
    assert done.returncode == 0, done.stderr
    return tmp_path / "out"


def test_the_list_of_formats_is_that_of_the_formats():
    assert {one.value for one in ExportFormat} == {*exports()}


def test_what_storage_refuses_says_what_was_done(call: Command, archive: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way of a folder")
    for out in ("file/x", "file/x/y.tif"):
        done = call("export", archive / "map.zarr", tmp_path / out)
        assert (done.returncode, done.stdout) == (1, "")
        told = rf"tilepress: exporting map\.zarr to .*/{out}: [A-Z][a-z ]+( \(.*/file(/x)?\))?\n"
        assert re.fullmatch(told, done.stderr), done.stderr


class TestAnArchive:
    def test_is_told_store_by_store_and_summed_up(
        self, call: Command, archive: Path, tmp_path: Path
    ):
        done = call("export", archive, tmp_path / "back")
        assert done.returncode == 0, done.stderr
        *stores, last = done.stdout.splitlines()
        assert len(stores) == 3
        assert last.endswith("back: 2 of 2 stores written; 1 file that is no image")
        done = call("export", archive, tmp_path / "back")
        assert (done.returncode, done.stderr) == (0, "")
        assert "0 of 2 stores written, 2 there already" in done.stdout

    def test_with_a_store_of_no_such_format_ends_with_1(
        self, call: Command, archive: Path, tmp_path: Path
    ):
        done = call("export", archive, tmp_path / "back", "--format", "cog")
        assert done.returncode == 1
        assert "1 of 2 stores written, 1 left out" in done.stdout
        (line,) = done.stderr.splitlines()
        assert "a.zarr" in line

    def test_with_a_store_of_no_such_format_ends_with_0_where_that_is_asked_for(
        self, call: Command, archive: Path, tmp_path: Path
    ):
        line = ["export", archive, tmp_path / "back", "--format", "cog", "--fitting-only"]
        done = call(*line, "--report", tmp_path / "report.json", "--workers", "0")
        assert done.returncode == 0, done.stderr
        assert "1 of 2 stores written, 1 left out" in done.stdout
        found = json.loads((tmp_path / "report.json").read_text())
        assert [one["state"] for one in found["results"]] == ["left out", "written", "written"]

    def test_with_a_damaged_store_ends_with_1(self, call: Command, archive: Path, tmp_path: Path):
        (archive / "a.zarr/zarr.json").write_text("{}")
        done = call("export", archive, tmp_path / "back")
        assert done.returncode == 1
        assert "1 of 2 stores written, 1 failed" in done.stdout
        assert (tmp_path / "back/map.tif").exists()

    def test_takes_no_part(self, call: Command, archive: Path, tmp_path: Path):
        for line in (
            ["--bands", "1"],
            ["--bbox", "0,0,1,1"],
            ["--bbox-crs", "EPSG:4326"],
            ["--format", "cog", "--transfer-syntax", "htj2k"],
            ["--format", "npy", "--join-stacks"],
            ["--report", "s3://bucket/report.json"],
            ["--workers", "-2"],
        ):
            assert call("export", archive, tmp_path / "back", *line).returncode == 2
        assert not (tmp_path / "back").exists()


class TestAStore:
    def test_takes_no_option_of_archives(self, call: Command, archive: Path, tmp_path: Path):
        for line in (
            ["--join-stacks"],
            ["--fitting-only"],
            ["--workers", "2"],
            ["--report", str(tmp_path / "report.json")],
        ):
            done = call("export", archive / "map.zarr", tmp_path / "x.tif", *line)
            assert done.returncode == 2
            assert "of an archive" in done.stderr
        assert not (tmp_path / "x.tif").exists()

    def test_of_an_unknown_ending_is_refused_in_one_line(
        self, call: Command, archive: Path, tmp_path: Path
    ):
        done = call("export", archive / "map.zarr", tmp_path / "x.jp2")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert ".nii.gz" in line
        assert "x.jp2/ is a folder" in line
        done = call("export", archive / "map.zarr", f"{tmp_path}/x.jp2/")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "x.jp2/map.tif").exists()

    def test_is_cut_by_a_box_of_another_crs(self, call: Command, archive: Path, tmp_path: Path):
        with rasterio.open(tmp_path / "in/map.tif") as file:
            box = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        text = ",".join(map(repr, box))
        line = ("--bbox", text, "--bbox-crs", "EPSG:4326", "--format", "cog")
        done = call("export", archive / "map.zarr", tmp_path / "x.tif", *line)
        assert done.returncode == 0, done.stderr
        with rasterio.open(tmp_path / "x.tif") as file:
            assert np.array_equal(file.read(1), smooth((100, 100)))
        done = call("export", archive / "map.zarr", tmp_path / "y.tif", "--bbox-crs", "EPSG:4326")
        assert done.returncode == 2
        assert "no box" in done.stderr

    def test_of_one_file_is_called_as_the_store_in_a_folder(
        self, call: Command, archive: Path, tmp_path: Path
    ):
        done = call("export", archive / "a.zarr", f"{tmp_path}/back/", "--format", "npy")
        assert done.stdout.strip() == str(tmp_path / "back/a.npy")
