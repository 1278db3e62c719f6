"""The linear path's fit: sets of weights where they pay, the same ones every time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

import numpy as np
import pytest

from tilepress.codecs.wave import linear, wavefront
from tilepress.codecs.wave.backend import LinearPath
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import CELLS, MAX_SETS, REGRESSORS, WEIGHT_BITS
from tilepress.codecs.wave.linear import fit_linear, plain_linear, refit_linear
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.native.structures import Sheared

from .planes import to_encode

MODEL = load_model("auto")
NO_MASK = np.zeros(0, np.uint8)


def sheared(plane: np.ndarray, refs: list[np.ndarray]) -> tuple:
    own = wavefront.shear(plane, int(plane[0, 0]))
    planes = np.zeros((2, *own.shape), np.int32)
    for slot, ref in enumerate(refs):
        planes[slot] = wavefront.shear_reference(ref)
    return own, planes, np.zeros_like(planes), len(refs)


def fit(
    plane: np.ndarray,
    refs: list[np.ndarray],
    step_bits: int = 12,
    quick: bool = False,
    most: int = MAX_SETS,
) -> LinearPath:
    prior = MODEL.linear[len(refs)]
    return fit_linear(
        *(*sheared(plane, refs), NO_MASK, *plane.shape, prior, step_bits), quick=quick, most=most
    )


def errors(plane: np.ndarray, refs: list[np.ndarray], classes: LinearPath) -> np.ndarray:
    """Return what the linear path leaves of a plane, (y, x), in 1/64 steps."""
    found = predict_plane(to_encode(*sheared(plane, refs), plane.shape, int(plane.max()), classes))
    return wavefront.unshear(found.errors, *plane.shape)


def walks() -> np.ndarray:
    """Rows and columns that wander, added: W + N − NW of every sample, exactly."""
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(-9, 10, (90, 1)).cumsum(0), rng.integers(-9, 10, 100).cumsum()
    return (rows + columns + 300).astype(np.int32)


def two_textures(size: int) -> np.ndarray:
    """Columns that wander on their own to the left, quieter rows to the right."""
    rng = np.random.default_rng(7)
    left = np.cumsum(rng.normal(size=(size, size // 2)), 0) * 40
    right = np.cumsum(rng.normal(size=(size, size - size // 2)), 1) * 2
    plane = np.concatenate([left, right], 1)
    return (plane - plane.min()).astype(np.int32)


class TestWhatIsLinearIsPredicted:
    """Of an image that a line predicts, all but its margins, nothing is left."""

    def test_slopes(self) -> None:
        y, x = np.mgrid[:90, :100].astype(np.int32)
        plane = 3 * x + 5 * y
        left = errors(plane, [], fit(plane, []))
        assert np.abs(left).max() > 64  # the first row and column are anyone's guess
        assert np.abs(left[3:, 3:-3]).max() <= 2

    def test_sums_of_rows_and_columns(self) -> None:
        plane = walks()
        left = np.abs(errors(plane, [], fit(plane, []))[3:, 3:-3])
        assert (left <= 32).mean() > 0.99
        assert left.max() <= 64

    def test_what_a_reference_tells(self) -> None:
        rng = np.random.default_rng(2)
        ref = rng.integers(-8, 9, (80, 70)).cumsum(0).cumsum(1)
        ref = (ref - ref.min()).astype(np.int32)
        plane = ref + 40
        alone, told = (np.abs(errors(plane, r, fit(plane, r)))[3:, 3:-3] for r in ([], [ref]))
        assert alone.mean() > 64
        assert (told <= 32).mean() > 0.9

    def test_plain_classes_are_the_weights(self) -> None:
        """W + N − NW of a plane of rows plus columns is exact without any fit."""
        weights = np.zeros(REGRESSORS, np.int32)
        weights[:3] = 1 << WEIGHT_BITS, 1 << WEIGHT_BITS, -(1 << WEIGHT_BITS)
        rng = np.random.default_rng(3)
        plane = (rng.integers(0, 99, (30, 1)) + rng.integers(0, 99, 31)).astype(np.int32)
        assert not errors(plane, [], plain_linear(weights))[1:, 1:].any()


class TestSetsOfWeights:
    def test_one_for_a_small_plane(self) -> None:
        """A few hundred samples cannot pay for a second set."""
        plane = two_textures(20)
        classes = fit(plane, [], 8)
        assert len(classes.weights) == 1
        assert not classes.set_of_cell.any()

    def test_several_for_two_textures(self) -> None:
        plane = two_textures(192)
        classes = fit(plane, [])
        assert 2 <= len(classes.weights) <= MAX_SETS
        assert set(classes.set_of_cell) == set(range(len(classes.weights)))
        assert (np.diff(classes.thresholds) > 0).all()
        one = fit(plane, [], most=1)
        assert len(one.weights) == 1
        bits = [np.log2(np.abs(errors(plane, [], c)) + 32.0).sum() for c in (classes, one)]
        assert bits[0] < 0.99 * bits[1]

    def test_quick_is_one_set(self) -> None:
        assert len(fit(two_textures(192), [], quick=True).weights) == 1

    def test_never_more_than_the_format_has(self, monkeypatch) -> None:
        monkeypatch.setattr(linear, "_COST_FACTOR", 0.0)
        monkeypatch.setattr(linear, "_MIN_CELL_SAMPLES", 1)
        plane = two_textures(160) // 7
        classes = fit(plane, [])
        assert 1 < len(classes.weights) <= MAX_SETS
        assert classes.set_of_cell.shape == (CELLS,)


class TestFittedAgain:
    def test_to_what_most_samples_are(self) -> None:
        """A few samples that nothing predicts move squares, and hardly what errors cost."""
        rng = np.random.default_rng(5)
        plane = walks() * 4
        plane[rng.random(plane.shape) < 0.02] += 3000
        fitted = fit(plane, [])
        known = Sheared(*sheared(plane, []), NO_MASK, *plane.shape)
        asked = to_encode(*known[:4], plane.shape, int(plane.max()), fitted)
        again = refit_linear(known, fitted, predict_plane(asked).errors, MODEL.linear[0], 12)
        assert np.array_equal(again.set_of_cell, fitted.set_of_cell)
        assert np.array_equal(again.thresholds, fitted.thresholds)
        bits = [np.log2(np.abs(errors(plane, [], c)) + 32.0).mean() for c in (again, fitted)]
        assert bits[0] < bits[1] - 0.02

    def test_of_every_sample(self) -> None:
        """Steps that a quick fit leaves out count."""
        plane = two_textures(192)
        prior = MODEL.linear[0]
        some, whole = (
            fit_linear(*sheared(plane, []), NO_MASK, *plane.shape, prior, 12, every=every)
            for every in (False, True)
        )
        bits = [np.log2(np.abs(errors(plane, [], c)) + 32.0).mean() for c in (whole, some)]
        assert bits[0] < bits[1]


class TestFitsAreTheSame:
    """Sums of integers, and no library's solver: the same weights on every machine and thread."""

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    def test_in_threads(self, n_refs: int) -> None:
        plane = two_textures(130)
        rng = np.random.default_rng(n_refs)
        refs = [(plane // 2 + rng.integers(0, 9, plane.shape)).astype(np.int32)] * n_refs
        first = fit(plane, refs)
        with ThreadPoolExecutor(4) as pool:
            for other in pool.map(lambda _: fit(plane.copy(), refs), range(8)):
                for ours, theirs in zip(astuple(first), astuple(other), strict=True):
                    assert np.array_equal(ours, theirs)

    @pytest.mark.parametrize("step_bits", [8, 10, 12])
    def test_weights_are_multiples_of_their_step(self, step_bits: int) -> None:
        weights = fit(two_textures(64), [], step_bits).weights
        unit = 1 << (WEIGHT_BITS - step_bits)
        assert weights.any()
        assert not (weights % unit).any()
        assert np.abs(weights).max() < 1 << 17

    def test_absent_samples_have_no_say(self) -> None:
        plane = walks()
        mask = np.zeros(plane.shape, bool)
        mask[40:, 50:] = True
        noise = np.random.default_rng(9).integers(0, 800, plane.shape)
        noisy = np.where(mask, noise, plane).astype(np.int32)
        absent = wavefront.shear(mask.astype(np.int32), 0).astype(np.uint8)
        left = []
        for known in (absent, NO_MASK):
            own, *others = sheared(noisy, [])
            classes = fit_linear(own, *others, known, *plane.shape, MODEL.linear[0], 12)
            left.append(np.abs(errors(noisy, [], classes)[3:, 3:45]).mean())
        assert left[0] < 32
        assert left[0] < left[1] / 2
