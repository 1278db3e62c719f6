"""What the encoder finds before it predicts."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave.structure import choose_references, replication, used_levels


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


class TestPacking:
    def test_stretched_histogram_is_packed(self) -> None:
        plane = smooth(4) * 3
        seen = used_levels(plane, None, int(plane.max()))
        assert seen is not None
        assert np.array_equal(np.flatnonzero(seen), np.unique(plane))

    def test_thin_tail_is_not(self) -> None:
        plane = smooth(4)
        plane[0, :20] = np.arange(2000, 60000, 2900)[:20]
        assert used_levels(plane, None, int(plane.max())) is None

    def test_full_histogram_is_not(self) -> None:
        assert used_levels(smooth(4, top=50), None, 50) is None


class TestReferences:
    def test_the_like_plane_is_chosen(self) -> None:
        rng = np.random.default_rng(5)
        base = rng.integers(0, 500, (64, 64)).astype(np.int32)
        planes = [base, rng.integers(0, 500, (64, 64)).astype(np.int32), base * 2 + 3]
        chosen = choose_references(planes, [[], [0], [0, 1]])
        assert chosen[1] == ()
        assert chosen[2][0] == 0
