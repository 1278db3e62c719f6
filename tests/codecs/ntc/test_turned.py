"""Planes that are turned come back, and a trial tells what coding them gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.ntc.backend import CPU
from tilepress.codecs.ntc.klt import MATRIX_UNIT
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.turned import Turned, before

from .pictures import bundled, image


def floats(planes: int) -> npt.NDArray[np.float32]:
    samples = image(40, 52, planes).astype(np.float32)
    return np.rint(samples - samples.mean(axis=(1, 2))[:, None, None])


class TestTurning:
    @pytest.mark.parametrize(("count", "bands"), [(3, 3), (6, 3), (6, 2), (32, 32)])
    def test_the_matrix_takes_planes_back(self, count: int, bands: int) -> None:
        planes = floats(count)
        given = planes.copy()
        turned = Turned.of(planes, bands, CPU)
        assert turned.matrix is not None
        matrix = turned.matrix / MATRIX_UNIT
        assert np.array_equal(planes, given)
        for first in range(0, count, bands):
            back = np.tensordot(matrix, turned.planes[first : first + bands], 1)
            assert np.allclose(back, planes[first : first + bands], atol=0.02)

    @pytest.mark.parametrize("bands", [1, 33])
    def test_one_band_and_too_many_stay(self, bands: int) -> None:
        planes = floats(bands)
        turned = Turned.of(planes, bands, CPU)
        assert turned.matrix is None
        assert turned.planes is planes


class TestTrials:
    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    @pytest.mark.parametrize("bands", [1, 4])
    def test_errors_are_those_of_what_is_made(self, kind: int, bands: int) -> None:
        turned = Turned.of(floats(4), bands, CPU)
        trial = turned.trial(kind, 8.0, bundled().plain, 8.0)
        off = trial.made[:, :40, :52] - turned.planes / 8
        assert trial.squared == pytest.approx(float(np.square(off).sum()), rel=1e-3)
        assert trial.cost == pytest.approx(trial.bits + 8 * trial.squared)

    def test_a_matrix_costs_what_it_takes(self) -> None:
        turned = Turned.of(floats(4), 4, CPU)
        trial = turned.trial(WAVELET, 8.0, bundled().plain, 8.0)
        assert trial.bits == sum(one.bits for one in trial.coded) + 16 * 16

    def test_it_is_the_same_again(self) -> None:
        turned = Turned.of(floats(2), 2, CPU)
        first, _, again = (turned.trial(LAPPED, s, bundled().plain, 8.0) for s in (3.0, 40.0, 3.0))
        assert first.bits == again.bits
        assert np.array_equal(first.made, again.made)


def test_the_plane_before() -> None:
    assert [before(k, 1) for k in range(3)] == [None, 0, 1]
    assert [before(k, 2) for k in range(6)] == [None, 0, 0, 2, 2, 4]
