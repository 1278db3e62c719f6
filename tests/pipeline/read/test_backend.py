"""xarray opens the root of a store by our engine."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tilepress.errors import UsageError
from tilepress.pipeline.read.backend import TilepressBackend
from tilepress.pipeline.read.open import open_dataset


class TestTheEngine:
    def test_xarray_opens_a_root_by_it(self, remote_folder: Path, remote_image: Any) -> None:
        dataset = xr.open_dataset(remote_folder / "image.zarr", engine=TilepressBackend)
        np.testing.assert_array_equal(dataset.image[1].values, remote_image[1])
        dropped = xr.open_dataset(
            str(remote_folder / "image.zarr"), engine=TilepressBackend, drop_variables="image"
        )
        assert "image" not in dropped

    def test_an_installation_registers_it(self) -> None:
        (found,) = entry_points(group="xarray.backends", name="tilepress")
        assert found.load() is TilepressBackend

    def test_it_is_found_for_our_stores_alone(self, remote_folder: Path, tmp_path: Path) -> None:
        import zarr

        backend = TilepressBackend()
        assert backend.guess_can_open(remote_folder / "image.zarr")
        assert not backend.guess_can_open(str(remote_folder / "image.zarr" / "0" / "image"))
        zarr.create_group(tmp_path / "other.zarr")
        assert not backend.guess_can_open(tmp_path / "other.zarr")
        assert not backend.guess_can_open(tmp_path / "absent.zarr")
        assert not backend.guess_can_open("s3://bucket/image.zarr")
        assert not backend.guess_can_open({"a": 1})

    @pytest.mark.parametrize("level", ["0", 1.0, None])
    def test_what_is_no_level(self, remote_folder: Path, level: Any) -> None:
        with pytest.raises(UsageError, match="it has levels"):
            open_dataset(remote_folder / "image.zarr", level=level)

    def test_a_level_that_is_not_there(self, remote_folder: Path) -> None:
        with pytest.raises(UsageError, match="levels 0 … 0, got 1"):
            open_dataset(remote_folder / "image.zarr", level=1)
