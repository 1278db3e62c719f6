"""Open a sealed store with xarray."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.helpers.web import serving

import tilepress
from tilepress.errors import ChecksumMismatch
from tilepress.pipeline.read import arrays
from tilepress.pipeline.read.open import open_dataset


class TestADataset:
    def test_it_pickles_to_other_processes(self, geo_store: Any) -> None:
        import pickle

        again = pickle.loads(pickle.dumps(open_dataset(geo_store.path)))
        np.testing.assert_array_equal(again.image.values, geo_store.image)

    def test_it_loads_without_waiting(self, geo_store: Any) -> None:
        found = asyncio.run(open_dataset(geo_store.path).load_async())
        np.testing.assert_array_equal(found.image.values, geo_store.image)


class TestADamagedChunk:
    """Who reads learns which store, shard and chunk, as ``verify`` says it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        """Return a store of one shard of 3 × 4 chunks."""
        samples = np.random.default_rng(5).integers(0, 300, (90, 128), dtype=np.uint16)
        np.save(tmp_path / "in.npy", samples)
        tilepress.compress(
            tmp_path / "in.npy", tmp_path / "scene.zarr", workers=0, tile=32, tier="fast"
        )
        return tmp_path / "scene.zarr"

    def spoil(self, store: Path, place: float) -> tuple[str, str]:
        """Change a byte of the shard; return what ``verify`` says of where and what."""
        (shard,) = (one for one in store.glob("0/image/c/**/*") if one.is_file())
        data = bytearray(shard.read_bytes())
        data[int((len(data) - 1) * place)] ^= 1
        shard.write_bytes(data)
        (damage,) = (one for one in tilepress.verify(store) if one.kind == "undecodable")
        return damage.key, damage.detail

    def test_is_named_as_verify_names_it(self, store: Path) -> None:
        key, detail = self.spoil(store, 0.5)
        image = open_dataset(store).image
        with pytest.raises(ChecksumMismatch) as caught:
            _ = image.values
        assert str(caught.value) == f"reading scene.zarr: {key}: {detail}"
        assert "chunk (" in detail
        one_a_chunk = {
            "y": xr.DataArray(np.repeat([0, 40, 80], 4), dims="p"),
            "x": xr.DataArray(np.tile([0, 40, 80, 120], 3), dims="p"),
        }
        for window in (image.isel(y=[0, 40, 80]), image.isel(one_a_chunk)):
            with pytest.raises(ChecksumMismatch) as again:
                _ = window.values
            assert str(again.value) == str(caught.value)

    def test_where_it_is_not_read_nothing_is_said(self, store: Path) -> None:
        self.spoil(store, 0.5)
        _ = open_dataset(store).image[:32, :32].values

    def test_of_many_chunks_the_store_is_named(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arrays, "MAX_SOUGHT", 3)
        self.spoil(store, 0.5)
        with pytest.raises(ChecksumMismatch, match=r"^reading scene.zarr: 0/image \(tilepress v"):
            _ = open_dataset(store).image.values

    def test_a_damaged_index_is_named(self, store: Path) -> None:
        key, _ = self.spoil(store, 1)
        with pytest.raises(ValueError, match=rf"^reading scene.zarr: {key}: chunk .*checksum"):
            _ = open_dataset(store).image.values

    def test_from_afar(self, store: Path) -> None:
        key, detail = self.spoil(store, 0.5)
        with serving(store.parent) as web, pytest.raises(ChecksumMismatch) as caught:
            _ = open_dataset(f"{web.address}/scene.zarr").image.values
        assert str(caught.value) == f"reading scene.zarr: {key}: {detail}"
