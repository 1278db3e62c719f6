"""The binary arithmetic coder: every bit comes back, and likely ones cost little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.wave.arithmetic import contexts, decode_bit, encode_bits, start
from tilepress.codecs.wave.compiled import jit


@jit
def decoded(data, context_of, count):
    """Return the bits, and the bytes that the decoder asked for; what is not there is 0."""
    state, place = contexts(count), start(data)
    out = np.empty(len(context_of), np.uint8)
    for i in range(len(context_of)):
        out[i] = decode_bit(data, place, state, context_of[i])
    return out, np.int64(place[2])


def drawn(seed: int, n: int, count: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Bits, each context's as likely as ``share`` or its opposite; and their contexts."""
    rng = np.random.default_rng(seed)
    context_of = rng.integers(0, count, n)
    likely = np.where(np.arange(count) % 2, share, 1 - share)
    return (rng.random(n) < likely[context_of]).astype(np.uint8), context_of


class TestBitsComeBack:
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(0, 700),
        st.integers(1, 90),
        st.sampled_from([0.0, 0.001, 0.03, 0.3, 0.5]),
    )
    def test_random(self, seed: int, n: int, count: int, share: float) -> None:
        bits, context_of = drawn(seed, n, count, share)
        found, used = decoded(encode_bits(bits, context_of, count), context_of, count)
        assert np.array_equal(found, bits)
        assert used >= len(encode_bits(bits, context_of, count))  # none is left over

    def test_carries_propagate(self) -> None:
        """Runs of the rarer bit lift the low end through bytes of 0xFF that wait."""
        for seed in range(80):
            bits, context_of = drawn(seed, 4000, 1, 0.0005)
            bits[-400:] ^= 1
            assert np.array_equal(decoded(encode_bits(bits, context_of, 1), context_of, 1)[0], bits)


class TestZerosAtTheEndAreNotWritten:
    def test_nor_needed(self) -> None:
        bits, context_of = drawn(1, 500, 7, 0.2)
        coded = encode_bits(bits, context_of, 7)
        more = np.concatenate([coded, np.zeros(9, np.uint8)])
        assert not len(coded) or coded[-1] != 0
        assert np.array_equal(decoded(more, context_of, 7)[0], bits)

    def test_nothing_but_zeros_is_no_bytes(self) -> None:
        none = np.zeros(300, np.uint8)
        assert len(encode_bits(none, np.zeros(300, np.int64), 1)) == 0
        assert not decoded(np.zeros(0, np.uint8), np.zeros(300, np.int64), 1)[0].any()


class TestLikelyBitsAreCheap:
    @pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
    def test_near_their_entropy(self, share: float) -> None:
        bits, context_of = drawn(2, 40_000, 4, share)
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        spent = 8 * len(encode_bits(bits, context_of, 4)) / len(bits)
        assert spent < 1.04 * entropy + 0.02

    def test_contexts_learn_apart(self) -> None:
        """Bits that alternate are certain to whoever knows the last one."""
        bits = (np.arange(2000) % 2).astype(np.uint8)
        apart = encode_bits(bits, bits.astype(np.int64), 2)
        together = encode_bits(bits, np.zeros(2000, np.int64), 1)
        assert 20 * len(apart) < len(together)
