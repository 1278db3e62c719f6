"""In which order patches are drawn: each once, blocks together, batch by batch for workers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.patches.order import deal, in_batches, shuffled

RUNS = [(0, 10), (10, 7), (17, 1), (18, 12), (30, 10)]


def order(**more: int | None) -> list[int]:
    given = {"batch": 4, "workers": 0, "rank": 0, "world": 1, "at_once": 2, "seed": 0} | more
    seed = given.pop("seed")
    random = None if seed is None else np.random.default_rng(seed)
    return list(in_batches(RUNS, random=random, **given))  # type: ignore[arg-type]


class TestSharingOut:
    def test_shares_are_as_large_as_asked_for_and_in_order(self):
        shares = deal(RUNS, [12, 0, 20])
        assert shares == [[(0, 10), (10, 2)], [], [(12, 5), (17, 1), (18, 12), (30, 2)]]

    @pytest.mark.parametrize("world", [1, 2, 3, 7])
    @pytest.mark.parametrize("seed", [None, 4])
    def test_ranks_have_as_many_and_none_twice(self, world: int, seed: int | None):
        found = [order(rank=rank, world=world, seed=seed) for rank in range(world)]
        assert {len(one) for one in found} == {40 // world}
        every = [number for one in found for number in one]
        assert len(set(every)) == len(every)
        assert set(every) <= set(range(40))

    @pytest.mark.parametrize("workers", [0, 1, 2, 3, 50])
    @pytest.mark.parametrize("batch", [1, 4, 7, 40, 100])
    def test_each_comes_once_whatever_the_workers(self, workers: int, batch: int):
        assert sorted(order(workers=workers, batch=batch)) == list(range(40))

    @pytest.mark.parametrize("rank", [-1, 2])
    def test_a_rank_that_is_none_is_refused(self, rank: int):
        with pytest.raises(UsageError, match="of 2"):
            order(rank=rank, world=2)


class TestWorkers:
    def test_each_has_blocks_of_its_own(self):
        """Else every worker would decode every chunk."""
        numbers = order(workers=2, batch=5, at_once=1)
        batches = [numbers[n : n + 5] for n in range(0, 40, 5)]
        blocks = [
            {sum(one >= start for start, _ in RUNS) for batch in batches[hand::2] for one in batch}
            for hand in range(2)
        ]
        assert len(blocks[0] & blocks[1]) <= 1  # that of the seam


class TestShuffling:
    def test_not_at_all_is_block_by_block(self):
        assert order(seed=None) == list(range(40))

    def test_it_is_the_same_each_time(self):
        assert order(seed=1) == order(seed=1) != order(seed=2)

    @pytest.mark.parametrize("at_once", [1, 2, 4])
    def test_few_blocks_are_open_at_a_time(self, at_once: int):
        runs = [(10 * n, 10) for n in range(20)]
        numbers = list(shuffled(runs, at_once, np.random.default_rng(0)))
        assert sorted(numbers) == list(range(200))
        blocks = [number // 10 for number in numbers]
        ends = {block: max(n for n, b in enumerate(blocks) if b == block) for block in set(blocks)}
        starts = {block: blocks.index(block) for block in set(blocks)}
        for moment in range(200):
            assert sum(starts[b] <= moment <= ends[b] for b in ends) <= at_once

    def test_neighbours_are_of_other_blocks(self):
        runs = [(100 * n, 100) for n in range(8)]
        blocks = [n // 100 for n in shuffled(runs, 8, np.random.default_rng(0))]
        assert sum(a == b for a, b in pairwise(blocks)) < 200  # of 799, an eighth by chance
