"""Bits come back, and take about what their probabilities say."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.jpeg import mixing
from tilepress.codecs.jpeg.mixing import AT, CAP, FRESH_SLOT, INPUTS, code_bits, finish, start


def there_and_back(bits: np.ndarray, contexts: np.ndarray, mixed: bool) -> int:
    """Code bits, check that they come back, and return the number of bytes."""

    def fresh() -> tuple[np.ndarray, np.ndarray]:
        slots = np.full(int(contexts.max()) + 1, FRESH_SLOT, np.uint32)
        return slots, np.full(INPUTS, 20000, np.int32)

    out = np.empty(len(bits) * 3 + 64, np.uint8)
    work = start(out, False, CAP)
    slots, weights = fresh()
    code_bits(work, out, False, bits.copy(), contexts, slots, weights if mixed else None)
    size = finish(work, out)
    back = np.zeros_like(bits)
    again, weights_again = fresh()
    code_bits(
        start(out[:size], True, CAP), out[:size].copy(), True, back, contexts, again,
        weights_again if mixed else None,
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

    def test_contexts_that_there_are_not_are_an_error(self) -> None:
        data, bits = np.zeros(64, np.uint8), np.ones(1, np.int64)
        for context in (-1, 6):
            contexts = np.full((1, INPUTS), context, np.int64)
            with pytest.raises(ValueError, match="contexts of"):
                code_bits(
                    start(data, False, CAP), data, False, bits, contexts,
                    np.zeros(6, np.uint32), None,
                )  # fmt: skip

    def test_a_full_array_is_not_left(self) -> None:
        """What has no room is counted, and not written."""
        data, bits = np.zeros(5, np.uint8), np.random.default_rng(2).integers(0, 2, 5000)
        state = start(data[:3], False, CAP)
        contexts = np.zeros((len(bits), INPUTS), np.int64)
        code_bits(
            state, data[:3], False, bits, contexts, np.full(1, FRESH_SLOT, np.uint32), None
        )  # fmt: skip
        assert state[AT] > 100
        assert data[3:].tolist() == [0, 0]

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
