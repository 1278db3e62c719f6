"""Bodies: one plane of integers comes back, by whichever way it was coded."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.wave import plane_encode, plane_format
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

from .planes import MODEL, field, holes, there_and_back

CLUSTERS = plane_format.SPLIT | plane_format.PACKED


class TestClusters:
    """Few levels times a gain that varies a little: numbers of clusters, and what is within."""

    @staticmethod
    def jittered(shape: tuple[int, int] = (128, 120)) -> np.ndarray:
        numbers = field(1, shape, 40, 0) + 300
        late = np.random.default_rng(2).normal(size=shape).cumsum(0) > 0
        return np.rint(numbers * 27.4).astype(np.int64) + late

    def test_are_smaller_than_packing(self, monkeypatch) -> None:
        samples = self.jittered()
        body, _ = there_and_back(samples)
        assert body[0] & CLUSTERS == CLUSTERS
        monkeypatch.setattr(plane_encode, "cluster_starts", lambda seen: None)
        packed, _ = there_and_back(samples)
        assert packed[0] & CLUSTERS == plane_format.PACKED
        assert len(body) < 0.9 * len(packed)

    def test_with_absent_samples(self) -> None:
        samples = self.jittered()
        body, seen = there_and_back(samples, holes(3, samples.shape))
        assert body[0] & CLUSTERS == CLUSTERS
        assert body[0] & plane_format.MASKED
        assert seen.mask is not None

    def test_refer_and_are_referred_to(self) -> None:
        samples = self.jittered()
        mask = holes(4, samples.shape)
        _, first = there_and_back(samples, mask)
        assert int(first.samples.max()) <= 41  # later planes see the numbers
        again, second = there_and_back(samples + 27, mask, (first,))
        assert again[0] & plane_format.SAME_MASK
        other, _ = there_and_back(
            samples * 2 + field(5, samples.shape, 9, 1), None, (first, second)
        )
        alone, _ = there_and_back(samples * 2 + field(5, samples.shape, 9, 1))
        assert len(other) < len(alone)

    def test_in_blocks(self) -> None:
        body, _ = there_and_back(self.jittered().repeat(2, 0).repeat(3, 1)[1:, 2:])
        assert body[0] & CLUSTERS == CLUSTERS
        assert body[0] & plane_format.REPLICATED

    @pytest.mark.parametrize("byte", range(3, 60, 3))
    def test_nonsense_is_refused_or_read(self, byte: int) -> None:
        """The bitmaps decide which clusters there are: any other ones must not index beyond."""
        body = bytearray(clustered_body())
        body[byte] ^= 0xFF
        try:
            back, _ = decode_body(Reader(memoryview(bytes(body))), (128, 120), [], MODEL)
        except InvalidRecord:
            return
        assert back.shape == (128, 120)


@functools.lru_cache(maxsize=1)
def clustered_body() -> bytes:
    return encode_body(TestClusters.jittered(), None, [], Coder(MODEL))[0]


class TestSetsOfWeights:
    def test_travel_with_the_plane(self, monkeypatch) -> None:
        """Two textures take several sets; they cost less than one does."""
        rng = np.random.default_rng(7)
        left = rng.normal(size=(192, 96)).cumsum(0) * 40
        right = rng.normal(size=(192, 96)).cumsum(1) * 2
        samples = np.concatenate([left, right], 1).astype(np.int64)
        coder = Coder(MODEL, following=None)
        body, _ = there_and_back(samples, coder=coder)
        monkeypatch.setattr(plane_encode, "MAX_SETS", 1)
        one, _ = there_and_back(samples, coder=coder)
        assert len(body) < len(one)


class TestResiduals:
    """Later planes see what the linear path left; nothing where no sample is."""

    def test_of_absent_samples_are_none(self) -> None:
        samples = field(41, (40, 50), 900, 30)
        mask = holes(7, samples.shape)
        _, seen = there_and_back(samples, mask)
        assert not seen.errors[mask].any()
        assert seen.errors[~mask].any()


class TestGreatRanges:
    @pytest.mark.parametrize("top", [2**17, 2**20, 2**33, 2**46])
    def test_are_split(self, top: int) -> None:
        samples = field(51, (40, 41), top, 99) - top // 3
        body, first = there_and_back(samples, holes(8, samples.shape))
        assert body[0] & plane_format.SPLIT
        assert body[0] & CLUSTERS != CLUSTERS
        there_and_back(samples + 5, None, (first,))


def test_a_decoded_plane_is_replaced_as_a_value() -> None:
    """References are shared by planes: what one body sees must not change under another."""
    samples = field(61, (40, 41), 500, 9)
    _, first = there_and_back(samples)
    before = replace(first, samples=first.samples.copy(), errors=first.errors.copy())
    there_and_back(samples + 3, None, (first, before))
    assert np.array_equal(first.samples, before.samples)
    assert np.array_equal(first.errors, before.errors)
