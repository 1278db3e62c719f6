"""The residual coder: folding, tokens, rANS."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tilepress.codecs.wave import coder, predictor
from tilepress.codecs.wave.layout import MATCH_CONTEXTS
from tilepress.codecs.wave.linear import plain_classes
from tilepress.codecs.wave.model import TABLES
from tilepress.codecs.wave.tree import NO_TREE
from tilepress.codecs.weights import load_named

NO_MASK = np.zeros((0, 0), np.uint8)
MODEL = load_named("auto").model
SAME_TABLES = np.arange(TABLES, dtype=np.int32)


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
        rng = np.random.default_rng(0)
        n = 60_000
        tables = rng.integers(0, TABLES, n)
        symbols = np.array([rng.integers(0, 3) for _ in range(n)])
        symbols = np.minimum(symbols, MODEL.used[tables])
        starts = MODEL.cumulative[tables, symbols]
        sizes = MODEL.cumulative[tables, symbols + 1] - starts
        states, words = coder.rans_encode(starts.astype(np.uint16), sizes.astype(np.uint16), 32)
        bits = -np.log2(sizes / 2**coder.TABLE_BITS).sum()
        assert len(words) * 16 + len(states) * 32 <= bits * 1.001 + 32 * 32
        assert len(states) == 32

    def test_certain_symbols_cost_nothing(self) -> None:
        starts, sizes = np.zeros(10_000, np.uint16), np.full(10_000, 32767, np.uint16)
        _, words = coder.rans_encode(starts, sizes, 4)
        assert len(words) <= 2


class Coded(NamedTuple):
    """A plane through every stage of the coder."""

    own: np.ndarray
    first: int
    top: int
    predicted: tuple
    tables: np.ndarray
    folded: np.ndarray
    candidates: np.ndarray

    def symbols(self, flags: np.ndarray, table_map: np.ndarray = SAME_TABLES) -> tuple:
        _, _, _, patterns, _, begins, *_ = self.predicted
        return coder.symbols(
            *(self.tables, self.folded, patterns, self.candidates, begins, flags, table_map),
            *(MODEL.cumulative, MODEL.used),
        )


def steps_and_noise(shape: tuple[int, int]) -> np.ndarray:
    """A plane of equal neighbours here, noise there, and a few samples far off."""
    rng = np.random.default_rng(5)
    plane = np.repeat(rng.integers(0, 200, (shape[0], shape[1] // 4 + 1)), 4, 1)[:, : shape[1]]
    plane = np.where(rng.random(shape) < 0.3, plane + rng.integers(0, 30, shape), plane)
    plane[rng.random(shape) < 0.01] = 90_000
    return plane.astype(np.int32)


def coded(plane: np.ndarray, gain: int) -> Coded:
    height, width = plane.shape
    first, top = int(plane[0, 0]), int(plane.max())
    own = predictor.shear(plane, first)
    none = np.zeros((2, *own.shape), np.int32)
    classes = plain_classes(MODEL.linear[0]).arrays()
    predicted = coder.predict_plane(
        own, none, none, 0, NO_MASK, height, width, top, classes, MODEL.arrays()
    )
    linears, corrections, contexts, _, samples, *_ = predicted
    folded = coder.fold_plane(linears, corrections, contexts, samples, gain, top, True)
    return Coded(own, first, top, predicted, *folded)


def decoded(
    plane: np.ndarray, data: Coded, gain: int, flags: np.ndarray, table_map: np.ndarray, stream
) -> tuple:
    """Return the plane and the fault that the decoder finds."""
    height, width = plane.shape
    none = np.zeros((2, *data.own.shape), np.int32)
    classes = plain_classes(MODEL.linear[0]).arrays()
    states, words, raw = stream
    own, _, fault = coder.decode_plane(
        *(
            states.copy(),
            words,
            raw,
            none,
            none,
            0,
            NO_MASK,
            height,
            width,
            data.top,
            data.first,
            classes,
        ),
        *(
            MODEL.arrays(),
            gain,
            flags,
            table_map,
            MODEL.cumulative,
            MODEL.used,
            MODEL.lookup,
            *NO_TREE[:2],
        ),
    )
    return predictor.unshear(own, height, width), fault


def flags_of(seed: int, share: float) -> np.ndarray:
    """Match flags for a share of all patterns, with probabilities of any kind."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((2, MATCH_CONTEXTS)) < share
    return np.where(chosen, rng.integers(589, 32768, chosen.shape), 0).astype(np.int32)


class TestThreeRounds:
    """A step gives the flags "as west" of its samples, the flags "as north", then the tokens."""

    def test_order_within_a_step(self) -> None:
        """The example of FORMAT.md §6."""
        flags = np.zeros((2, MATCH_CONTEXTS), np.int32)
        flags[0, 1], flags[1, 1], flags[1, 2] = 20_000, 9000, 7000
        starts, sizes, bits, counts = coder.symbols(
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
        starts, *_ = coder.symbols(
            *(np.zeros(1, np.int16), np.array([3], np.int32), np.array([9], np.int32)),
            *(np.array([[0], [2]], np.int32), np.array([0, 1], np.int64)),
            *(flags, SAME_TABLES, MODEL.cumulative, MODEL.used),
        )
        assert starts.tolist() == [1000, 1000, MODEL.cumulative[0, 1]]

    @pytest.mark.parametrize("lanes", [4, 8, 32])
    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("gain", [0, 8])
    def test_comes_back(self, lanes: int, share: float, gain: int) -> None:
        plane = steps_and_noise((37, 41))
        data, flags = coded(plane, gain), flags_of(lanes, share)
        table_map = np.roll(SAME_TABLES, 7)
        starts, sizes, bits, counts = data.symbols(flags, table_map)
        states, words = coder.rans_encode(starts, sizes, lanes)
        stream = (states, words, coder.pack_raw(bits, counts))
        back, fault = decoded(plane, data, gain, flags, table_map, stream)
        assert fault == 0
        assert np.array_equal(back, plane)
        assert (len(starts) > plane.size) == (share > 0)
        assert counts.max() > coder.ESCAPE_BITS  # an escape was among them

    def test_what_is_missing_or_left_over_is_a_fault(self) -> None:
        plane = steps_and_noise((20, 21))
        data, flags = coded(plane, 8), flags_of(1, 0.5)
        starts, sizes, bits, counts = data.symbols(flags)
        states, words = coder.rans_encode(starts, sizes, 4)
        raw = coder.pack_raw(bits, counts)
        longer = np.append(words, np.uint16(0)), np.append(raw, np.uint8(0))
        other = states.copy()
        other[1] ^= 1
        for stream, fault in (
            ((states, words[:-1], raw), (1,)),
            ((states, words, raw[:-1]), (2,)),
            ((states, longer[0], raw), (5,)),
            ((states, words, longer[1]), (5,)),
            ((other, words, raw), (1, 2, 3, 4, 5)),
        ):
            assert decoded(plane, data, 8, flags, SAME_TABLES, stream)[1] in fault

    def test_tokens_are_counted_as_they_are_coded(self) -> None:
        data, flags = coded(steps_and_noise((30, 31)), 8), flags_of(2, 0.5)
        counts = coder.count_tokens(
            data.tables, data.folded, data.predicted[3], data.candidates, flags, TABLES
        )
        without = data.symbols(np.zeros_like(flags))
        starts, *_ = data.symbols(flags)
        assert counts.sum() < len(without[0]) == 30 * 31
        flagged = len(starts) - counts.sum()
        assert flagged > 0


class TestGain:
    def test_scales_the_correction_by_eighths(self) -> None:
        linears = np.full(16, 640, np.int32)
        corrections = np.full(16, -40, np.int32)
        samples = np.zeros((3, 16), np.int32)
        samples[:] = 10
        for gain in range(16):
            _, folded, _ = coder.fold_plane(
                linears, corrections, np.zeros(16, np.int32), samples, gain, 20, True
            )
            mean = 640 + ((-40 * gain + 4) >> 3)
            residual = 10 - ((mean + 32) >> 6)
            flip = mean - 64 * ((mean + 32) >> 6) < 0
            signed = -residual if flip else residual
            assert set(folded) == {2 * signed - 1 if signed > 0 else -2 * signed}

    def test_stays_within_the_range(self) -> None:
        for linear, correction in ((0, -5000), (640, 5000)):
            tables, folded, _ = coder.fold_plane(
                *(np.array([linear], np.int32), np.array([correction], np.int32)),
                *(np.zeros(1, np.int32), np.full((3, 1), linear // 64, np.int32), 15, 10, True),
            )
            assert folded.tolist() == [0]
            assert tables.tolist() == [0]


class TestBestTables:
    def test_against_numpy(self) -> None:
        rng = np.random.default_rng(4)
        counted = rng.integers(0, 50, (TABLES, coder.TOKENS)) * (rng.random((TABLES, 1)) < 0.7)
        counted[:, 40:] = 0
        best, own, saved = coder.best_tables(counted, MODEL.costs)
        bits = counted @ MODEL.costs.T.astype(np.int64)
        used = counted.any(axis=1)
        assert np.array_equal(own, np.where(used, np.diag(bits), 0))
        assert np.array_equal(best, np.where(used, bits.argmin(axis=1), SAME_TABLES))
        assert np.array_equal(saved, np.where(used, own - bits.min(axis=1), 0))
        assert (saved > 0).any()

    def test_the_lowest_of_equals_wins(self) -> None:
        costs = np.tile(MODEL.costs[:1], (TABLES, 1))
        best, _, saved = coder.best_tables(np.ones((TABLES, coder.TOKENS), np.int64), costs)
        assert not best.any()
        assert not saved.any()
