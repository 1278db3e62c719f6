"""Arrays in buckets are read by guests, which are given what they ask for and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.errors import SourceError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.guests import client
from tilepress.pipeline.guests.bucket import BucketGuestSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.retry import _may_pass

from ...helpers.hostile import HOSTILE, make_outside, zarr_document
from ...helpers.hostile_format import MAGIC
from ...helpers.s3 import S3Server
from ..remote import gets, put_object
from .conftest import MODULES, find_hostile_format
from .test_source import is_the_same

pytestmark = pytest.mark.skipif(not client.are_possible(), reason="guests need Linux")

IMAGE = np.random.default_rng(12).integers(0, 999, (3, 70, 90)).astype(np.uint16)


def upload(folder: Path, bucket: str, key: str) -> SourceSpec:
    """Put the files of a folder into a bucket; return the recipe of the array that they are."""
    for path in folder.rglob("*"):
        if path.is_file():
            put_object(bucket, f"{key}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return SourceSpec(kind="array", paths=(f"{bucket}/{key}",), options={"name": "a"})


WAYS = {
    "blosc": {"compressors": zarr.codecs.BloscCodec()},
    "gzip": {"compressors": zarr.codecs.GzipCodec()},
    "sharded": {"shards": (2, 64, 64)},
    "with axes": {"dimension_names": ("band", "y", "x")},
    "format 2": {"zarr_format": 2},
    "filled": {"fill_value": 9},
}


@pytest.mark.parametrize("way", WAYS)
def test_good_ones_are_the_same(tmp_path, bucket, monkeypatch, way):
    array = zarr.create_array(
        tmp_path / "a", shape=IMAGE.shape, chunks=(2, 32, 32), dtype=IMAGE.dtype, **WAYS[way]
    )
    array[...] = IMAGE
    if way == "filled":
        (tmp_path / "a/c/0/1/1").unlink()
    upload(tmp_path / "a", bucket, "in/a")
    (spec,) = discover([f"{bucket}/in"])
    is_the_same(spec, monkeypatch)
    source = open_source(spec)
    assert isinstance(source, BucketGuestSource)
    part = source.read(Box((1, 30, 31), (3, 50, 60)))
    assert np.array_equal(part, array[1:3, 30:50, 31:60])
    local = SourceSpec(kind="array", paths=(str(tmp_path / "a"),), options=spec.options)
    assert source.info == open_source(local).info
    source.close()


def test_one_that_this_package_has_coded(tmp_path, bucket, monkeypatch):
    from tilepress.codecs.zarr_codec import TilepressTileV3

    array = zarr.create_array(
        tmp_path / "a", shape=(64, 64), chunks=(32, 64), dtype="u2", compressors=None,
        serializer=TilepressTileV3(),
    )  # fmt: skip
    array[...] = IMAGE[0, :64, :64]
    is_the_same(upload(tmp_path / "a", bucket, "a"), monkeypatch)


def test_what_a_window_needs_is_fetched_and_no_more(tmp_path, bucket, s3_server: S3Server):
    array = zarr.create_array(tmp_path / "a", shape=(64, 640), chunks=(32, 32), dtype="u1")
    array[...] = 3
    source = open_source(upload(tmp_path / "a", bucket, "a"))
    before = gets(s3_server)
    assert (source.read(Box((0, 0), (32, 320))) == 3).all()
    assert gets(s3_server) - before == 10
    source.close()


HOSTILE_ARRAYS = [name for name in HOSTILE if name.startswith("zarr-") and "group" not in name]


def test_hostile_ones_are_refused_or_read(tmp_path, bucket):
    """Every hostile array that is known; what is no file cannot be put into a bucket."""
    make_outside(tmp_path / "outside")
    for name in HOSTILE_ARRAYS:
        (tmp_path / name).mkdir()
        HOSTILE[name].make(tmp_path / name, tmp_path / "outside")
        root = tmp_path / name / "a"
        for path in [*root.rglob("*")]:
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                path.unlink()
        with contextlib.suppress(SourceError):
            source = open_source(upload(root, bucket, name))
            source.read(Box((0, 0), (16, 16)))
            source.close()


def deflated(size: int) -> bytes:
    """Return a zlib stream of as many zeros, without its checksum."""
    packer, piece = zlib.compressobj(9), bytes(2**24)
    first, more = (packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + more * (size // len(piece) - 1)


def blosc_that_claims(size: int) -> bytes:
    """Return a chunk of 32 bytes whose head says that it holds ``size``."""
    head = bytes([2, 1, 0x21, 1]) + b"".join(n.to_bytes(4, "little") for n in (size, size, 32))
    return head + bytes(16)


BOMBS: dict[str, tuple[Callable[[], bytes], list[object]]] = {
    "gzip": (lambda: deflated(2**32), [{"name": "numcodecs.zlib", "configuration": {"level": 9}}]),
    "blosc": (
        lambda: blosc_that_claims(2**31 - 1),
        [{"name": "blosc", "configuration": {
            "typesize": 1, "cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "blocksize": 0}}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_meet_the_limit_of_the_guest(bucket, monkeypatch, kind):
    monkeypatch.setenv("TILEPRESS_GUEST_MEMORY", "300MiB")
    make, codecs = BOMBS[kind]
    document = zarr_document(codecs=[{"name": "bytes"}, *codecs])
    put_object(bucket, "a/zarr.json", json.dumps(document).encode())
    put_object(bucket, "a/c/0/0", make())
    source = open_source(SourceSpec(kind="array", paths=(f"{bucket}/a",)))
    with pytest.raises(SourceError, match=r"^reading "):
        source.read(Box((0, 0), (16, 16)))
    source.close()
    own = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(own) * 1024 < 2**31


def test_a_service_that_fails_is_no_damage(bucket, s3_server: S3Server, tmp_path, monkeypatch):
    array = zarr.create_array(tmp_path / "a", shape=(8, 8), chunks=(8, 8), dtype="u1")
    array[...] = 1
    source = open_source(upload(tmp_path / "a", bucket, "a"))

    def fails(wanted: object) -> list[bytes | None]:
        raise OSError(5, "the service failed (status 503)")

    with monkeypatch.context() as failing:
        failing.setattr(source._objects._objects, "fetch", fails, raising=False)
        with pytest.raises(SourceError, match=r"reading a: c/0/0: ") as caught:
            source.read(Box((0, 0), (8, 8)))
    assert type(caught.value) is SourceError
    assert _may_pass(caught.value)
    assert (source.read(Box((0, 0), (8, 8))) == 1).all()
    source.close()


class TestAGuestThatWasTakenOver:
    @pytest.fixture
    def result(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
        find_hostile_format(monkeypatch)
        put_object(bucket, "secret", b"not yours")
        put_object(bucket, "in/part", b"0123456789")

        def result(deed: str) -> str:
            put_object(bucket, "in/deed", MAGIC + deed.encode())
            spec = SourceSpec(kind="hostile", paths=(f"{bucket}/in",))
            source = BucketGuestSource(spec, MODULES)
            try:
                return dict(source.source_items())["result"].decode()
            finally:
                source.close()

        return result

    def test_gets_what_lies_below(self, result: Callable[[str], str]) -> None:
        assert result('ask ["part", 2, 5]') == "b'234'"
        assert result('ask ["gone", 0, null]') == "None"

    @pytest.mark.parametrize("key", ["../secret", "x/../../secret", ".", ""])
    def test_gets_nothing_that_lies_elsewhere(self, result: Callable[[str], str], key: str) -> None:
        assert "none of its own" in result(f"ask {json.dumps([key, 0, None])}")

    def test_gets_nothing_by_another_address(self, bucket: str, result) -> None:
        assert result(f'ask ["{bucket}/secret", 0, null]') == "None"
        assert result('ask ["/secret", 0, null]') == "None"

    @pytest.mark.parametrize(
        "wanted",
        [
            "[]", '[["part"]]', '[["part", 0, -1]]', '[["part", 5, 2]]', '[[7, 0, 1]]',
            '[["part", "0", 1]]', '[["part", -3, 1]]', f'[["part", {2**70}, null]]', '["part"]',
            '[["part", 1.5, 2]]', json.dumps([["part", 0, 1]] * 17),
        ],
    )  # fmt: skip
    def test_nonsense_is_an_error(self, result: Callable[[str], str], wanted: str) -> None:
        assert "asked for what no object has" in result(f"ask-nonsense {wanted}")

    def test_has_no_credentials(self, result: Callable[[str], str]) -> None:
        for name in filter(lambda name: name.startswith("AWS_"), os.environ):
            assert result(f"environment {name}") == "absent"

    def test_has_no_network(self, bucket: str, s3_server: S3Server, result) -> None:
        port = s3_server.endpoint.rpartition(":")[2]
        assert result(f"connect {port}") in ("errno 1", "errno 13")

    def test_reads_no_file(self, result: Callable[[str], str], tmp_path: Path) -> None:
        if not client.held_by()["landlock"]:
            pytest.skip("this kernel has no Landlock")
        (tmp_path / "a").write_text("text")
        assert result(f"read {tmp_path / 'a'}") == "errno 13"
