"""What a plane would take is told by its linear predictions: right enough to choose by."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.trial import plane_bits

from .planes import field

MODEL = load_model("auto")
PLAIN = Coder(MODEL, quick=True, trees=TreeEffort(0, 0), following=None)
SHAPE = (96, 90)


class TestBits:
    @pytest.mark.parametrize("noise", [3, 30, 900])
    def test_are_in_proportion_to_a_body(self, noise: int) -> None:
        def ratio(samples: np.ndarray) -> float:
            body, _ = encode_body(samples, None, [], PLAIN)
            return plane_bits(samples, None, [], MODEL)[0] / len(body)

        smooth = ratio(field(2, SHAPE, 90, 2))
        assert ratio(field(1, SHAPE, 2000, noise)) == pytest.approx(smooth, rel=0.12)

    def test_are_fewer_with_a_reference_that_tells(self) -> None:
        samples = field(3, SHAPE, 2000, 200)
        alone, plane = plane_bits(samples, None, [], MODEL)
        assert plane_bits(samples * 2 + 7, None, [plane], MODEL)[0] < 0.7 * alone

    def test_are_none_of_a_constant_plane(self) -> None:
        for mask in (None, np.eye(9, dtype=np.bool_), np.ones((9, 9), np.bool_)):
            bits, plane = plane_bits(np.full((9, 9), -4), mask, [], MODEL)
            assert bits == 0
            assert not plane.samples.any()

    def test_are_of_the_samples_that_are_there(self) -> None:
        samples = field(4, SHAPE, 2000, 200)
        mask = np.zeros(SHAPE, np.bool_)
        mask[:, 45:] = True
        whole, half = (plane_bits(samples, m, [], MODEL)[0] for m in (None, mask))
        assert 0.4 * whole < half < 0.6 * whole
        spoilt = np.where(mask, 10**6, samples)
        assert plane_bits(spoilt, mask, [], MODEL)[0] == half

    def test_of_levels_with_gaps_are_those_of_their_ranks(self) -> None:
        samples = field(5, SHAPE, 60, 5)
        ranks, gaps = (plane_bits(s, None, [], MODEL) for s in (samples, 9 * samples - 300))
        assert gaps[0] == pytest.approx(ranks[0], rel=0.01)
        assert gaps[1].samples.max() <= 65

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5)])
    def test_of_few_samples_are_some(self, shape: tuple[int, int]) -> None:
        samples = np.arange(np.prod(shape)).reshape(shape)
        assert (plane_bits(samples, None, [], MODEL)[0] > 0) == (samples.size > 1)
