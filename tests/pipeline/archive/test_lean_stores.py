"""Stores of small images are verified, repaired and replaced as all are."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.pipeline.archive import images
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.repair import StoreRepair, repair_stores
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store import lean, shard_encode
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import read_root
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth
from ..images import tiff

Tree = dict[str, bytes]

PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}


def press(source: Path, store: Path, **options: object) -> None:
    report = compress(source, store, **{"workers": 0, **options})  # type: ignore[arg-type]
    assert report.ok, list(report.failures)


def tree(store: Path) -> Tree:
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def mend(store: Path, source: Path) -> StoreRepair:
    (done,) = (one for one in repair_stores(store, [source]) if one.store.endswith(".zarr"))
    return done


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiff(tmp_path / "scene.tif", smooth((40, 52), 1).astype(np.uint8))


@pytest.fixture
def store(source: Path, tmp_path: Path) -> Path:
    press(source, tmp_path / "scene.zarr")
    return tmp_path / "scene.zarr"


class TestItsObjects:
    def test_are_few(self, store: Path):
        assert list(tree(store)) == [
            "0/image/c/0/0", "0/image/zarr.json", "0/spatial_ref/zarr.json", "0/x/c/0",
            "0/x/zarr.json", "0/y/c/0", "0/y/zarr.json", "0/zarr.json", "source/c/0", "zarr.json",
        ]  # fmt: skip

    def test_documents_take_far_less_than_those_of_others(
        self, store: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def beside_samples(store: Path) -> int:
            return sum(len(data) for key, data in tree(store).items() if "image/c" not in key)

        monkeypatch.setattr(lean, "LEAN_STORED_BYTES", -1)
        press(source, tmp_path / "roomy.zarr")
        assert not read_root(tmp_path / "roomy.zarr").is_lean
        assert beside_samples(store) < 0.65 * beside_samples(tmp_path / "roomy.zarr")

    def test_a_rerun_finds_it_unchanged(self, store: Path, source: Path):
        before = tree(store)
        report = compress(source, store, workers=0)
        assert [one.status for one in report.images] == ["unchanged"]
        assert tree(store) == before


class TestRepair:
    @pytest.mark.parametrize(
        "keys",
        [
            ("0/image/zarr.json", "0/x/c/0"), ("0/image/c/0/0",), ("0/zarr.json", "0/y/zarr.json"),
            ("zarr.json",), ("zarr.json", "0/image/c/0/0"), ("source/c/0",),
            ("zarr.json", "source/c/0"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("how", ["lost", "changed"])
    def test_everything_comes_back(
        self, store: Path, source: Path, keys: tuple[str, ...], how: str
    ):
        good = tree(store)
        for key in keys:
            if how == "lost":
                (store / key).unlink()
                continue
            data = bytearray(good[key])
            data[len(data) // 2] ^= 1
            (store / key).write_bytes(data)
        done = mend(store, source)
        assert done.state == "repaired", done.reason
        assert tree(store) == good
        assert verify(store, source) == []

    @pytest.mark.parametrize("key", ["0/zarr.json", "0/image/zarr.json"])
    def test_who_loses_both_that_tell_of_the_grid_compresses_again(
        self, store: Path, source: Path, key: str
    ):
        for lost in ("zarr.json", key):
            (store / lost).unlink()
        done = mend(store, source)
        assert done.state == "failed"
        assert "again" in (done.reason or "")
        press(source, store, force=True)
        assert verify(store, source) == []

    def test_a_source_that_was_touched_is_known_by_its_samples(self, store: Path, source: Path):
        (store / "zarr.json").unlink()
        os.utime(source, (1e9, 1e9))
        assert mend(store, source).state == "repaired"
        assert verify(store, source) == []

    def test_one_with_other_metadata_is_refused(self, store: Path, source: Path, tmp_path: Path):
        good = tree(store)
        (store / "zarr.json").unlink()
        other = tiff(tmp_path / "other/scene.tif", smooth((40, 52), 1).astype(np.uint8), pixel=7.0)
        done = mend(store, other)
        assert done.state == "failed"
        assert "metadata are not" in (done.reason or "")
        good.pop("zarr.json")
        assert tree(store) == good

    def test_of_several_of_one_shape_it_finds_its_own(self, tmp_path: Path):
        for number in range(3):
            tiff(tmp_path / f"in/{number}.tif", smooth((40, 52), number).astype(np.uint8))
        press(tmp_path / "in", tmp_path / "out")
        good = tree(tmp_path / "out/1.zarr")
        (tmp_path / "out/1.zarr/zarr.json").unlink()
        done = list(repair_stores(tmp_path / "out", [tmp_path / "in"]))
        assert sorted(one.state for one in done) == ["repaired", "sound", "sound"]
        assert tree(tmp_path / "out/1.zarr") == good


class TestFormatsTakeTurns:
    def test_each_replaces_the_other(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        for is_lean, limit in ((False, -1), (True, 2**20), (False, -1)):
            monkeypatch.setattr(lean, "LEAN_STORED_BYTES", limit)
            press(source, store, force=True)
            assert read_root(store).is_lean == is_lean
            assert verify(store, source) == []
            assert len(tree(store)) == (10 if is_lean else 15)

    def test_one_that_was_not_small_is_repaired_as_it_was(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(lean, "LEAN_STORED_BYTES", -1)
        press(source, tmp_path / "roomy.zarr")
        good = tree(tmp_path / "roomy.zarr")
        monkeypatch.undo()
        for key in ("0/x/c/0", "source/origin/c/0", "source/manifest/c/0", "0/zarr.json"):
            (tmp_path / "roomy.zarr" / key).unlink()
        assert mend(tmp_path / "roomy.zarr", source).state == "repaired"
        assert tree(tmp_path / "roomy.zarr") == good


class TestFormat1:
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a store of a JPEG file as the first version wrote it: of samples."""
        pixels = smooth((3, 64, 64), 3).astype(np.uint8)
        with rasterio.open(
            tmp_path / "jpeg.tif", "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8",
            compress="jpeg", photometric="ycbcr", interleave="pixel", **PLACE,
        ) as file:  # fmt: skip
            file.write(pixels)
        made = images.make_plan

        def first(*arguments: Any, **options: Any) -> ImagePlan:
            return replace(made(*arguments, **options), wordy=True, newest=1)

        with monkeypatch.context() as then:
            then.setattr(images, "make_plan", first)
            then.setattr(shard_encode, "keep_streams", lambda *_: None)
            press(tmp_path / "jpeg.tif", tmp_path / "jpeg.zarr")
        return tmp_path / "jpeg.zarr"

    @pytest.mark.parametrize(("lost", "version"), [("zarr.json", 1), ("0/image/c/0/0/0", 5)])
    def test_is_of_a_newer_one_only_with_newer_records(
        self, store: Path, tmp_path: Path, lost: str, version: int
    ):
        good = tree(store)
        assert read_root(store).statement["format_version"] == 1
        (store / lost).unlink()
        done = mend(store, tmp_path / "jpeg.tif")
        assert (done.state, done.resealed) == ("repaired", True), done.reason
        assert read_root(store).statement["format_version"] == version
        assert (tree(store) == good) == (version == 1)
        assert verify(store, tmp_path / "jpeg.tif") == []


def test_stores_of_further_drivers_are_repaired(tmp_path: Path) -> None:
    samples = smooth((40, 52), 5).astype(np.uint8)
    with rasterio.open(
        tmp_path / "a.img", "w", driver="HFA", width=52, height=40, count=1, dtype="uint8",
        **PLACE,
    ) as file:  # fmt: skip
        file.write(samples, 1)
    press(tmp_path / "a.img", tmp_path / "a.zarr", driver="HFA")
    good = tree(tmp_path / "a.zarr")
    (tmp_path / "a.zarr/0/image/c/0/0").unlink()
    choice = Choice.of((), (), "HFA")
    (done,) = repair_stores(tmp_path / "a.zarr", [tmp_path / "a.img"], choice=choice)
    assert done.state == "repaired", done.reason
    assert tree(tmp_path / "a.zarr") == good


def test_an_interrupted_seal_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All documents but the root's are there: no reader opens it, and the same line ends it."""
    from tilepress.pipeline.store.writer import StoreWriter

    path = tmp_path / "scene.zarr"

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(StoreWriter, "_write_root", fail)
    assert not compress(source, path, workers=0).ok
    assert (path / "0/zarr.json").exists()
    monkeypatch.undo()
    press(source, path)
    assert StoreReader.open(storage_path(path)).origin["kind"] == "geotiff"
    assert verify(path, source) == []
