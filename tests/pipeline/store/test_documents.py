"""What stands in a store's documents: every stock reader understands it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from numcodecs.zstd import Zstd

from tilepress import compress
from tilepress.pipeline.image.info import Label, MedicalGeometry

from ..images import tiff

Make = Callable[..., Any]


def _files(store: Path) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file())


class TestDocumentsAreLean:
    """Thousands of small images have more bytes of documents than of samples."""

    def test_the_text_of_a_crs_stands_once_in_each_that_needs_it(self, geo_store: Any) -> None:
        texts = {
            path.relative_to(geo_store.path).as_posix(): path.read_text()
            for path in geo_store.path.rglob("zarr.json")
        }
        counts = {key: text.count("PROJC") for key, text in texts.items()}
        once = {"zarr.json", "0/spatial_ref/zarr.json"}
        assert {key for key, count in counts.items() if count} == once
        assert set(counts.values()) == {0, 1}

    def test_nothing_is_said_that_need_not_be(self, geo_store: Any) -> None:
        for path in geo_store.path.rglob("zarr.json"):
            assert "storage_transformers" not in path.read_text()

    def test_long_coordinates_take_a_third(self, tmp_path: Path) -> None:
        """Evenly spaced floats have no end of digits: the bits of one rank are alike, bytes not."""
        rows = np.zeros((3, 512), np.uint8)
        compress(tiff(tmp_path / "a.tif", rows, pixel=0.683594), tmp_path / "a.zarr", workers=0)
        found = zarr.open_array(tmp_path / "a.zarr/0/x", mode="r")
        want = 5e5 + 0.683594 * (np.arange(512) + 0.5)
        np.testing.assert_array_equal(found[...], want)
        assert found.compressors[0].to_dict()["name"] == "blosc"
        assert (tmp_path / "a.zarr/0/x/c/0").stat().st_size < len(Zstd(9).encode(want)) / 2
        short = zarr.open_array(tmp_path / "a.zarr/0/y", mode="r")
        assert short.compressors[0].to_dict()["name"] == "zstd"

    def test_gdal_finds_the_crs(self, geo_store: Any) -> None:
        """Its driver knows no codec of ours, but the CF grid mapping in the words it reads."""
        from pyproj import CRS

        attributes = zarr.open_array(geo_store.path / "0/spatial_ref", mode="r").attrs.asdict()
        assert CRS.from_wkt(attributes["crs_wkt"]) == CRS.from_epsg(32631)
        assert CRS.from_cf(attributes) == CRS.from_epsg(32631)


class TestStockReadersOpenIt:
    """``filterwarnings = error`` makes every warning of zarr or xarray a failure here."""

    def test_xarray_has_crs_and_integers_by_default(self, geo_store: Any) -> None:
        import rioxarray

        assert rioxarray.__version__
        dataset = xr.open_zarr(geo_store.path, group="0")
        assert dataset.rio.crs == "EPSG:32631"
        assert dataset.image.rio.crs == "EPSG:32631"
        assert dataset.image.rio.nodata == 7
        assert dataset.image.dtype == np.uint16
        assert dataset.image.dims == ("band", "y", "x")
        np.testing.assert_array_equal(dataset.image.values, geo_store.image)
        np.testing.assert_array_equal(dataset.mask.values, geo_store.mask)
        np.testing.assert_array_equal(dataset.x.values[:2], [500_015.0, 500_045.0])
        assert dataset.attrs["tilepress"]["loss"]["lossless"] is True

    def test_every_way_of_opening(self, geo_store: Any) -> None:
        path = str(geo_store.path)
        for dataset in (
            xr.open_zarr(path + "/0", consolidated=False),
            xr.open_zarr(path, group="0", consolidated=False),
            xr.open_datatree(path, engine="zarr")["0"].to_dataset(),
        ):
            np.testing.assert_array_equal(dataset.image.values, geo_store.image)
        group = zarr.open_group(path, mode="r")
        np.testing.assert_array_equal(group["0/image"][...], geo_store.image)

    @pytest.mark.usefixtures("roomy_stores")
    def test_the_level_of_a_store_that_is_not_small(self, make_store: Make) -> None:
        store = make_store()
        dataset = xr.open_zarr(str(store.path) + "/0")
        np.testing.assert_array_equal(dataset.image.values, store.image)

    def test_a_fresh_process_that_imports_only_xarray(self, geo_store: Any) -> None:
        code = (
            f"import xarray as xr; d = xr.open_zarr(r'{geo_store.path}', group='0');"
            "print(int(d.image.values.astype('u8').sum()), d.image.dtype)"
        )
        out = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert out.stdout.split() == [str(int(geo_store.image.astype("u8").sum())), "uint16"]

    def test_ome_zarr(self, make_store: Make) -> None:
        from ome_zarr_models.v05 import Image

        store = make_store(
            axes=("z", "y", "x"),
            medical=MedicalGeometry(pixel_spacing_mm=(0.5, 0.5), slice_spacing_mm=2.0),
        )
        image = Image.from_zarr(zarr.open_group(store.path, mode="r"))
        assert image.ome_attributes.multiscales[0].datasets[0].path == "0/image"
        assert xr.open_zarr(store.path, group="0").z.attrs["units"] == "mm"


class TestLabels:
    def test_xarray_shows_them_as_coordinates(self, make_store: Make) -> None:
        labels = {
            "echo_time": Label(
                axes=("t",), values=np.array([4.9, 7.4]), attributes={"units": "ms"}
            ),
            "rescale_slope": Label(axes=("t", "z"), values=np.array([[1, np.nan, 2], [3, 4, 5]])),
            "image": Label(axes=("t",), values=np.zeros(2)),  # a name that is taken
        }
        store = make_store(
            axes=("t", "z", "y", "x"),
            image=np.zeros((2, 3, 20, 20), np.int16),
            labels=labels,
            medical=MedicalGeometry(),
        )
        image = xr.open_zarr(store.path, group="0")["image"]
        assert set(image.coords) == {"echo_time", "rescale_slope"}
        assert image.echo_time.values.tolist() == [4.9, 7.4]
        assert image.echo_time.attrs["units"] == "ms"
        np.testing.assert_array_equal(image.rescale_slope, labels["rescale_slope"].values)
        assert image.swap_dims(t="echo_time").sel(echo_time=7.4).shape == (3, 20, 20)


class TestDocumentsAreStrictJson:
    def test_no_nan(self, make_store: Make) -> None:
        image = np.full((20, 20), np.nan, np.float32)
        store = make_store(image=image, nodata=float("nan"))

        def refuse(text: str) -> None:
            raise AssertionError(text)

        for path in _files(store.path):
            if path.name == "zarr.json":
                json.loads(path.read_bytes(), parse_constant=refuse)
