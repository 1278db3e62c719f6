"""An archive with a raster and a volume, and an application that serves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient

import tilepress
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf

from ...helpers.samples import smooth


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive: ``scene`` (3 bands of 600 × 500 on the ground), ``deep/volume``."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "in" / "deep").mkdir(parents=True)
    with rasterio.open(
        folder / "in" / "scene.tif", "w", driver="GTiff", width=500, height=600, count=3,
        dtype="uint8", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
        photometric="RGB",
    ) as file:  # fmt: skip
        file.write((smooth((3, 600, 500)) // 16).astype(np.uint8))
        file.update_tags(SENSING_TIME="2020-06-15T10:30:00Z")
    np.save(folder / "in" / "deep" / "volume.npy", smooth((9, 40, 50)))
    tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast")
    (folder / "out" / "half.zarr" / "0" / "image").mkdir(parents=True)
    return folder / "out"


@pytest.fixture
def client(served: Path) -> TestClient:
    return TestClient(build(Shelf(served)), base_url="http://127.0.0.1")
