"""Levels are added to stores that have none; their full resolution stays as it is coded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from tilepress.codecs.reduce import reduced
from tilepress.errors import UsageError
from tilepress.pipeline.archive import add_levels as room
from tilepress.pipeline.archive import plan
from tilepress.pipeline.archive.add_levels import add_levels
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.cli.app import app
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth
from ..images import tiff

IMAGE = smooth((90, 110), 1).astype(np.uint16)
OPTIONS: dict[str, Any] = {"workers": 0, "tile": 32}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every level shards of one chunk, and nobody time to read what is replaced."""
    whole = geometry.choose_grid

    def small(shape: tuple[int, ...], itemsize: int, **more: object) -> geometry.ShardGrid:
        return whole(shape, itemsize, **{**more, "max_shard_bytes": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(plan, "choose_grid", small)
    monkeypatch.setattr(room, "choose_grid", small)
    monkeypatch.setattr(room, "READERS_S", 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiff(tmp_path / "in/scene.tif", IMAGE)


@pytest.fixture
def store(source: Path, tmp_path: Path) -> Path:
    assert compress(source, tmp_path / "out", **OPTIONS).ok
    return tmp_path / "out/scene.zarr"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class TestAStoreWithoutLevels:
    @pytest.mark.parametrize("bound", [0, 2])
    def test_gets_them_and_keeps_its_records(self, source: Path, tmp_path: Path, bound: int):
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=bound).ok
        store = tmp_path / "out/scene.zarr"
        before = contents(store)
        (done,) = add_levels(store, [source], 2)
        assert (done.state, done.levels) == ("written", 2), done
        assert verify(store, source) == []
        after = contents(store)
        for key, data in before.items():
            if key.startswith("0/image/c/"):
                assert after[_renamed(key)] == data
        with xr.open_datatree(store, engine="zarr") as tree:
            found = tree["2/image"].values.astype(int)
            assert np.abs(found - reduced(IMAGE, 4, "average")).max() <= bound
        assert not (store.parent / ".tilepress/scene.zarr").exists()

    def test_is_the_one_that_compress_would_have_written(self, store: Path, source: Path):
        assert [one.ok for one in add_levels(store, [source], 2)] == [True]
        (image,) = compress(source, store.parent, **OPTIONS, levels=2).images
        assert image.status == "unchanged"

    def test_has_planes_together_as_the_store_has_them(self, tmp_path: Path):
        np.save(tmp_path / "scene.npy", smooth((3, 90, 110)).astype(np.uint16))
        assert compress(tmp_path / "scene.npy", tmp_path / "out", **OPTIONS, planes_per_chunk=1).ok
        assert [one.ok for one in add_levels(tmp_path / "out", [tmp_path / "scene.npy"], 1)]
        reader = StoreReader.open(tmp_path / "out/scene.zarr")
        assert [reader.at_level(n).chunk for n in range(2)] == [(1, 32, 32)] * 2

    def test_is_left_alone_the_second_time(self, store: Path, source: Path):
        assert [one.ok for one in add_levels(store, [source], 2)] == [True]
        before = contents(store)
        (done,) = add_levels(store, [source], 3)
        assert (done.state, done.levels) == ("unchanged", 2)
        assert contents(store) == before

    def test_is_left_alone_where_it_is_small(self, store: Path, source: Path):
        before = contents(store)
        (done,) = add_levels(store, [source], "auto")
        assert done.state == "unchanged"
        assert "too small" in str(done.reason)
        assert contents(store) == before

    def test_of_an_archive_each(self, source: Path, tmp_path: Path):
        tiff(tmp_path / "in/other.tif", IMAGE + 1)
        assert compress(tmp_path / "in", tmp_path / "out", **OPTIONS).ok
        found = list(add_levels(tmp_path / "out", [tmp_path / "in"], 1))
        assert [one.state for one in found] == ["written", "written"]
        for name in ("scene", "other"):
            assert verify(tmp_path / f"out/{name}.zarr", tmp_path / f"in/{name}.tif") == []


class TestWhatIsNotItsSource:
    def test_is_refused_and_nothing_is_changed(self, store: Path, source: Path, tmp_path: Path):
        before = contents(store)
        os.utime(source, (1e9, 1e9))
        (touched,) = add_levels(store, [source], 2)
        (other,) = add_levels(store, [tiff(tmp_path / "else/scene.tif", IMAGE + 1)], 2)
        for done in (touched, other):
            assert done.state == "failed"
            assert "touched" in str(done.reason)
        assert contents(store) == before

    def test_must_be_there(self, store: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="no such file"):
            next(iter(add_levels(store, [tmp_path / "gone.tif"], 2)))
        with pytest.raises(UsageError, match="no tilepress store"):
            next(iter(add_levels(tmp_path / "in", [tmp_path], 2)))


class TestDamageAndInterruptions:
    def test_a_damaged_shard_is_no_part_of_a_new_store(self, store: Path, source: Path):
        shard = store / "0/image/c/1/1"
        shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
        before = contents(store)
        (done,) = add_levels(store, [source], 2)
        assert done.state == "failed"
        assert "repair" in str(done.reason)
        assert before.items() <= contents(store).items()

    @pytest.mark.parametrize("at", ["_copy", "seal_image"])
    def test_the_old_store_is_whole_and_the_same_line_goes_on(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch, at: str
    ):
        calls = 0
        right = getattr(room, at)

        def killed(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == (3 if at == "_copy" else 1):
                raise OSError(5, "killed")
            return right(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(room, at, killed)
            (done,) = add_levels(store, [source], 2)
            assert done.state == "failed"
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == 1
        (done,) = add_levels(store, [source], 2)
        assert done.state == "written", done
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == 3


def test_the_command(store: Path, source: Path) -> None:
    line = ["levels", str(store), "--source", str(source), "--levels", "2"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "written: 2 further levels" in done.output.replace("\n", " ")
    assert CliRunner().invoke(app, [*line[:-1], "many"]).exit_code != 0


def _renamed(key: str) -> str:
    """Return the key that a chunk has in a store with the other separator."""
    array, _, index = key.partition("/c/")
    return f"{array}/c.{index.replace('/', '.')}"
