"""Grids: every sample lies in exactly one chunk and one shard, whatever the image's shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.pipeline.image.grid import ShardGrid, choose_grid

SHAPES = st.lists(st.integers(1, 70), min_size=2, max_size=4).map(tuple)


class TestEverySampleHasOnePlace:
    """A sample in two shards would be written twice, one in none would be lost."""

    @given(SHAPES, st.integers(1, 40), st.sampled_from([1, 2, 8]), st.integers(1, 20_000))
    def test_shards_cover_the_image_once(
        self, shape: tuple[int, ...], tile: int, itemsize: int, limit: int
    ):
        grid = choose_grid(shape, itemsize, tile=tile, max_shard_bytes=limit)
        seen = np.zeros(shape, np.uint8)
        for index in grid.indices():
            seen[grid.box(index).slices] += 1
        assert (seen == 1).all()
        assert grid.total == len(list(grid.indices()))

    @given(SHAPES, st.integers(5, 40))
    def test_chunks_cover_their_shard_once(self, shape: tuple[int, ...], tile: int):
        grid = choose_grid(shape, 2, tile=tile, max_shard_bytes=8000)
        seen = np.zeros([n + s for n, s in zip(shape, grid.shard, strict=True)], np.uint8)
        for index in grid.indices():
            for box in grid.chunk_boxes(index):
                if all(start < n for start, n in zip(box.start, shape, strict=True)):
                    seen[box.slices] += 1
        assert (seen[tuple(slice(0, n) for n in shape)] == 1).all()


class TestChunks:
    def test_each_has_one_place_in_one_shard(self) -> None:
        grid = ShardGrid((9, 40, 70), (3, 8, 16), (3, 16, 64))
        assert grid.place_of((2, 3, 4)) == ((2, 1, 1), (0, 1, 0))
        places = {grid.place_of(chunk) for chunk in np.ndindex(grid.chunk_counts)}
        assert len(places) == grid.total_chunks


class TestSizes:
    def test_a_small_image_is_one_chunk_of_its_own_size(self):
        grid = choose_grid((3, 40, 60), 2)
        assert grid == ShardGrid((3, 40, 60), (3, 40, 60), (3, 40, 60))

    def test_planes_are_shared_out_evenly(self):
        """17 slices are 9 and 8, not 16 and 1."""
        assert choose_grid((17, 600, 600), 2).chunk == (9, 512, 512)

    @pytest.mark.parametrize("limit", [2**20, 2**22, 2**27])
    def test_a_shard_keeps_to_its_limit_and_is_whole_chunks(self, limit: int):
        grid = choose_grid((40, 5000, 7000), 2, max_shard_bytes=limit)
        chunk_bytes = math.prod(grid.chunk) * 2
        assert math.prod(grid.shard) * 2 <= max(limit, chunk_bytes)
        assert all(s % c == 0 for s, c in zip(grid.shard, grid.chunk, strict=True))

    def test_a_shard_that_would_cut_a_chunk_is_refused(self):
        with pytest.raises(ValueError, match="no multiple of chunk"):
            ShardGrid((10, 10), (4, 4), (6, 8))


class TestSampleOfChunks:
    """Weights are chosen on it: each time on the same chunks, and on chunks of the whole image."""

    def test_few_chunks_are_all_taken_and_clipped(self):
        grid = ShardGrid((5, 7), (4, 4), (8, 8))
        boxes = [(box.start, box.stop) for box in grid.sample_chunks(8)]
        assert boxes == [
            ((0, 0), (4, 4)), ((0, 4), (4, 7)), ((4, 0), (5, 4)), ((4, 4), (5, 7)),
        ]  # fmt: skip
        assert grid.total_chunks == 4

    def test_of_many_the_same_ones_each_time_and_from_all_over(self):
        grid = ShardGrid((4096, 4096), (64, 64), (512, 512))
        first, again = (list(grid.sample_chunks(32)) for _ in range(2))
        assert first == again
        assert len(set(first)) == 32
        rows = [box.start[0] for box in first]
        assert min(rows) < 1024 < 3072 < max(rows)


class TestPlanesOfAChunk:
    """Who reads single slices or bands decodes no more than they were told to share a record."""

    @pytest.mark.parametrize(
        ("planes", "chunk"),
        [(0, (9, 512, 512)), (1, (1, 512, 512)), (4, (4, 512, 512)), (32, (17, 512, 512))],
    )
    def test_there_are_no_more_than_asked_for(self, planes: int, chunk: tuple[int, ...]):
        assert choose_grid((17, 600, 600), 2, planes=planes).chunk == chunk

    def test_bands_go_together_before_slices_do(self):
        assert choose_grid((20, 3, 600, 600), 2, planes=6).chunk == (2, 3, 512, 512)
        assert choose_grid((20, 3, 600, 600), 2, planes=2).chunk == (1, 2, 512, 512)

    def test_a_shard_still_has_as_much_as_it_may(self):
        one, usual = (choose_grid((64, 600, 600), 2, planes=n).shard for n in (1, 0))
        assert one == usual == (64, 1024, 1024)
