"""Say what a sealed store consists of."""

from __future__ import annotations

import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.store.manifest import (
    FileEntry,
    Manifest,
    ShardEntry,
    ShardTable,
    samples_digest,
)


def _entry(index: tuple[int, ...], length: int = 100) -> ShardEntry:
    return ShardEntry(
        array="image",
        index=index,
        length=length,
        sha256=f"{length:064x}",
        samples_sha256=f"{sum(index):064x}",
        raw_bytes=2 * length,
    )


def _manifest() -> Manifest:
    table = ShardTable((2, 3))
    for y in range(2):
        for x in range(3):
            table.set(_entry((y, x), 100 + 3 * y + x))
    files = {"0/x/c/0": FileEntry(5, "ab" * 32)}
    return Manifest({"0/zarr.json": "cd" * 32}, files, {"image": table})


class TestRoundTrip:
    def test_every_entry_comes_back(self) -> None:
        parsed = Manifest.parse(_manifest().to_bytes())
        assert parsed.documents == _manifest().documents
        assert parsed.files == _manifest().files
        assert parsed.arrays["image"].get("image", (1, 2)) == _entry((1, 2), 105)
        assert parsed.arrays["image"].stored_bytes == sum(range(100, 106))

    def test_missing_shards_are_named(self) -> None:
        table = ShardTable((2, 2))
        table.set(_entry((1, 0)))
        assert table.missing() == [(0, 0), (0, 1), (1, 1)]

    def test_the_sample_digest_does_not_depend_on_the_order_of_writing(self) -> None:
        one, other = ShardTable((3,)), ShardTable((3,))
        for i in (0, 1, 2):
            one.set(_entry((i,)))
        for i in (2, 0, 1):
            other.set(_entry((i,)))
        assert samples_digest([one]) == samples_digest([other])


class TestAMalformedManifestIsOurError:
    def test_every_prefix(self) -> None:
        data = _manifest().to_bytes()
        for length in range(len(data)):
            with pytest.raises(DamagedStore):
                Manifest.parse(data[:length])

    @pytest.mark.parametrize(
        "data",
        [
            b"[]\n",
            b'{"version":2}\n',
            b'{"version":1,"documents":[],"files":{},"arrays":[]}\n',
            b'{"version":1,"documents":{},"files":{"a":1},"arrays":[]}\n',
            b'{"version":1,"documents":{},"files":{},"arrays":[{"name":"a","counts":[-1]}]}\n',
            b'{"version":1,"documents":{},"files":{},"arrays":[]}\nmore',
            b"[" * 100_000 + b"\n",
        ],
    )
    def test_wrong_content(self, data: bytes) -> None:
        with pytest.raises(DamagedStore):
            Manifest.parse(data)
