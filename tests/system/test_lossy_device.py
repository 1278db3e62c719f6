"""Lossy archives by workers that code on a device: the CPU's stores, byte for byte.

Torch on the CPU stands in for a GPU: the same code, in the same process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.codecs.ntc.device import backend, planes
from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import code_on, device
from tilepress.workflows.run.compress import compress


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")
    before = device()
    yield
    code_on(before)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Return a scene of three bands with a corner where nothing was seen."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :170]
    base = 2000 + 900 * np.sin(x / 23) + 700 * np.cos(y / 31 + x / 57)
    bands = np.stack([base * (1 - n / 9) + rng.normal(0, 25, base.shape) for n in range(3)])
    bands[:, :30, :40] = 0
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=170, height=150, count=3, dtype="uint16", nodata=0,
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(bands.clip(0, 4000).astype(np.uint16))
    return path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many planes run together on the stand-in, from here on."""
    seen: list[int] = []
    run = planes.encode_planes

    def encode(kind: int, some: Any, *rest: Any) -> Any:
        seen.append(len(some))
        return run(kind, some, *rest)

    monkeypatch.setattr(planes, "encode_planes", encode)
    monkeypatch.setattr(backend, "why_no_device", lambda: None)
    monkeypatch.setattr(backend.OPEN, "device", backend.DeviceBackend("cpu"))
    return seen


def _files(store: Path) -> dict[str, bytes]:
    found = (path for path in store.rglob("c/**/*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in found}


def test_shards_are_the_cpus(scene: Path, tmp_path: Path, ran: list[int]) -> None:
    options = {"codec": "ntc", "psnr": 44.0, "tile": 64, "tier": "fast", "workers": 0}
    stores = {}
    for where in ("cpu", "cuda"):
        store = tmp_path / f"{where}.zarr"
        report = compress(scene, store, device=where, **options)
        assert report.ok, report.failures
        assert bool(ran) == (where == "cuda")
        stores[where] = _files(store)
    assert stores["cpu"] == stores["cuda"]
    assert stores["cpu"]
    assert max(ran) > 3  # chunks of a shard run together


def test_a_device_that_decodes_to_other_samples_is_found(
    scene: Path, tmp_path: Path, ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record of each shard is decoded on the CPU, too."""
    run = planes.decode_planes

    def decode(*given: Any) -> Any:
        return [one._replace(plane=one.plane + 3) for one in run(*given)]

    monkeypatch.setattr(planes, "decode_planes", decode)
    report = compress(scene, tmp_path / "a.zarr", codec="ntc", psnr=44.0, device="cuda", workers=0)
    (failure,) = report.failures
    assert "does not match its crc32c" in failure.message


def test_a_device_that_is_not_there_is_told(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="resource GPU, but torch finds no CUDA device"):
        compress(scene, tmp_path / "a.zarr", codec="ntc", psnr=44.0, device="cuda", workers=0)
