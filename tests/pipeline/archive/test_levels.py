"""Levels of an image are written, checked, mended and gone on with as the image itself is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr_models.v05.image import Image

import tilepress
from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.archive import plan, write
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.export import export
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.storage import retry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, read_root
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish
from tilepress.workflows.run.parts import plan as plan_parts

from ...helpers.slide_files import pyramid, write_slide

LEVELS = pyramid(70, 90)


def give_small_shards(patched: pytest.MonkeyPatch) -> None:
    """Give every level shards of one chunk."""
    whole = geometry.choose_grid

    def small(shape: tuple[int, ...], itemsize: int, **more: object) -> geometry.ShardGrid:
        return whole(shape, itemsize, **{**more, "max_shard_bytes": 1})  # type: ignore[arg-type]

    patched.setattr(plan, "choose_grid", small)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    give_small_shards(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source and its store."""
    folder = tmp_path_factory.mktemp("made")
    write_slide(folder / "in/slide.tif", LEVELS, tile=16)
    with pytest.MonkeyPatch.context() as patched:
        give_small_shards(patched)
        assert compress(folder / "in/slide.tif", folder / "out", workers=0, tile=32).ok
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "in", tmp_path / "in") / "slide.tif"


@pytest.fixture
def store(made: Path, source: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "out", tmp_path / "out") / "slide.zarr"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class TestReaders:
    def test_stock_readers_open_every_level(self, store: Path):
        for number, level in enumerate(LEVELS):
            with xr.open_zarr(store, group=str(number)) as found:
                np.testing.assert_array_equal(found.image.values, level)
        group = zarr.open_group(store, mode="r")
        multiscale = Image.from_zarr(group).ome_attributes.multiscales[0]
        assert [one.path for one in multiscale.datasets] == ["0/image", "1/image", "2/image"]

    def test_ours_opens_the_level_that_is_asked_for(self, store: Path):
        with tilepress.open(store, level=2) as found:
            np.testing.assert_array_equal(found.image.values, LEVELS[2])
        with pytest.raises(UsageError, match="levels 0 … 2, got 3"):
            tilepress.open(store, level=3)

    def test_a_plain_copy_has_them_all(self, store: Path, tmp_path: Path):
        """What its root document lists is there."""
        (copy,) = export(store, tmp_path / "plain.zarr", "zarr")
        group = zarr.open_group(copy, mode="r")
        for dataset in Image.from_zarr(group).ome_attributes.multiscales[0].datasets:
            level = LEVELS[int(dataset.path.partition("/")[0])]
            np.testing.assert_array_equal(group[dataset.path][:], level)

    def test_a_reader_that_knows_no_levels_refuses(self, store: Path):
        """Its format is another one, so that none is checked or exported without its levels."""
        assert read_root(store).statement["format_version"] == 4
        reader = StoreReader.open(store)
        assert reader.level_count == 3
        assert reader.arrays == ("image", "1/image", "2/image")
        assert reader.statement["raw_bytes"] == sum(level.nbytes for level in LEVELS)
        np.testing.assert_array_equal(reader.at_level(1).image[:], LEVELS[1])


class TestDamage:
    def test_of_a_level_is_found_and_mended(self, store: Path, source: Path):
        before = contents(store)
        assert verify(store, source) == []
        shard = store / "1/image/c/0/1/1"
        shard.write_bytes(shard.read_bytes()[:-9] + bytes(9))
        (store / "2/zarr.json").unlink()
        assert {damage.key for damage in verify(store)} == {"1/image/c/0/1/1", "2/zarr.json"}
        (done,) = repair_stores(store, [source])
        assert done.state == "repaired", done
        assert contents(store) == before

    def test_of_the_root_document(self, store: Path, source: Path):
        (store / "zarr.json").unlink()
        (store / "1/image/c/0/0/0").unlink()
        (done,) = repair_stores(store, [source])
        assert done.state == "repaired", done
        assert verify(store, source) == []

    def test_of_a_level_in_another_source(self, store: Path, tmp_path: Path):
        """A level that differs is a difference, though the full resolution is the same."""
        other = [*LEVELS[:2], LEVELS[2] ^ 1]
        found = verify(store, write_slide(tmp_path / "else/slide.tif", other, tile=16))
        assert {damage.kind for damage in found} == {"source"}
        assert {damage.key.partition("/")[0] for damage in found} == {"2"}
        fewer = write_slide(tmp_path / "fewer/slide.tif", LEVELS[:2], tile=16)
        assert "levels" in str(verify(store, fewer)[0])

    def test_a_level_that_is_gone_is_no_export(self, store: Path):
        shutil.rmtree(store / "1/image/c")
        with pytest.raises(DamagedStore):
            StoreReader.open(store).at_level(1).read(geometry.Box((0, 0, 0), (3, 9, 9)))


class TestARunThatWasInterrupted:
    def test_goes_on_with_what_is_there(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def killed(*_: object) -> str:
            raise OSError(5, "killed")

        with monkeypatch.context() as patched:
            patched.setattr(write, "_seal", killed)
            patched.setattr(retry, "STORAGE_TRIES", 1)
            assert not compress(source, tmp_path / "out", workers=0, tile=32).ok
        store = tmp_path / "out/slide.zarr"
        assert not is_sealed(store)
        (store / "1/image/c/0/0/0").unlink()
        report = compress(source, tmp_path / "out", workers=0, tile=32)
        (image,) = report.images
        assert (image.status, image.shards - image.shards_reused) == ("written", 1)
        assert verify(store, source) == []

    def test_and_is_unchanged_once_it_is_sealed(self, store: Path, source: Path):
        before = contents(store)
        (image,) = compress(source, store.parent, workers=0, tile=32).images
        assert image.status == "unchanged"
        assert contents(store) == before


def test_replacing_leaves_nothing_of_the_store_before(store: Path, source: Path):
    (image,) = compress(source, store.parent, workers=0, tile=16, force=True).images
    assert image.status == "written"
    assert verify(store, source) == []
    assert StoreReader.open(store).separator == "."


def test_parts_share_all_levels(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    plan_parts(source, out, workers=0, tile=32)
    for part in ("0/2", "1/2"):
        compress(source, out, workers=0, tile=32, part=part)
    assert finish(out, workers=0).ok
    assert verify(out / "slide.zarr", source) == []
