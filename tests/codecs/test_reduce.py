"""Samples of lower resolution: exact, the same everywhere, and none of what is absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.reduce import reduced


def blocks(samples: npt.NDArray[Any], factor: int) -> list[list[npt.NDArray[Any]]]:
    """Return the samples of every block of a plane, as one would by hand."""
    rows, columns = (range(0, n, factor) for n in samples.shape)
    return [[samples[y : y + factor, x : x + factor] for x in columns] for y in rows]


@pytest.mark.parametrize("shape", [(16, 16), (13, 21), (1, 1), (3, 40)])
@pytest.mark.parametrize("factor", [2, 4, 8])
class TestByHand:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
    def test_averages_of_integers_round_halves_up(
        self, shape: tuple[int, int], factor: int, dtype: str
    ):
        limits = np.iinfo(dtype)
        rng = np.random.default_rng(4)
        samples = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        want = [
            [(2 * sum(map(int, one.flat)) + one.size) // (2 * one.size) for one in row]
            for row in blocks(samples, factor)
        ]
        found = reduced(samples, factor, "average")
        assert found.dtype == samples.dtype
        np.testing.assert_array_equal(found, want)

    def test_averages_of_floats(self, shape: tuple[int, int], factor: int):
        samples = np.random.default_rng(5).normal(0, 1e3, shape).astype(np.float32)
        want = [[one.astype(np.float64).mean() for one in row] for row in blocks(samples, factor)]
        np.testing.assert_allclose(reduced(samples, factor, "average"), want, rtol=1e-5)

    def test_what_is_absent_does_not_count(self, shape: tuple[int, int], factor: int):
        rng = np.random.default_rng(6)
        samples = rng.integers(0, 3, shape).astype(np.int16)
        absent = rng.random(shape) < 0.7
        found = reduced(samples, factor, "average", absent)
        kinds = reduced(samples.astype(np.uint8), factor, "mode", absent)
        hidden = blocks(absent, factor)
        for y, row in enumerate(blocks(samples, factor)):
            for x, one in enumerate(row):
                valid = one[~hidden[y][x]].astype(int)
                at = tuple(min(factor // 2, n - 1) for n in one.shape)
                if not valid.size:
                    assert found[y, x] == kinds[y, x] == one[at]
                    continue
                assert found[y, x] == (2 * valid.sum() + valid.size) // (2 * valid.size)
                assert kinds[y, x] == np.bincount(valid).argmax(), "the smallest of several"

    def test_the_nearest_is_a_sample_of_the_block(self, shape: tuple[int, int], factor: int):
        samples = np.arange(np.prod(shape), dtype=np.uint64).reshape(shape)
        found = reduced(samples, factor, "nearest")
        for y, row in enumerate(blocks(samples, factor)):
            for x, one in enumerate(row):
                assert found[y, x] in one


class TestAverages:
    def test_are_never_what_means_absence(self):
        samples = np.array([[-1, 1], [1, -1]], np.int16)
        assert reduced(samples, 2, "average", None, (0, 0)) == 1
        full = np.array([[254, 255], [255, 255]], np.uint8)
        assert reduced(full, 2, "average", None, (255, 255)) == 254
        floats = np.array([[-1, 1], [1, -1]], np.float32)
        found = reduced(floats, 2, "average", None, (0.0, 0.0))
        assert 0 < found[0, 0] < 1e-40

    def test_know_no_nan(self):
        samples = np.array([[np.nan, 2, np.nan, np.nan], [4, np.inf, np.nan, np.nan]], np.float32)
        found = reduced(samples, 2, "average", ~np.isfinite(samples))
        assert found[0, 0] == 3
        assert np.isnan(found[0, 1])

    def test_do_not_overflow(self):
        for factor, dtype in ((128, np.uint16), (512, np.uint16), (64, np.uint32), (256, np.int8)):
            value = np.iinfo(dtype).max
            found = reduced(np.full((factor, factor), value, dtype), factor, "average")
            assert found == value

    def test_of_planes_are_those_of_each(self):
        samples = np.random.default_rng(7).integers(0, 999, (2, 3, 17, 18), dtype=np.uint16)
        found = reduced(samples, 4, "average")
        np.testing.assert_array_equal(found[1, 2], reduced(samples[1, 2], 4, "average"))


def test_modes_are_of_booleans_too():
    samples = np.array([[True, True, False], [False, True, False]])
    assert reduced(samples, 2, "mode").tolist() == [[True, False]]
