"""The delta rate is what it says it is."""

from __future__ import annotations

import math

import pytest

from tilepress.workflows.bench.rd import Point, bd_rate, rising


def curve(factor: float = 1.0, shift: float = 0.0) -> list[Point]:
    return [Point(factor * 2.0**k, 30.0 + 6 * k + shift) for k in range(-3, 3)]


class TestDeltaRate:
    def test_the_same_curve_is_nothing(self) -> None:
        assert bd_rate(curve(), curve()) == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.3])
    def test_a_share_of_the_rate(self, factor: float) -> None:
        assert bd_rate(curve(), curve(factor)) == pytest.approx(100 * (factor - 1))

    def test_six_decibels_are_half(self) -> None:
        assert bd_rate(curve(), curve(shift=6.0)) == pytest.approx(-50)

    def test_turned_round(self) -> None:
        there, back = bd_rate(curve(), curve(0.7)), bd_rate(curve(0.7), curve())
        assert there is not None
        assert back is not None
        assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, rel=0.01)

    def test_only_where_both_are(self) -> None:
        """What one curve has beyond the other's qualities does not count."""
        longer = [*curve(0.9), Point(50.0, 60.0)]
        assert bd_rate(curve(), longer) == pytest.approx(-10, abs=0.1)  # its last slope bends

    def test_only_at_rates_that_are_meant(self) -> None:
        bent = [p if p.rate <= 2 else Point(p.rate * 9, p.psnr) for p in curve()]
        assert bd_rate(curve(), bent, most=1.9) == pytest.approx(0, abs=1.0)
        everywhere = bd_rate(curve(), bent, most=9)
        assert everywhere is not None
        assert everywhere > 5

    def test_curves_that_do_not_meet(self) -> None:
        assert bd_rate(curve(), curve(shift=60)) is None
        assert bd_rate(curve(), curve()[:1]) is None


class TestRising:
    def test_points_that_others_beat_are_left_out(self) -> None:
        points = [Point(1, 30), Point(2, 29), Point(2, 35), Point(3, 35), Point(4, 36)]
        assert rising(points) == [Point(1, 30), Point(2, 35), Point(4, 36)]

    def test_a_rate_of_nothing_has_no_logarithm(self) -> None:
        assert rising([Point(0.0, 10), Point(1, 20)]) == [Point(1, 20)]
        assert math.isfinite(rising(curve())[0].rate)
