"""A store that others read from afar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers.web import WebServer, serving

from tilepress import compress


@pytest.fixture(scope="session")
def remote_image() -> npt.NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 300, (3, 1000, 900), dtype=np.uint16)


@pytest.fixture(scope="session")
def remote_folder(
    remote_image: npt.NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder with ``image.zarr``: chunks of 3 × 128 × 128, one shard."""
    folder = tmp_path_factory.mktemp("stores")
    np.save(folder / "image.npy", remote_image)
    compress(folder / "image.npy", folder / "image.zarr", workers=0, tile=128, tier="fast")
    return folder


@pytest.fixture
def web(remote_folder: Path) -> Iterator[WebServer]:
    with serving(remote_folder) as running:
        yield running
