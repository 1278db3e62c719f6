"""Whoever opens a store at its root is told where the image is, and is shown no other array."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from tilepress.pipeline.export import export
from tilepress.pipeline.image.info import GeoReference
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.seal import read_root

Make = Callable[..., Any]

NAMES_GROUP_0 = "group='0'"


@pytest.fixture(params=["small", "roomy", "plain"])
def found(
    request: pytest.FixtureRequest, make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, np.ndarray]:
    """A store of each kind, or its plain copy, and its samples."""
    if request.param != "small":
        monkeypatch.setattr(lean, "LEAN_STORED_BYTES", -1)
    place = GeoReference(crs_wkt=CRS.from_epsg(32631).to_wkt(), transform=(10, 0, 5e5, 0, -10, 4e6))
    store = make_store(axes=("band", "y", "x"), geo=place)
    if request.param != "plain":
        assert read_root(store.path).is_lean == (request.param == "small")
        return store.path, store.image
    (copy,) = export(store.path, store.path.with_name("plain.zarr"), "zarr")
    return copy, store.image


class TestTheRoot:
    @pytest.mark.parametrize("how", ["open_zarr", "open_dataset"])
    def test_is_an_empty_dataset_of_xarray_that_says_where_to_look(self, found: Any, how: str):
        path, image = found
        options = {} if how == "open_zarr" else {"engine": "zarr"}
        dataset = getattr(xr, how)(path, **options)
        assert (list(dataset.variables), dict(dataset.sizes)) == ([], {})
        assert NAMES_GROUP_0 in dataset.attrs["comment"]
        shown = [line for line in repr(dataset).splitlines() if line.startswith("    ")]
        assert NAMES_GROUP_0 in shown[1], "the first of the attributes"
        with pytest.raises(KeyError, match="image"):
            _ = dataset["image"]
        np.testing.assert_array_equal(getattr(xr, how)(path, group="0", **options).image, image)

    def test_is_a_tree_of_xarray(self, found: Any):
        path, image = found
        with xr.open_datatree(path, engine="zarr") as tree:
            np.testing.assert_array_equal(tree["0"]["image"], image)
            assert NAMES_GROUP_0 in tree.attrs["comment"]
            assert not tree.data_vars

    def test_is_a_group_of_zarr_without_arrays(self, found: Any):
        path, image = found
        group = zarr.open_group(path, mode="r")
        assert list(group.array_keys()) == []
        assert next(iter(group.attrs)) == "comment"
        np.testing.assert_array_equal(group["0/image"][:], image)
        with pytest.raises(KeyError):
            _ = group["image"]

    def test_has_no_band_for_gdal_which_lists_the_image(self, found: Any):
        """Zarr's driver of GDAL opens groups as lists; the codec it does not know.

        GDAL 3.12 leaves arrays out of the list whose codecs it does not know; 3.10 names them.
        """
        path, _ = found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as root:
                assert root.count == 0
                listed = [name.rpartition(":")[2] for name in root.subdatasets]
        gdal = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
        assert "/0/image" in listed or (gdal > (3, 10) and not listed), listed
        assert not any(name.count("/") < 2 for name in listed), "none lies at the root"
        with pytest.raises(RasterioIOError, match="codec"):
            rasterio.open(f'ZARR:"{os.fspath(path)}":/0/image')

    @pytest.mark.filterwarnings("ignore")  # of its libraries
    def test_is_refused_by_titiler_which_finds_the_group(self, found: Any):
        reader = pytest.importorskip("titiler.xarray.io").Reader
        path, image = found
        with pytest.raises(KeyError, match=r"include \[\]"):
            reader(os.fspath(path), variable="image")
        with reader(os.fspath(path), variable="image", group="0") as opened:
            assert opened.input.shape == image.shape
