"""What the encoder finds before it predicts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tilepress.codecs.wave.structure import (
    _rare_levels,
    choose_references,
    cluster_starts,
    replication,
    used_levels,
)


def smooth(seed: int, shape: tuple[int, int] = (90, 80), top: int = 400) -> np.ndarray:
    field = np.cumsum(np.cumsum(np.random.default_rng(seed).normal(size=shape), 0), 1)
    field -= field.min()
    return (field / field.max() * top).astype(np.int32)


class TestReplication:
    @pytest.mark.parametrize("factor", [(2, 2), (3, 1), (1, 4), (5, 8)])
    @pytest.mark.parametrize("cut", [0, 1])
    def test_is_found_with_its_phase(self, factor: tuple[int, int], cut: int) -> None:
        small = np.random.default_rng(1).integers(0, 99, (30, 40)).astype(np.int64)
        large = np.repeat(np.repeat(small, factor[0], 0), factor[1], 1)[cut:, cut:]
        found = replication(large)
        assert found is not None
        assert (found[0], found[2]) == factor
        for size, start in ((found[0], found[1]), (found[2], found[3])):
            assert start == (size - cut) % size

    def test_is_not_imagined(self) -> None:
        assert replication(smooth(3).astype(np.int64)) is None
        plane = np.repeat(np.repeat(smooth(3).astype(np.int64), 2, 0), 2, 1)
        plane[31, 17] += 1
        assert replication(plane) is None


class TestRareLevels:
    def test_are_those_far_below_the_median_around(self) -> None:
        found = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            size = int(rng.integers(2, 300))
            histogram = rng.integers(0, 9, size) * rng.choice([0, 1, 30], size, p=[0.1, 0.1, 0.8])
            padded = np.pad(histogram, 8)
            around = np.array([np.median(padded[k : k + 17]) for k in range(size)])
            wanted = (histogram > 0) & (around >= 24) & (histogram < 0.15 * around)
            if histogram[wanted].sum() > 0.02 * histogram.sum():
                wanted[:] = False
            assert np.array_equal(_rare_levels(histogram), wanted)
            found += bool(wanted.any())
        assert found > 5


class TestPacking:
    def test_stretched_histogram_is_packed(self) -> None:
        plane = smooth(4) * 3
        levels = used_levels(plane, None, int(plane.max()))
        assert levels is not None
        assert np.array_equal(levels.by_rank(), np.unique(plane))
        assert np.array_equal(levels.by_rank()[levels.ranks()[plane]], plane)

    def test_graphics_do_not_hide_the_holes(self) -> None:
        plane = np.clip(smooth(4, top=150), 0, 150) * 5 // 3
        top = int(plane.max())
        drawn = plane.copy()
        drawn[:40, :4] = np.linspace(0, top, 40).astype(np.int32)[:, None]
        levels = used_levels(drawn, None, top)
        assert levels is not None
        assert levels.rare.any()
        assert set(np.flatnonzero(levels.rare)) <= set(drawn.ravel()) - set(plane.ravel())
        by_rank = levels.by_rank()
        assert np.array_equal(by_rank[levels.ranks()[drawn]], drawn)
        assert np.array_equal(np.sort(by_rank), np.unique(drawn))
        last = np.count_nonzero(levels.rare)
        assert np.array_equal(by_rank[-last:], np.flatnonzero(levels.rare))

    @pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1)])
    def test_lines_have_no_gradient_to_judge_by(self, shape: tuple[int, int]) -> None:
        plane = (np.random.default_rng(0).integers(0, 150, shape) * 5 // 3).astype(np.int32)
        plane.ravel()[:40] = np.linspace(0, 249, 40)
        levels = used_levels(plane, None, int(plane.max()))
        assert levels is None or not levels.rare.any()

    def test_a_peak_makes_no_level_rare(self) -> None:
        plane = smooth(4, top=50)
        plane[:30] = 0
        assert used_levels(plane, None, 50) is None

    def test_thin_tail_is_not(self) -> None:
        plane = smooth(4)
        plane[0, :20] = np.arange(2000, 60000, 2900)[:20]
        assert used_levels(plane, None, int(plane.max())) is None

    def test_full_histogram_is_not(self) -> None:
        assert used_levels(smooth(4, top=50), None, 50) is None


class TestClusters:
    """A few levels, a gap, a few levels: what a gain that varies a little leaves of few levels."""

    @staticmethod
    def levels(*used: int) -> np.ndarray:
        seen = np.zeros(max(used) + 1, bool)
        seen[list(used)] = True
        return seen

    def test_are_found_where_they_begin(self) -> None:
        numbers = np.arange(40)
        low = np.rint(numbers * 27.4).astype(int)
        starts = cluster_starts(self.levels(*low, *(low + 1)))
        assert starts is not None
        assert np.array_equal(starts, np.tile([True, False], 40))

    def test_of_different_sizes(self) -> None:
        used = [20 * k + i for k in range(30) for i in range(1 + k % 4)]
        starts = cluster_starts(self.levels(*used))
        assert starts is not None
        assert np.array_equal(np.array(sorted(used))[starts], 20 * np.arange(30))

    def test_single_levels_are_for_packing(self) -> None:
        assert cluster_starts(self.levels(*range(0, 900, 9))) is None

    def test_small_gaps_are_for_packing(self) -> None:
        used = [4 * k + i for k in range(100) for i in range(2)]
        assert cluster_starts(self.levels(*used)) is None

    def test_few_are_not_worth_it(self) -> None:
        assert cluster_starts(self.levels(0, 1, 30, 31, 60, 61)) is None


class TestReferences:
    def test_the_like_plane_is_chosen(self) -> None:
        rng = np.random.default_rng(5)
        base = rng.integers(0, 500, (64, 64)).astype(np.int32)
        planes = [base, rng.integers(0, 500, (64, 64)).astype(np.int32), base * 2 + 3]
        chosen = choose_references(planes, [[], [0], [0, 1]])
        assert chosen[1] == ()
        assert chosen[2][0] == 0

    @staticmethod
    def alike(seed: int, planes: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        parts = rng.integers(0, 500, (3, 64, 64))
        mixes = rng.random((planes, 3))
        return [np.rint((m[:, None, None] * parts).sum(0)).astype(np.int32) for m in mixes]

    def test_are_the_same_in_every_thread(self) -> None:
        """Correlations are of integer sums: no order of adding decides which plane is chosen."""
        planes = self.alike(6, 8)
        candidates = [list(range(i)) for i in range(8)]
        first = choose_references(planes, candidates)
        assert {len(refs) for refs in first} == {0, 1, 2}
        with ThreadPoolExecutor(4) as pool:
            again = pool.map(lambda _: choose_references(planes, candidates), range(8))
            assert all(chosen == first for chosen in again)

    def test_do_not_depend_on_an_offset_nor_on_others(self) -> None:
        planes = self.alike(7, 6)
        candidates = [list(range(i)) for i in range(6)]
        chosen = choose_references(planes, candidates)
        assert choose_references([p + 1000 for p in planes], candidates) == chosen
        assert choose_references(planes[:4], candidates[:4]) == chosen[:4]
        backwards = choose_references(planes, [c[::-1] for c in candidates])
        assert backwards == chosen

    def test_never_go_beyond_what_is_allowed(self) -> None:
        planes = self.alike(8, 6)
        allowed = [[], [], [1], [], [3], [0, 4]]
        for refs, candidates in zip(choose_references(planes, allowed), allowed, strict=True):
            assert set(refs) <= set(candidates)

    def test_tiny_planes_have_none(self) -> None:
        tiny = [np.zeros((3, 9), np.int32)] * 3
        assert choose_references(tiny, [[], [0], [0, 1]]) == [(), (), ()]
        assert choose_references([], []) == []
