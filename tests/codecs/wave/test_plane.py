"""Bodies: one plane of integers comes back, by whichever way it was coded."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.wave import linear, plane
from tilepress.codecs.wave.coder import GAINS
from tilepress.codecs.wave.layout import FEATURES, REGRESSORS
from tilepress.codecs.wave.linear import Classes
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane import Coder, DecodedPlane, choose_gain, decode_body, encode_body
from tilepress.codecs.wave.wire import Reader
from tilepress.codecs.weights import load_named
from tilepress.errors import InvalidRecord

MODEL = load_named("auto").model
CLUSTERS = plane._SPLIT | plane._PACKED


def field(seed: int, shape: tuple[int, int], top: int, noise: int) -> np.ndarray:
    """A smooth int64 field of 0 … about ``top`` with noise."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=shape).cumsum(0) + rng.normal(size=shape).cumsum(1)
    smooth -= smooth.min()
    return np.rint(smooth / smooth.max() * top).astype(np.int64) + rng.integers(0, noise + 1, shape)


def holes(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """A mask of a block and of single samples."""
    mask = np.random.default_rng(seed).random(shape) < 0.05
    mask[5 : shape[0] // 2, 7 : shape[1] // 2] = True
    return mask


def there_and_back(
    samples: np.ndarray,
    mask: np.ndarray | None = None,
    refs: tuple[DecodedPlane, ...] = (),
    coder: Coder | None = None,
) -> tuple[bytes, DecodedPlane]:
    """Code a plane, check that it comes back with all that later planes see, return its body."""
    coder = coder or Coder(MODEL)
    body, seen = encode_body(samples, mask, list(refs), coder)
    reader = Reader(memoryview(body))
    back, found = decode_body(reader, samples.shape, list(refs), coder.model)
    reader.finish()
    there = np.ones(samples.shape, bool) if mask is None else ~mask
    assert np.array_equal(back[there], samples[there])
    assert np.array_equal(found.samples, seen.samples)
    assert np.array_equal(found.errors, seen.errors)
    assert (found.mask is None) == (seen.mask is None)
    if seen.mask is not None:
        assert np.array_equal(found.mask, seen.mask)
    return body, seen


class TestClusters:
    """Few levels times a gain that varies a little: numbers of clusters, and what is within."""

    @staticmethod
    def jittered(shape: tuple[int, int] = (128, 120)) -> np.ndarray:
        numbers = field(1, shape, 40, 0) + 300
        late = np.random.default_rng(2).normal(size=shape).cumsum(0) > 0
        return np.rint(numbers * 27.4).astype(np.int64) + late

    def test_are_smaller_than_packing(self, monkeypatch) -> None:
        samples = self.jittered()
        body, _ = there_and_back(samples)
        assert body[0] & CLUSTERS == CLUSTERS
        monkeypatch.setattr(plane, "cluster_starts", lambda seen: None)
        packed, _ = there_and_back(samples)
        assert packed[0] & CLUSTERS == plane._PACKED
        assert len(body) < 0.9 * len(packed)

    def test_with_absent_samples(self) -> None:
        samples = self.jittered()
        body, seen = there_and_back(samples, holes(3, samples.shape))
        assert body[0] & CLUSTERS == CLUSTERS
        assert body[0] & plane._MASKED
        assert seen.mask is not None

    def test_refer_and_are_referred_to(self) -> None:
        samples = self.jittered()
        mask = holes(4, samples.shape)
        _, first = there_and_back(samples, mask)
        assert int(first.samples.max()) <= 41  # later planes see the numbers
        again, second = there_and_back(samples + 27, mask, (first,))
        assert again[0] & plane._SAME_MASK
        other, _ = there_and_back(
            samples * 2 + field(5, samples.shape, 9, 1), None, (first, second)
        )
        alone, _ = there_and_back(samples * 2 + field(5, samples.shape, 9, 1))
        assert len(other) < len(alone)

    def test_in_blocks(self) -> None:
        body, _ = there_and_back(self.jittered().repeat(2, 0).repeat(3, 1)[1:, 2:])
        assert body[0] & CLUSTERS == CLUSTERS
        assert body[0] & plane._REPLICATED

    @pytest.mark.parametrize("byte", range(3, 60, 3))
    def test_nonsense_is_refused_or_read(self, byte: int) -> None:
        """The bitmaps decide which clusters there are: any other ones must not index beyond."""
        body = bytearray(clustered_body())
        body[byte] ^= 0xFF
        try:
            back, _ = decode_body(Reader(memoryview(bytes(body))), (128, 120), [], MODEL)
        except InvalidRecord:
            return
        assert back.shape == (128, 120)


@functools.lru_cache(maxsize=1)
def clustered_body() -> bytes:
    return encode_body(TestClusters.jittered(), None, [], Coder(MODEL))[0]


class TestSetsOfWeights:
    def test_travel_with_the_plane(self, monkeypatch) -> None:
        """Two textures take several sets; they cost less than one does."""
        rng = np.random.default_rng(7)
        left = rng.normal(size=(192, 96)).cumsum(0) * 40
        right = rng.normal(size=(192, 96)).cumsum(1) * 2
        samples = np.concatenate([left, right], 1).astype(np.int64)
        body, _ = there_and_back(samples)
        monkeypatch.setattr(linear, "MAX_SETS", 1)
        one, _ = there_and_back(samples)
        assert len(body) < len(one)

    @pytest.mark.parametrize("sets", [1, 2, 7, 16])
    @pytest.mark.parametrize("n_refs", [0, 2])
    @pytest.mark.parametrize("bits", [8, 12, 14])
    def test_any_number_is_read_as_written(self, sets: int, n_refs: int, bits: int) -> None:
        rng = np.random.default_rng(sets)
        count = 17 + 11 * n_refs
        weights = np.zeros((sets, REGRESSORS), np.int64)
        weights[:, :count] = rng.integers(-(2 ** (bits + 3)) + 1, 2 ** (bits + 3), (sets, count))
        weights[:, :count] <<= 14 - bits
        cells = np.zeros(64, np.int32) if sets == 1 else rng.integers(0, sets, 64).astype(np.int32)
        levels = np.zeros(3, np.int32) if sets == 1 else np.array([3, 99, 255], np.int32)
        classes = Classes(levels, cells, weights)
        reader = Reader(memoryview(plane._pack_classes(classes, bits, count)))
        found = plane._unpack_classes(reader, count)
        reader.finish()
        for ours, theirs in zip(classes.arrays(), found.arrays(), strict=True):
            assert np.array_equal(ours, theirs)

    def test_impossible_ones_are_refused(self) -> None:
        for data, words in (
            (b"\x10", "17 sets"),
            (b"\x01\0\0\0" + b"\x02" + b"\0" * 31, "a cell beyond"),
            (b"\0\x0f\x02" + b"\0" * 99, "weights of 2 bits"),
            (b"\0\x0e\x13" + b"\0" * 99, "weights of 19 bits"),
            (b"\0\x01\x06" + b"\x1f" + b"\0" * 99, "out of range"),
        ):
            with pytest.raises(InvalidRecord, match=words):
                plane._unpack_classes(Reader(memoryview(data)), 17)


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
        monkeypatch.setattr(plane, "choose_gain", lambda *sums: gain)
        there_and_back(field(12, (24, 25), 900, 20), holes(1, (24, 25)))

    def test_beyond_the_last_is_refused(self, monkeypatch) -> None:
        samples = field(13, (12, 13), 90, 2)  # too small for weights of its own
        monkeypatch.setattr(plane, "choose_gain", lambda *sums: 32)
        body, _ = encode_body(samples, None, [], Coder(MODEL))
        with pytest.raises(InvalidRecord, match="gain 32"):
            decode_body(Reader(memoryview(body)), samples.shape, [], MODEL)

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
        choices: list[int] = []
        choose = plane.choose_coding

        def with_gain(*found: object) -> object:
            coding = choose(*found)
            choices.append(coding.choices.gain)
            return coding._replace(choices=coding.choices._replace(gain=15))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plane, "choose_coding", with_gain)
            other, _ = there_and_back(samples, None, (), coder)
        assert choices == [0]
        assert len(body) == len(other)
        assert sum(a != b for a, b in zip(body, other, strict=True)) == 1


class TestMatchFlags:
    def test_what_is_flat_in_parts_takes_them(self, monkeypatch) -> None:
        samples = np.where(field(31, (120, 121), 9, 0) < 5, 17, field(32, (120, 121), 2000, 9))
        mask = holes(6, samples.shape)
        body, seen = there_and_back(samples, mask)
        _, second = there_and_back(samples[::-1].copy(), mask, (seen,))
        there_and_back(samples + (field(33, samples.shape, 9, 0) > 5), mask, (seen, second))
        monkeypatch.setattr(plane, "_MATCH_SHARE", 1.1)
        without, _ = there_and_back(samples, mask)
        assert len(body) < len(without)

    def test_noise_is_not_even_looked_at(self, monkeypatch) -> None:
        def never(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(plane, "count_matches", never)
        there_and_back(np.random.default_rng(3).integers(0, 2**12, (64, 64)) + 2**12)


class TestResiduals:
    """Later planes see what the linear path left, in whole steps, half a step rounded down."""

    def test_rounding(self) -> None:
        from tilepress.codecs.wave import kernel

        errors = np.arange(-200, 200, dtype=np.int32).reshape(20, 20)
        steps = plane._residuals(kernel.shear(errors, 0), 20, 20)
        assert np.array_equal(steps, np.ceil((errors - 32) / 64))

    def test_of_absent_samples_are_none(self) -> None:
        samples = field(41, (40, 50), 900, 30)
        mask = holes(7, samples.shape)
        _, seen = there_and_back(samples, mask)
        assert not seen.errors[mask].any()
        assert seen.errors[~mask].any()


class TestGreatRanges:
    @pytest.mark.parametrize("top", [2**17, 2**20, 2**33, 2**46])
    def test_are_split(self, top: int) -> None:
        samples = field(51, (40, 41), top, 99) - top // 3
        body, first = there_and_back(samples, holes(8, samples.shape))
        assert body[0] & plane._SPLIT
        assert body[0] & CLUSTERS != CLUSTERS
        there_and_back(samples + 5, None, (first,))


class TestFlagsThatContradict:
    @pytest.mark.parametrize("flags", [12, 24, 40, 72, 48, 80, 96, 130])
    def test_are_refused(self, flags: int) -> None:
        body = bytes([flags]) + b"\0" * 40
        with pytest.raises(InvalidRecord, match="contradict"):
            decode_body(Reader(memoryview(body)), (4, 4), [], MODEL)


def test_a_decoded_plane_is_replaced_as_a_value() -> None:
    """References are shared by planes: what one body sees must not change under another."""
    samples = field(61, (40, 41), 500, 9)
    _, first = there_and_back(samples)
    before = replace(first, samples=first.samples.copy(), errors=first.errors.copy())
    there_and_back(samples + 3, None, (first, before))
    assert np.array_equal(first.samples, before.samples)
    assert np.array_equal(first.errors, before.errors)
