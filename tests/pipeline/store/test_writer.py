"""Write the Zarr store of one image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from tilepress.codecs.tile import TileCodec
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
    UnsealedStore,
)
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.storage import atomic
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.writer import StoreWriter


def _files(store: Path) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file())


def _whole(reader: StoreReader) -> Box:
    return Box((0,) * len(reader.shape), reader.shape)


class TestNoOneOpensAnUnfinishedStore:
    @pytest.fixture
    def unfinished(self, tmp_path: Path) -> StoreWriter:
        image = np.arange(1600, dtype=np.uint16).reshape(40, 40)
        info = ImageInfo(name="i", axes=("y", "x"), shape=image.shape, dtype=image.dtype)
        grid = ShardGrid((40, 40), (16, 16), (32, 32))
        codec = TileCodec()
        writer = StoreWriter.create(tmp_path / "i.zarr", info, grid, codec.to_config())
        self.entries = []
        for index in grid.indices():
            box = grid.box(index)
            coded = encode_shard(codec, image[box.slices], box, grid, index, 0)
            writer.write_shard("image", index, coded.data)
            self.entries.append(coded.entry("image", index))
        return writer

    def test_stock_readers_find_nothing(self, unfinished: StoreWriter) -> None:
        path = Path(unfinished.place)
        assert not [p for p in _files(path) if p.name == "zarr.json"]
        for group in (None, "0"):
            with pytest.raises(FileNotFoundError):
                zarr.open_group(path, path=group, mode="r")
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(path, group="0")
        with pytest.raises(UnsealedStore, match="same compress line"):
            StoreReader.open(path)

    @pytest.mark.parametrize(("limit", "objects"), [(2**20, 4), (-1, 8)])
    def test_a_crash_at_any_write_of_the_seal(
        self, unfinished: StoreWriter, monkeypatch: pytest.MonkeyPatch, limit: int, objects: int
    ) -> None:
        """Stop before the n-th rename, for every n: unsealed, and the same call finishes it."""
        real, count = os.replace, 0

        def stop(*args: Any) -> None:
            nonlocal count
            count -= 1
            if count < 0:
                raise OSError(5, "Input/output error")
            real(*args)

        items = [("origin", b'{"kind": "array"}'), ("more", bytes(100))]
        for n in range(100):
            count = n
            monkeypatch.setattr(lean, "LEAN_STORED_BYTES", limit)
            monkeypatch.setattr(atomic.os, "replace", stop)
            try:
                unfinished.seal(items, self.entries)
            except OSError:
                assert not is_sealed(Path(unfinished.place))
                with pytest.raises(FileNotFoundError):
                    zarr.open_group(Path(unfinished.place), mode="r")
                continue
            finally:
                monkeypatch.undo()
            break
        assert n == objects, "objects and documents"
        reader = StoreReader.open(Path(unfinished.place))
        assert reader.read(_whole(reader)).sum() == 1599 * 800

    def test_a_missing_or_cut_shard_refuses_the_seal(self, unfinished: StoreWriter) -> None:
        with pytest.raises(DamagedStore, match=r"1 shards of image .* \(0, 1\)"):
            unfinished.seal([], [e for e in self.entries if e.index != (0, 1)])
        path = Path(unfinished.shard_path("image", (1, 1)))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DamagedStore, match=r"shard \(1, 1\) of image has"):
            unfinished.seal([], self.entries)
        path.unlink()
        with pytest.raises(DamagedStore, match="no object"):
            unfinished.seal([], self.entries)
        assert not is_sealed(Path(unfinished.place))

    def test_what_a_killed_writer_left_is_swept(self, unfinished: StoreWriter) -> None:
        left = Path(unfinished.place) / "0/image/c/0/.1.abcd.partial"
        left.write_bytes(b"half")
        unfinished.seal([("origin", b'{"kind": "array"}')], self.entries)
        assert not left.exists()


class TestDestinations:
    def test_a_sealed_store_is_not_written_to(self, geo_store: Any) -> None:
        grid = ShardGrid((3, 40, 52), (3, 16, 16), (3, 32, 32))
        with pytest.raises(DestinationConflict, match="sealed"):
            StoreWriter.create(geo_store.path, geo_store.info, grid, TileCodec().to_config())

    def test_nor_is_a_file(self, tmp_path: Path, geo_store: Any) -> None:
        (tmp_path / "f").write_bytes(b"")
        grid = ShardGrid((3, 40, 52), (3, 16, 16), (3, 32, 32))
        with pytest.raises(DestinationConflict, match="file"):
            StoreWriter.create(tmp_path / "f", geo_store.info, grid, TileCodec().to_config())
