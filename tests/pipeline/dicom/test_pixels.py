"""Words, samples and native bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.pixels import PixelFormat, pair_swapped


def pixel_format(**fields: object) -> PixelFormat:
    base: dict[str, object] = {
        "rows": 6,
        "columns": 8,
        "bands": 1,
        "allocated": 16,
        "stored": 16,
        "signed": False,
        "photometric": "MONOCHROME2",
        "planar": False,
        "floating": False,
    }
    base |= fields
    base.setdefault("high", base["stored"] - 1)
    return PixelFormat(**base)


@st.composite
def layouts(draw: st.DrawFn) -> PixelFormat:
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    return pixel_format(
        allocated=allocated,
        stored=stored,
        high=draw(st.integers(stored - 1, allocated - 1)),
        signed=draw(st.booleans()),
        bands=draw(st.sampled_from([1, 3])),
        planar=draw(st.booleans()),
    )


class TestWordsComeBack:
    @given(layouts(), st.integers(0, 2**32 - 1))
    def test_samples_and_patch_make_every_word_again(self, pixels: PixelFormat, seed: int):
        """Dirty bits around BitsStored are the patch's; the field itself is the samples'."""
        shape = (pixels.bands, pixels.rows, pixels.columns)
        words = np.random.default_rng(seed).integers(
            0, np.iinfo(pixels.word_dtype).max, shape, pixels.word_dtype, endpoint=True
        )
        samples = pixels.samples_of(words)
        patch = words ^ pixels.words_of(samples)
        assert np.array_equal(pixels.words_of(samples) ^ patch, words)
        field = ((1 << pixels.stored) - 1) << (pixels.high + 1 - pixels.stored)
        assert not (patch & pixels.word_dtype.type(field)).any()

    @given(layouts(), st.integers(0, 2**32 - 1), st.sampled_from("<>"))
    def test_native_bytes_are_read_back(self, pixels: PixelFormat, seed: int, order: str):
        size = pixels.pixel_bytes(2)
        content = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()

        def read(offset: int, length: int) -> bytes:
            return content[offset : offset + length]

        frames = [pixels.native_rows(read, f, 0, pixels.rows, order=order) for f in range(2)]
        assert b"".join(pixels.native_bytes(f, order=order) for f in frames) == content
        part = pixels.native_rows(read, 1, 2, 5, order=order)
        assert np.array_equal(part, frames[1][:, 2:5])

    def test_twelve_signed_bits_above_four(self):
        """BitsStored 12, HighBit 15: the sample is the upper field, sign-extended."""
        pixels = pixel_format(stored=12, high=15, signed=True)
        words = np.array([[[0xFFF0, 0x8000, 0x7FF5]]], np.uint16)
        assert pixels.samples_of(words).tolist() == [[[-1, -2048, 2047]]]

    def test_shared_chroma_is_doubled_and_halved(self):
        pixels = pixel_format(
            rows=1, columns=4, bands=3, allocated=8, stored=8, photometric="YBR_FULL_422"
        )
        content = bytes([1, 2, 30, 40, 3, 4, 31, 41])
        words = pixels.native_rows(lambda o, n: content[o : o + n], 0, 0, 1, order="<")
        assert words[:, 0].tolist() == [[1, 2, 3, 4], [30, 30, 31, 31], [40, 40, 41, 41]]
        assert pixels.native_bytes(words, order="<") == content

    def test_bits_of_frames_that_share_bytes(self):
        pixels = pixel_format(rows=3, columns=3, allocated=1, stored=1)
        bits = np.random.default_rng(0).integers(0, 2, (4, 3, 3), np.uint8)
        content = np.packbits(bits, bitorder="little").tobytes()
        for frame in range(4):
            words = pixels.native_rows(lambda o, n: content[o : o + n], frame, 1, 3, order="<")
            assert np.array_equal(words[0], bits[frame, 1:])

    def test_pairs_swap(self):
        assert pair_swapped(b"badcfe") == b"abcdef"


class TestOddLayoutsAreRefused:
    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"allocated": 12, "stored": 12}, UnsupportedSource),
            ({"stored": 17}, DamagedSource),
            ({"rows": 0}, DamagedSource),
            ({"bands": 5}, DamagedSource),
            ({"photometric": "ARGB"}, UnsupportedSource),
            ({"photometric": "YBR_FULL_422", "bands": 3}, UnsupportedSource),
            ({"rows": 65535, "columns": 65535}, UnsupportedSource),
        ],
    )
    def test_before_anything_is_allocated(self, fields: dict[str, object], error: type[Exception]):
        with pytest.raises(error, match="in somewhere"):
            pixel_format(**fields).check("somewhere")
