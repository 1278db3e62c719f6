"""A level is found that holds a target on everything, near to it, or an error says none does."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest

from tilepress.codecs.levels import COARSEST, EXACT, FINEST, nominal_error, nominal_step
from tilepress.codecs.loss import AtLeast, AtMost, Lossy, Quality
from tilepress.codecs.search import Together, Trial, find_level
from tilepress.codecs.tile import TileCodec
from tilepress.errors import UnsupportedArray

SAMPLES = 1000
PEAK = 255.0


class Model:
    """A codec whose chunks have as many errors and bits as a quantiser would; ``busy`` are its
    chunks: more bits for the same error."""

    def __init__(self, busy: Sequence[float], *, erratic: float = 0.0) -> None:
        self.busy, self.erratic = busy, erratic
        self.calls = 0

    def __call__(self, numbers: Sequence[int], level: float) -> list[Trial[float]]:
        self.calls += len(numbers)
        return [self.one(number, level) for number in numbers]

    def one(self, number: int, level: float) -> Trial[float]:
        if level == EXACT:
            return Trial(level, 2 * SAMPLES, 0.0)
        jump = self.erratic * math.sin(level * 37 + number)
        squared = SAMPLES * nominal_error(level + jump, PEAK) * min(1.0, self.busy[number])
        bits = max(0.05, self.busy[number] * (level + jump) / 12)
        return Trial(level, math.ceil(bits * SAMPLES / 8), squared)

    def find(self, loss: Lossy, overhead: int = 0) -> list[float]:
        count = len(self.busy)
        together = Together(
            samples=[SAMPLES] * count, present=[SAMPLES] * count, peak=PEAK, overhead=overhead
        )
        return find_level(loss, self, together, "coding a shard")

    def psnr(self, levels: Sequence[float]) -> float:
        squared = sum(self.one(n, level).squared for n, level in enumerate(levels))
        return 10 * math.log10(PEAK**2 * SAMPLES * len(levels) / squared)

    def bits(self, levels: Sequence[float]) -> float:
        size = sum(self.one(n, level).size for n, level in enumerate(levels))
        return 8 * size / SAMPLES / len(levels)


MODELS = [
    Model([1.0]),
    Model([0.2, 0.5, 1.0]),
    Model([0.05 * (n % 20 + 1) for n in range(64)]),
    Model([0.05 * (n % 20 + 1) for n in range(64)], erratic=3.0),
    Model([0.01] * 63 + [1.0]),
]


@pytest.mark.parametrize("model", MODELS)
class TestATargetIsHeldByAllTogether:
    @pytest.mark.parametrize("wanted", [25.0, 45.0, 60.5, 88.0])
    def test_psnr_is_never_below(self, model: Model, wanted: float) -> None:
        levels = model.find(AtLeast(wanted))
        assert len(set(levels)) == 1
        assert levels[0] == EXACT or model.psnr(levels) >= wanted

    @pytest.mark.parametrize("wanted", [0.3, 1.0, 4.0])
    def test_bits_are_never_above(self, model: Model, wanted: float) -> None:
        levels = model.find(AtMost(wanted))
        assert len(set(levels)) == 1
        assert model.bits(levels) <= wanted

    def test_quality_is_the_level(self, model: Model) -> None:
        assert model.find(Quality(42.0)) == [42.0] * len(model.busy)


class TestItIsNear:
    @pytest.mark.parametrize("model", MODELS[:3])
    def test_within_a_step(self, model: Model) -> None:
        assert model.psnr(model.find(AtLeast(45.0))) < 45.5
        assert model.bits(model.find(AtMost(1.0))) > 0.9

    def test_overhead_counts(self) -> None:
        model = Model([1.0])
        levels = model.find(AtMost(1.0), overhead=60)
        assert 0.4 < model.bits(levels) <= 1.0 - 8 * 60 / SAMPLES

    def test_few_chunks_are_coded_often(self) -> None:
        """Whole shards are coded a handful of times, not once for each level that is tried."""
        model = Model([0.5] * 400)
        model.find(AtLeast(45.0))
        assert model.calls < 5 * 400


class TestAnEstimate:
    """A level is looked for by what tells about the result, and proved by the codec alone."""

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("off", [-9.0, -0.3, 0.0, 0.3, 9.0])
    @pytest.mark.parametrize("loss", [AtLeast(40.0), AtMost(1.0)])
    def test_holds_however_wrong_it_is(self, model: Model, off: float, loss: Lossy) -> None:
        model = Model(model.busy, erratic=model.erratic)
        told = Model(model.busy)
        count = len(model.busy)
        together = Together(
            samples=[SAMPLES] * count, present=[SAMPLES] * count, peak=PEAK, overhead=0
        )

        def estimate(numbers: Sequence[int], level: float) -> list[Trial[None]]:
            found = told(numbers, level + off)
            return [Trial(None, one.size, one.squared) for one in found]

        levels = find_level(loss, model, together, "coding a shard", estimate)
        if isinstance(loss, AtLeast):
            assert model.psnr(levels) >= loss.value
        else:
            assert model.bits(levels) <= loss.value
        if abs(off) < 1 and not model.erratic and count <= 4:
            assert model.calls <= 3 * count

    def test_of_ntc_is_near(self) -> None:
        y, x = np.mgrid[:90, :110]
        samples = (2000 + 900 * np.sin(x / 9) + 500 * np.cos(y / 7)).astype(np.uint16)[None]
        samples += np.random.default_rng(1).integers(0, 60, samples.shape).astype(np.uint16)
        codec = TileCodec("ntc", psnr=40)
        estimate = codec.estimate(samples, peak=4000.0)
        assert estimate is not None
        for level in (20.0, 50.0, 80.0):
            record, difference = codec.encode_at(samples, level, peak=4000.0)
            told = estimate(level)
            assert abs(told.size / len(record) - 1) < 0.05
            assert abs(told.squared / difference.squared - 1) < 0.1
        assert TileCodec("jpegxl", psnr=40).estimate(samples, peak=4000.0) is None
        assert TileCodec("ntc", psnr=40, max_error=4).estimate(samples, peak=1.0) is None


class TestWhereNoLevelHolds:
    def test_nothing_is_lost_for_a_psnr(self) -> None:
        assert Model([1.0]).find(AtLeast(150.0)) == [EXACT]

    def test_nothing_is_lost_where_that_takes_no_more(self) -> None:
        """Below 88 dB a level would hold, and take ten bits a sample; losing nothing takes 16."""
        model = Model([2.0])
        assert model.find(AtLeast(45.0)) != [EXACT]
        assert model.find(AtLeast(85.0)) == [EXACT]

    def test_bits_that_are_too_few_are_refused(self) -> None:
        text = "coding a shard with at most 0.001 bits per sample: at its coarsest it takes"
        with pytest.raises(UnsupportedArray, match=re.escape(text)):
            Model([1.0] * 9).find(AtMost(0.001))


class TestLevels:
    def test_a_step_has_the_error_of_its_quantiser(self) -> None:
        for level in (COARSEST, 50.0, FINEST):
            step = nominal_step(level, PEAK)
            assert 10 * math.log10(PEAK**2 / (step**2 / 12)) == pytest.approx(20 + level / 2)
