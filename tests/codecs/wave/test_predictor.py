"""The predictor: exactness of its arithmetic."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tilepress.codecs.wave import predictor, wavefront
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import (
    CELLS,
    FEATURES,
    MATCH_CONTEXTS,
    MAX_HIDDEN,
    OWN_FEATURES,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    SHEAR,
)
from tilepress.codecs.wave.plane_format import residuals
from tilepress.codecs.wave.predictor import predict_plane

NO_MASK = np.zeros(0, np.uint8)


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


def plainly(plane, refs, errors, first, classes, top):
    """Return linear prediction and pattern of every sample, (y, x), with NumPy as FORMAT.md has it.

    plane : (y, x); refs, errors : lists of (y, x).
    """
    thresholds, set_of_cell, weights = classes
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
    level = sum((activity >= t).astype(np.int64) for t in thresholds)
    cell = 16 * level + (pattern & 3) + (pattern >> 4 & 12)
    chosen = weights[set_of_cell[cell], : len(inputs)]
    products = (np.stack(inputs, -1) * chosen).sum(-1)
    return np.clip(64 * base + ((products + 128) >> 8), 0, 64 * top), pattern


@functools.lru_cache(maxsize=4)
def predicted(n_refs: int, sets: int):
    """Return the predictor's answer for a noisy plane of equal neighbours, and NumPy's."""
    height, width, top = 23, 31, 9
    rng = np.random.default_rng(10 * n_refs + sets)
    plane = np.repeat(rng.integers(0, top + 1, (height, width // 2 + 1)), 2, 1)[:, :width]
    noisy = rng.random((height, width)) < 0.2
    plane = np.where(noisy, rng.integers(0, top + 1, plane.shape), plane).astype(np.int32)
    refs = [(plane + rng.integers(0, 2, plane.shape)).astype(np.int32) for _ in range(n_refs)]
    errors = [rng.integers(-9, 10, plane.shape).astype(np.int32) for _ in range(n_refs)]
    classes = (
        np.array([30, 44, 52], np.int32),
        rng.integers(0, sets, CELLS).astype(np.int32),
        rng.integers(-(2**13), 2**13, (sets, REGRESSORS)),
    )
    own = wavefront.shear(plane, int(plane[0, 0]))
    sheared = np.zeros((2, 2, *own.shape), np.int32)
    for slot in range(n_refs):
        sheared[0, slot] = wavefront.shear_reference(refs[slot])
        sheared[1, slot] = wavefront.shear_reference(errors[slot])
    net = load_model("auto").arrays()
    found = predict_plane(own, *sheared, n_refs, NO_MASK, height, width, top, classes, net)
    t, y = np.divmod(np.sort((np.arange(width) + SHEAR * np.arange(height)[:, None]) * height
                             + np.arange(height)[:, None], axis=None), height)  # fmt: skip
    order = (y, t - SHEAR * y)
    return plane, found, order, plainly(plane, refs, errors, int(plane[0, 0]), classes, top)


class TestLinearPathIsTheFormats:
    """The compiled loops give what the formulas of FORMAT.md §5.1 and §5.2 give in plain NumPy."""

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("sets", [1, 5])
    def test_predictions(self, n_refs: int, sets: int) -> None:
        plane, found, order, (linear, _) = predicted(n_refs, sets)
        assert np.array_equal(found[0], linear[order])
        assert np.array_equal(found[4][0], plane[order])

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    def test_patterns(self, n_refs: int) -> None:
        _, found, order, (_, pattern) = predicted(n_refs, 5)
        assert np.array_equal(found[3], pattern[order])
        bits = 6 + 2 * n_refs
        assert np.bitwise_or.reduce(found[3]) == (1 << bits) - 1
        assert found[3].max() < MATCH_CONTEXTS

    @pytest.mark.parametrize("n_refs", [0, 2])
    def test_residuals_are_whole_steps(self, n_refs: int) -> None:
        """(e + 31) >> 6 is the sample less the prediction rounded as the coder rounds it."""
        plane, found, _, (linear, _) = predicted(n_refs, 5)
        found_residuals = residuals(found[6], *plane.shape)
        assert np.array_equal(found_residuals, plane - ((linear + 32) >> 6))
        assert len(np.unique(linear & 63)) > 32


class TestCells:
    def test_level_and_four_equalities_make_the_cell(self) -> None:
        thresholds = np.array([10, 20, 30], np.int32)
        cells = {
            predictor.cell_of(level, bits & 3 | (bits >> 2) << 6, thresholds)
            for level in (9, 10, 29, 30)
            for bits in range(16)
        }
        assert cells == set(range(CELLS))

    def test_other_equalities_are_no_matter(self) -> None:
        thresholds = np.array([10, 20, 30], np.int32)
        others = 0b11_00_1111_00
        assert predictor.cell_of(25, 0b0001_000001 | others, thresholds) == predictor.cell_of(
            25, 0b0001_000001, thresholds
        )


class TestNetworkIsExact:
    """Float32 carries integers: the sums must be those of int64, whatever the order of adding."""

    @pytest.mark.parametrize("n_in", [OWN_FEATURES, FEATURES])
    @pytest.mark.parametrize("extreme", [True, False])
    def test_first_layer(self, n_in: int, extreme: bool) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(-63, 64, (FEATURES, 100))
        w = rng.integers(-63, 64, (MAX_HIDDEN, FEATURES))
        if extreme:
            x, w = np.sign(x) * 63, np.sign(w) * 63
        acc = np.zeros((MAX_HIDDEN, 100), np.float32)
        predictor.dense(x.astype(np.float32), w.astype(np.float32), n_in, MAX_HIDDEN, 100, acc)
        assert np.array_equal(acc.astype(np.int64), w[:, :n_in] @ x[:n_in])

    def test_output_layer(self) -> None:
        rng = np.random.default_rng(1)
        x = rng.integers(0, 2, (MAX_HIDDEN, 50)) * 127
        w = np.sign(rng.integers(-1, 2, (4, MAX_HIDDEN))) * 63
        acc = np.zeros((4, 50), np.float32)
        predictor.dense(x.astype(np.float32), w.astype(np.float32), MAX_HIDDEN, 4, 50, acc)
        assert np.array_equal(acc.astype(np.int64), w @ x)


class TestFeaturesFitTheirWeights:
    def test_never_beyond_63(self) -> None:
        """Extreme samples, errors and references: every feature stays what s7 weights assume."""
        rng = np.random.default_rng(3)
        height, width, top = 20, 26, 2**17 - 1
        plane = (rng.integers(0, 2, (height, width)) * top).astype(np.int32)
        plane[5:15, 5:15] = 7
        own = wavefront.shear(plane, int(plane[0, 0]))
        refs = np.stack([wavefront.shear_reference(np.ascontiguousarray(p))
                         for p in (plane, top - plane)])  # fmt: skip
        ref_errors = np.stack([wavefront.shear_reference(e.astype(np.int32))
                               for e in (plane - top // 2, -plane)])  # fmt: skip
        classes = (np.zeros(3, np.int32), np.zeros(CELLS, np.int32),
                   rng.integers(-(2**16), 2**16, (1, REGRESSORS)))  # fmt: skip
        errors = wavefront.shear((plane - top // 2).astype(np.int32) << 6, 0)
        work, pitch = predictor.workspace(height, width), wavefront.pitch_of(height, width)
        seen = []
        for t in range(wavefront.steps(height, width)):
            y0, y1 = wavefront.active_rows(t, height, width)
            n = y1 - y0
            at = wavefront.position_of(t, y0, pitch)
            predictor.predict_linear(own, refs, ref_errors, 2, at, pitch, n, top, classes, work)
            predictor.network_inputs(errors, ref_errors, 2, at, pitch, n, top, work)
            seen.append(work.features[:, :n].copy())
        features = np.concatenate(seen, 1)
        assert features.shape == (FEATURES, height * width)
        assert np.array_equal(features, np.rint(features))
        assert np.abs(features).max() == 63
        assert set(features[OWN_FEATURES]) == {32.0}


class TestLogarithm:
    def test_is_monotone_and_close(self) -> None:
        values = np.unique(np.logspace(0, 9, 4000).astype(int))
        logs = np.array([predictor.log8.py_func(int(v)) for v in values[values < 2**30]])
        exact = 8 * np.log2(values[values < 2**30] + 1)
        assert (np.diff(logs) >= 0).all()
        assert np.abs(logs - exact).max() <= 1.75  # 0.69 of the chords, 1 of the floor
        assert np.array_equal(logs, logarithm(values[values < 2**30]))
