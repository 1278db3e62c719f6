"""What gunzip gives, we give; what is damaged is never pixels."""

from __future__ import annotations

import gzip
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest

from tilepress.errors import DamagedSource
from tilepress.pipeline.packed.gzip_file import (
    gunzipped,
    gzip_head,
    gzip_size,
    gzip_version,
    unpacked_name,
)

CONTENT = bytes(range(256)) * 20_000
PACKED = gzip.compress(CONTENT)


def back(packed: bytes) -> bytes:
    return b"".join(gunzipped(BytesIO(packed)))


class TestContent:
    @pytest.mark.parametrize(
        ("packed", "content"),
        [
            (PACKED, CONTENT),
            (gzip.compress(b""), b""),
            (b"", b""),
            (PACKED + gzip.compress(b"more"), CONTENT + b"more"),
            (PACKED + bytes(1000), CONTENT),
            (PACKED + bytes(1000) + gzip.compress(b"more"), CONTENT + b"more"),
            (gzip.compress(bytes(10**7)), bytes(10**7)),
        ],
        ids=["one", "nothing", "no stream", "two", "padded", "padded between", "zeros"],
    )
    def test_is_as_gunzip_gives_it(self, packed: bytes, content: bytes):
        assert back(packed) == content

    @pytest.mark.parametrize(
        "packed",
        [PACKED[:-1], PACKED[:-9], PACKED[:500], PACKED + b"junk", PACKED[:-8] + bytes(8)],
        ids=["no size", "no checksum", "cut", "junk behind", "other checksum"],
    )
    def test_that_is_damaged_is_an_error(self, packed: bytes):
        with pytest.raises(DamagedSource):
            back(packed)

    def test_of_a_bomb_takes_no_memory(self):
        bomb = gzip.compress(bytes(2 * 10**8))
        tracemalloc.start()
        assert sum(map(len, gunzipped(BytesIO(bomb)))) == 2 * 10**8
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()

    def test_begins_with_its_head(self):
        assert gzip_head(BytesIO(PACKED), 300) == CONTENT[:300]
        assert (
            gzip_head(BytesIO(PACKED[:100]), 10**6)
            == CONTENT[: len(gzip_head(BytesIO(PACKED[:100]), 10**6))]
        )
        assert gzip_size(BytesIO(PACKED)) == len(CONTENT)

    def test_of_a_small_file_whose_checksum_is_wrong_has_a_head(self):
        """It is told as a damaged image, and not as none."""
        packed = bytearray(gzip.compress(CONTENT[:400]))
        packed[-5] ^= 1
        assert CONTENT.startswith(head := gzip_head(BytesIO(packed), 132))
        assert len(head) == 132


class TestTheVersion:
    def test_changes_with_the_content(self, tmp_path: Path):
        found = set()
        for content in (b"a", b"b", b"ab"):
            (tmp_path / "x.gz").write_bytes(gzip.compress(content, mtime=0))
            found.add(gzip_version(tmp_path / "x.gz"))
        assert len(found) == 3

    def test_changes_with_the_content_before_padding(self, tmp_path: Path):
        """The last bytes of such a file are zeros, whatever it holds."""
        found = set()
        for content in (b"a", b"b", b"c"):
            (tmp_path / "x.gz").write_bytes(gzip.compress(content, mtime=0) + bytes(512))
            found.add(gzip_version(tmp_path / "x.gz"))
        assert len(found) == 3

    def test_is_kept_for_ever(self, tmp_path: Path):
        """It stands in digests of plans: another one, and every store is that of another source."""
        (tmp_path / "x.gz").write_bytes(gzip.compress(b"content", mtime=0))
        assert gzip_version(tmp_path / "x.gz").startswith("gzip-a930c5fe07000000-")


@pytest.mark.parametrize(
    ("name", "unpacked"), [("a.dcm.gz", "a.dcm"), ("A.GZ", "A"), ("a", "a"), (".gz", ".gz")]
)
def test_names_lose_the_ending(name: str, unpacked: str):
    assert unpacked_name(name) == unpacked
