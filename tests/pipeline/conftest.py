"""A small sealed store to read, damage and export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS

from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.info import GeoReference, ImageInfo
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.writer import StoreWriter


@dataclass(frozen=True)
class SmallStore:
    """A store and what went in."""

    path: Path
    info: ImageInfo
    image: np.ndarray
    mask: np.ndarray | None


def write_shards(writer: StoreWriter, arrays: dict[str, np.ndarray]) -> list[ShardEntry]:
    entries = []
    for name, grid in writer.grids.items():
        codec = TileCodec.from_config(writer.codec_config(name))
        for index in grid.indices():
            box = grid.box(index)
            samples = arrays[name][box.slices]
            coded = encode_shard(codec, samples, box, grid, index, writer.fill(name))
            writer.write_shard(name, index, coded.data)
            entries.append(coded.entry(name, index))
    return entries


@pytest.fixture
def roomy_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write stores as those of images that are not small."""
    monkeypatch.setattr(lean, "LEAN_STORED_BYTES", -1)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., SmallStore]:
    """Return a function that writes and seals a store; its image is (3, 40, 52) by default."""

    def make(
        name: str = "small.zarr",
        image: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        grid: ShardGrid | None = None,
        source_items: dict[str, bytes] | None = None,
        **fields: Any,
    ) -> SmallStore:
        if image is None:
            image = np.random.default_rng(1).integers(0, 4000, (3, 40, 52), dtype=np.uint16)
        axes = ("t", "z", "y", "x")[-image.ndim :]
        info = ImageInfo(
            **{"name": "small", "axes": axes} | fields,
            shape=image.shape,
            dtype=image.dtype,
            has_mask=mask is not None,
        )
        if grid is None:
            chunk = (*image.shape[:-2], 16, 16)
            grid = ShardGrid(image.shape, chunk, (*image.shape[:-2], 32, 32))
        writer = StoreWriter.create(
            tmp_path / name, info, grid, TileCodec(nodata=info.nodata).to_config()
        )
        entries = write_shards(writer, {"image": image} | ({} if mask is None else {"mask": mask}))
        items = {"origin": json.dumps({"kind": "array"}).encode()} | (source_items or {})
        writer.seal(items.items(), entries, {"plan_digest": "test"})
        return SmallStore(tmp_path / name, info, image, mask)

    return make


@pytest.fixture
def geo_store(make_store: Callable[..., SmallStore]) -> SmallStore:
    """A georeferenced three-band image with nodata and a mask."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 4000, (3, 40, 52), dtype=np.uint16)
    image[:, :9] = 7
    return make_store(
        image=image,
        mask=np.where(rng.random((40, 52)) > 0.5, 255, 0).astype(np.uint8),
        axes=("band", "y", "x"),
        nodata=7,
        geo=GeoReference(
            crs_wkt=CRS.from_epsg(32631).to_wkt(),
            transform=(30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0),
        ),
        coordinates={"band": np.array(["B2", "B3", "B4"])},
        source_items={"tiff-tags": bytes(range(256)) * 20, "empty": b""},
    )
