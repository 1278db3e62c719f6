"""Whole planes: predicted as FORMAT.md says, decoded to what was coded, alike on every set."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from tilepress.codecs.native.library import VARIABLE, instruction_set, instruction_sets
from tilepress.codecs.wave import choices, rans, symbols, wavefront
from tilepress.codecs.wave.backend import LinearPath, PlaneToDecode, PlaneToEncode, Prediction
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import (
    CELLS,
    FEATURES,
    MATCH_CONTEXTS,
    MAX_HIDDEN,
    MAX_RANGE,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    SHEAR,
)
from tilepress.codecs.wave.linear import plain_linear
from tilepress.codecs.wave.model import TABLES, WaveModel
from tilepress.codecs.wave.native.fitting import plane_features
from tilepress.codecs.wave.native.planes import decode_plane, predict_plane
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.plane_format import residuals
from tilepress.codecs.wave.tree import NO_TREE

from ..planes import MODEL, to_encode

SAME_TABLES = np.arange(TABLES, dtype=np.int32)


@pytest.fixture(params=instruction_sets(), autouse=True)
def on_each_instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Run every test on every instruction set that there is."""
    monkeypatch.setenv(VARIABLE, request.param)
    instruction_set.cache_clear()
    yield
    instruction_set.cache_clear()


# Predictions, once more with NumPy ---------------------------------------------------------------


def neighbours(plane: np.ndarray, first: int, dy: int, dx: int) -> np.ndarray:
    """Return what stands at (dy, dx) from every sample, margins as FORMAT.md §4.1 has them."""
    height, width = plane.shape
    out = np.full((height + 3, width + 6), first, np.int64)
    out[3:, 3:-3] = plane
    out[4:, :3] = plane[:-1, :1]
    out[3:, -3:] = plane[:, -1:]
    return out[3 + dy :, 3 + dx :][:height, :width]


def around(plane: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Return what stands at (dy, dx) from every sample of a plane that is repeated at its edges."""
    return np.pad(plane, 1, "edge")[1 + dy :, 1 + dx :][: plane.shape[0], : plane.shape[1]]


def edge(west: np.ndarray, north: np.ndarray, north_west: np.ndarray) -> np.ndarray:
    return np.median([west, north, west + north - north_west], axis=0).astype(np.int64)


def logarithm(values: np.ndarray) -> np.ndarray:
    """Eight times the binary logarithm, as FORMAT.md §5 defines it."""
    u = values + 1
    n = np.frexp(u.astype(np.float64))[1].astype(np.int64) - 1
    return 8 * n + (((u << np.maximum(3 - n, 0)) >> np.maximum(n - 3, 0)) & 7)


def inputs_of(plane, refs, errors, first):
    """Return base, regressors, pattern and activity's logarithm of every sample, (y, x).

    With NumPy as FORMAT.md §5.1 has them. plane : (y, x); refs, errors : lists of (y, x).
    """
    own = [neighbours(plane, first, *tap) for tap in OWN_TAPS.tolist()]
    west, north, north_west, north_east, two_west, two_north = own[:6]
    base = (west + north + north_west + north_east + 2) >> 2
    inputs = [tap - base for tap in [*own, edge(west, north, north_west)]]
    pairs = [(north, north_west), (west, north_west), (north, north_east), (two_west, west)]
    pairs += [(two_north, north), (west, north)]
    for ref, error in zip(refs, errors, strict=True):
        taps = [around(ref, *tap) for tap in REFERENCE_TAPS.tolist()]
        r_edge = edge(taps[1], taps[2], taps[5])
        mean = (taps[1] + taps[2] + taps[5] + taps[6] + 2) >> 2
        inputs += [tap - mean for tap in taps] + [taps[0] - r_edge, error]
        pairs += [(taps[0], taps[1]), (taps[0], taps[2])]
    pattern = sum((a == b).astype(np.int64) << bit for bit, (a, b) in enumerate(pairs))
    sizes = np.abs(np.stack(inputs[:16]))
    activity = logarithm(2 * sizes[:4].sum(0) + sizes[4:].sum(0))
    return base, inputs, pattern, activity


def plainly(plane, refs, errors, first, classes, top):
    """Return linear prediction and pattern of every sample, (y, x)."""
    thresholds, set_of_cell, weights = classes.thresholds, classes.set_of_cell, classes.weights
    base, inputs, pattern, activity = inputs_of(plane, refs, errors, first)
    level = sum((activity >= t).astype(np.int64) for t in thresholds)
    cell = 16 * level + (pattern & 3) + (pattern >> 4 & 12)
    chosen = weights[set_of_cell[cell], : len(inputs)]
    products = (np.stack(inputs, -1) * chosen).sum(-1)
    return np.clip(64 * base + ((products + 128) >> 8), 0, 64 * top), pattern


class Made(NamedTuple):
    """A noisy plane of equal neighbours and what the kernel is asked of it."""

    plane: np.ndarray
    refs: list[np.ndarray]
    errors: list[np.ndarray]
    asked: PlaneToEncode
    order: tuple[np.ndarray, np.ndarray]
    classes: LinearPath


def made(n_refs: int, sets: int, top: int = 9, weight: int = 2**13, seed: int = 0) -> Made:
    height, width = 23, 31
    rng = np.random.default_rng([n_refs, sets, top, seed])
    plane = np.repeat(rng.integers(0, top + 1, (height, width // 2 + 1)), 2, 1)[:, :width]
    noisy = rng.random((height, width)) < 0.2
    plane = np.where(noisy, rng.integers(0, top + 1, plane.shape), plane).astype(np.int32)
    refs = [(plane + rng.integers(0, 2, plane.shape)).astype(np.int32) for _ in range(n_refs)]
    errors = [rng.integers(-top, top + 1, plane.shape).astype(np.int32) for _ in range(n_refs)]
    classes = LinearPath(
        np.array([30, 44, 52], np.int32),
        rng.integers(0, sets, CELLS).astype(np.int32),
        rng.integers(-weight, weight, (sets, REGRESSORS)),
    )
    own = wavefront.shear(plane, int(plane[0, 0]))
    sheared = np.zeros((2, 2, *own.shape), np.int32)
    for slot in range(n_refs):
        sheared[0, slot] = wavefront.shear_reference(refs[slot])
        sheared[1, slot] = wavefront.shear_reference(errors[slot])
    t, y = np.divmod(np.sort((np.arange(width) + SHEAR * np.arange(height)[:, None]) * height
                             + np.arange(height)[:, None], axis=None), height)  # fmt: skip
    asked = to_encode(own, *sheared, n_refs, plane.shape, top, classes)
    return Made(plane, refs, errors, asked, (y, t - SHEAR * y), classes)


class TestLinearPathIsTheFormats:
    """The vectors give what the formulas of FORMAT.md §5.1 and §5.2 give in plain NumPy."""

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("sets", [1, 5])
    @pytest.mark.parametrize("mode", [0, 1, 2])
    def test_predictions(self, n_refs: int, sets: int, mode: int) -> None:
        """However the sums are split up: 32 bits, halves, 64 bits."""
        case = made(n_refs, sets)
        linear, pattern = plainly(*case[:3], int(case.plane[0, 0]), case.classes, 9)
        found = predict_plane(case.asked, mode)
        assert np.array_equal(found.linears, linear[case.order])
        assert np.array_equal(found.samples[0], case.plane[case.order])
        assert np.array_equal(found.patterns, pattern[case.order])
        bits = 6 + 2 * n_refs
        assert np.bitwise_or.reduce(found.patterns) == (1 << bits) - 1

    @pytest.mark.parametrize("n_refs", [0, 2])
    @pytest.mark.parametrize("top", [255, 4095, 65535, MAX_RANGE - 1])
    def test_of_large_samples_and_weights(self, n_refs: int, top: int) -> None:
        """Sums that do not fit 32 bits are found and summed otherwise."""
        case = made(n_refs, 16, top, 2**17)
        linear, _ = plainly(*case[:3], int(case.plane[0, 0]), case.classes, top)
        assert np.array_equal(predict_plane(case.asked).linears, linear[case.order])

    @pytest.mark.parametrize("n_refs", [0, 2])
    def test_residuals_are_whole_steps(self, n_refs: int) -> None:
        """(e + 31) >> 6 is the sample less the prediction rounded as the coder rounds it."""
        case = made(n_refs, 5)
        linear, _ = plainly(*case[:3], int(case.plane[0, 0]), case.classes, 9)
        found = residuals(predict_plane(case.asked).errors, *case.plane.shape)
        assert np.array_equal(found, case.plane - ((linear + 32) >> 6))
        assert len(np.unique(linear & 63)) > 32


def with_network(hidden: int, extreme: bool) -> WaveModel:
    """The model with another network: random weights, or all of them as large as may be."""
    rng = np.random.default_rng(hidden)
    weights = [rng.integers(-63, 64, shape) for shape in ((hidden, FEATURES), (3, hidden))]
    if extreme:
        weights = [np.where(w < 0, -63, 63) for w in weights]
    layers = {
        name: (
            w.astype(np.int8),
            rng.integers(-500, 500, len(w)).astype(np.int32),
            rng.integers(0, 9, len(w)).astype(np.int32),
        )
        for name, w in zip(("hidden", "output"), weights, strict=True)
    }
    return replace(MODEL, layers=layers)


class TestNetworkIsExact:
    """Whatever instruction adds up bytes, the sums are those of int64 (FORMAT.md §5.4)."""

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("hidden", [8, 24, MAX_HIDDEN])
    @pytest.mark.parametrize("extreme", [False, True])
    def test_corrections_and_contexts(self, n_refs: int, hidden: int, extreme: bool) -> None:
        case = made(n_refs, 3, 2000)
        model = with_network(hidden, extreme)
        asked = case.asked._replace(net=model.arrays())
        found = predict_plane(asked)
        features, facts = plane_features(Sheared.of(asked), asked.top, asked.linear)
        x = features.astype(np.int64)
        for name, low, high in (("hidden", 0, 127), ("output", -(2**40), 2**40)):
            weights, bias, shift = (part.astype(np.int64) for part in model.layers[name])
            rounding = (1 << shift) >> 1 if name == "hidden" else 0
            x = np.clip((x @ weights.T + bias + rounding) >> shift, low, high)
        exponent, log = facts[:, 1].astype(np.int64), facts[:, 2].astype(np.int64)
        up, down = np.maximum(exponent - 4, 0), np.maximum(4 - exponent, 0)
        correction = ((np.clip(x[:, 0], -2047, 2047) << up) + ((1 << down) >> 1)) >> down
        assert np.array_equal(found.corrections, correction)
        spread = np.clip(x[:, 1], -1023, 1023)
        level = np.clip((3 * log + (spread >> 1) - 129) >> 3, 0, 47)
        context = 3 * level + (x[:, 2] > -16) + (x[:, 2] > 16)
        assert np.array_equal(found.contexts, context)
        assert len(np.unique(context)) > 2

    def test_without_one_the_errors_around_choose(self) -> None:
        case = made(1, 3, 200)
        silent = load_model("wave-2-fast")
        asked = case.asked._replace(net=silent.arrays())
        found = predict_plane(asked)
        _, facts = plane_features(Sheared.of(asked), asked.top, asked.linear)
        assert silent.hidden == 0
        assert not found.corrections.any()
        assert np.array_equal(found.contexts, 3 * np.clip((3 * facts[:, 2] - 129) >> 3, 0, 47) + 1)


class TestFeaturesFitTheirWeights:
    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    def test_never_beyond_63(self, n_refs: int) -> None:
        """Extreme samples, errors and references: every feature stays what s7 weights assume."""
        case = made(n_refs, 16, MAX_RANGE - 1, 2**17)
        features, _ = plane_features(Sheared.of(case.asked), case.asked.top, case.asked.linear)
        assert features.shape == (case.plane.size, FEATURES)
        assert np.abs(features.astype(int)).max() == 63
        assert not n_refs or set(features[:, 48]) == {32}
        assert n_refs == 2 or not features[:, 65 if n_refs else 48 :].any()


class TestAbsentSamples:
    def test_are_passed_over(self) -> None:
        case = made(1, 5, 200)
        absent = np.random.default_rng(3).random(case.plane.shape) < 0.3
        mask = wavefront.shear(absent.astype(np.int32), 0).astype(np.uint8)
        found = predict_plane(case.asked._replace(mask=mask))
        there = ~absent[case.order]
        assert np.array_equal(found.samples[0], case.plane[case.order][there])
        assert not wavefront.unshear(found.errors, *case.plane.shape)[absent].any()
        assert found.begins[-1] == len(found.linears) == there.sum()


# Streams, there and back --------------------------------------------------------------------------


def steps_and_noise(shape: tuple[int, int]) -> np.ndarray:
    """A plane of equal neighbours here, noise there, and a few samples far off."""
    rng = np.random.default_rng(5)
    plane = np.repeat(rng.integers(0, 200, (shape[0], shape[1] // 4 + 1)), 4, 1)[:, : shape[1]]
    plane = np.where(rng.random(shape) < 0.3, plane + rng.integers(0, 30, shape), plane)
    plane[rng.random(shape) < 0.01] = 90_000
    return plane.astype(np.int32)


class Coded(NamedTuple):
    """A plane through every stage of the coder."""

    plane: np.ndarray
    asked: PlaneToEncode
    found: Prediction
    gain: int
    tables: np.ndarray
    folded: np.ndarray
    candidates: np.ndarray

    def symbols(self, flags: np.ndarray, table_map: np.ndarray = SAME_TABLES) -> symbols.Symbols:
        given = (self.tables, self.folded, self.found.patterns, self.candidates, self.found.begins)
        return symbols.symbols(*given, flags, table_map, MODEL.cumulative, MODEL.used)

    def decoded(self, flags: np.ndarray, table_map: np.ndarray, stream) -> tuple:
        """Return the plane and the fault that the decoder finds."""
        shape = self.plane.shape
        asked = PlaneToDecode(
            *stream,
            *self.asked[1:8],
            int(self.plane[0, 0]),
            *self.asked[8:10],
            *(self.gain, flags, table_map, MODEL.cumulative, MODEL.used, MODEL.lookup, NO_TREE),
        )
        own, errors, fault = decode_plane(asked)
        if not fault:
            assert np.array_equal(errors, self.found.errors)
        return wavefront.unshear(own, *shape), fault


def coded(plane: np.ndarray, gain: int) -> Coded:
    own, top = wavefront.shear(plane, int(plane[0, 0])), int(plane.max())
    none = np.zeros((2, *own.shape), np.int32)
    classes = plain_linear(MODEL.linear[0])
    asked = to_encode(own, none, none, 0, plane.shape, top, classes)
    found = predict_plane(asked)
    predicted = (found.linears, found.corrections, found.contexts, found.samples)
    return Coded(plane, asked, found, gain, *symbols.fold_plane(*predicted, gain, top, True))


def flags_of(seed: int, share: float) -> np.ndarray:
    """Match flags for a share of all patterns, with probabilities of any kind."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((2, MATCH_CONTEXTS)) < share
    return np.where(chosen, rng.integers(589, 32768, chosen.shape), 0).astype(np.int32)


class TestStreams:
    @pytest.mark.parametrize("lanes", [1, 4, 8, 32])
    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("gain", [0, 8])
    def test_comes_back(self, lanes: int, share: float, gain: int) -> None:
        data, flags = coded(steps_and_noise((37, 41)), gain), flags_of(lanes, share)
        table_map = np.roll(SAME_TABLES, 7)
        starts, sizes, bits, counts = data.symbols(flags, table_map)
        stream = (*rans.rans_encode(starts, sizes, lanes), rans.pack_raw(bits, counts))
        back, fault = data.decoded(flags, table_map, stream)
        assert fault == 0
        assert np.array_equal(back, data.plane)
        assert (len(starts) > data.plane.size) == (share > 0)
        assert counts.max() > symbols.ESCAPE_BITS  # an escape was among them

    def test_what_is_missing_or_left_over_is_a_fault(self) -> None:
        data, flags = coded(steps_and_noise((20, 21)), 8), flags_of(1, 0.5)
        starts, sizes, bits, counts = data.symbols(flags)
        states, words = rans.rans_encode(starts, sizes, 4)
        raw = rans.pack_raw(bits, counts)
        longer = np.append(words, np.uint16(0)), np.append(raw, np.uint8(0))
        other = states.copy()
        other[1] ^= 1
        for stream, fault in (
            ((states, words[:-1], raw), (1,)),
            ((states, words, raw[:-1]), (2,)),
            ((states, longer[0], raw), (5,)),
            ((states, words, longer[1]), (5,)),
            ((other, words, raw), (1, 2, 3, 4, 5)),
        ):
            assert data.decoded(flags, SAME_TABLES, stream)[1] in fault

    def test_tokens_are_counted_as_they_are_coded(self) -> None:
        data, flags = coded(steps_and_noise((30, 31)), 8), flags_of(2, 0.5)
        counts = choices.count_tokens(
            data.tables, data.folded, data.found.patterns, data.candidates, flags, TABLES
        )
        without = data.symbols(np.zeros_like(flags))
        starts, *_ = data.symbols(flags)
        assert counts.sum() < len(without[0]) == 30 * 31
        flagged = len(starts) - counts.sum()
        assert flagged > 0
