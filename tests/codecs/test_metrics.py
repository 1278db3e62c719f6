"""Figures of quality are those of their papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from tilepress.codecs.metrics import bd_rate, gmsd, ms_ssim, psnr_db, seam, spectral_angle_deg

RNG = np.random.default_rng(3)
y, x = np.mgrid[:200, :230]
PLANE = 120 + 60 * np.sin(x / 9) + 40 * np.cos(y / 13 + x / 31) + RNG.normal(0, 4, x.shape)

ANCHOR = ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851])
TEST = ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987])
"""Points of a published example (Foreman-like rates in kbit/s and dB)."""


class TestBdRate:
    def test_is_that_of_monotone_cubics(self) -> None:
        """As SciPy has them, by integrals of its own."""
        curves = [
            PchipInterpolator(psnr[::-1], np.log(rates[::-1])) for rates, psnr in (ANCHOR, TEST)
        ]
        low, high = max(ANCHOR[1][-1], TEST[1][-1]), min(ANCHOR[1][0], TEST[1][0])
        means = [curve.integrate(low, high) / (high - low) for curve in curves]
        want = 100 * (math.exp(means[1] - means[0]) - 1)
        assert bd_rate(*ANCHOR, *TEST) == pytest.approx(want, abs=1e-9)

    def test_is_that_of_the_package_bjontegaard(self) -> None:
        package = pytest.importorskip("bjontegaard")
        want = package.bd_rate(*ANCHOR, *TEST, method="pchip")
        assert bd_rate(*ANCHOR, *TEST) == pytest.approx(want, abs=1e-6)

    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25])
    def test_of_a_curve_that_is_moved(self, factor: float) -> None:
        moved = [rate * factor for rate in ANCHOR[0]]
        assert bd_rate(*ANCHOR, moved, ANCHOR[1]) == pytest.approx(100 * (factor - 1))

    def test_needs_something_in_common(self) -> None:
        assert bd_rate([1, 2], [30, 35], [1, 2], [40, 45]) is None
        assert bd_rate([1, 2], [30, 35], [1], [32]) is None

    def test_leaves_out_what_is_infinite(self) -> None:
        rates, psnr = [*ANCHOR[0], 2e4], [*ANCHOR[1], math.inf]
        assert bd_rate(*ANCHOR, rates, psnr) == pytest.approx(0.0)


class TestPictures:
    def test_the_same_are_the_same(self) -> None:
        assert ms_ssim(PLANE, PLANE, 255) == pytest.approx(1.0)
        assert gmsd(PLANE, PLANE, 255) == 0.0
        assert psnr_db(PLANE, PLANE, np.ones(PLANE.shape, bool), 255) == math.inf

    def test_more_noise_is_worse(self) -> None:
        noise = RNG.normal(0, 1, PLANE.shape)
        similar = [ms_ssim(PLANE, PLANE + k * noise, 255) for k in (2, 8, 32)]
        apart = [gmsd(PLANE, PLANE + k * noise, 255) for k in (2, 8, 32)]
        assert similar == sorted(similar, reverse=True)
        assert apart == sorted(apart)

    def test_the_peak_scales_both(self) -> None:
        other = PLANE + RNG.normal(0, 9, PLANE.shape)
        for metric in (ms_ssim, gmsd):
            assert metric(PLANE * 16, other * 16, 255 * 16) == pytest.approx(
                metric(PLANE, other, 255)
            )

    def test_ssim_at_one_scale_by_its_definition(self) -> None:
        """A plane of one window is compared with the formula itself."""
        one, other = PLANE[:11, :11], PLANE[30:41, 30:41]
        weights = np.exp(-np.square(np.arange(11) - 5) / 4.5)
        window = np.outer(weights, weights) / weights.sum() ** 2
        means = (window * one).sum(), (window * other).sum()
        variances = [(window * p**2).sum() - m**2 for p, m in zip((one, other), means, strict=True)]
        both = (window * one * other).sum() - means[0] * means[1]
        c1, c2 = 2.55**2, 7.65**2
        want = (2 * means[0] * means[1] + c1) / (means[0] ** 2 + means[1] ** 2 + c1)
        want *= (2 * both + c2) / (sum(variances) + c2)
        assert ms_ssim(one, other, 255) == pytest.approx(max(0.0, want))

    @pytest.mark.parametrize("shape", [(1, 1), (2, 300), (5, 7), (40, 40)])
    def test_small_planes_have_figures(self, shape: tuple[int, int]) -> None:
        plane = PLANE[: shape[0], : shape[1]]
        assert 0 <= ms_ssim(plane, plane + 3, 255) <= 1
        assert gmsd(plane, plane + 3, 255) == pytest.approx(0.0)


class TestSpectra:
    def test_angles(self) -> None:
        given = np.zeros((2, 1, 3))
        given[0], given[1, 0, 1] = 1, 1
        decoded = given.copy()
        decoded[1, 0, 0] = 1  # 45 degrees in one of three pixels
        there = np.ones(given.shape, bool)
        assert spectral_angle_deg(given, decoded, there) == pytest.approx(15)
        assert spectral_angle_deg(given, 2 * given, there) == pytest.approx(0, abs=1e-6)
        there[0, 0, 0] = False
        assert spectral_angle_deg(given, decoded, there) == pytest.approx(0, abs=1e-6)


class TestSeams:
    there = np.ones((64, 96), bool)

    def test_even_errors_have_none(self) -> None:
        given = np.zeros((64, 96))
        assert seam(given, given + 2, self.there, 32) == pytest.approx(1)

    def test_errors_at_borders_of_tiles_show(self) -> None:
        given, decoded = np.zeros((64, 96)), np.ones((64, 96))
        decoded[24:40] = 3
        for column in (32, 64):
            decoded[:, column - 8 : column + 8] = 3
        assert seam(given, decoded, self.there, 32) == pytest.approx(3)

    def test_one_tile_has_none(self) -> None:
        given = np.zeros((64, 96))
        assert seam(given, given + 1, self.there, 128) is None
        assert seam(given, given, self.there, 32) is None
