"""The residual coder: folding, tokens, rANS."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import coder
from tilepress.codecs.wave.model import TABLES
from tilepress.codecs.weights import load_named


class TestFoldingIsABijection:
    """Every sample of a plane's range has its own code, and no code lies beyond the range."""

    @pytest.mark.parametrize("top", [1, 2, 9, 255])
    def test_exhaustively(self, top: int) -> None:
        for pred in range(0, top + 1, max(1, top // 16)):
            for flip in (0, 1):
                codes = [
                    coder._fold.py_func(x - pred, top - pred, pred, flip) for x in range(top + 1)
                ]
                assert sorted(codes) == list(range(top + 1))
                back = [pred + coder._unfold.py_func(z, top - pred, pred, flip) for z in codes]
                assert back == list(range(top + 1))

    def test_nearest_come_first(self) -> None:
        assert [coder._fold.py_func(r, 50, 50, 0) for r in (0, 1, -1, 2, -2)] == [0, 1, 2, 3, 4]
        assert [coder._fold.py_func(r, 50, 50, 1) for r in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


class TestTokensCoverTheRange:
    def test_tokens_rise_and_end_in_time(self) -> None:
        z = np.arange(2**17, dtype=np.int32)
        tokens = coder.tokenise(z).astype(int)
        assert tokens[0] == 0
        assert set(np.unique(np.diff(tokens))) == {0, 1}
        assert tokens.max() < coder.TOKENS


class TestRansIsNearItsEntropy:
    """The stream costs what the tables say, to a few hundredths of a per cent."""

    def test_against_the_tables(self) -> None:
        model = load_named("auto").model
        rng = np.random.default_rng(0)
        n = 60_000
        tables = rng.integers(0, TABLES, n)
        symbols = np.array([rng.integers(0, 3) for _ in range(n)])
        symbols = np.minimum(symbols, model.used[tables])
        starts = model.cumulative[tables, symbols]
        sizes = model.cumulative[tables, symbols + 1] - starts
        states, words = coder.rans_encode(starts.astype(np.uint16), sizes.astype(np.uint16), 32)
        bits = -np.log2(sizes / 2**coder.TABLE_BITS).sum()
        assert len(words) * 16 + len(states) * 32 <= bits * 1.001 + 32 * 32
        assert len(states) == 32

    def test_certain_symbols_cost_nothing(self) -> None:
        starts, sizes = np.zeros(10_000, np.uint16), np.full(10_000, 32767, np.uint16)
        _, words = coder.rans_encode(starts, sizes, 4)
        assert len(words) <= 2
