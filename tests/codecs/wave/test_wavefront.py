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

    @pytest.mark.parametrize("height", range(1, 24))
    def test_no_two_samples_share_a_place(self, height: int) -> None:
        """Nor do the margins that are written, three columns and rows deep."""
        for width in range(1, 24):
            pitch = wavefront.pitch_of(height, width)
            held = [(y, x) for y in range(-3, height) for x in range(-3, width + 3)]
            held += [(height, x) for x in range(-1, width + 1)]
            first_read = -8  # step of the earliest tap, of sample (0, 0)
            places = [
                wavefront.position_of(x + SHEAR * y, y, pitch)
                for y, x in held
                if x + SHEAR * y >= first_read
            ]
            assert len(set(places)) == len(places)
            assert min(places) >= 0
            assert max(places) < wavefront.sheared_size(height, width)

    @pytest.mark.parametrize(
        "shape", [(2**20, 1), (1, 2**20), (2**20, 64), (64, 2**20), (8192,) * 2]
    )
    def test_as_many_places_as_samples(self, shape: tuple[int, int]) -> None:
        """Whatever the shape: the square of the rows would be a million times as many."""
        places = wavefront.sheared_size(*shape)
        assert places <= 2 * (shape[0] + 14) * (shape[1] + 14)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 11), (12, 2)])
    def test_shear_and_back(self, shape: tuple[int, int]) -> None:
        plane = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
        assert np.array_equal(wavefront.unshear(wavefront.shear(plane, 0), *shape), plane)
