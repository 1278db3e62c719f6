"""Patches hold the samples that a reader finds there, and chunks are decoded once."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import tilepress
from tilepress.codecs import decoded
from tilepress.codecs.record import crc32c
from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.info import GeoReference
from tilepress.pipeline.patches.patches import Patches, PatchOptions
from tilepress.pipeline.patches.stored import PatchStore

SIZE = 9

Make = Callable[..., Any]


def patches(stores: Any, labels: Any = None, **options: Any) -> Patches:
    return Patches(stores, PatchOptions(**{"size": SIZE, **options}), labels)


def every(made: Patches, *, threads: bool = False) -> list[Any]:
    return list(made.get(range(len(made)), threads=threads))


def here(window: Any, size: int = SIZE) -> tuple[slice, slice]:
    return slice(window.y, window.y + size), slice(window.x, window.x + size)


class TestSamples:
    @pytest.mark.parametrize("positions", ["random", "grid"])
    @pytest.mark.parametrize("threads", [False, True])
    def test_are_those_of_the_image(self, geo_store: Any, positions: str, threads: bool):
        found = every(patches(geo_store.path, positions=positions), threads=threads)
        assert len(found) == {"random": 26, "grid": 30}[positions]
        for patch in found:
            assert np.array_equal(patch.read.samples, geo_store.image[:, *here(patch.window)])

    @pytest.mark.parametrize(
        ("bands", "numbers"),
        [(["B4"], [2]), (["B4", "B2"], [2, 0]), ([2, "B2"], [1, 0]), (["B3"] * 2, [1, 1]),
         (["B04", "b2"], [2, 0]), (["1"], [0])],
    )  # fmt: skip
    def test_bands_come_by_name_or_number(self, geo_store: Any, bands: Any, numbers: list[int]):
        for patch in every(patches(geo_store.path, bands=bands)):
            wanted = geo_store.image[numbers][:, *here(patch.window)]
            assert np.array_equal(patch.read.samples, wanted)

    @pytest.mark.parametrize("chunk", [(5, 1), (2, 2), (1, 4), (3, 4)])
    @pytest.mark.parametrize("bands", [None, [2], [4, 1]])
    def test_of_stacks_in_time_are_one_plane_each(
        self, make_store: Make, chunk: tuple[int, int], bands: list[int] | None
    ):
        image = np.random.default_rng(0).integers(0, 99, (5, 4, 30, 40), dtype=np.uint16)
        grid = ShardGrid(image.shape, (*chunk, 16, 16), (*chunk, 32, 32))
        store = make_store(image=image, grid=grid, axes=("t", "band", "y", "x"))
        made = patches(store.path, bands=bands)
        numbers = [0, 1, 2, 3] if bands is None else [band - 1 for band in bands]
        seen = set()
        for patch in every(made):
            (t,) = patch.window.place
            seen.add(t)
            wanted = image[t][numbers][:, *here(patch.window)]
            assert np.array_equal(patch.read.samples, wanted)
        assert seen == set(range(5))

    def test_of_a_volume_have_one_band(self, make_store: Make):
        store = make_store(axes=("z", "y", "x"))
        for patch in every(patches(store.path)):
            (z,) = patch.window.place
            assert np.array_equal(patch.read.samples[0], store.image[z, *here(patch.window)])

    def test_chunks_are_decoded_once_where_they_are_kept(self, geo_store: Any):
        made = patches(geo_store.path, length=200)
        every(made)
        assert made.reader.chunks_decoded <= 12
        little = patches(geo_store.path, length=200, cache=0)
        every(little)
        assert little.reader.chunks_decoded > 200

    def test_chunks_are_kept_with_those_that_zarr_decodes(
        self, geo_store: Any, monkeypatch: pytest.MonkeyPatch
    ):
        """A process that trains and reads through Zarr has one bound, not two."""
        image = zarr.open_array(geo_store.path, path="0/image", mode="r")
        monkeypatch.setenv("TILEPRESS_CACHE", "8000")  # 5 of 12 chunks
        monkeypatch.setattr(decoded, "_chunks", None)
        made = patches(geo_store.path, length=200)
        assert made.reader.limit == 8000
        every(made)
        _ = image[...]
        every(made)
        assert 0 < decoded.decoded_chunks().nbytes <= 8000
        apart = patches(geo_store.path, length=200, cache="64kB")
        before = decoded.decoded_chunks().nbytes
        every(apart)
        assert apart.reader.chunks_decoded <= 12
        assert decoded.decoded_chunks().nbytes == before

    def test_what_is_damaged_is_told(self, geo_store: Any):
        made = patches(geo_store.path)
        shard = next((geo_store.path / "0/image").rglob("c/0/0/0"))
        shard.write_bytes(shard.read_bytes()[:-7] + b"\xff" * 7)
        with pytest.raises(DamagedStore, match="has a damaged index"):
            every(made)
        shard.unlink()
        with pytest.raises(DamagedStore, match="is missing, or the store was replaced"):
            every(patches(geo_store.path, seed=1))

    @pytest.mark.parametrize("length", [2**62, 2**40])
    def test_a_forged_index_takes_no_memory(self, geo_store: Any, length: int):
        shard = next((geo_store.path / "0/image").rglob("c/0/0/0"))
        data = shard.read_bytes()
        count = 16 * math.prod(PatchStore.open(geo_store.path).image.grid.chunks_per_shard)
        index = np.frombuffer(data[-count - 4 : -4], "<u8").copy()
        index[1::2] = length
        forged = index.tobytes() + crc32c(index.tobytes()).to_bytes(4, "little")
        shard.write_bytes(data[: -count - 4] + forged)
        with pytest.raises(DamagedStore, match="no record of chunk"):
            every(patches(geo_store.path))

    def test_a_pipe_is_not_waited_for(self, geo_store: Any):
        made = patches(geo_store.path)
        shard = next((geo_store.path / "0/image").rglob("c/0/0/0"))
        shard.unlink()
        os.mkfifo(shard)
        with pytest.raises(DamagedStore, match="is no file"):
            every(made)

    def test_many_at_once_decode_no_chunk_twice(self, geo_store: Any):
        """What is decoded for the last ones must not push out what the first ones need."""
        made = patches(geo_store.path, length=60, cache=8_000)  # 5 of 12 chunks
        every(made)
        assert made.reader.chunks_decoded <= 2 * 12


class TestAbsentSamples:
    def test_are_those_that_open_makes_nan(self, geo_store: Any):
        made = patches(geo_store.path, masked=True)
        wanted = tilepress.open(geo_store.path, masked=True)["image"].values
        for patch in every(made):
            there = ~np.isnan(wanted[:, *here(patch.window)])
            assert np.array_equal(patch.read.present, there)
            assert patch.read.valid == pytest.approx(there.mean())

    def test_patches_with_too_many_are_drawn_again(self, make_store: Make):
        image = np.full((1, 64, 64), 7, np.uint16)
        image[:, 20:50, 20:50] = 1
        store = make_store(image=image, nodata=7, axes=("band", "y", "x"))
        found = every(patches(store.path, min_valid=0.5, length=40))
        assert len(found) == 40
        assert min(patch.read.valid for patch in found) >= 0.5

    def test_where_there_are_none_that_is_said(self, make_store: Make):
        store = make_store(image=np.full((1, 64, 64), 7, np.uint16), nodata=7)
        with pytest.raises(UsageError, match="64 random ones had less than 10% valid samples"):
            every(patches(store.path, min_valid=0.1))

    def test_a_name_of_several_bands_is_refused(self, make_store: Make):
        store = make_store(axes=("band", "y", "x"), attributes={"band_names": ["a", "a", "b"]})
        with pytest.raises(UsageError, match="band 'a' may be any of 1, 2: give its number"):
            patches(store.path, bands=["a"])


class TestManyStores:
    def test_an_archive_a_pattern_and_a_list_are_the_same(self, make_store: Make, tmp_path: Path):
        made = [make_store(name).path for name in ("a.zarr", "b.zarr")]
        for named in (made, str(tmp_path), f"{tmp_path}/*.zarr", [str(made[0]), made[1]]):
            found = patches(named)
            assert [Path(store.where).name for store in found.stores] == ["a.zarr", "b.zarr"]
            assert {patch.store.where for patch in every(found)} == set(map(str, made))

    def test_what_names_none_is_refused(self, tmp_path: Path):
        for named in ([], str(tmp_path), f"{tmp_path}/*.zarr"):
            with pytest.raises(UsageError, match="looking for stores: "):
                patches(named)

    @pytest.mark.parametrize(
        ("image", "options", "told"),
        [
            (np.zeros((2, 40, 52), "u2"), {}, "b.zarr has 2 bands, .*a.zarr 3 bands; choose"),
            (np.zeros((3, 8, 52), "u2"), {}, "b.zarr has 8 × 52 samples, too few .* 9 × 9"),
            (np.zeros((3, 40, 52), "u1"), {"same_dtype": True}, "b.zarr has uint8 samples, .*16"),
            (np.zeros((3, 40, 52), "u2"), {"bands": ["red"]}, "a.zarr: it has no band 'red'; its"),
            (
                np.zeros((3, 40, 52), "u2"),
                {"bands": [4]},
                "it has no band 4; its bands are 1",
            ),
            (np.zeros((3, 40, 52), "u2"), {"level": 1}, "it has levels 0 … 0, got 1"),
        ],
    )
    def test_what_would_give_other_patches_is_refused(
        self, make_store: Make, image: np.ndarray, options: dict[str, Any], told: str
    ):
        axes = ("band", "y", "x")
        made = [make_store("a.zarr", axes=axes).path, make_store("b.zarr", image, axes=axes).path]
        with pytest.raises(UsageError, match=told):
            patches(made, **options)

    @pytest.mark.parametrize(
        "options",
        [{"positions": "row"}, {"size": 0}, {"length": 0}, {"stride": 4}, {"coverage": 0},
         {"min_valid": 2}, {"positions": "grid", "length": 3}, {"positions": "grid", "stride": 0}],
    )  # fmt: skip
    def test_options_that_make_no_sense_are_refused(self, options: dict[str, Any]):
        with pytest.raises(UsageError, match="taking patches: "):
            PatchOptions(**{"size": SIZE, **options})


class TestLabels:
    def test_lie_where_the_image_does(self, geo_store: Any, make_store: Make):
        classes = np.random.default_rng(0).integers(0, 5, (40, 52), dtype=np.uint8)
        labels = make_store("labels.zarr", classes, axes=("y", "x"))
        for patch in every(patches(geo_store.path, labels.path)):
            assert patch.label is not None
            assert np.array_equal(patch.label[0], classes[here(patch.window)])

    @pytest.mark.parametrize(
        ("shape", "geo", "told"),
        [
            ((20, 26), None, "have 20 × 26 samples, .*small.zarr has 40 × 52: resample"),
            ((40, 52), (32632, 30.0), "have another CRS than .*small.zarr: warp"),
            ((40, 52), (32631, 31.0), "have another transform than .*small.zarr: warp"),
        ],
    )
    def test_on_another_grid_are_refused(
        self, geo_store: Any, make_store: Make, shape: tuple[int, int], geo: Any, told: str
    ):
        from rasterio.crs import CRS

        place = None
        if geo is not None:
            transform = (geo[1], 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)
            wkt = CRS.from_epsg(geo[0]).to_wkt()
            place = GeoReference(crs_wkt=wkt, transform=transform)
        labels = make_store("labels.zarr", np.zeros(shape, "u1"), axes=("y", "x"), geo=place)
        with pytest.raises(UsageError, match=told):
            patches(geo_store.path, labels.path)

    def test_one_store_for_each_image(self, geo_store: Any, make_store: Make):
        labels = make_store("labels.zarr", np.zeros((40, 52), "u1"), axes=("y", "x"))
        with pytest.raises(UsageError, match="1 stores of images and 2 of labels"):
            patches(geo_store.path, [labels.path, labels.path])


class TestOtherProcesses:
    def test_a_pickle_gives_the_same_patches(self, geo_store: Any):
        made = patches(geo_store.path, masked=True, labels=geo_store.path)
        first = every(made)
        copy = pickle.loads(pickle.dumps(made))
        assert len(pickle.dumps(made)) < 100_000  # and no samples
        for one, two in zip(first, every(copy), strict=True):
            assert one.window == two.window
            assert np.array_equal(one.read.samples, two.read.samples)

    def test_a_fork_of_what_reads_a_bucket_says_what_to_do(
        self, geo_store: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        from ..images import upload

        upload(geo_store.path, f"{bucket}/small.zarr")
        made = patches(f"{bucket}/small.zarr")
        assert np.array_equal(
            every(made)[0].read.samples, every(patches(geo_store.path))[0].read.samples
        )
        copy = pickle.loads(pickle.dumps(made))  # as spawned workers get it
        assert len(every(copy)) == len(made)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(UsageError, match="multiprocessing_context='spawn'"):
            every(made)


class TestNumbers:
    def test_go_on_with_the_next_epoch(self, geo_store: Any):
        made = patches(geo_store.path, length=10)
        (first,) = made.get([3], threads=False)
        (next_,) = made.get([13], threads=False)
        (last,), (negative,) = made.get([9], threads=False), made.get([-1], threads=False)
        assert first.window != next_.window
        assert last.window == negative.window
        with pytest.raises(IndexError):
            list(made.get([-11], threads=False))

    def test_lie_together_block_by_block(self, geo_store: Any):
        made = patches(geo_store.path, length=10)
        for epoch in range(3):
            runs = made.runs(epoch)
            assert runs[0][0] == 10 * epoch
            assert [s + n for s, n in runs] == [*(s for s, _ in runs[1:]), 10 * epoch + 10]
