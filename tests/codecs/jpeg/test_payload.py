"""A payload keeps all that coefficients do not say, once, and is bounded when it is read."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.jpeg.codec import Grid
from tilepress.codecs.jpeg.correction import Correction
from tilepress.codecs.jpeg.payload import Head, pack, unpack
from tilepress.codecs.jpeg.stream import Stream, read_stream, read_tables
from tilepress.codecs.jpeg.usual import usual_tables
from tilepress.errors import InvalidRecord, TooMuchMemory

from .pictures import abbreviated, jpeg, picture

BUDGET = Budget("reading", 2**30)


def head(count: int = 6, pad: int = 127) -> Head:
    tables, rest = abbreviated(jpeg(picture(16, 16)))
    streams: list[Stream | None] = []
    for number in range(count):
        stream, _ = read_stream(rest + bytes([number]), read_tables(tables))
        stream.pads = [np.array([pad], np.int16)]
        streams.append(stream)
    streams[-1] = None
    return Head(Grid(1, 2, count // 2, 16, 16), tables, tuple(streams), 1, False, 0, 0, 77)


class TestPacking:
    @pytest.mark.parametrize("pad", [0, 127, 21])
    def test_there_and_back(self, pad: int) -> None:
        given = head(pad=pad)
        parts = unpack(memoryview(pack(given, b"code", Correction(b"more", pad == 0))), BUDGET)
        assert parts.correction == Correction(b"more", pad == 0)
        assert bytes(parts.code) == b"code"
        assert (parts.head.grid, parts.head.tables, parts.head.crc) == (
            given.grid,
            given.tables,
            77,
        )
        assert [s and s.skeleton for s in parts.head.streams] == [
            s and s.skeleton for s in given.streams
        ]
        for stream in parts.head.streams[:-1]:
            assert stream is not None
            assert stream.pads[0].tolist() == [pad]

    def test_what_streams_share_is_kept_once(self) -> None:
        few, many = (len(pack(head(n), b"", None)) for n in (4, 40))
        assert many - few < 36 * 8

    def test_usual_tables_cost_next_to_nothing(self) -> None:
        tables, _ = abbreviated(jpeg(picture(16, 16), 73))
        assert len(tables) > 550
        assert len(pack(head(), b"", None)) < 120
        assert tables[2:71] in usual_tables()


class TestBounds:
    def test_a_head_that_is_too_large(self) -> None:
        payload = bytes([1]) + b"\xff\xff\xff\x7f" + b"\x00"
        with pytest.raises(InvalidRecord, match="at most"):
            unpack(memoryview(payload), BUDGET)
        with pytest.raises(TooMuchMemory):
            unpack(memoryview(bytes([1]) + b"\xff\xff\xff\x07\x00"), Budget("reading", 1000))

    def test_every_cut_fails(self) -> None:
        payload = pack(head(), b"", None)
        for size in range(len(payload)):
            with pytest.raises(InvalidRecord):
                unpack(memoryview(payload[:size]), BUDGET)

    def test_unknown_flags(self) -> None:
        payload = pack(head(), b"", None)
        for flags in (3, 27, 128):  # 128: of a correction that is not there
            with pytest.raises(InvalidRecord, match="flags"):
                unpack(memoryview(bytes([flags]) + payload[1:]), BUDGET)
