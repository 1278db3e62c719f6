"""Check a sealed store against its manifest, and its samples against their source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.errors import SourceError, StoreError, UnsealedStore, UsageError
from tilepress.pipeline.archive.verified import Damage
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

Make = Callable[..., Any]


def _files(store: Path) -> list[str]:
    return sorted(p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file())


def _flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def _verify_or_refuse(store: Path) -> list[Damage]:
    """A root document that is no longer ours to read is an error, not a list."""
    try:
        return verify(store)
    except StoreError as error:
        return [Damage("changed", "zarr.json", str(error))]


class TestASoundStore:
    def test_has_no_damage(self, geo_store: Any) -> None:
        assert verify(geo_store.path) == []

    def test_may_be_moved_and_browsed(self, geo_store: Any, tmp_path: Path) -> None:
        moved = tmp_path / "elsewhere" / "other name.zarr"
        shutil.copytree(geo_store.path, moved)
        (moved / ".DS_Store").write_bytes(b"")
        assert verify(moved) == []


class TestEveryDamageIsFoundAndNamed:
    def test_a_flipped_bit_of_any_object(self, geo_store: Any) -> None:
        """Every object of the store, metadata documents included, three bits each."""
        rng = np.random.default_rng(0)
        for key in _files(geo_store.path):
            path = geo_store.path / key
            good = path.read_bytes()
            for bit in rng.integers(8 * len(good), size=3):
                _flip(path, int(bit))
                found = [damage.key for damage in _verify_or_refuse(geo_store.path)]
                path.write_bytes(good)
                assert any(key == k or key.startswith(f"{k}/") for k in found), (key, found)

    def test_a_missing_object(self, geo_store: Any) -> None:
        for key in _files(geo_store.path):
            path = geo_store.path / key
            good = path.read_bytes()
            path.unlink()
            if key == "zarr.json":
                with pytest.raises(UnsealedStore):
                    verify(geo_store.path)
            else:
                found = verify(geo_store.path)
                assert any(key == d.key or key.startswith(f"{d.key}/") for d in found), key
            path.write_bytes(good)

    @pytest.mark.parametrize("key", ["0/image/c/0/0/9", "0/extra/zarr.json", ".0.aa.partial"])
    def test_an_object_too_many(self, geo_store: Any, key: str) -> None:
        (geo_store.path / key).parent.mkdir(parents=True, exist_ok=True)
        (geo_store.path / key).write_bytes(b"data")
        (damage,) = verify(geo_store.path)
        assert (damage.kind, damage.key) == ("unexpected", key)

    def test_the_chunk_is_named(self, geo_store: Any) -> None:
        _flip(geo_store.path / "0/image/c/0/0/0", 8 * 100)
        found = verify(geo_store.path)
        assert [d.kind for d in found] == ["changed", "undecodable"]
        assert "chunk (0, 0, 0)" in found[1].detail
        assert str(found[1]).startswith("0/image/c/0/0/0: undecodable")

    def test_a_shard_of_another_place(self, geo_store: Any) -> None:
        """Every checksum of its own is right; the manifest knows better."""
        shards = geo_store.path / "0/image/c/0"
        shutil.copy(shards / "1/0", shards / "0/0")
        assert {d.key for d in verify(geo_store.path)} == {"0/image/c/0/0/0"}


class TestAgainstTheSource:
    @pytest.fixture
    def pair(self, make_store: Make, tmp_path: Path) -> tuple[Path, Path]:
        store = make_store()
        np.save(tmp_path / "source.npy", store.image)
        return store.path, tmp_path / "source.npy"

    def test_the_same_samples(self, pair: tuple[Path, Path]) -> None:
        store, source = pair
        assert verify(store, source) == []
        assert verify(store, [source]) == []

    def test_one_other_sample(self, pair: tuple[Path, Path]) -> None:
        store, source = pair
        image = np.load(source)
        image[1, 35, 40] ^= 1
        np.save(source, image)
        (damage,) = verify(store, source)
        assert (damage.kind, damage.key) == ("source", "0/image/c/0/1/1")
        assert "1 of " in damage.detail
        assert "[1, 35, 40]" in damage.detail

    def test_another_shape(self, pair: tuple[Path, Path]) -> None:
        store, source = pair
        np.save(source, np.load(source)[:, 1:])
        (damage,) = verify(store, source)
        assert damage.kind == "source"

    def test_no_source(self, pair: tuple[Path, Path], tmp_path: Path) -> None:
        store, _ = pair
        with pytest.raises(SourceError):
            verify(store, tmp_path / "none.npy")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="got 0"):
            verify(store, tmp_path / "empty")

    def test_a_folder_that_holds_it(self, pair: tuple[Path, Path], tmp_path: Path) -> None:
        store, source = pair
        folder = tmp_path / "folder/deep"
        folder.mkdir(parents=True)
        source.rename(folder / "small.npy")
        assert verify(store, tmp_path / "folder") == []
        np.save(folder / "other.npy", np.zeros((9, 9), np.uint8))
        assert verify(store, tmp_path / "folder") == []
        (folder / "small.npy").rename(folder / "else.npy")
        with pytest.raises(UsageError, match="got 2 images of kind array"):
            verify(store, tmp_path / "folder")

    def test_damaged_samples_are_told_once_more(self, pair: tuple[Path, Path]) -> None:
        store, source = pair
        _flip(store / "0/image/c/0/0/0", 800)
        kinds = [d.kind for d in verify(store, source)]
        assert kinds == ["changed", "undecodable", "source"]


class TestWhatCannotBeChecked:
    def test_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError):
            verify(tmp_path / "none.zarr")


class TestAnArchive:
    """Every store is checked, and what cannot be told of one hides nothing of the others."""

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        (tmp_path / "in/deep").mkdir(parents=True)
        for name in ("a", "deep/b", "c"):
            image = np.random.default_rng(1).integers(0, 99, (20, 30), dtype=np.uint16)
            np.save(tmp_path / "in" / f"{name}.npy", image)
        (tmp_path / "in/readme.txt").write_text("kept")
        assert compress(tmp_path / "in", tmp_path / "out", workers=0).ok
        return tmp_path / "out"

    def test_that_is_sound_has_no_damage(self, archive: Path):
        assert verify(archive) == []
        assert verify(archive, archive.parent / "in") == []

    def test_damages_are_told_by_their_place_in_it(self, archive: Path):
        (shard,) = (archive / "deep/b.zarr").rglob("c/0/0")
        _flip(shard, 80)
        (archive / "c.zarr/zarr.json").unlink()
        (archive / "files/readme.txt").unlink()
        shutil.rmtree(archive / "a.zarr")
        found = verify(archive)
        told = {(damage.kind, damage.key) for damage in found}
        assert ("changed", "deep/b.zarr/0/image/c/0/0") in told
        assert ("unknown", "c.zarr") in told
        assert ("damaged", "a.zarr") in told
        assert any(kind == "damaged" and "files" in key for kind, key in told)

    def test_a_source_that_has_changed_is_told(self, archive: Path):
        np.save(archive.parent / "in/c.npy", np.zeros((20, 30), np.uint16))
        np.save(archive.parent / "in/d.npy", np.zeros((20, 30), np.uint16))
        found = verify(archive, archive.parent / "in")
        assert {(one.kind, one.key.partition("/")[0]) for one in found} >= {("source", "c.zarr")}
        assert any(one.kind == "unknown" and "holds no store of it" in one.detail for one in found)

    def test_takes_sources_as_paths(self, archive: Path):
        with pytest.raises(UsageError, match="give its sources as paths"):
            verify(archive, SourceFinder([archive.parent / "in"]))
