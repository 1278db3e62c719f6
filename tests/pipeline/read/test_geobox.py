"""odc-geo finds where an image lies, and takes it to another grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("odc.geo.xr")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # GDAL 3.12's
]


class TestGeoBox:
    def test_is_that_of_the_store(self, geo_store: Any) -> None:
        box = xr.open_zarr(geo_store.path, group="0").image.odc.geobox
        assert box.crs.epsg == 32631
        assert tuple(box.shape) == (40, 52)
        assert tuple(box.affine)[:6] == (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)

    def test_another_grid_has_the_same_samples(self, geo_store: Any) -> None:
        image = xr.open_zarr(geo_store.path, group="0").image
        part = image.odc.geobox[10:30, 20:40]
        found = image.odc.reproject(part, resampling="nearest")
        np.testing.assert_array_equal(found.values, geo_store.image[:, 10:30, 20:40])
