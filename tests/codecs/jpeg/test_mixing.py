"""Bits come back, and take about what their probabilities say."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.jpeg import mixing
from tilepress.codecs.jpeg.mixing import AT, CAP, FRESH_SLOT, INPUTS, PLACES, finish, start
from tilepress.codecs.wave.compiled import jit


@jit
def run(work, data, decoding, bits, contexts, slots, weights, mixed):
    """Code bits, each in its contexts."""
    for i in range(len(bits)):
        for j in range(INPUTS):
            work[PLACES + j] = contexts[i, j]
        if mixed:
            bits[i] = mixing.code_mixed(work, data, decoding, bits[i], slots, 0, weights, 0)
        else:
            bits[i] = mixing.code_plain(work, data, decoding, bits[i], slots, contexts[i, 0])


def there_and_back(bits: np.ndarray, contexts: np.ndarray, mixed: bool) -> int:
    """Code bits, check that they come back, and return the number of bytes."""

    def fresh() -> tuple[np.ndarray, np.ndarray]:
        slots = np.full(int(contexts.max()) + 1, FRESH_SLOT, np.uint32)
        return slots, np.full(INPUTS, 20000, np.int32)

    out = np.empty(len(bits) * 3 + 64, np.uint8)
    work = start(out, False, CAP)
    slots, weights = fresh()
    run(work, out, False, bits.copy(), contexts, slots, weights, mixed)
    size = finish(work, out)
    back = np.zeros_like(bits)
    again, weights_again = fresh()
    run(
        start(out[:size], True, CAP), out[:size].copy(), True, back, contexts, again,
        weights_again, mixed,
    )  # fmt: skip
    assert np.array_equal(back, bits)
    assert np.array_equal(again, slots)
    assert np.array_equal(weights_again, weights)
    return int(size)


class TestCoder:
    @pytest.mark.parametrize("mixed", [False, True])
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 1.0])
    def test_takes_the_entropy(self, mixed: bool, share: float) -> None:
        rng = np.random.default_rng(0)
        bits = (rng.random(20000) < share).astype(np.int64)
        contexts = np.tile(np.arange(INPUTS), (len(bits), 1))
        size = there_and_back(bits, contexts, mixed)
        p = min(max(share, 1e-9), 1 - 1e-9)
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * len(bits) / 8
        assert size < 1.03 * entropy + 40

    def test_contexts_that_know_are_heard(self) -> None:
        rng = np.random.default_rng(1)
        bits = rng.integers(0, 2, 20000)
        contexts = rng.integers(0, 50, (len(bits), INPUTS)) + 50 * np.arange(INPUTS)
        contexts[:, 3] = 150 + (bits ^ (rng.random(len(bits)) < 0.02))
        assert there_and_back(bits, contexts, True) < 20000 / 8 * 0.25

    @pytest.mark.parametrize("count", range(1, 6))
    def test_few_bits(self, count: int) -> None:
        contexts = np.zeros((count, INPUTS), np.int64) + np.arange(INPUTS)
        for value in range(1 << count):
            bits = np.array([(value >> i) & 1 for i in range(count)], np.int64)
            assert there_and_back(bits, contexts, True) <= 2

    def test_the_state_tells_where_it_is(self) -> None:
        assert start(np.zeros(9, np.uint8), True, CAP)[AT] == 4


class TestTables:
    def test_squash_is_the_logistic_function(self) -> None:
        x = np.arange(-2047, 2048)
        exact = 65536 / (1 + np.exp(-x / 256))
        assert np.abs(mixing._SQUASH[x + 2048] - exact).max() < 250
        assert np.all(np.diff(mixing._SQUASH.astype(int)) >= 0)

    def test_stretch_turns_it_round(self) -> None:
        x = mixing.stretched(np.arange(4096))
        back = mixing._SQUASH[x + 2048].astype(int)
        assert np.abs(back - (np.arange(4096) * 16 + 8))[30:-30].max() < 70
