"""The order of coding: every sample once, nothing before it is known."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import wavefront
from tilepress.codecs.wave.layout import OWN_TAPS, SHEAR


class TestWavefront:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (17, 4)])
    def test_every_sample_has_one_step(self, shape: tuple[int, int]) -> None:
        height, width = shape
        seen = np.zeros(shape, int)
        for t in range(wavefront.steps(height, width)):
            first, last = wavefront.active_rows(t, height, width)
            for y in range(first, last):
                seen[y, t - SHEAR * y] += 1
        assert (seen == 1).all()

    def test_every_tap_is_known_in_time(self) -> None:
        """A tap belongs to an earlier step: the decoder has nothing else."""
        assert all(dx + SHEAR * dy < 0 for dy, dx in OWN_TAPS)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 11), (12, 2)])
    def test_shear_and_back(self, shape: tuple[int, int]) -> None:
        plane = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
        assert np.array_equal(wavefront.unshear(wavefront.shear(plane, 0), *shape), plane)
