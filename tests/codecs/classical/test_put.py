"""Samples put for codecs that do not take them stand for the very samples that were given."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.classical import anchor
from tilepress.codecs.classical.put import ordered_bits, quantise, remark, usable_planes

from ...helpers.samples import smooth_planes as smooth


class TestPlanesOfEightOrSixteenBits:
    """That is what every codec takes, and no bit is lost on the way."""

    @pytest.mark.parametrize(
        ("dtype", "put"),
        [
            ("bool", ["u1"]),
            ("u1", ["u1"]),
            ("i1", ["u1"]),
            ("u2", ["u2"]),
            ("i2", ["u1"]),
            ("u4", ["u1"]),
            ("i8", ["u1"]),
            ("f2", ["u2"]),
            ("f4", ["u2", "u2"]),
            ("f8", ["u2", "u2", "u2", "u2"]),
        ],
    )
    def test_dtypes(self, dtype: str, put: list[str]):
        assert [plane.dtype for plane in usable_planes(smooth(dtype)[0])] == put

    def test_integers_are_offset_where_that_is_enough(self):
        plane = np.array([[2**62 + 5, 2**62]], np.uint64)
        (put,) = usable_planes(plane)
        assert put.tolist() == [[5, 0]]

    def test_wide_integers_are_split(self):
        plane = np.array([[0, 2**32 - 1, 0x12345678]], np.uint32)
        high, low = usable_planes(plane)
        assert ((high.astype(np.uint32) << 16 | low) == plane).all()

    def test_parts_of_floats_keep_their_order(self):
        values = np.array([-np.inf, -2.5, -0.0, 0.0, 1e-30, 7.0, np.inf], np.float32)[None]
        bits = ordered_bits(values)
        assert (np.diff(bits.astype(np.int64)) > 0).all()


class TestRemarks:
    """A table says how samples reached a codec that does not take them as they are."""

    @pytest.mark.parametrize(
        ("codec", "dtype", "told"),
        [
            ("zstd", "f8", ""),
            ("jpegxl", "u2", ""),
            ("jpegxl", "bool", "bool as uint8"),
            ("jpegxl", "f4", "float32 natively or in 16-bit parts"),
            ("jpegls", "f4", "float32 in 16-bit parts"),
            ("lerc", "i4", ""),
            ("jpegls", "i2", "offset to unsigned"),
            ("jpegls", "i4", "offset to unsigned, in 16-bit parts if wider"),
        ],
    )
    def test_texts(self, codec: str, dtype: str, told: str):
        assert remark(anchor(codec), np.dtype(dtype)) == told


class TestQuantisedSamplesHoldTheBound:
    """A codec that is allowed a larger error than ours would be no comparison."""

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8"])
    @pytest.mark.parametrize("k", [1, 2, 16])
    def test_quantised_integers_come_back_within_it(self, dtype: str, k: int):
        limits = np.iinfo(dtype)
        ends = [limits.min, limits.min + 1, limits.max - 1, limits.max]
        values = [*ends, *range(limits.max // 2, limits.max // 2 + 40)]
        planes = np.array(values, dtype)[None, None]
        levels = quantise(planes, k)
        off = [
            abs(int(q) * (2 * k + 1) - value)
            for q, value in zip(levels.ravel(), values, strict=True)
        ]
        assert levels.dtype == planes.dtype
        assert max(off) <= k

    def test_quantised_floats_come_back_within_it(self):
        planes = smooth("f4")
        planes[0, 0, :3] = np.nan, np.inf, -9999
        levels = quantise(planes, 0.25, nodata=-9999)
        present = np.ones(planes.shape, bool)
        present[0, 0, :3] = False
        assert np.abs(levels * 0.5 - planes)[present].max() <= 0.25
        assert (levels[~present] == levels.min()).all()
        assert (levels[present] > levels.min()).all()

    def test_floats_beyond_exact_steps_stay_as_they_are(self):
        planes = np.array([[[1e30, 1.0]]], np.float32)
        assert quantise(planes, 0.5) is planes
