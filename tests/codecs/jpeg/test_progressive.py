"""Progressive streams come back byte by byte, too: their scans are written as the IJG's are."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.jpeg.codec import encode, streams
from tilepress.codecs.jpeg.markers import JpegTables, Refused
from tilepress.codecs.jpeg.stream import read_skeleton, read_stream, write_stream
from tilepress.codecs.tile import TileCodec

from .pictures import picture, progressive, samples_of


def round_trip(data: bytes) -> bytes:
    stream, blocks = read_stream(data, JpegTables())
    assert stream.frame.kind == "progressive"
    again = read_skeleton(stream.skeleton, JpegTables())
    again.pads = stream.pads
    assert again.coded == stream.coded
    return write_stream(again, blocks, stream.own_places()[0])


class TestEveryByteComesBack:
    @pytest.mark.parametrize("quality", [20, 75, 100])
    @pytest.mark.parametrize("size", [(1, 1), (8, 9), (50, 67), (200, 160)])
    def test_of_colour_and_grey(self, quality: int, size: tuple[int, int]) -> None:
        for bands in (3, 1):
            data = progressive(picture(*size, seed=quality, bands=bands), quality)
            assert round_trip(data) == data

    def test_of_noise_and_of_nothing(self) -> None:
        """Runs of blocks as long as they may be, and bits of correction that end them early."""
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (96, 96)).astype(np.uint8)
        flat = np.full((1500, 1600), 99, np.uint8)
        faint = (120 + 9 * (rng.random((256, 256)) < 0.5)).astype(np.uint8)
        for image in (noise, flat, faint):
            for quality in (30, 98):
                data = progressive(image, quality)
                assert round_trip(data) == data

    def test_in_a_record(self) -> None:
        data = progressive(picture(70, 90))
        record = encode([data], samples_of(data))
        assert streams(record) == [data]
        assert np.array_equal(TileCodec().decode(record), samples_of(data))
        assert len(record) < len(data)


class TestRefuses:
    def test_streams_that_are_cut(self) -> None:
        data = progressive(picture(60, 60))
        last = data.rindex(b"\xff\xda")
        for size in range(last + 10, len(data) - 3, 41):
            with pytest.raises(Refused):
                read_stream(data[:size], JpegTables())

    def test_impossible_parts(self) -> None:
        data = progressive(picture(60, 60, bands=1))
        at = data.index(b"\xff\xda") + 7
        for part in (b"\x00\x05\x01", b"\x05\x04\x01", b"\x00\x00\x0e", b"\x00\x00\x31"):
            with pytest.raises(Refused, match="impossible part"):
                read_stream(data[:at] + part + data[at + 3 :], JpegTables())
