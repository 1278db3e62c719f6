"""Absent samples get values between those around them."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.ntc.fill import fill_absent


class TestFilling:
    @pytest.mark.parametrize("sides", [(1, 1), (7, 5), (64, 33)])
    def test_present_samples_stay(self, sides: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        plane = rng.normal(size=sides).astype(np.float32)
        absent = rng.random(sides) < 0.4
        absent[-1, -1] = False
        filled = fill_absent(plane, absent)
        assert filled.dtype == np.float32
        assert np.array_equal(filled[~absent], plane[~absent])
        assert filled.min() >= plane[~absent].min()
        assert filled.max() <= plane[~absent].max()

    def test_one_sample_fills_all(self) -> None:
        plane, absent = np.zeros((9, 30), np.float32), np.ones((9, 30), bool)
        plane[3, 4], absent[3, 4] = 5, False
        assert (fill_absent(plane, absent) == 5).all()

    def test_a_hole_is_like_its_border(self) -> None:
        plane = np.where(np.arange(64)[:, None] < 32, 10, 90).astype(np.float32) + np.zeros(64)
        absent = np.zeros((64, 64), bool)
        absent[8:16, 20:28] = absent[40:48, 20:28] = True
        filled = fill_absent(plane.astype(np.float32), absent)
        assert (filled[8:16, 20:28] == 10).all()
        assert (filled[40:48, 20:28] == 90).all()
