"""``--force`` and what it must never do: leave nobody with a store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.pipeline.archive.plan import ledger_folder
from tilepress.pipeline.verify import verify
from tilepress.workflows.report.telling import Event, Note, ShardStored, SilentProgress
from tilepress.workflows.run import sweep
from tilepress.workflows.run.parts import finish, plan

from ...helpers.samples import smooth
from .conftest import run, stored

OLD, NEW = smooth((8, 90, 120), 1), smooth((8, 90, 120), 2)

TILES = pytest.mark.parametrize("tile", [32, 512], ids=["many shards", "small"])


@pytest.fixture
def source(many_shards: Path, tmp_path: Path) -> Path:
    """The source of the old store, and of the new one afterwards; tiles of 32 give many shards."""
    np.save(tmp_path / "scene.npy", OLD)
    return tmp_path / "scene.npy"


class After(SilentProgress):
    """Does something to the source, or to the run, when so many shards are stored."""

    def __init__(self, shards: int, do: Callable[[], object]) -> None:
        self.left, self.do = shards, do
        self.notes: list[str] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)
        if isinstance(event, ShardStored):
            self.left -= 1
            if self.left == 0:
                self.do()


def interrupt() -> None:
    raise KeyboardInterrupt


def assert_old(store: Path) -> None:
    assert verify(store) == []
    assert np.array_equal(stored(store), OLD)


class TestTheOldStoreStays:
    """In its place and whole; the run says so in its line."""

    @TILES
    def test_where_the_source_proves_damaged(self, source: Path, tmp_path: Path, tile: int):
        store = tmp_path / "out/scene.zarr"
        assert run(source, tmp_path / "out", tile=tile).ok
        os.truncate(source, source.stat().st_size // 2)
        (failure,) = run(source, tmp_path / "out", tile=tile, force=True).failures
        assert "the old store stays in its place" in failure.message
        assert "--force" not in failure.message
        assert_old(store)

    @pytest.mark.parametrize("what", ["vanishes", "changes"])
    def test_where_it_does_so_meanwhile(self, source: Path, tmp_path: Path, what: str):
        assert run(source, tmp_path / "out", tile=32).ok
        np.save(source, NEW)
        do = source.unlink if what == "vanishes" else lambda: os.utime(source, (1, 1))
        report = run(source, tmp_path / "out", tile=32, force=True, progress=After(3, do))
        (failure,) = report.failures
        assert "the old store stays in its place" in failure.message
        assert "--force" not in failure.message
        assert_old(tmp_path / "out/scene.zarr")

    def test_where_the_run_is_interrupted(self, source: Path, tmp_path: Path):
        store = tmp_path / "out/scene.zarr"
        assert run(source, tmp_path / "out", tile=32).ok
        np.save(source, NEW)
        told = After(3, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", tile=32, force=True, progress=told)
        assert any("1 of them beside old stores, which stay" in text for text in told.notes)
        assert_old(store)
        (failure,) = run(source, tmp_path / "out", tile=32).failures
        assert "the old store is in its place" in failure.message
        assert_old(store)
        (result,) = run(source, tmp_path / "out", tile=32, force=True).images
        assert result.shards_reused == 3
        assert np.array_equal(stored(store), NEW)
        assert not ledger_folder(store).exists()

    def test_and_what_was_begun_goes_with_the_old_line(self, source: Path, tmp_path: Path):
        store, times = tmp_path / "out/scene.zarr", source.stat()
        assert run(source, tmp_path / "out", tile=32).ok
        with pytest.raises(KeyboardInterrupt):
            run(
                source, tmp_path / "out", tile=32, force=True, max_error=1,
                progress=After(3, interrupt),
            )  # fmt: skip
        os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert run(source, tmp_path / "out", tile=32).unchanged == 1
        assert_old(store)
        assert not ledger_folder(store).exists()
        assert not list(store.rglob("c.*"))


class TestNoMessageAdvisesForce:
    """A source that changed is a reason to look."""

    @pytest.mark.parametrize("samples", [NEW, NEW[:, :50]], ids=["samples", "shape"])
    def test_where_the_source_changed(self, source: Path, tmp_path: Path, samples: np.ndarray):
        assert run(source, tmp_path / "out", tile=32).ok
        np.save(source, samples)
        (failure,) = run(source, tmp_path / "out", tile=32).failures
        assert "--force" not in failure.message
        assert "choose another destination" in failure.message

    def test_but_where_options_differ(self, source: Path, tmp_path: Path):
        assert run(source, tmp_path / "out", tile=32).ok
        (failure,) = run(source, tmp_path / "out", tile=32, max_error=1).failures
        assert "pass --force to replace it" in failure.message


class TestReaders:
    def test_see_the_old_store_or_the_new_one(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """A reader that knows Zarr alone opens the store and reads it, again and again."""
        monkeypatch.setattr(sweep, "READERS_S", 1.0)
        store = tmp_path / "out/scene.zarr"
        assert run(source, tmp_path / "out", tile=32).ok
        np.save(source, NEW)
        seen, wrong, stop = {"old": 0, "new": 0}, [], threading.Event()

        def read() -> None:
            while not stop.is_set():
                found = zarr.open_group(store, mode="r")["0/image"][...]
                if np.array_equal(found, OLD):
                    seen["old"] += 1
                elif np.array_equal(found, NEW):
                    seen["new"] += 1
                else:
                    wrong.append(found)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert run(source, tmp_path / "out", tile=32, force=True).ok
        finally:
            stop.set()
            reader.join()
        assert not wrong
        assert min(seen.values()) > 0, seen


class TestParts:
    @pytest.mark.slow
    @TILES
    def test_replace_at_the_finish(self, source: Path, tmp_path: Path, tile: int):
        store = tmp_path / "out/scene.zarr"
        assert run(source, tmp_path / "out", tile=tile).ok
        np.save(source, NEW)
        plan(source, tmp_path / "out", tile=tile, workers=0, force=True)
        assert_old(store)
        for part in ("0/2", "1/2"):
            assert run(source, tmp_path / "out", tile=tile, workers=None, part=part).ok
        assert finish(tmp_path / "out", workers=0).ok
        assert verify(store) == []
        assert np.array_equal(stored(store), NEW)
        assert not (tmp_path / "out/.tilepress").exists()

    def test_replace_a_store_of_the_same_plan(self, source: Path, tmp_path: Path):
        """Planned by force, it is written again, though it is what it would be."""
        store = tmp_path / "out/scene.zarr"
        assert run(source, tmp_path / "out", tile=32).ok
        before = (store / "zarr.json").read_bytes()
        plan(source, tmp_path / "out", tile=32, workers=0, force=True)
        written = 0  # by a part that has all shards of the image, or else by the finish
        for part in ("0/2", "1/2"):
            written += run(source, tmp_path / "out", tile=32, workers=None, part=part).written
        assert written + finish(tmp_path / "out", workers=0).written == 1
        assert (store / "zarr.json").read_bytes() != before
        assert_old(store)
