"""Verification: each record is decoded once, whatever it is compared with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.errors import UsageError
from tilepress.pipeline.archive.verify import check_stores, verify_store
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth

pytestmark = pytest.mark.usefixtures("roomy_stores")  # of small ones: test_lean_stores.py


@pytest.fixture(params=[0, 3], ids=["lossless", "lossy"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Return a store and its source."""
    np.save(tmp_path / "a.npy", smooth((40, 52)))
    report = compress(
        tmp_path / "a.npy", tmp_path / "a.zarr", workers=0, tile=16, max_error=request.param
    )
    assert report.ok, list(report.failures)
    return tmp_path / "a.zarr", tmp_path / "a.npy"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that tells how many records were decoded since it was last called."""
    count = 0
    real = TileCodec.decode

    def decode(self: TileCodec, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return real(self, *arguments, **options)

    def told() -> int:
        nonlocal count
        found, count = count, 0
        return found

    monkeypatch.setattr(TileCodec, "decode", decode)
    return told


def test_memory_that_does_not_suffice_is_no_damage(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TILEPRESS_MAX_MEMORY", "1KiB")
    (found,) = check_stores(pair[0])
    assert found.state == "unknown"
    assert "TILEPRESS_MAX_MEMORY=" in found.findings[0]


class TestEachRecordIsDecodedOnce:
    """Decoding is what a verification costs; with a source it was done twice."""

    def test_with_a_source_and_without(self, pair: tuple[Path, Path], decoded: Callable[[], int]):
        store, source = pair
        records = math.prod(StoreReader.open(store).grid("image").chunk_counts)
        assert records == 12
        assert verify(store) == []
        assert decoded() == records
        assert verify(store, source) == []
        assert decoded() == records

    def test_where_the_source_differs(self, pair: tuple[Path, Path], decoded: Callable[[], int]):
        store, source = pair
        samples = np.load(source)
        samples[20, 30] += 9
        np.save(source, samples)
        (damage,) = verify(store, source)
        assert decoded() == 12
        assert damage.kind == "source"
        assert "1 of 2080 samples differ, the first at [20, 30]" in damage.detail

    def test_but_a_damaged_shard_is_read_again_to_tell_why(
        self, pair: tuple[Path, Path], decoded: Callable[[], int]
    ):
        store, source = pair
        shard = store / "0/image/c/0/0"
        data = bytearray(shard.read_bytes())
        data[100] ^= 1
        shard.write_bytes(data)
        kinds = [damage.kind for damage in verify(store, source)]
        assert kinds == ["changed", "undecodable", "source"]
        assert decoded() > 12


class TestTheSourceIsOpenedForAStoreThatTellsOfIt:
    def test_and_closed(self, pair: tuple[Path, Path]):
        told: list[str] = []

        @contextlib.contextmanager
        def open_it(reader: StoreReader):
            told.append(f"open {reader.path.name}")
            yield Opened()
            told.append("close")

        class Opened:
            def __init__(self) -> None:
                reader = StoreReader.open(pair[0])
                self.read = reader.read
                self.info = type("Info", (), {})()
                self.info.shape, self.info.dtype = reader.shape, reader.dtype
                self.info.axes, self.info.levels = reader.axes, ()

        assert verify_store(storage_path(pair[0]), open_it) == []
        assert told == ["open a.zarr", "close"]

    def test_but_not_where_nothing_can_be_compared(self, pair: tuple[Path, Path]):
        def open_it(reader: StoreReader) -> Any:
            raise AssertionError("opened")

        for key in ("source/manifest/c/0", "zarr.json"):
            good = (pair[0] / key).read_bytes()
            (pair[0] / key).write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
            (damage,) = verify_store(storage_path(pair[0]), open_it)
            assert damage.kind == "changed"
            (pair[0] / key).write_bytes(good)


class TestAnArchive:
    def test_of_which_one_store_is_damaged(self, tmp_path: Path):
        for name in ("a", "b"):
            np.save(tmp_path / f"{name}.npy", smooth((20, 30), ord(name)))
        sources = [tmp_path / "a.npy", tmp_path / "b.npy"]
        assert compress(sources, tmp_path / "out", workers=0).ok
        (tmp_path / "out/a.zarr/0/image/c/0/0").unlink()
        found = {Path(one.store).name: one.state for one in check_stores(tmp_path / "out")}
        assert found == {"a.zarr": "damaged", "b.zarr": "sound"}
        told = [one.differs for one in check_stores(tmp_path / "out", sources)]
        assert told == [False, False]

    def test_whose_source_has_what_cannot_be_read(self, tmp_path: Path):
        """One line says what it is and why, for there may be many."""
        source = tmp_path / "in"
        source.mkdir()
        np.save(source / "a.npy", np.zeros((20, 30), np.uint8))
        (source / "b.tif").write_text("no TIFF file")
        compress(source, tmp_path / "out", workers=0)
        found = check_stores(tmp_path / "out", [source])
        (line,) = (line for one in found for line in one.lines() if "b.tif" in line)
        assert line.startswith(f"{source / 'b.tif'}: unknown: it is not an image that")

    def test_that_is_not_there(self, tmp_path: Path):
        with pytest.raises(UsageError, match="no such file or folder"):
            list(check_stores(tmp_path / "none"))
