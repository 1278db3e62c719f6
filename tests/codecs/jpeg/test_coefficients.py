"""All coefficients that streams can hold come back, however unlike images they are."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.jpeg.coefficients import Known, code_component
from tilepress.codecs.jpeg.contexts import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.layout import Layout, Plane
from tilepress.codecs.jpeg.mixing import CAP, INPUTS, start
from tilepress.codecs.jpeg.planes import ALIKE, LUMINANCE, decode_blocks, encode_blocks, memory_of
from tilepress.codecs.jpeg.priors import default_priors, fresh
from tilepress.errors import InvalidRecord


def layout(owners: list[np.ndarray], sampling: list[tuple[int, int]], step: int = 3) -> Layout:
    planes, first = [], 0
    for one, (v, h) in zip(owners, sampling, strict=True):
        planes.append(Plane(first, one.astype(np.int32), h, v))
        first += one.size
    streams = int(max(one.max() for one in owners)) + 1
    steps = np.full((len(planes), streams, 64), step, np.int64)
    return Layout(tuple(planes), (), steps, first)


def there_and_back(blocks: np.ndarray, where: Layout, family: int = LUMINANCE) -> int:
    sizes = []
    for priors in (default_priors(), fresh()):
        code = encode_blocks(blocks, where, family, priors, 64)
        assert np.array_equal(decode_blocks(memoryview(code), where, family, priors), blocks)
        sizes.append(len(code))
    return min(sizes)


def owned(where: Layout) -> np.ndarray:
    return np.concatenate([plane.owners.ravel() for plane in where.planes]) >= 0


class TestEveryCoefficientComesBack:
    @pytest.mark.parametrize("largest", [1, 3, 200, 2047, 32767])
    @pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
    def test_at_random(self, largest: int, density: float) -> None:
        rng = np.random.default_rng(0)
        grid = np.zeros((5, 7))
        where = layout([grid, grid, grid], [(1, 1)] * 3)
        blocks = rng.integers(-largest, largest + 1, (where.blocks, 64))
        blocks = (blocks * (rng.random(blocks.shape) < density)).astype(np.int16)
        for family in (LUMINANCE, ALIKE):
            there_and_back(blocks, where, family)

    def test_extremes(self) -> None:
        grid = np.zeros((3, 3))
        where = layout([grid], [(1, 1)], step=65535)
        blocks = np.full((9, 64), 32767, np.int16)
        blocks[1::2] = -32767
        blocks[4, 0] = blocks[0, 0] = -32768
        there_and_back(blocks, where)
        there_and_back(blocks, layout([grid], [(1, 1)], step=0))

    def test_with_holes_and_subsampled(self) -> None:
        rng = np.random.default_rng(1)
        luma = np.repeat(np.repeat(rng.integers(-1, 3, (3, 4)), 2, 0), 2, 1)
        chroma = luma[::2, ::2]
        where = layout([luma, chroma, chroma], [(2, 2), (1, 1), (1, 1)])
        blocks = rng.integers(-9, 10, (where.blocks, 64)).astype(np.int16)
        blocks[~owned(where)] = 0
        there_and_back(blocks, where)

    def test_nothing_takes_next_to_nothing(self) -> None:
        where = layout([np.zeros((64, 64))], [(1, 1)])
        assert there_and_back(np.zeros((4096, 64), np.int16), where) < 40


class TestHostileCodes:
    def test_are_refused_or_blocks(self) -> None:
        rng = np.random.default_rng(2)
        where = layout([np.zeros((4, 4))] * 3, [(1, 1)] * 3)
        refused = 0
        for size in (0, 1, 5, 50, 4000):
            for _ in range(10):
                try:
                    decode_blocks(memoryview(rng.bytes(size)), where, LUMINANCE, default_priors())
                except InvalidRecord:
                    refused += 1
        assert refused

    def test_memory_is_known(self) -> None:
        assert memory_of(layout([np.zeros((100, 100))], [(1, 1)])) > 128 * 10000

    def test_slots_of_another_number_are_an_error(self) -> None:
        """What the native code reads beyond an array would be anything."""
        one = np.zeros((1, 1), np.int32)
        steps = np.ones((1, 64), np.int64)
        data = np.zeros(9000, np.uint8)
        for slots, sets in ((SLOTS - 1, WEIGHT_SETS), (SLOTS, WEIGHT_SETS - 1)):
            with pytest.raises(ValueError, match="slots of"):
                code_component(
                    start(data, True, CAP), data, True, np.zeros((1, 64), np.int16), 0, one, steps,
                    None, np.zeros(slots, np.uint32), np.zeros((sets, INPUTS), np.int32),
                    Known(one, one),
                )  # fmt: skip
