"""Stores of buckets and web servers are read in few requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from tests.helpers.s3 import S3Server
from tests.helpers.web import WebServer, serving
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import ObjectStore

from tilepress import compress
from tilepress.errors import DamagedStore, StoreError
from tilepress.pipeline.read.fetched import FetchedObjects, index_bytes
from tilepress.pipeline.read.open import open_dataset
from tilepress.pipeline.storage.http import HttpPath


class TestRequests:
    def test_opening_takes_one(self, web: WebServer) -> None:
        open_dataset(f"{web.address}/image.zarr")
        assert web.asked == [("/image.zarr/zarr.json", None)]

    def test_a_window_takes_the_index_and_what_lies_together(self, web: WebServer) -> None:
        image = open_dataset(f"{web.address}/image.zarr").image
        web.asked.clear()
        _ = image[:, :512, :512].values  # sixteen chunks, which lie together in Morton order
        assert len(web.asked) == 2
        _ = image[:, 100:300, 100:300].values
        assert len(web.asked) == 2

    def test_a_whole_shard_takes_one(self, web: WebServer) -> None:
        image = open_dataset(f"{web.address}/image.zarr").image
        web.asked.clear()
        _ = image.values
        assert [key for key, _ in web.asked] == ["/image.zarr/0/image/c/0/0/0"]

    def test_of_a_bucket(
        self, bucket: str, s3_server: S3Server, remote_folder: Path, remote_image: Any
    ) -> None:
        compress(
            remote_folder / "image.npy", f"{bucket}/image.zarr", workers=0, tile=128, tier="fast"
        )
        image = open_dataset(f"{bucket}/image.zarr").image
        before = s3_server.traffic()["requests"]
        found = image[:, 200:700, 200:700].values
        np.testing.assert_array_equal(found, remote_image[:, 200:700, 200:700])
        assert s3_server.traffic()["requests"] - before <= 3


class _AsksByRanges(ObjectStore):  # type: ignore[type-arg]
    """A store whose ranges are asked for at once, as Zarr from 3.3 on does of any."""

    async def get_ranges(
        self, key: str, byte_ranges: Any, *, prototype: Any, **options: Any
    ) -> Any:
        for place, one in enumerate(byte_ranges):
            yield [(place, await self.get(key, prototype, one))]


class TestRangesAtOnce:
    def test_what_is_kept_is_not_asked_for(self, web: WebServer) -> None:
        remote = HttpPath.parse(f"{web.address}/image.zarr").zarr_store()
        objects = FetchedObjects(_AsksByRanges(remote.store, read_only=True))
        key = "0/image/c/0/0/0"
        objects.fetch({key: [(0, 0, 0)]}, (1, 8, 8))
        index = obstore.get(
            remote.store, key, options={"range": {"suffix": index_bytes((1, 8, 8))}}
        )
        start, size = np.frombuffer(index.bytes().to_bytes(), "<u8", 2).tolist()
        kept = RangeByteRequest(start, start + size)
        asked = [RangeByteRequest(1, 9), kept, RangeByteRequest(2, 5)]

        async def all_of_it() -> dict[int, bytes]:
            prototype = default_buffer_prototype()
            found = objects.get_ranges(key, asked, prototype=prototype)
            return {
                place: data.to_bytes() async for group in found for place, data in group if data
            }

        shard = obstore.get(remote.store, key).bytes().to_bytes()
        web.asked.clear()
        expected = {place: shard[one.start : one.end] for place, one in enumerate(asked)}
        assert asyncio.run(all_of_it()) == expected
        assert [name for _, name in web.asked] == ["bytes=1-8", "bytes=2-4"]


class TestWhatIsWrong:
    def test_a_missing_shard_is_an_error(self, remote_folder: Path, tmp_path: Path) -> None:
        copy = tmp_path / "image.zarr"
        for file in (remote_folder / "image.zarr").rglob("*"):
            if file.is_file() and file.name != "0":
                target = copy / file.relative_to(remote_folder / "image.zarr")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        with serving(tmp_path) as web:
            image = open_dataset(f"{web.address}/image.zarr").image
            with pytest.raises(DamagedStore, match="0/image/c/0/0/0 is missing"):
                _ = image[0, :10, :10].values

    def test_a_lying_index_costs_nothing_and_is_refused(
        self, remote_folder: Path, tmp_path: Path
    ) -> None:
        """Lengths of 2^63 with a right checksum: nothing of it is fetched ahead."""
        from tilepress.codecs.record import crc32c

        size = 16 * 64 + 4
        shard = (remote_folder / "image.zarr/0/image/c/0/0/0").read_bytes()
        index = np.frombuffer(shard[-size:-4], "<u8").reshape(-1, 2).copy()
        index[:, 1] = 2**63
        lying = index.tobytes() + crc32c(index.tobytes()).to_bytes(4, "little")
        (tmp_path / "c").write_bytes(shard[:-size] + lying)
        with serving(tmp_path) as web:
            objects = FetchedObjects(HttpPath.parse(web.address).zarr_store())
            objects.fetch({"c": [(0, 0, 0)]}, (1, 8, 8))
            assert len(web.asked) == 1

    def test_no_store_and_no_server(self, web: WebServer) -> None:
        with pytest.raises(StoreError, match="there is no store"):
            open_dataset(f"{web.address}/nothing.zarr")
        web.status = 403
        with pytest.raises(PermissionError, match="refused"):
            open_dataset(f"{web.address}/image.zarr")

    def test_what_a_server_does_wrong_is_told_in_a_line(self, web: WebServer) -> None:
        image = open_dataset(f"{web.address}/image.zarr").image
        web.ranges = False
        with pytest.raises(OSError, match="it takes no requests for ranges") as caught:
            _ = image[0, :10, :10].values
        assert "\n" not in str(caught.value)
        web.ranges, web.status = True, 403
        with pytest.raises(OSError, match="the server failed") as caught:
            _ = image[0, 500:510, :10].values
        assert "\n" not in str(caught.value)
