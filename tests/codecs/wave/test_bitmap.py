"""Bitmaps: masks and used levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.errors import InvalidRecord

from .range_coder import encode


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


def context(bits: np.ndarray, y: int, x: int) -> int:
    """Ten neighbours before a bit as a number (FORMAT.md §4.2)."""

    def at(dy: int, dx: int) -> str:
        inside = y + dy >= 0 and 0 <= x + dx < bits.shape[1]
        return str(int(bits[y + dy, x + dx])) if inside else "0"

    if len(bits) == 1:
        return int("".join(at(0, -k) for k in range(1, 11)), 2)
    row, above = [at(0, -k) for k in range(1, 5)], [at(-1, k) for k in range(-2, 3)]
    return int("".join([*row, *above, at(-2, 0)]), 2)


class TestTheBytesAreTheFormats:
    """What a coder in plain Python writes, its carries taken by numbers of any size."""

    @pytest.mark.parametrize("shape", [(1, 1), (1, 700), (2, 300), (31, 20)])
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.997])
    def test_equal(self, shape: tuple[int, int], share: float) -> None:
        bits = np.random.default_rng(7).random(shape) < share
        contexts = [context(bits, y, x) for y in range(shape[0]) for x in range(shape[1])]
        assert encode_bitmap(bits) == encode(bits.ravel().astype(int).tolist(), contexts)


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
