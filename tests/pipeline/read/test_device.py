"""Windows in the memory of a device, by a CuPy that has none and mixes with no host array."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tilepress
from tilepress.errors import UsageError

from ...helpers.fake_cupy import DeviceArray, FakeCupy, cupy_installed

Make = Callable[..., Any]


@pytest.fixture
def cupy() -> Iterator[FakeCupy]:
    with cupy_installed() as fake:
        yield fake


@pytest.fixture
def volume(make_store: Make) -> Any:
    return make_store(axes=("z", "y", "x"), attributes={"rescale_slope": [2.0, 1.0, 0.5]})


def _samples(array: xr.DataArray) -> np.ndarray:
    data = array.data
    assert isinstance(data, DeviceArray)
    return data.get()


@pytest.mark.usefixtures("cupy")
class TestSamplesAreOnTheDevice:
    @pytest.mark.parametrize(
        "key",
        [
            np.s_[...],
            np.s_[1:, 5:30, 10:41],
            np.s_[-1, 3:9],
            np.s_[1, 5, 9],
            np.s_[:, ::3, 1::2],
            np.s_[[2, 0], 4:7, [9, 1, 50]],
        ],
        ids=str,
    )
    def test_of_every_window(self, geo_store: Any, key: Any) -> None:
        image = tilepress.open(geo_store.path, device="cuda").image
        want = xr.DataArray(geo_store.image)[key].values
        found = _samples(image[key])
        assert found.dtype == want.dtype
        np.testing.assert_array_equal(found, want)

    def test_of_points(self, geo_store: Any) -> None:
        image = tilepress.open(geo_store.path, device="cuda").image
        points = {"y": xr.DataArray([1, 39, 20], dims="n"), "x": xr.DataArray([50, 2, 7], dims="n")}
        found = _samples(image.isel(points))
        np.testing.assert_array_equal(found, geo_store.image[:, [1, 39, 20], [50, 2, 7]])

    def test_of_the_mask(self, geo_store: Any) -> None:
        mask = tilepress.open(geo_store.path, device="cuda").mask
        np.testing.assert_array_equal(_samples(mask[3:9, 4:40]), geo_store.mask[3:9, 4:40])

    def test_by_xarray_and_for_torch(self, geo_store: Any) -> None:
        torch = pytest.importorskip("torch")
        dataset = xr.open_dataset(geo_store.path, engine="tilepress", device="cuda")
        tensor = torch.from_dlpack(dataset.image[:, 5:9].data)
        np.testing.assert_array_equal(tensor.numpy(), geo_store.image[:, 5:9])

    def test_coordinates_are_not(self, geo_store: Any) -> None:
        dataset = tilepress.open(geo_store.path, device="cuda")
        assert all(isinstance(one.data, np.ndarray) for one in dataset.coords.values())
        x = float(dataset.x[7])
        found = dataset.image.sel(x=x, method="nearest")
        np.testing.assert_array_equal(_samples(found), geo_store.image[..., 7])

    def test_a_window_goes_there_at_once(self, geo_store: Any, cupy: FakeCupy) -> None:
        image = tilepress.open(geo_store.path, device="cuda").image
        assert not cupy.uploads, "nothing is read before it is asked for"
        _samples(image[:, 2:35, 3:6])
        assert cupy.uploads == [(3, 33, 3)]

    def test_of_a_scale(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:64, :80]
        np.save(tmp_path / "a.npy", (90 + 60 * np.sin(x / 9 + y / 7)).astype(np.uint8))
        store = tmp_path / "a.zarr"
        assert tilepress.compress(tmp_path / "a.npy", store, codec="ntc", quality=50, workers=0).ok
        on_host = tilepress.open(store, scale=2).image[1:20]
        found = _samples(tilepress.open(store, scale=2, device="cuda").image[1:20])
        np.testing.assert_array_equal(found, on_host)

    def test_others_stay_on_the_host(self, geo_store: Any) -> None:
        assert isinstance(tilepress.open(geo_store.path).image[:1].data, np.ndarray)


@pytest.mark.usefixtures("cupy")
class TestPhysicalValuesAreMadeThere:
    @pytest.mark.parametrize("key", [np.s_[...], np.s_[1, 5:9], np.s_[[2, 0], :, 3:9]], ids=str)
    def test_slopes(self, volume: Any, key: Any) -> None:
        on_host = tilepress.open(volume.path, hu=True).image[key]
        found = _samples(tilepress.open(volume.path, hu=True, device="cuda").image[key])
        np.testing.assert_array_equal(found, on_host.values)
        assert found.dtype == np.float32

    @pytest.mark.parametrize("attributes", [{}, {"pixel_padding_value": 7}], ids=str)
    def test_what_is_absent(self, make_store: Make, attributes: dict[str, int]) -> None:
        store = make_store(nodata=9, attributes=attributes)
        on_host = tilepress.open(store.path, masked=True).image[1:, 3:30]
        assert 0 < np.isnan(on_host).sum() < on_host.size
        found = _samples(tilepress.open(store.path, masked=True, device="cuda").image[1:, 3:30])
        np.testing.assert_array_equal(found, on_host.values)


class TestWithoutADevice:
    def test_what_is_missing_is_named(self, geo_store: Any, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(UsageError, match="needs CuPy, which is not installed; pip install"):
            tilepress.open(geo_store.path, device="cuda")

    @pytest.mark.parametrize("devices", [0, -1])
    def test_no_gpu_or_no_driver(self, geo_store: Any, devices: int) -> None:
        with cupy_installed(devices), pytest.raises(UsageError, match="CuPy finds none; leave"):
            tilepress.open(geo_store.path, device="cuda")

    def test_other_names(self, geo_store: Any) -> None:
        wrong: Any = "gpu"
        with pytest.raises(UsageError, match="got device 'gpu', want one of"):
            tilepress.open(geo_store.path, device=wrong)

    @pytest.mark.usefixtures("cupy")
    def test_dask_is_refused(self, geo_store: Any) -> None:
        with pytest.raises(UsageError, match="read without Dask; leave chunks out"):
            tilepress.open(geo_store.path, device="cuda", chunks={})
