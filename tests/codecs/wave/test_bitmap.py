"""Bitmaps: masks and used levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.errors import InvalidRecord


class TestBitmapsComeBack:
    @given(st.integers(1, 40), st.integers(1, 70), st.floats(0, 1), st.integers(0, 2**32 - 1))
    def test_random(self, height: int, width: int, share: float, seed: int) -> None:
        bits = np.random.default_rng(seed).random((height, width)) < share
        assert np.array_equal(decode_bitmap(encode_bitmap(bits), height, width), bits)

    def test_carries_propagate(self) -> None:
        """Long runs of the rarer symbol push the range coder's low end through its carries."""
        for seed in range(60):
            bits = np.random.default_rng(seed).random((1, 3000)) < 0.999
            assert np.array_equal(decode_bitmap(encode_bitmap(bits), 1, 3000), bits)


class TestPatternsAreCheap:
    def test_uniform_is_free(self) -> None:
        assert len(encode_bitmap(np.zeros((512, 512), bool))) < 8
        assert len(encode_bitmap(np.ones((512, 512), bool))) < 80

    def test_every_third_level(self) -> None:
        assert len(encode_bitmap((np.arange(4096) % 3 == 0)[None])) < 60


class TestExtraBytesAreRefused:
    def test_left_over(self) -> None:
        coded = encode_bitmap(np.eye(20, dtype=bool))
        with pytest.raises(InvalidRecord, match="left over"):
            decode_bitmap(coded + b"\1" * 9, 20, 20)
