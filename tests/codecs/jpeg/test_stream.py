"""A stream is its coefficients and its skeleton: together they give every byte back."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.jpeg.markers import JpegTables, Refused
from tilepress.codecs.jpeg.stream import read_skeleton, read_stream, read_tables, write_stream
from tilepress.errors import InvalidRecord

from .pictures import abbreviated, jpeg, picture


def round_trip(data: bytes, tables: bytes = b"") -> bytes:
    shared = read_tables(tables)
    stream, blocks = read_stream(data, shared)
    again = read_skeleton(stream.skeleton, shared)
    again.pads = stream.pads
    assert (again.frame, again.coded) == (stream.frame, stream.coded)
    assert [scan for scan, _ in again.scans] == [scan for scan, _ in stream.scans]
    return write_stream(again, blocks, stream.own_places()[0])


def with_restarts(data: bytes, interval: int) -> bytes:
    """Return a stream as if written with restart markers, made by our own writer."""
    stream, blocks = read_stream(data, JpegTables())
    at = stream.skeleton.index(b"\xff\xda")
    skeleton = (
        stream.skeleton[:at] + b"\xff\xdd\x00\x04" + interval.to_bytes(2, "big")
        + stream.skeleton[at:]
    )  # fmt: skip
    again = read_skeleton(skeleton, JpegTables())
    again.pads = [np.full(again.intervals(scan), 127, np.int16) for scan, _ in again.scans]
    return write_stream(again, blocks, stream.own_places()[0])


class TestEveryByteComesBack:
    @pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
    def test_of_colour(self, sampling: str) -> None:
        for seed, (height, width) in enumerate([(1, 1), (8, 8), (17, 33), (64, 100)]):
            data = jpeg(picture(height, width, seed), 85, sampling)
            assert round_trip(data) == data

    def test_of_grey_and_optimised_tables(self) -> None:
        for data in (jpeg(picture(33, 40, bands=1)), jpeg(picture(40, 33), optimize=True)):
            assert round_trip(data) == data

    def test_of_abbreviated_streams(self) -> None:
        tables, rest = abbreviated(jpeg(picture(50, 60)))
        assert round_trip(rest, tables) == rest
        with pytest.raises(Refused, match="nowhere"):
            round_trip(rest)

    @pytest.mark.parametrize("interval", [1, 3, 100])
    def test_with_restart_markers(self, interval: int) -> None:
        data = with_restarts(jpeg(picture(70, 90)), interval)
        assert round_trip(data) == data
        assert (b"\xff\xd0" in data) == (interval < 30)
        pixels = imagecodecs.jpeg_decode(data)
        assert np.array_equal(pixels, imagecodecs.jpeg_decode(jpeg(picture(70, 90))))

    def test_with_odd_bytes_around(self) -> None:
        data = jpeg(picture(30, 30))
        for odd in (
            data + b"garbage\xff\xd8\xff",
            data[:2] + b"\xff\xfe\x00\x07hello" + data[2:],
            data[:-2] + b"\xff\xff\xff\xd9",
            data[:-2] + b"\x12\x34\xff\xd9",
            data[:-2],
        ):
            assert round_trip(odd) == odd

    def test_whose_scan_says_that_it_has_a_part(self) -> None:
        """As the lossy files of DICOM's working group 4 do."""
        data = jpeg(picture(30, 30, bands=1))
        at = data.index(b"\xff\xda") + 7
        odd = data[:at] + b"\0\0\0" + data[at + 3 :]
        assert odd != data
        assert round_trip(odd) == odd
        assert np.array_equal(imagecodecs.jpeg_decode(odd), imagecodecs.jpeg_decode(data))

    def test_with_other_bits_at_the_end_of_a_scan(self) -> None:
        stream, blocks = read_stream(jpeg(picture(30, 30), 60), JpegTables())
        seen = set()
        for pad in (0, 0x55, 127):
            stream.pads = [np.array([pad], np.int16)]
            data = write_stream(stream, blocks, stream.own_places()[0])
            assert round_trip(data) == data
            seen.add(data)
        assert len(seen) > 1


class TestRefuses:
    def test_streams_that_are_cut(self) -> None:
        data = jpeg(picture(60, 60))
        at = data.index(b"\xff\xda")
        for size in range(at + 14, len(data) - 3, 97):
            with pytest.raises(Refused):
                read_stream(data[:size], JpegTables())

    def test_a_size_that_its_bytes_cannot_hold(self) -> None:
        """Refused before coefficients of 65 500 × 300 samples are allocated."""
        data = jpeg(picture(16, 16, bands=1))
        at = data.index(b"\xff\xc0") + 5
        with pytest.raises(Refused, match="too short for its size"):
            read_stream(data[:at] + b"\xff\xdc\x01\x2c" + data[at + 4 :], JpegTables())

    def test_sequential_scans_in_a_progressive_frame(self) -> None:
        data = jpeg(picture(40, 40)).replace(b"\xff\xc0", b"\xff\xc2")
        with pytest.raises(Refused, match="impossible part"):
            read_stream(data, JpegTables())

    def test_coefficients_without_a_code(self) -> None:
        stream, blocks = read_stream(jpeg(picture(40, 40), optimize=True), JpegTables())
        blocks[0, 63] = 1999
        with pytest.raises(InvalidRecord, match="Huffman tables"):
            write_stream(stream, blocks, stream.own_places()[0])

    def test_places_beyond_the_blocks(self) -> None:
        """No caller asks for them: else the native code would read and write anywhere."""
        stream, blocks = read_stream(jpeg(picture(40, 40)), JpegTables())
        places = stream.own_places()[0]
        with pytest.raises(ValueError, match="blocks"):
            write_stream(stream, blocks[:-1], places)
        stream.pads = [pads[:0] for pads in stream.pads]
        with pytest.raises(ValueError, match="intervals"):
            write_stream(stream, blocks, places)
