"""The first picture of a fresh server is measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

import tilepress
from tilepress.workflows.bench.first_tile import main, middle_tile


def test_tells_clock_and_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(0, 99, (300, 520)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image)
    tilepress.compress(tmp_path / "image.npy", tmp_path / "image.zarr", workers=0, tier="fast")
    main([str(tmp_path / "image.zarr"), "--repeat", "1"])
    _check(capsys.readouterr().out)


def test_tells_those_of_a_map_tile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=300, height=200, count=1, dtype="uint8",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.arange(60000).reshape(1, 200, 300).astype(np.uint8))
    store = tmp_path / "scene.zarr"
    tilepress.compress(tmp_path / "scene.tif", store, workers=0, tier="fast")
    assert middle_tile(store, 2) == (2, 1)
    main([str(store), "--repeat", "1", "--zoom", "11"])
    _check(capsys.readouterr().out)


def _check(out: str) -> None:
    told = json.loads(out)
    assert set(told) == {"start", "first", "next"}
    assert all(processor >= 0 for _, processor in told.values())
    assert all(clock > 0 for clock, _ in told.values())
