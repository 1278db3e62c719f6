"""What a body takes is read off its head; that it takes no more, ``test_memory.py`` measures."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.demand import allowed_work, body_demand
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.plane_format import CONSTANT, PACKED, RAW, REPLICATED, SPLIT
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord

CODER = Coder(load_model("auto"))
SHAPE = (64, 48)


def demand(body: bytes, n_refs: int = 0, shape: tuple[int, int] = SHAPE):
    return body_demand(Reader(memoryview(body)), shape, n_refs)


def coded(samples: np.ndarray) -> bytes:
    return encode_body(samples.astype(np.int64), None, [], CODER)[0]


NOISE = np.random.default_rng(1).integers(0, 60, SHAPE).cumsum(1)


class TestWhatABodyTakes:
    def test_a_constant_one_least(self) -> None:
        assert demand(bytes([CONSTANT, 0])).memory < demand(coded(NOISE)).memory

    def test_references_are_sheared_too(self) -> None:
        body = coded(NOISE)
        none, one, two = (demand(body, n).memory for n in range(3))
        assert two - one == one - none > 8 * NOISE.size

    def test_splits_hold_one_half_while_the_other_is_decoded(self) -> None:
        constant, leaf = bytes([CONSTANT, 0]), coded(NOISE)
        body, sizes = leaf, []
        for _ in range(4):
            body = bytes([SPLIT, 0, 16]) + varint(len(constant)) + constant + body
            sizes.append(demand(body).memory)
        assert np.diff(sizes).max() <= 10 * NOISE.size
        with pytest.raises(InvalidRecord, match="4 splits"):
            demand(bytes([SPLIT, 0, 16]) + varint(len(constant)) + constant + body)

    def test_blocks_count_for_their_number(self) -> None:
        whole, halved = (
            demand(coded(NOISE)),
            demand(coded(NOISE[::2, ::2].repeat(2, 0).repeat(2, 1))),
        )
        assert halved.work < whole.work / 2
        with pytest.raises(InvalidRecord, match="block size"):
            demand(bytes([REPLICATED | RAW, 9, 0, 1, 0]))

    def test_listed_levels_are_work(self) -> None:
        few = demand(bytes([PACKED, 0]) + varint(7))
        many = demand(bytes([PACKED, 0]) + varint(2**17 - 1))
        assert many.work - few.work > 2**14

    @pytest.mark.parametrize("cut", range(1, 12))
    def test_a_cut_head_is_an_error_or_tells_no_less(self, cut: int) -> None:
        body = bytes([SPLIT, 0, 3]) + varint(2) + bytes([CONSTANT, 0]) + coded(NOISE)
        try:
            assert demand(body[:cut]).work > 0
        except InvalidRecord:
            assert cut < 11


class TestWorkThatIsAllowed:
    def test_is_many_times_what_our_encoder_asks_for(self) -> None:
        rng = np.random.default_rng(2)
        for samples in (NOISE, NOISE << 40, rng.integers(0, 2, SHAPE) * 100_000, NOISE * 700):
            work = demand(coded(samples)).work
            assert 3 * work < allowed_work(1, NOISE.size) - allowed_work(0, 0)
