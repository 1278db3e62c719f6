"""How finely a lossy codec codes, as one number."""

from __future__ import annotations

import math

import pytest

from tilepress.codecs.levels import nominal_error, nominal_step
from tilepress.errors import UnsupportedArray


class TestLevels:
    def test_each_two_are_a_decibel(self) -> None:
        for level in (1.0, 50.0, 140.0):
            error = nominal_error(level, 255.0)
            assert 10 * math.log10(255**2 / error) == pytest.approx(20 + level / 2)
            assert nominal_step(level, 255.0) ** 2 == pytest.approx(12 * error)

    @pytest.mark.parametrize("peak", [1e150, 1e300, math.inf, math.nan])
    def test_ranges_without_squares_are_refused(self, peak: float) -> None:
        with pytest.raises(UnsupportedArray, match="no square can be told"):
            nominal_error(50.0, peak)
