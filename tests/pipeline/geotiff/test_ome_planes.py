"""Volumes, times and channels as OME-TIFF, as tifffile reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import tilepress
from tilepress.errors import FileInTheWay, UsageError
from tilepress.workflows.run.compress import compress

from ..dicom.conftest import build, save
from ..images import tiff


def stored(folder: Path, given: np.ndarray, **coding: object) -> Path:
    np.save(folder / "a.npy", given)
    assert compress(folder / "a.npy", folder / "a.zarr", workers=0, **coding).ok
    return folder / "a.zarr"


def noise(size: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 120, size).astype(dtype)


class TestPlanes:
    @pytest.mark.parametrize("size", [(40, 50), (20, 40, 50), (3, 20, 40, 50)])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool", "float64"])
    def test_come_in_their_order(self, tmp_path: Path, size: tuple[int, ...], dtype: str):
        given = noise(size, dtype)
        (out,) = tilepress.export(stored(tmp_path, given), tmp_path / "x.ome.tif")
        with tifffile.TiffFile(out) as file:
            assert file.is_ome
            np.testing.assert_array_equal(file.series[0].asarray(), given)
            assert file.series[0].axes == "TZYX"[-len(size) :]

    def test_that_are_chosen(self, tmp_path: Path):
        given = noise((2, 20, 40, 50))
        (out,) = tilepress.export(stored(tmp_path, given), tmp_path / "x.ome.tif", slices=[17, 3])
        np.testing.assert_array_equal(tifffile.imread(out), given[:, [3, 17]])
        with pytest.raises(UsageError, match="want some of 0 to 19"):
            tilepress.export(tmp_path / "a.zarr", tmp_path / "y.ome.tif", slices=[20])

    def test_of_a_series_are_as_far_apart_as_there(self, tmp_path: Path):
        for number in range(3):
            place = {"ImagePositionPatient": [0, 0, 2.5 * number], "PixelSpacing": [0.75, 0.5]}
            turn = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            dataset = build(noise((20, 30)), instance=number + 1, **place, **turn)
            save(dataset, tmp_path / f"in/{number}.dcm")
        assert compress(tmp_path / "in", tmp_path / "x.zarr", workers=0, max_error=2).ok
        (out,) = tilepress.export(tmp_path / "x.zarr", tmp_path / "back", format="ome-tiff")
        assert out == tmp_path / "back/x.ome.tif"
        with tifffile.TiffFile(out) as file:
            text = file.ome_metadata or ""
            for told in ('X="0.5"', 'Y="0.75"', 'Z="2.5"', 'XUnit="mm"'):
                assert f"PhysicalSize{told}" in text
            assert "within 2 of the source" in text
            assert "KANARIENVOGEL" not in text


class TestRefusals:
    def test_of_images_of_the_ground(self, tmp_path: Path):
        tiff(tmp_path / "a.tif")
        assert compress(tmp_path / "a.tif", tmp_path / "a.zarr", workers=0).ok
        with pytest.raises(UsageError, match="a GeoTIFF is no OME-TIFF"):
            tilepress.export(tmp_path / "a.zarr", tmp_path / "x.ome.tif")
        with pytest.raises(UsageError, match="ask for geotiff or cog"):
            tilepress.export(tmp_path / "a.zarr", tmp_path / "x.ome.tif", format="ome-tiff")

    def test_of_samples_that_it_has_not(self, tmp_path: Path):
        with pytest.raises(UsageError, match="no samples of int64"):
            tilepress.export(stored(tmp_path, noise((20, 30), "int64")), tmp_path / "x.ome.tif")

    def test_of_a_name_that_is_taken(self, tmp_path: Path):
        store = stored(tmp_path, noise((20, 30)))
        (tmp_path / "x.ome.tif").write_text("mine")
        with pytest.raises(FileInTheWay):
            tilepress.export(store, tmp_path / "x.ome.tif")

    def test_without_tifffile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        store = stored(tmp_path, noise((20, 30)))
        monkeypatch.setitem(sys.modules, "tifffile", None)
        with pytest.raises(UsageError, match=r"pip install 'tilepress\[formats\]'"):
            tilepress.export(store, tmp_path / "x.ome.tif")
