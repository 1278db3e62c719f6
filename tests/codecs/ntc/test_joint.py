"""Bands become components that vary apart in details, wherever these are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.ntc.joint import _details, fit_joint
from tilepress.codecs.ntc.klt import MATRIX_UNIT, fit

Doubles = npt.NDArray[np.float64]

SIDE = 64
PRIMES = ((7919, 104729), (15485863, 611953), (1299709, 32452843))
KNOWN = [[5439, 14880, -4171], [-10898, 6829, 10149], [10957, -594, 12166]]


def rotation(degrees: float) -> Doubles:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def turned(matrix: npt.NDArray[np.int16], by: Doubles) -> float:
    """Return how far components are from the columns of ``by``, in degrees."""
    along = np.abs((matrix / MATRIX_UNIT).T @ by)
    return float(np.rad2deg(np.arccos(min(1.0, along.max(axis=0).min()))))


def mixed(by: Doubles, sources: Doubles) -> npt.NDArray[np.float32]:
    planes = np.tensordot(by, sources, 1)
    return (planes - planes.mean(axis=(1, 2))[:, None, None]).astype(np.float32)


class TestWhatItFinds:
    def test_details_count_not_what_is_smooth(self) -> None:
        rng = np.random.default_rng(1)
        details = rng.normal(size=(2, SIDE, SIDE)) * np.array([40, 8])[:, None, None]
        smooth = np.add.outer(np.arange(SIDE), np.arange(SIDE)) * 3.0
        planes = mixed(rotation(20), details) + mixed(np.eye(2), np.stack([smooth, -smooth]))
        assert turned(fit_joint(planes), rotation(20)) < 2
        assert turned(fit(planes), rotation(20)) > 10

    def test_components_of_one_strength_in_different_places(self) -> None:
        """Their covariance is the same whatever the angle: only places tell."""
        rng = np.random.default_rng(2)
        details = rng.normal(size=(2, SIDE, SIDE)) * 30
        details[0, :, : SIDE // 2] /= 20
        details[1, :, SIDE // 2 :] /= 20
        assert turned(fit_joint(mixed(rotation(30), details)), rotation(30)) < 3

    @pytest.mark.parametrize("bands", [3, 6, 17, 32])
    def test_errors_keep_their_size(self, bands: int) -> None:
        rng = np.random.default_rng(bands)
        planes = mixed(rng.normal(size=(bands, bands)), rng.normal(size=(bands, 40, 37)) * 50)
        matrix = fit_joint(planes) / MATRIX_UNIT
        assert np.allclose(matrix.T @ matrix, np.eye(bands), atol=2e-3)

    def test_the_largest_details_first(self) -> None:
        rng = np.random.default_rng(4)
        sources = rng.normal(size=(4, SIDE, SIDE)) * np.array([2, 90, 10, 30])[:, None, None]
        planes = mixed(np.eye(4), sources)
        apart = (fit_joint(planes) / MATRIX_UNIT).T @ planes.reshape(4, -1)
        assert (np.diff(apart.std(axis=1)) < 0).all()


class TestWhereNothingIsToBeFound:
    @pytest.mark.parametrize("shape", [(3, 1, 1), (2, 3, 400), (4, 400, 3), (5, 4, 4)])
    def test_small_planes(self, shape: tuple[int, ...]) -> None:
        planes = np.random.default_rng(5).normal(size=shape).astype(np.float32) * 100
        matrix = fit_joint(planes) / MATRIX_UNIT
        assert np.allclose(matrix.T @ matrix, np.eye(len(planes)), atol=2e-3)

    def test_planes_without_details_have_the_transform_of_samples(self) -> None:
        flat = np.repeat(np.repeat(np.arange(12).reshape(3, 2, 2) * 50, 16, 1), 16, 2)
        planes = (flat - flat.mean(axis=(1, 2))[:, None, None]).astype(np.float32)
        assert np.array_equal(fit_joint(planes), fit(planes))

    def test_bands_that_are_the_same(self) -> None:
        one = np.rint(np.random.default_rng(6).normal(size=(1, SIDE, SIDE)) * 100)
        apart = (fit_joint(np.repeat(one, 4, axis=0).astype(np.float32)) / MATRIX_UNIT).T
        assert np.allclose(np.abs(apart[0]), 0.5, atol=1e-3)


class TestNoLibraryDecides:
    def test_a_matrix_is_the_same_on_every_machine(self) -> None:
        y, x = np.mgrid[:48, :56].astype(np.int64)
        sources = [((x * a + y * b) * 2654435761 % 2**32 >> 25) for a, b in PRIMES]
        planes = np.stack([sources[0] * (x < 20), sources[1] + x, sources[2] * (y < 30)])
        mixed_up = np.array([[3, 1, 2], [1, -2, 2], [2, 2, -1]])
        found = fit_joint((np.tensordot(mixed_up, planes, 1) - 200).astype(np.float32))
        assert found.tolist() == KNOWN

    def test_the_widest_samples_have_exact_sums(self) -> None:
        """They stay below 2^53 units, where floats are integers."""
        rng = np.random.default_rng(8)
        planes = (rng.integers(0, 2, (3, 256, 256)) * 65535.0 - 32768).astype(np.float32)
        flat = _details(planes).reshape(3, -1)
        fours = (flat * 4).astype(np.int64).astype(object)
        assert ((flat @ flat.T * 16).astype(np.int64) == fours @ fours.T).all()

    def test_details_of_a_block(self) -> None:
        rng = np.random.default_rng(9)
        block = rng.integers(-500, 500, (2, 4, 4)).astype(np.float32)
        details = _details(block)
        assert details.shape == (2, 15, 1)
        off = block - block.mean(axis=(1, 2), keepdims=True)
        assert np.allclose(np.square(details).sum(axis=(1, 2)), np.square(off).sum(axis=(1, 2)))
