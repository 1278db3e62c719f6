"""Bands of another resolution are refused with what to do, or resampled where that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import tilepress
from tilepress.errors import UsageError
from tilepress.workflows.run.compress import compress

from .test_join import band, noise

COARSE = rasterio.Affine(60, 0, 5e5, 0, -60, 4e6)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Return an archive of two bands of 30 m and two of 60 m, and one of 15 m that is alone."""
    for seed, name in enumerate(("B02", "B03")):
        band(tmp_path / f"in/T31_{name}.tif", noise(seed), nodata=0)
    for seed, name in enumerate(("B11", "B12"), 5):
        coarse = noise(seed, (150, 140))
        coarse[:5, :5] = 0
        band(tmp_path / f"in/T31_{name}.tif", coarse, nodata=0, transform=COARSE)
    fine = rasterio.Affine(15, 0, 5e5, 0, -15, 4e6)
    band(tmp_path / "in/T31_B08.tif", noise(9, (600, 560)), transform=fine)
    assert compress(tmp_path / "in", tmp_path / "out", stack="T31_*.tif", workers=0).ok
    names = {store.stem for store in (tmp_path / "out").glob("*.zarr")}
    assert names == {"T31-30m", "T31-60m", "T31_B08"}
    return tmp_path / "out"


def test_are_refused_with_the_store_that_has_them(scene: Path, tmp_path: Path):
    for name, store in (("B11", "T31-60m"), ("b8", "T31_B08")):
        with pytest.raises(UsageError, match=f"{name} is in {store}.zarr: .*--resample nearest"):
            tilepress.export(scene / "T31-30m.zarr", tmp_path / "x.tif", bands=["B02", name])
    with pytest.raises(UsageError, match=r"called B02, B03$"):
        tilepress.export(scene / "T31-30m.zarr", tmp_path / "x.tif", bands=["B99"])
    assert not (tmp_path / "x.tif").exists()


def test_are_taken_to_the_grid_in_the_order_asked(scene: Path, tmp_path: Path):
    bands = ["B12", "B03", "B8"]
    for format_ in ("geotiff", "cog"):
        out, *_ = tilepress.export(  # nodata of each band beside it
            scene / "T31-30m.zarr",
            tmp_path / f"{format_}.tif",
            format_,
            bands=bands,
            resample="nearest",
        )
        with rasterio.open(out) as file:
            assert file.descriptions == ("B12", "B03", "B8")
            assert file.transform == rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)
            coarse = noise(6, (150, 140))
            coarse[:5, :5] = 0
            np.testing.assert_array_equal(file.read(1), np.kron(coarse, np.ones((2, 2), np.uint16)))
            np.testing.assert_array_equal(file.read(2), noise(1))
            fine = noise(9, (600, 560))
            assert set(np.unique(file.read(3)[:3, :3])) <= set(np.unique(fine[:6, :6]))
            told = [file.tags(n).get("TILEPRESS_RESAMPLED") for n in (1, 2, 3)]
            assert told == ["nearest", None, "nearest"]
            assert file.nodatavals == (0, 0, None)


def test_keep_what_is_absent(scene: Path, tmp_path: Path):
    box = (5e5, 4e6 - 3000, 5e5 + 3000, 4e6)
    (out,) = tilepress.export(
        scene / "T31-30m.zarr",
        tmp_path / "x.tif",
        bands=["B02", "B11"],
        resample="bilinear",
        bbox=box,
    )
    with rasterio.open(out) as file:
        assert file.bounds == box
        assert (file.read(2)[:8, :8] == 0).all()
        assert file.read(2)[20:, 20:].min() > 0


def test_make_one_file(scene: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"name OUT\.tif"):
        tilepress.export(
            scene / "T31-30m.zarr", tmp_path / "x", bands=["B02", "B11"], resample="nearest"
        )
    with pytest.raises(UsageError, match="want one of nearest, bilinear"):
        tilepress.export(
            scene / "T31-30m.zarr", tmp_path / "x.tif", bands=["B11"], resample="lanczos9"
        )


def test_of_other_samples_are_refused(scene: Path, tmp_path: Path):
    band(tmp_path / "more/T31_B01.tif", noise(3).astype(np.float32))
    assert compress(tmp_path / "more/T31_B01.tif", scene / "T31_B01.zarr", workers=0).ok
    with pytest.raises(UsageError, match="B01 has samples of float32"):
        tilepress.export(
            scene / "T31-30m.zarr", tmp_path / "x.tif", bands=["B01"], resample="nearest"
        )
