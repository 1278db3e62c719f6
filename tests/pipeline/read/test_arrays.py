"""Windows of remote stores have the samples of the image."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.helpers.web import WebServer

from tilepress.pipeline.read.open import open_dataset

WINDOWS = [
    (slice(None), slice(0, 256), slice(0, 256)),
    (1, slice(100, 700), slice(333, 900)),
    (slice(0, 3, 2), slice(5, 1000, 7), 899),
    (slice(None), slice(None), slice(None)),
    ([2, 0], slice(0, 1000), [0, 500, 501]),
    (slice(None), slice(400, 400), slice(0, 10)),
]


class TestWindows:
    @pytest.mark.parametrize("window", WINDOWS)
    def test_have_the_samples_of_the_image(
        self, web: WebServer, remote_image: Any, window: Any
    ) -> None:
        image = open_dataset(f"{web.address}/image.zarr").image
        found = image.isel(dict(zip(image.dims, window, strict=True))).values
        want = (
            remote_image[window]
            if not isinstance(window[0], list)
            else remote_image[[2, 0]][..., window[2]]
        )
        np.testing.assert_array_equal(found, want)

    def test_points(self, web: WebServer, remote_image: Any) -> None:
        image = open_dataset(f"{web.address}/image.zarr").image
        ys, xs = [3, 999, 500], [0, 899, 450]
        along = {"y": xr.DataArray(ys, dims="p"), "x": xr.DataArray(xs, dims="p")}
        found = image.isel(along).transpose(image.dims[0], "p")
        np.testing.assert_array_equal(found.values, remote_image[:, ys, xs])
        found = image.isel({image.dims[0]: xr.DataArray([0, 1, 2], dims="p")} | along)
        np.testing.assert_array_equal(
            found.values, remote_image[[0, 1, 2], [3, 999, 500], [0, 899, 450]]
        )

    def test_in_another_process_and_by_dask(self, web: WebServer, remote_image: Any) -> None:
        dataset = open_dataset(f"{web.address}/image.zarr", chunks={"y": 512, "x": 512})
        again = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(again.image.values, remote_image)
