"""What a destination is called says what is written, or nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import FileInTheWay, UsageError
from tilepress.pipeline.endings import chosen_export, destination, known_endings
from tilepress.pipeline.formats import exports


def chosen(kind: str, out: Path, wanted: str | None = None) -> str:
    return chosen_export(kind, "x.zarr", out, wanted).name


class TestAnEnding:
    @pytest.mark.parametrize(
        ("kind", "name", "format_"),
        [
            ("geotiff", "x.tif", "geotiff"),
            ("stack", "x.TIFF", "geotiff"),
            ("slide", "x.svs", "geotiff"),
            ("dicom", "x.dcm", "dicom"),
            ("dicom", "x.nii.gz", "nifti"),
            ("dicom", "x.NII", "nifti"),
            ("array", "x.nrrd", "nrrd"),
            ("geotiff", "x.npy", "npy"),
            ("openslide", "x.zarr", "zarr"),
        ],
    )
    def test_says_what_is_written(self, tmp_path: Path, kind: str, name: str, format_: str):
        assert chosen(kind, tmp_path / name) == format_

    @pytest.mark.parametrize(
        "name", ["x.xyz", "x.jp2", "x.png", "x.gz", "x.nii.bz2", "a.v2", "x.7z"]
    )
    def test_that_nobody_writes_is_refused_with_those_that_are(self, tmp_path: Path, name: str):
        with pytest.raises(UsageError, match=r"want an ending of \.tif, .*\.nii\.gz"):
            chosen("geotiff", tmp_path / name)

    @pytest.mark.parametrize(
        "name", ["x", "x-1.0", "scan.2024", ".hidden", "x.", "x.a-longer-name"]
    )
    def test_is_none_where_people_mean_a_folder(self, tmp_path: Path, name: str):
        assert chosen("dicom", tmp_path / name) == "dicom"
        assert chosen("dicom", tmp_path / name, "nifti") == "nifti"

    def test_of_a_folder_that_is_there_says_nothing(self, tmp_path: Path):
        (tmp_path / "x.tif").mkdir()
        assert chosen("dicom", tmp_path / "x.tif") == "dicom"

    def test_that_contradicts_the_format_is_refused(self, tmp_path: Path):
        for name, format_ in (("x.tif", "nifti"), ("x.nii", "cog"), ("x.xyz", "zarr")):
            with pytest.raises(UsageError, match=f"got {name}, want NAME"):
                chosen("dicom", tmp_path / name, format_)
        with pytest.raises(UsageError, match=r"got x\.tif, want a folder"):
            chosen("dicom", tmp_path / "x.tif")

    def test_a_file_is_no_folder(self, tmp_path: Path):
        (tmp_path / "x").write_text("mine")
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("x", "link"):
            with pytest.raises(FileInTheWay, match="exists"):
                chosen("dicom", tmp_path / name)

    def test_every_one_is_known(self):
        assert {".tif", ".dcm", ".zarr", ".npy", ".nii", ".nii.gz", ".nrrd"} <= {*known_endings()}


def test_one_file_is_called_as_its_store_in_a_folder(tmp_path: Path):
    nifti = exports()["nifti"]
    assert destination(tmp_path, "ct", nifti) == tmp_path / "ct.nii.gz"
    assert destination(tmp_path / "new", "ct", nifti) == tmp_path / "new/ct.nii.gz"
    assert destination(tmp_path / "a.nii", "ct", nifti) == tmp_path / "a.nii"
    assert destination(tmp_path, "ct", exports()["dicom"]) == tmp_path
