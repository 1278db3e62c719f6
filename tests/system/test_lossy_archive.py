"""An archive of mixed images, made lossy by one command, is verified, read and exported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
import zarr
from typer.testing import CliRunner

import tilepress
from tilepress.workflows.cli.app import app

from ..pipeline.images import dicom

SIDE = 200
NODATA = 0
DB = 45


def _scene(bands: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(bands)
    y, x = np.mgrid[:SIDE, :SIDE]
    scene = 2000 + 900 * np.sin(x / 23) + 700 * np.cos(y / 31 + x / 57)
    image = np.stack([scene * (1 - n / 9) + rng.normal(0, 25, scene.shape) for n in range(bands)])
    return image.clip(1, 4000).astype(np.uint16)


def _geotiff(path: Path, image: np.ndarray[Any, Any], **options: Any) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=len(image), dtype=image.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(image)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return colours with alpha, bands with nodata, one with a mask, classes, and a CT series."""
    folder = tmp_path_factory.mktemp("in")
    bands = _scene(4)
    bands[:, :50, :70] = NODATA
    _geotiff(folder / "bands.tif", bands, nodata=NODATA)
    colours = (_scene(4) // 16).astype(np.uint8)
    colours[3] = np.where(np.indices((SIDE, SIDE)).sum(axis=0) % 97 < 60, 255, 0)
    _geotiff(folder / "colours.tif", colours, photometric="RGB", alpha="YES")
    _geotiff(folder / "masked.tif", _scene(1))
    with rasterio.open(folder / "masked.tif", "r+") as file:
        file.write_mask(np.where(_scene(1)[0] > 1800, 255, 0).astype(np.uint8))
    _geotiff(folder / "classes.tif", (_scene(1) // 700 * 3).astype(np.uint8))
    for n in range(1, 5):
        path = dicom(folder / f"{n}.dcm", 1, n)
        dataset = pydicom.dcmread(path)
        y, x = np.mgrid[: dataset.Rows, : dataset.Columns]
        noise = np.random.default_rng(n).normal(0, 9, y.shape)
        pixels = 900 + 400 * np.sin(x / 5 + n / 9) + 50 * y + noise
        dataset.PixelData = pixels.astype(np.uint16).tobytes()
        dataset.save_as(path)
    return folder


@pytest.fixture(scope="module")
def archive(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "archive"
    line = ["compress", str(source), str(out), "--codec", "ntc", "--psnr", str(DB)]
    done = CliRunner().invoke(app, [*line, "--workers", "0"])
    assert done.exit_code == 0, done.output
    assert "lossy: " in done.output
    return out


def _stores(archive: Path) -> dict[str, Path]:
    return {path.stem.partition("-")[0]: path for path in archive.glob("**/*.zarr")}


def _original(source: Path, name: str) -> np.ndarray[Any, Any]:
    if name == "CT":
        return np.stack([pydicom.dcmread(source / f"{n}.dcm").pixel_array for n in range(1, 5)])
    with rasterio.open(source / f"{name}.tif") as file:
        return np.asarray(file.read())


NAMES = ("CT", "bands", "classes", "colours", "masked")


class TestAnArchive:
    def test_is_verified_against_its_source(self, archive: Path, source: Path) -> None:
        assert set(_stores(archive)) == set(NAMES)
        done = CliRunner().invoke(app, ["verify", str(archive), "--source", str(source)])
        assert done.exit_code == 0, done.output

    @pytest.mark.parametrize("name", NAMES)
    def test_holds_the_target_in_each(self, name: str, archive: Path, source: Path) -> None:
        store = _stores(archive)[name]
        told = zarr.open_group(store, mode="r").attrs["tilepress"]
        assert isinstance(told, dict)
        given = _original(source, name)
        found = np.asarray(tilepress.open(store).image.values).reshape(given.shape)
        if name == "classes":
            assert told["loss"]["lossless"] is True
            assert np.array_equal(found, given)
            return
        assert told["psnr_db"] >= DB
        there = given != NODATA if name == "bands" else np.ones(given.shape, bool)
        if name == "colours":
            assert np.array_equal(found[3], given[3])
            there[3] = False
        assert np.array_equal(found[~there], given[~there])
        error = found[there].astype(float) - given[there]
        assert np.square(error).mean() > 0
        peak = told["loss_measured"]["peak"]
        assert 10 * np.log10(peak**2 / np.square(error).mean()) >= DB

    def test_keeps_a_mask(self, archive: Path, source: Path) -> None:
        with rasterio.open(source / "masked.tif") as file:
            mask = file.dataset_mask()
        found = zarr.open_array(_stores(archive)["masked"] / "0/mask", mode="r")[:]
        assert np.array_equal(found, mask)

    def test_is_read_by_xarray_in_a_process_without_torch(
        self, archive: Path, tmp_path: Path
    ) -> None:
        stores = {name: str(path / "0") for name, path in _stores(archive).items()}
        script = (
            "import json, sys; sys.modules['torch'] = None\n"
            "import numpy, xarray\n"
            f"for name, path in json.loads({json.dumps(json.dumps(stores))}).items():\n"
            "    with xarray.open_zarr(path, consolidated=False, chunks=None) as found:\n"
            f"        numpy.save({str(tmp_path)!r} + '/' + name, found['image'].values)\n"
            "assert 'tilepress.pipeline' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
        for name, path in _stores(archive).items():
            seen = np.load(tmp_path / f"{name}.npy")
            assert np.array_equal(seen, tilepress.open(path).image.values)

    def test_is_exported_and_says_so(self, archive: Path, source: Path, tmp_path: Path) -> None:
        done = CliRunner().invoke(app, ["export", str(archive), str(tmp_path / "back")])
        assert done.exit_code == 0, done.output
        rasters = {path.name: path for path in (tmp_path / "back").glob("**/*.tif")}
        assert set(rasters) == {"bands.tif", "classes.tif", "colours.tif", "masked.tif"}
        for name, path in rasters.items():
            with rasterio.open(path) as file:
                found = np.asarray(file.read())
                told = file.tags().get("TILEPRESS_LOSS")
            seen = " of visible samples" if name in ("colours.tif", "masked.tif") else ""
            assert told == (None if name == "classes.tif" else f"PSNR at least {DB} dB{seen}")
            seen = tilepress.open(_stores(archive)[path.stem]).image.values
            assert np.array_equal(found, seen.reshape(found.shape))
        slices = [pydicom.dcmread(path) for path in (tmp_path / "back").glob("**/*.dcm")]
        sources = {pydicom.dcmread(source / f"{n}.dcm").SOPInstanceUID for n in range(1, 5)}
        assert len(slices) == 4
        assert {one.LossyImageCompression for one in slices} == {"01"}
        assert {one.LossyImageCompressionMethod for one in slices} == {"TILEPRESS_NTC"}
        assert not sources & {one.SOPInstanceUID for one in slices}
