"""A store in a bucket, through fsspec, which Zarr and xarray take for addresses of s3://."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from tests.helpers.s3 import S3Server

from tilepress import compress

from .conftest import BUNDLED, Made

pytestmark = pytest.mark.readers


@pytest.fixture
def address(bucket: str) -> str:
    compress(
        BUNDLED, f"{bucket}/scene.zarr", stack="LC08_*_B?.tif", levels=2, workers=0, tier="fast"
    )
    return f"{bucket}/scene.zarr"


class TestS3fs:
    def test_the_image_is_equal(self, address: str, scene: Made, s3_server: S3Server) -> None:
        options = {"client_kwargs": {"endpoint_url": s3_server.endpoint}}
        opened = xr.open_zarr(address, group="0", storage_options=options)
        np.testing.assert_array_equal(opened["image"].values, scene.image)

    def test_in_a_process_that_imports_no_tilepress(self, address: str, scene: Made) -> None:
        code = (
            "import sys, xarray as xr\n"
            f"image = xr.open_zarr({address!r}, group='0')['image']\n"
            "print(int(image.astype('uint64').sum()))\n"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert int(ran.stdout) == int(scene.image.astype(np.uint64).sum())
