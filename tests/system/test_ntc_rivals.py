"""A store of ntc of which some tiles are of other codecs says so, and is read by anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
import zarr

import tilepress
from tilepress.codecs.record import unpack_record
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard import split_shard


def drawn(side: int) -> np.ndarray:
    """Return colours with borders at many angles and a little noise, and a corner of texture."""
    y, x = np.mgrid[:side, :side]
    out = np.random.default_rng(2).integers(0, 4, (3, side, side)).astype(np.uint8)
    for number in range(14):
        turned = np.cos(number * 0.7) * (x - side / 2) + np.sin(number * 0.7) * (y - side / 2)
        out[:, turned > 9 * number - 60] += np.array(
            [(37 * number * k) % 60 for k in (1, 2, 3)], np.uint8
        )[:, None]
    noise = np.random.default_rng(1).normal(0, 9, (3, side // 2, side // 2))
    out[:, : side // 2, : side // 2] = np.clip(100 + noise.cumsum(-1).cumsum(-2) / 9, 0, 255)
    return out


def test_a_store_of_several_codecs(tmp_path: Path) -> None:
    image = drawn(256)
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=256, height=256, count=3, dtype="uint8",
        photometric="RGB", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(image)
    stores = {}
    for tier in ("standard", "fast"):
        store = tmp_path / f"{tier}.zarr"
        done = tilepress.compress(path, store, codec="ntc", psnr=40, tile=128, tier=tier, workers=0)
        assert done.ok, done.failures
        assert tilepress.verify(store, path) == []
        reader = StoreReader.open(store)
        (shard,) = (p for p in store.glob("0/image/c/**/*") if p.is_file())
        records = split_shard(shard.read_bytes(), reader.grid("image").chunks_per_shard)
        coders = {unpack_record(record)[0].coder for record in records.values()}
        assert coders == ({5, 6} if tier == "standard" else {6}), tier
        stores[tier] = shard.stat().st_size
    assert stores["standard"] < stores["fast"]
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy, zarr\n"
        f"image = zarr.open_array({str(tmp_path / 'standard.zarr/0/image')!r}, mode='r')[:]\n"
        f"numpy.save({str(tmp_path / 'read.npy')!r}, image)\n"
        "assert 'tilepress.pipeline' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    found = np.load(tmp_path / "read.npy")
    error = np.square(found.astype(float) - image).mean()
    assert 10 * np.log10(255**2 / error) >= 40
    statement = zarr.open_group(tmp_path / "standard.zarr", mode="r").attrs["tilepress"]
    assert statement["psnr_db"] >= 40
