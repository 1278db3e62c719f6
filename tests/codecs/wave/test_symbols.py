"""Residuals to symbols: folding, tokens, the order of a step."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import symbols
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import MATCH_CONTEXTS
from tilepress.codecs.wave.model import TABLES

MODEL = load_model("auto")
SAME_TABLES = np.arange(TABLES, dtype=np.int32)


def folded(samples: np.ndarray, mean: int, top: int) -> list[int]:
    """The codes of samples whose mean is known, in 1/64 steps."""
    n = len(samples)
    means, zeros = np.full(n, mean, np.int32), np.zeros(n, np.int32)
    given = (means, zeros, zeros, np.stack([samples] * 3).astype(np.int32))
    _, codes, candidates = symbols.fold_plane(*given, 8, top, True)
    assert (candidates == codes).all()
    return codes.tolist()


class TestFoldingIsABijection:
    """Every sample of a plane's range has its own code, and no code lies beyond the range."""

    @pytest.mark.parametrize("top", [1, 2, 9, 255])
    def test_exhaustively(self, top: int) -> None:
        for pred in range(0, top + 1, max(1, top // 16)):
            for fraction in (-9, 0, 9):
                mean = min(max(64 * pred + fraction, 0), 64 * top)
                assert sorted(folded(np.arange(top + 1), mean, top)) == [*range(top + 1)]

    def test_nearest_come_first(self) -> None:
        assert folded(50 + np.array([0, 1, -1, 2, -2]), 64 * 50 + 1, 100) == [0, 1, 2, 3, 4]
        assert folded(50 + np.array([0, -1, 1, -2, 2]), 64 * 50 - 1, 100) == [0, 1, 2, 3, 4]

    def test_beyond_the_nearer_border_only_one_side_is_left(self) -> None:
        assert folded(np.array([0, 4, 5, 9]), 64 * 2, 9) == [4, 3, 5, 9]


class TestTokensCoverTheRange:
    def test_tokens_rise_and_end_in_time(self) -> None:
        z = np.arange(2**17, dtype=np.int32)
        tokens = symbols.tokenise(z).astype(int)
        assert tokens[0] == 0
        assert set(np.unique(np.diff(tokens))) == {0, 1}
        assert tokens.max() < symbols.TOKENS


class TestThreeRounds:
    """A step gives the flags "as west" of its samples, the flags "as north", then the tokens."""

    def test_order_within_a_step(self) -> None:
        """The example of FORMAT.md §6."""
        flags = np.zeros((2, MATCH_CONTEXTS), np.int32)
        flags[0, 1], flags[1, 1], flags[1, 2] = 20_000, 9000, 7000
        starts, sizes, bits, counts = symbols.symbols(
            np.zeros(3, np.int16),
            np.array([5, 4, 2], np.int32),
            np.array([1, 1, 2], np.int32),
            np.array([[3, 4, 1], [5, 6, 2]], np.int32),
            np.array([0, 3], np.int64),
            *(flags, SAME_TABLES, MODEL.cumulative, MODEL.used),
        )
        assert starts.tolist() == [20_000, 0, 0, 0]
        assert sizes.tolist() == [12_768, 20_000, 9000, 7000]
        assert len(bits) == len(counts) == 0

    def test_candidates_that_were_ruled_out_leave_the_token(self) -> None:
        flags = np.full((2, MATCH_CONTEXTS), 1000, np.int32)
        starts, *_ = symbols.symbols(
            *(np.zeros(1, np.int16), np.array([3], np.int32), np.array([9], np.int32)),
            *(np.array([[0], [2]], np.int32), np.array([0, 1], np.int64)),
            *(flags, SAME_TABLES, MODEL.cumulative, MODEL.used),
        )
        assert starts.tolist() == [1000, 1000, MODEL.cumulative[0, 1]]


class TestGain:
    def test_scales_the_correction_by_eighths(self) -> None:
        linears = np.full(16, 640, np.int32)
        corrections = np.full(16, -40, np.int32)
        samples = np.zeros((3, 16), np.int32)
        samples[:] = 10
        for gain in range(16):
            _, folded, _ = symbols.fold_plane(
                linears, corrections, np.zeros(16, np.int32), samples, gain, 20, True
            )
            mean = 640 + ((-40 * gain + 4) >> 3)
            residual = 10 - ((mean + 32) >> 6)
            flip = mean - 64 * ((mean + 32) >> 6) < 0
            signed = -residual if flip else residual
            assert set(folded) == {2 * signed - 1 if signed > 0 else -2 * signed}

    def test_stays_within_the_range(self) -> None:
        for linear, correction in ((0, -5000), (640, 5000)):
            tables, folded, _ = symbols.fold_plane(
                *(np.array([linear], np.int32), np.array([correction], np.int32)),
                *(np.zeros(1, np.int32), np.full((3, 1), linear // 64, np.int32), 15, 10, True),
            )
            assert folded.tolist() == [0]
            assert tables.tolist() == [0]
