"""Markers are read within bounds; whatever is not coded here is refused in one line."""

from __future__ import annotations

import pytest

from tilepress.codecs.jpeg.markers import Frame, JpegTables, Refused, Scan, walk
from tilepress.errors import UnsupportedArray

from .pictures import abbreviated, jpeg, picture


def frame_of(data: bytes) -> Frame:
    def stop(frame: Frame, scan: Scan, tables: JpegTables, at: int) -> int:
        return len(data)

    found = walk(data, JpegTables(), stop)
    assert found is not None
    return found


STREAM = jpeg(picture(20, 37), 75, "420")


def changed(marker: int, offset: int, value: int) -> bytes:
    """Return the stream with one byte after a marker's length set."""
    at = STREAM.index(bytes([0xFF, marker])) + 4 + offset
    return STREAM[:at] + bytes([value]) + STREAM[at + 1 :]


class TestFrames:
    def test_sizes_of_components(self) -> None:
        frame = frame_of(STREAM)
        assert (frame.kind, frame.precision, frame.height, frame.width) == ("baseline", 8, 20, 37)
        assert [frame.size(i) for i in range(3)] == [(20, 37), (10, 19), (10, 19)]
        assert [frame.blocks(i) for i in range(3)] == [(3, 5), (2, 3), (2, 3)]
        assert [frame.padded(i) for i in range(3)] == [(4, 6), (2, 3), (2, 3)]

    def test_tables_apart(self) -> None:
        tables, rest = abbreviated(STREAM)
        held = JpegTables()
        assert walk(tables, held, None) is None
        assert sorted(held.quantisation) == sorted(held.dc) == sorted(held.ac) == [0, 1]
        assert frame_of(rest).width == 37


class TestRefuses:
    @pytest.mark.parametrize(
        ("data", "found"),
        [
            (b"", "no start"),
            (STREAM[1:], "no start"),
            (b"\xff\xd8\xff\xd9", "no scan"),
            (STREAM[:200], "wrong length|no scan"),
            (changed(0xC0, 0, 9), "9 bits"),
            (changed(0xC0, 5, 0), "wrong length"),
            (changed(0xC0, 7, 0x51), "sampling"),
            (changed(0xC0, 9, 1), "same number"),
            (STREAM.replace(b"\xff\xc0", b"\xff\xc9"), "kind c9"),
            (STREAM.replace(b"\xff\xc0", b"\xff\xdc"), "dc in it"),
            (changed(0xDA, 1, 9), "names components"),
            (changed(0xC4, 1, 255), "damaged|more codes"),
            (changed(0xDB, 0, 0x25), "quantisation table"),
        ],
    )
    def test_what_is_not_coded_here(self, data: bytes, found: str) -> None:
        with pytest.raises(Refused, match=found) as caught:
            frame_of(data)
        assert isinstance(caught.value, UnsupportedArray)
        assert "\n" not in str(caught.value)

    def test_sizes_beyond_the_limits(self) -> None:
        at = STREAM.index(b"\xff\xc0") + 5
        with pytest.raises(Refused, match="beyond the limits"):
            frame_of(STREAM[:at] + b"\xff\xff\xff\xff" + STREAM[at + 4 :])

    def test_endless_markers(self) -> None:
        with pytest.raises(Refused, match="more than"):
            frame_of(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000)
