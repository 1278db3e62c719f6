"""Symbols to words: what they cost."""

from __future__ import annotations

import numpy as np

from tilepress.codecs.wave import rans
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.model import TABLES

MODEL = load_model("auto")


class TestRansIsNearItsEntropy:
    """The stream costs what the tables say, to a few hundredths of a per cent."""

    def test_against_the_tables(self) -> None:
        rng = np.random.default_rng(0)
        n = 60_000
        tables = rng.integers(0, TABLES, n)
        symbols = np.array([rng.integers(0, 3) for _ in range(n)])
        symbols = np.minimum(symbols, MODEL.used[tables])
        starts = MODEL.cumulative[tables, symbols]
        sizes = MODEL.cumulative[tables, symbols + 1] - starts
        states, words = rans.rans_encode(starts.astype(np.uint16), sizes.astype(np.uint16), 32)
        bits = -np.log2(sizes / 2**rans.TABLE_BITS).sum()
        assert len(words) * 16 + len(states) * 32 <= bits * 1.001 + 32 * 32
        assert len(states) == 32

    def test_certain_symbols_cost_nothing(self) -> None:
        starts, sizes = np.zeros(10_000, np.uint16), np.full(10_000, 32767, np.uint16)
        _, words = rans.rans_encode(starts, sizes, 4)
        assert len(words) <= 2
