"""Where patches lie: within one block, as often in any place, and as many as were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.pipeline.patches.blocks import (
    Axis,
    Layout,
    default_length,
    grid_epoch,
    random_epoch,
)

TOTAL = 24_000
"""Patches that are drawn to count them."""


def layout(height: int, width: int, *, chunk: int = 16, size: int = 7, z: int = 0) -> Layout:
    planes = ((z, 4),) if z else ()
    return Layout(planes=planes, y=Axis(height, chunk, size), x=Axis(width, chunk, size))


class TestRandomPatches:
    @pytest.mark.parametrize("length", [1, 13, 200])
    @pytest.mark.parametrize("coverage", [0.5, 2.0, 50.0])
    def test_there_are_as_many_as_were_asked_for(self, length: int, coverage: float):
        epoch = random_epoch([layout(40, 52), layout(16, 90)], 0, 0, length, coverage)
        assert len(epoch) == length == epoch.counts.sum()
        assert all(epoch.counts > 0)
        found = [epoch.windows(block) for block in range(len(epoch.counts))]
        assert [len(some) for some in found] == epoch.counts.tolist()

    def test_they_are_the_same_each_time_and_others_in_the_next_epoch(self):
        def windows(seed: int, epoch: int) -> list[object]:
            found = random_epoch([layout(40, 52)], seed, epoch, 30, 1.0)
            return [found.windows(block) for block in range(len(found.counts))]

        assert windows(1, 0) == windows(1, 0)
        assert windows(1, 0) != windows(1, 1)
        assert windows(1, 0) != windows(2, 0)

    @pytest.mark.parametrize("size", [7, 16, 17, 20, 33])
    def test_those_of_a_block_touch_few_chunks(self, size: int):
        """Which is why they are taken together."""
        one = layout(100, 120, size=size)
        epoch = random_epoch([one], 3, 0, 100, 1.0)
        for block in range(len(epoch.counts)):
            rows = {n for w in epoch.windows(block) for n in (w.y // 16, (w.y + size - 1) // 16)}
            columns = {n for w in epoch.windows(block) for n in (w.x // 16, (w.x + size - 1) // 16)}
            assert max(rows) - min(rows) < one.y.side
            assert max(columns) - min(columns) < one.x.side

    def test_they_lie_within_the_image(self):
        epoch = random_epoch([layout(40, 52, z=9)], 0, 0, 500, 1.0)
        for block in range(len(epoch.counts)):
            for (z,), y, x in epoch.windows(block):
                assert 0 <= z < 9
                assert 0 <= y <= 40 - 7
                assert 0 <= x <= 52 - 7

    @pytest.mark.parametrize("length", [6, 60])
    def test_every_place_is_as_likely_as_any_other(self, length: int):
        """Across borders of chunks, at edges, in each image: over the epochs."""
        layouts = [layout(36, 52), layout(20, 16)]
        counts = [np.zeros((30, 46)), np.zeros((14, 10))]
        for number in range(TOTAL // length):
            epoch = random_epoch(layouts, 5, number, length, 2.0)
            for block in range(len(epoch.counts)):
                for window in epoch.windows(block):
                    counts[epoch.store_of(block)][window.y, window.x] += 1
        places = sum(one.size for one in counts)
        expected = TOTAL / places
        noise = length if length < 20 else 4  # patches of an epoch are of few blocks
        for one in counts:
            for mean in (one.mean(0), one.mean(1)):
                spread = np.sqrt(noise * expected * len(one.mean(0)) / one.size)
                assert np.abs(mean - expected).max() < 6 * spread + 0.05 * expected

    def test_an_image_of_few_chunks_is_one_block(self):
        epoch = random_epoch([layout(20, 30)], 0, 0, 10, 1.0)
        assert epoch.counts.tolist() == [10]

    def test_others_are_of_the_same_block(self):
        epoch = random_epoch([layout(100, 100)], 0, 0, 30, 1.0)
        first, others = epoch.windows(0), epoch.more(0, 1)
        assert len(first) == len(others)
        assert first != others
        assert abs(first[0].y - others[0].y) < 32


class TestAGrid:
    @pytest.mark.parametrize(("size", "stride"), [(7, 7), (7, 5), (20, 20), (40, 40), (7, 16)])
    def test_every_position_comes_once(self, size: int, stride: int):
        epoch = grid_epoch([layout(40, 52, size=size), layout(41, 40, size=size, z=5)], stride)
        found = [
            (epoch.store_of(block), *window)
            for block in range(len(epoch.counts))
            for window in epoch.windows(block)
        ]
        wanted = {
            (store, place, y, x)
            for store, (height, width, places) in enumerate(
                [(40, 52, [()]), (41, 40, [(z,) for z in range(5)])]
            )
            for place in places
            for y in {*range(0, height - size, stride), height - size}
            for x in {*range(0, width - size, stride), width - size}
        }
        assert len(found) == len(set(found)) == len(epoch)
        assert set(found) == wanted


class TestTheLengthOfAnEpoch:
    def test_is_that_of_all_samples(self):
        assert default_length([layout(70, 70)]) == 100
        assert default_length([layout(70, 70), layout(14, 7, z=3)]) == 106
        assert default_length([layout(7, 7)]) == 1
