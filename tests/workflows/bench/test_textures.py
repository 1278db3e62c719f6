"""Figures of texture: nothing where pictures are alike, more the less alike they are."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.workflows.bench.textures import (
    frechet,
    gradient_distance,
    gradient_ratio,
    spectrum_distance_db,
)

RANDOM = np.random.default_rng(4)
NOISE = RANDOM.normal(0, 20, (2, 128, 160)) + 500


def smoothed(planes: np.ndarray) -> np.ndarray:
    return (
        planes + np.roll(planes, 1, 1) + np.roll(planes, 1, 2) + np.roll(planes, (1, 1), (1, 2))
    ) / 4


def test_pictures_that_are_alike() -> None:
    assert spectrum_distance_db(NOISE, NOISE) == 0
    assert gradient_ratio(NOISE, NOISE) == 1
    assert gradient_distance(NOISE, NOISE) == 0
    assert frechet(NOISE, NOISE, 200) == pytest.approx(0, abs=1e-6)


def test_texture_counts_not_its_place() -> None:
    other = RANDOM.normal(0, 20, NOISE.shape) + 500
    soft = smoothed(NOISE)
    assert spectrum_distance_db(NOISE, other) < 0.5 < spectrum_distance_db(NOISE, soft)
    assert gradient_distance(NOISE, other) < 0.05 < gradient_distance(NOISE, soft)
    assert frechet(NOISE, other, 200) < 0.5 < frechet(NOISE, soft, 200)


def test_a_gain_of_two_is_six_decibels() -> None:
    assert spectrum_distance_db(NOISE, 2 * NOISE) == pytest.approx(20 * np.log10(2), abs=1e-6)
    assert gradient_ratio(NOISE, 2 * NOISE) == pytest.approx(2)


def test_the_frechet_distance_of_a_shift_of_all_features() -> None:
    # far above its least, each of nine logarithms of energies grows by log2(4) = 2
    assert frechet(1e6 * NOISE, 2e6 * NOISE, 1.0) == pytest.approx(9 * 4, abs=1e-3)
