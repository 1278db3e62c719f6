"""The decoding loop: what was coded comes back, what is damaged is a fault."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tilepress.codecs.wave import choices, decode_loop, predictor, rans, symbols, wavefront
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import MATCH_CONTEXTS
from tilepress.codecs.wave.linear import plain_classes
from tilepress.codecs.wave.model import TABLES
from tilepress.codecs.wave.tree import NO_TREE

NO_MASK = np.zeros(0, np.uint8)
MODEL = load_model("auto")
SAME_TABLES = np.arange(TABLES, dtype=np.int32)


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
        return symbols.symbols(
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
    own = wavefront.shear(plane, first)
    none = np.zeros((2, *own.shape), np.int32)
    classes = plain_classes(MODEL.linear[0]).arrays()
    predicted = predictor.predict_plane(
        own, none, none, 0, NO_MASK, height, width, top, classes, MODEL.arrays()
    )
    linears, corrections, contexts, _, samples, *_ = predicted
    folded = symbols.fold_plane(linears, corrections, contexts, samples, gain, top, True)
    return Coded(own, first, top, predicted, *folded)


def decoded(
    plane: np.ndarray, data: Coded, gain: int, flags: np.ndarray, table_map: np.ndarray, stream
) -> tuple:
    """Return the plane and the fault that the decoder finds."""
    height, width = plane.shape
    none = np.zeros((2, *data.own.shape), np.int32)
    classes = plain_classes(MODEL.linear[0]).arrays()
    states, words, raw = stream
    own, _, fault = decode_loop.decode_plane(
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
    return wavefront.unshear(own, height, width), fault


def flags_of(seed: int, share: float) -> np.ndarray:
    """Match flags for a share of all patterns, with probabilities of any kind."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((2, MATCH_CONTEXTS)) < share
    return np.where(chosen, rng.integers(589, 32768, chosen.shape), 0).astype(np.int32)


class TestStreams:
    @pytest.mark.parametrize("lanes", [4, 8, 32])
    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("gain", [0, 8])
    def test_comes_back(self, lanes: int, share: float, gain: int) -> None:
        plane = steps_and_noise((37, 41))
        data, flags = coded(plane, gain), flags_of(lanes, share)
        table_map = np.roll(SAME_TABLES, 7)
        starts, sizes, bits, counts = data.symbols(flags, table_map)
        states, words = rans.rans_encode(starts, sizes, lanes)
        stream = (states, words, rans.pack_raw(bits, counts))
        back, fault = decoded(plane, data, gain, flags, table_map, stream)
        assert fault == 0
        assert np.array_equal(back, plane)
        assert (len(starts) > plane.size) == (share > 0)
        assert counts.max() > symbols.ESCAPE_BITS  # an escape was among them

    def test_what_is_missing_or_left_over_is_a_fault(self) -> None:
        plane = steps_and_noise((20, 21))
        data, flags = coded(plane, 8), flags_of(1, 0.5)
        starts, sizes, bits, counts = data.symbols(flags)
        states, words = rans.rans_encode(starts, sizes, 4)
        raw = rans.pack_raw(bits, counts)
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
        counts = choices.count_tokens(
            data.tables, data.folded, data.predicted[3], data.candidates, flags, TABLES
        )
        without = data.symbols(np.zeros_like(flags))
        starts, *_ = data.symbols(flags)
        assert counts.sum() < len(without[0]) == 30 * 31
        flagged = len(starts) - counts.sum()
        assert flagged > 0
