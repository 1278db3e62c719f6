"""The predictor: layout of the wavefront, exactness of its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import kernel
from tilepress.codecs.wave.layout import FEATURES, HIDDEN, OWN_TAPS, SHEAR


class TestWavefront:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (17, 4)])
    def test_every_sample_has_one_step(self, shape: tuple[int, int]) -> None:
        height, width = shape
        seen = np.zeros(shape, int)
        for t in range(kernel.steps(height, width)):
            first, last = kernel.active_rows(t, height, width)
            for y in range(first, last):
                seen[y, t - SHEAR * y] += 1
        assert (seen == 1).all()

    def test_every_tap_is_known_in_time(self) -> None:
        """A tap belongs to an earlier step: the decoder has nothing else."""
        assert all(dx + SHEAR * dy < 0 for dy, dx in OWN_TAPS)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 11), (12, 2)])
    def test_shear_and_back(self, shape: tuple[int, int]) -> None:
        plane = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
        assert np.array_equal(kernel.unshear(kernel.shear(plane, 0), *shape), plane)


class TestNetworkIsExact:
    """Float32 carries integers: the sums must be those of int64, whatever the order of adding."""

    def test_extreme_weights_and_features(self) -> None:
        rng = np.random.default_rng(0)
        for extreme in (True, False):
            x = rng.integers(-63, 64, (FEATURES, 100))
            w = rng.integers(-63, 64, (HIDDEN, FEATURES))
            if extreme:
                x, w = np.sign(x) * 127, np.sign(w) * 63
            acc = np.zeros((HIDDEN, 100), np.float32)
            kernel.dense(x.astype(np.float32), w.astype(np.float32), FEATURES, HIDDEN, 100, acc)
            assert np.array_equal(acc.astype(np.int64), w @ x)


class TestLogarithm:
    def test_is_monotone_and_close(self) -> None:
        values = np.unique(np.logspace(0, 9, 4000).astype(int))
        logs = np.array([kernel._log8.py_func(int(v)) for v in values[values < 2**30]])
        exact = 8 * np.log2(values[values < 2**30] + 1)
        assert (np.diff(logs) >= 0).all()
        assert np.abs(logs - exact).max() <= 1.75  # 0.69 of the chords, 1 of the floor
