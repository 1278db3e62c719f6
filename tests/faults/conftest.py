"""A small archive with every kind of image that is written in its own way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr

from tilepress.pipeline.archive import lease, plan
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.storage import retry as patience
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.verify import verify
from tilepress.workflows.run import sweep
from tilepress.workflows.run.compress import compress

from ..helpers.samples import smooth

TILE = 16


@dataclass(frozen=True)
class Scene:
    """Sources, and the samples that they hold."""

    folder: Path
    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]

    def compress(self, out: Path | str, **options: Any):
        return compress(self.folder, out, tile=TILE, tier="fast", workers=0, **options)

    def compress_part(self, out: Path | str, part: str):
        return compress(self.folder, out, tile=TILE, tier="fast", part=part)


def write_sources(folder: Path, seed: int, *, tile: int = TILE) -> Scene:
    """Write an image of four shards, one with a mask, and two of one shard."""
    folder.mkdir(parents=True)
    images = {"large": smooth((2 * tile, 2 * tile), seed)}
    images |= {f"small{n}": smooth((tile - 3, tile - 6), seed + n) for n in (1, 2)}
    for name, image in images.items():
        np.save(folder / f"{name}.npy", image)
    images["masked"] = smooth((tile, tile), seed + 3)
    mask = np.zeros((tile, tile), np.uint8)
    mask[2:9, 3:] = 255
    with rasterio.open(
        folder / "masked.tif", "w", driver="GTiff", width=tile, height=tile, count=1,
        dtype="uint16", crs="EPSG:32631", transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6),
    ) as file:  # fmt: skip
        file.write(images["masked"], 1)
        file.write_mask(mask)
    return Scene(folder, images, {"masked": mask})


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return write_sources(tmp_path_factory.mktemp("faults") / "new", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: thousands of files are written."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    path = memory / f"tilepress-{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tiny_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of one chunk, so that small images have several."""

    def tiny(shape: tuple[int, ...], itemsize: int, *, tile: int) -> geometry.ShardGrid:
        return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=tile * tile * 2)

    monkeypatch.setattr(plan, "choose_grid", tiny)
    monkeypatch.setattr(patience, "STORAGE_WAIT_S", 0.0001)
    monkeypatch.setattr(sweep, "READERS_S", 0.0)


@pytest.fixture
def dead_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every lease but that of this very process object look left behind: it "was killed"."""
    monkeypatch.setattr(lease, "_is_stale", lambda *_: True)


def check_any(store: StoragePath, samples: tuple[np.ndarray, ...]) -> str:
    """Assert that a store is whole, or cannot be taken for one; return which."""
    if (store / "zarr.json").size() is None:
        with pytest.raises(FileNotFoundError):
            zarr.open(store.zarr_store(), mode="r")
        return "unsealed"
    assert verify(store) == []
    for found in (
        zarr.open_group(store.zarr_store(), mode="r")["0/image"][...],
        zarr.open_group(store.zarr_store(), path="0", mode="r")["image"][...],
        zarr.open_array(store.zarr_store(), path="0/image", mode="r")[...],
    ):
        assert any(np.array_equal(found, one) for one in samples), f"{store.name}: sealed and wrong"
    return "sealed"


def check_archive(scene: Scene, out: Path | str) -> None:
    """Assert that an archive is whole, and nothing but the archive is left."""
    for name, image in scene.images.items():
        store = storage_path(out) / f"{name}.zarr"
        assert check_any(store, (image,)) == "sealed", name
        group = zarr.open_group(store.zarr_store(), mode="r")
        if name in scene.masks:
            assert np.array_equal(group["0/mask"][...], scene.masks[name])
    left = [(key, size) for key, size in storage_path(out).walk() if is_left_over(key, size)]
    assert not left


def is_left_over(key: str, size: int) -> bool:
    """Whether an object is none of an archive.

    What may stay of a killed command: an empty probe, half an object of the catalogue (nothing
    refers to it), the images of a plan that was being removed.
    """
    name = key.rpartition("/")[2]
    probe = not size and name.startswith((".tilepress-", ".clock-"))
    listed = key.startswith("catalogue/") or key.startswith(".tilepress/plan/images-")
    return not probe and not listed and (key.startswith(".") or key.endswith(".partial"))
