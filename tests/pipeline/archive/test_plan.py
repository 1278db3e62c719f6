"""Plans: the same line gives the same plan, anything that changes bytes gives another."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tilepress.errors import UnsupportedArray
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, make_plan
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path


def plan(path: Path, store: Path, **options: object) -> ImagePlan:
    (spec,) = discover([path])
    assert isinstance(spec, SourceSpec)
    source = open_source(spec)
    try:
        return make_plan(source, store, EncodeOptions(**options))  # type: ignore[arg-type]
    finally:
        source.close()


class TestDigestNamesTheBytes:
    """Resume trusts it: equal digests mean that finished shards may be kept."""

    def test_it_is_the_same_each_time(self, image: Path, tmp_path: Path):
        assert plan(image, tmp_path / "a.zarr").digest == plan(image, tmp_path / "b.zarr").digest

    def test_it_survives_a_move_of_the_archive(self, image: Path, tmp_path: Path):
        before = plan(image, tmp_path / "a.zarr").digest
        moved = tmp_path / "elsewhere" / image.name
        moved.parent.mkdir()
        shutil.move(image, moved)
        assert plan(moved, tmp_path / "a.zarr").digest == before

    def test_it_tells_a_file_that_was_written_again(self, image: Path, tmp_path: Path):
        before = plan(image, tmp_path / "a.zarr").digest
        os.utime(image, ns=(0, 1))
        assert plan(image, tmp_path / "a.zarr").digest != before

    @pytest.mark.parametrize("change", [{"max_error": 2}, {"tile": 64}, {"planes_per_chunk": 1}])
    def test_it_tells_other_options(self, image: Path, tmp_path: Path, change: dict[str, object]):
        before = plan(image, tmp_path / "a.zarr").digest
        assert plan(image, tmp_path / "a.zarr", **change).digest != before


class TestShards:
    """Every sample belongs to exactly one shard, and a task's key gives nothing away."""

    def test_they_are_listed_as_a_stream_and_counted(self, image: Path, tmp_path: Path):
        made = plan(image, tmp_path / "a.zarr", tile=64)
        refs = list(made.shards())
        assert len(refs) == len(set(refs)) == made.total_shards
        assert made.raw_bytes == 3 * 150 * 200 * 2

    def test_keys_are_hashes(self, image: Path, tmp_path: Path):
        made = plan(image, tmp_path / "a.zarr")
        key = made.key(ShardRef("image", (0, 0, 0)).name)
        assert key.startswith("task-")
        assert "scene" not in key
        assert len(key) == 37


class TestRefusals:
    """Near-lossless coding of a palette would give other colours, not similar ones."""

    def test_max_error_where_it_makes_no_sense(self, image: Path, tmp_path: Path):
        (spec,) = discover([image])
        assert isinstance(spec, SourceSpec)

        class Palette:
            def __init__(self) -> None:
                self._source = open_source(spec)
                self.spec = spec
                self.info = replace(self._source.info, lossy_refusal="samples are palette indices")

        with pytest.raises(UnsupportedArray, match="palette indices"):
            make_plan(Palette(), storage_path(tmp_path / "a.zarr"), EncodeOptions(max_error=1))  # type: ignore[arg-type]


class TestDestination:
    """Stores lie where their sources lay, and never outside the archive."""

    def store_of(self, relative: str) -> Path:
        options = {"name": Path(relative).stem, "relative": relative}
        spec = SourceSpec(kind="array", paths=("scene.npy",), options=options)
        return Path(Destination(storage_path("out")).store_of(spec))

    def test_an_archive_mirrors_the_sources(self):
        assert self.store_of("2024/may/scene.npy") == Path("out/2024/may/scene.zarr")

    def test_a_name_with_dots_stays_whole(self):
        assert self.store_of("a/scene.v1.2.npy") == Path("out/a/scene.v1.2.zarr")

    @pytest.mark.parametrize("relative", ["../../scene.npy", "/etc/scene.npy", "a/../../scene.npy"])
    def test_it_is_never_left(self, relative: str):
        store = self.store_of(relative)
        assert ".." not in store.parts
        assert store.parts[0] == "out"

    def test_a_single_store_takes_any_name(self):
        spec = SourceSpec(kind="array", paths=("scene.npy",))
        assert Destination(storage_path("x.zarr")).store_of(spec) == storage_path("x.zarr")

    def test_parts_of_stores_are_no_input(self, tmp_path: Path):
        archive = Destination(storage_path(tmp_path))
        assert archive.holds_part(str(tmp_path / "a.zarr" / "0" / "image" / "c" / "0"))
        assert not archive.holds_part(str(tmp_path / "a.tif"))
        assert not archive.holds_part(str(tmp_path / "foreign.zarr"))
