"""Fields of a body: what is packed is unpacked, what is impossible is refused."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from tilepress.codecs.wave import wavefront
from tilepress.codecs.wave.backend import LinearPath
from tilepress.codecs.wave.layout import FAR_CHOICES, REGRESSORS
from tilepress.codecs.wave.plane_format import (
    Blocks,
    pack_bits,
    pack_linear,
    residuals,
    unpack_bits,
    unpack_linear,
)
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord


def assert_same(found: LinearPath, path: LinearPath) -> None:
    for ours, theirs in zip(astuple(found), astuple(path), strict=True):
        assert np.array_equal(ours, theirs)


class TestSetsOfWeights:
    @pytest.mark.parametrize("sets", [1, 2, 7, 16])
    @pytest.mark.parametrize("n_refs", [0, 2])
    @pytest.mark.parametrize("bits", [8, 12, 14])
    def test_any_number_is_read_as_written(self, sets: int, n_refs: int, bits: int) -> None:
        rng = np.random.default_rng(sets)
        count = 17 + 11 * n_refs
        weights = np.zeros((sets, REGRESSORS), np.int64)
        weights[:, :count] = rng.integers(-(2 ** (bits + 3)) + 1, 2 ** (bits + 3), (sets, count))
        weights[:, :count] <<= 14 - bits
        cells = np.zeros(64, np.int32) if sets == 1 else rng.integers(0, sets, 64).astype(np.int32)
        levels = np.zeros(3, np.int32) if sets == 1 else np.array([3, 99, 255], np.int32)
        path = LinearPath(levels, cells, weights)
        for form in (2, 3):
            reader = Reader(memoryview(pack_linear(path, bits, n_refs)))
            found = unpack_linear(reader, n_refs, form)
            reader.finish()
            assert_same(found, path)

    @pytest.mark.parametrize("sets", [1, 16])
    @pytest.mark.parametrize("far", FAR_CHOICES)
    @pytest.mark.parametrize(("memory", "up"), [(1, -11), (6, 0), (15, 11)])
    def test_what_follows_is_read_as_written(self, sets: int, far: int, memory: int, up: int):
        weights = np.zeros((sets, REGRESSORS), np.int64)
        cells = np.arange(64, dtype=np.int32) % sets
        path = LinearPath(np.zeros(3, np.int32), cells, weights, memory, far, up)
        packed = pack_linear(path, 8, 0)
        assert_same(unpack_linear(Reader(memoryview(packed)), 0, 3), path)
        with pytest.raises(InvalidRecord, match="sets of weights"):
            unpack_linear(Reader(memoryview(packed)), 0, 2)

    def test_impossible_ones_are_refused(self) -> None:
        for data, words in (
            (b"\x10", "17 sets"),
            (b"\x01\0\0\0" + b"\x02" + b"\0" * 31, "a cell beyond"),
            (b"\0\x0f\x02" + b"\0" * 99, "weights of 2 bits"),
            (b"\0\x0e\x13" + b"\0" * 99, "weights of 19 bits"),
            (b"\0\x01\x06" + b"\x1f" + b"\0" * 99, "out of range"),
        ):
            for form in (2, 3):
                with pytest.raises(InvalidRecord, match=words):
                    unpack_linear(Reader(memoryview(data)), 0, form)

    def test_impossible_ones_that_follow_are_refused(self) -> None:
        for data, words in (
            (b"\x40\x00\x0b", "memory 0"),
            (b"\x40\x10\x0b", "memory 16"),
            (b"\x40\x06\x17", "weighed by 12"),
            (b"\xc0\x06\x0b", "two predictions of one set"),
            (b"\x80\x06\x0b", "129 sets"),
        ):
            with pytest.raises(InvalidRecord, match=words):
                unpack_linear(Reader(memoryview(data + bytes(99))), 0, 3)


class TestResiduals:
    """Later planes see what the linear path left, in whole steps, half a step rounded down."""

    def test_rounding(self) -> None:
        errors = np.arange(-200, 200, dtype=np.int32).reshape(20, 20)
        steps = residuals(wavefront.shear(errors, 0), 20, 20)
        assert np.array_equal(steps, np.ceil((errors - 32) / 64))


class TestNumbersOfAnyWidth:
    @pytest.mark.parametrize("width", [1, 4, 9, 17])
    def test_come_back(self, width: int) -> None:
        values = np.random.default_rng(width).integers(0, 1 << width, (5, 7)).astype(np.int32)
        packed = pack_bits(values, width)
        assert len(packed) == (35 * width + 7) // 8
        assert np.array_equal(unpack_bits(memoryview(packed), (5, 7), width), values)


class TestBlocks:
    def test_first_samples_stand_for_their_blocks(self) -> None:
        """Blocks that are cut at the edges too: what is repeated comes back whole."""
        coded = np.arange(12).reshape(3, 4)
        whole = coded.repeat(3, 0).repeat(2, 1)[2:, 1:-1]
        blocks = Blocks.of(whole.shape, (3, 1, 2, 1))
        assert blocks.shape == (3, 4)
        assert np.array_equal(whole[blocks.first_samples()], coded)
        assert np.array_equal(coded[np.ix_(blocks.rows, blocks.columns)], whole)
