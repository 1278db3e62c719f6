"""What the encoder chooses once it knows the predictions: gain, match flags."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import choices, plane_encode
from tilepress.codecs.wave.choices import GAINS, choose_gain
from tilepress.codecs.wave.layout import FEATURES
from tilepress.codecs.wave.model import TABLES, WaveModel
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.symbols import TOKENS

from .planes import MODEL, field, holes, there_and_back


def with_correction(weight: int, bias: int) -> WaveModel:
    """The model with the weights of its correction times ``weight``, its bias given."""
    weights, biases, shift = (a.copy() for a in MODEL.layers["output"])
    weights[0] *= np.int8(weight)
    biases[0], shift[0] = bias, 0
    layers = {**MODEL.layers, "output": (weights, biases, shift)}
    return WaveModel(layers, MODEL.frequencies, MODEL.linear)


class TestGain:
    """How far the network is to be believed is the plane's to say, 0 … 15 eighths."""

    @pytest.mark.parametrize("bias", [2047, -2047])
    def test_nonsense_costs_nothing(self, bias: int) -> None:
        """A correction that is always the largest is taken for what it is worth: gain 0."""
        samples = field(11, (90, 100), 900, 20)
        mask = holes(11, samples.shape)
        sound, nonsense = (Coder(with_correction(0, b)) for b in (0, bias))
        assert there_and_back(samples, coder=sound)[0] == there_and_back(samples, coder=nonsense)[0]
        masked, same = (there_and_back(samples, mask, (), c)[0] for c in (sound, nonsense))
        assert masked == same

    def test_what_points_the_wrong_way_is_not_followed(self) -> None:
        samples = field(14, (90, 100), 900, 20)
        wrong, none, right = (
            there_and_back(samples, coder=Coder(with_correction(sign, 0)))[0] for sign in (-1, 0, 1)
        )
        assert none in (wrong, right)

    @pytest.mark.parametrize("gain", range(16))
    def test_every_one_comes_back(self, gain: int, monkeypatch) -> None:
        monkeypatch.setattr(choices, "choose_gain", lambda *sums: gain)
        there_and_back(field(12, (24, 25), 900, 20), holes(1, (24, 25)))

    def test_is_the_one_that_leaves_least(self) -> None:
        correction = np.random.default_rng(0).integers(-9000, 9000, 4000).astype(np.int32)
        begins = np.arange(0, 4001, 10)
        samples = np.full(4000, 500, np.int32)
        for wanted in GAINS:
            linear = (samples << 6) - ((correction * wanted + 4) >> 3)
            assert choose_gain(linear, correction, samples, begins) == wanted
        nothing = np.zeros(4000, np.int32)
        assert choose_gain(samples << 6, nothing, samples, begins) == 0
        assert choose_gain((samples << 6) + correction, correction, samples, begins) == 0

    def test_a_few_large_errors_do_not_decide(self) -> None:
        correction = np.full(4000, 640, np.int32)
        samples = np.full(4000, 5000, np.int32)
        linear = (samples << 6) - correction
        linear[::50] += 100_000  # where the network errs by more than everything else together
        assert choose_gain(linear, correction, samples, np.arange(0, 4001, 10)) == 8


def random_model(hidden: int) -> WaveModel:
    """The standard model with a random network of another width."""
    rng = np.random.default_rng(hidden)
    layers = {
        "hidden": (
            rng.integers(-63, 64, (hidden, FEATURES)).astype(np.int8),
            rng.integers(-999, 999, hidden).astype(np.int32),
            np.full(hidden, 6, np.int32),
        ),
        "output": (
            rng.integers(-63, 64, (3, hidden)).astype(np.int8),
            rng.integers(-999, 999, 3).astype(np.int32),
            np.full(3, 7, np.int32),
        ),
    }
    return WaveModel(layers, MODEL.frequencies, MODEL.linear)


class TestAnyWidthOfNetwork:
    @pytest.mark.parametrize("hidden", [0, 8, 24, 64])
    def test_comes_back(self, hidden: int) -> None:
        model = WaveModel.from_bytes(random_model(hidden).to_bytes())
        assert model.hidden == hidden
        coder = Coder(model)
        samples = field(21, (40, 47), 2000, 30)
        body, first = there_and_back(samples, None, (), coder)
        _, second = there_and_back(samples // 2 + 9, holes(2, samples.shape), (first,), coder)
        there_and_back(samples * 2 + field(22, samples.shape, 9, 9), None, (first, second), coder)
        assert len(body) < samples.size * 11 // 8

    def test_without_hidden_units_there_is_no_correction(self) -> None:
        """Nor a gain of it: whatever it were, the samples are the same."""
        samples = field(23, (40, 41), 500, 9)
        coder = Coder(random_model(0))
        body, _ = there_and_back(samples, None, (), coder)
        gains: list[int] = []
        choose = plane_encode.choose_coding

        def with_gain(*found: object) -> object:
            coding = choose(*found)
            gains.append(coding.choices.gain)
            return coding._replace(choices=coding.choices._replace(gain=15))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plane_encode, "choose_coding", with_gain)
            other, _ = there_and_back(samples, None, (), coder)
        assert gains == [0]
        assert len(body) == len(other)
        assert sum(a != b for a, b in zip(body, other, strict=True)) == 1


class TestMatchFlags:
    def test_what_is_flat_in_parts_takes_them(self, monkeypatch) -> None:
        samples = np.where(field(31, (120, 121), 9, 0) < 5, 17, field(32, (120, 121), 2000, 9))
        mask = holes(6, samples.shape)
        body, seen = there_and_back(samples, mask)
        _, second = there_and_back(samples[::-1].copy(), mask, (seen,))
        there_and_back(samples + (field(33, samples.shape, 9, 0) > 5), mask, (seen, second))
        monkeypatch.setattr(choices, "_MATCH_SHARE", 1.1)
        without, _ = there_and_back(samples, mask)
        assert len(body) < len(without)

    def test_noise_is_not_even_looked_at(self, monkeypatch) -> None:
        def never(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(choices, "count_matches", never)
        there_and_back(np.random.default_rng(3).integers(0, 2**12, (64, 64)) + 2**12)


class TestBestTables:
    def test_against_numpy(self) -> None:
        rng = np.random.default_rng(4)
        counted = rng.integers(0, 50, (TABLES, TOKENS)) * (rng.random((TABLES, 1)) < 0.7)
        counted[:, 40:] = 0
        best, own, saved = choices.best_tables(counted, MODEL.costs)
        bits = counted @ MODEL.costs.T.astype(np.int64)
        used = counted.any(axis=1)
        assert np.array_equal(own, np.where(used, np.diag(bits), 0))
        assert np.array_equal(best, np.where(used, bits.argmin(axis=1), np.arange(TABLES)))
        assert np.array_equal(saved, np.where(used, own - bits.min(axis=1), 0))
        assert (saved > 0).any()

    def test_the_lowest_of_equals_wins(self) -> None:
        costs = np.tile(MODEL.costs[:1], (TABLES, 1))
        best, _, saved = choices.best_tables(np.ones((TABLES, TOKENS), np.int64), costs)
        assert not best.any()
        assert not saved.any()
