"""A zip says what is in it in its directory, and may say anything."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise

import pytest

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.packed.member import Extent, LeftOut, Member
from tilepress.pipeline.packed.zip_file import zip_content, zip_members

CONTENT = {"a.txt": b"alpha" * 1000, "d/b.bin": os.urandom(70_000), "d/empty": b""}


def made(method: int = zipfile.ZIP_DEFLATED, **options: object) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", method, **options) as file:  # type: ignore[arg-type]
        file.mkdir("d")
        for name, content in CONTENT.items():
            file.writestr(name, content)
    return target.getvalue()


def members(data: bytes) -> list[Member]:
    return [one for one in zip_members(BytesIO(data)) if isinstance(one, Member)]


def left_out(data: bytes) -> Counter[LeftOut]:
    return Counter(one for one in zip_members(BytesIO(data)) if isinstance(one, LeftOut))


def unpacked(data: bytes) -> dict[str, bytes]:
    return {one.name: b"".join(zip_content(BytesIO(data), one)) for one in members(data)}


class TestASoundZip:
    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_gives_its_files(self, method: int):
        assert unpacked(made(method)) == CONTENT

    def test_of_a_stream_has_sizes_behind(self):
        """As ``zip -`` writes to a pipe: local headers say nothing, and we do not ask them."""

        class Pipe(BytesIO):
            def seekable(self) -> bool:
                return False

            def tell(self) -> int:
                raise OSError

            def seek(self, *_: int) -> int:
                raise OSError

        target = Pipe()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", b"content")
        assert unpacked(target.getvalue()) == {"a": b"content"}

    def test_that_unpacks_itself(self):
        assert unpacked(b"#!/bin/sh\n" * 100 + made()) == CONTENT

    def test_with_a_comment(self):
        target = BytesIO(made())
        with zipfile.ZipFile(target, "a") as file:
            file.comment = b"PK\x05\x06 is how a directory ends" * 100
        assert unpacked(target.getvalue()) == CONTENT

    def test_of_more_files_than_16_bits_count(self):
        target = BytesIO()
        with zipfile.ZipFile(target, "w") as file:
            for number in range(66_000):
                file.writestr(f"{number}", b"")
        assert len(members(target.getvalue())) == 66_000

    def test_with_numbers_of_64_bits(self):
        target = BytesIO()
        with zipfile.ZipFile(target, "w") as file, file.open("a", "w", force_zip64=True) as one:
            one.write(b"content")
        data = target.getvalue()
        assert unpacked(data) == {"a": b"content"}
        wide = struct.pack("<2H2Q", 1, 16, 7, 7)  # as if they did not fit into the entry
        at = data.rindex(b"PK\x01\x02")
        entry = bytearray(data[at : at + 46])
        entry[20:28] = b"\xff" * 8
        entry[30:32] = struct.pack("<H", len(wide))
        directory = bytes(entry) + b"a" + wide
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), at, 0)
        assert unpacked(data[:at] + directory + end) == {"a": b"content"}

    def test_no_files(self):
        assert not members(b"PK\x05\x06" + bytes(18))


def entry_changed(at: int, value: bytes) -> bytes:
    """Return a zip in whose directory bytes of the first entry of a file are others."""
    data = bytearray(made())
    place = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + at
    data[place : place + len(value)] = value
    return bytes(data)


class TestWhatIsLeftOut:
    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (entry_changed(8, b"\1"), LeftOut.ENCRYPTED),
            (entry_changed(10, b"\x0e\0"), LeftOut.METHOD),
            (entry_changed(40, (stat.S_IFLNK | 0o777).to_bytes(2, "little")), LeftOut.LINK),
            (entry_changed(40, (stat.S_IFIFO | 0o777).to_bytes(2, "little")), LeftOut.DEVICE),
            (entry_changed(46, b"a/../"), LeftOut.NAME),
            (entry_changed(46, b"/etc."), LeftOut.NAME),
            (entry_changed(46, b"a\0xt."), LeftOut.NAME),
        ],
    )
    def test_is_counted_by_reason(self, data: bytes, why: LeftOut):
        assert left_out(data) == {why: 1}
        assert len(members(data)) == 2

    def test_every_file_has_its_extent(self):
        extents = [one for one in zip_members(BytesIO(made())) if isinstance(one, Extent)]
        assert len(extents) == 4
        assert all(a.stop <= b.start for a, b in pairwise(extents))


class TestADamagedZip:
    def test_is_an_error_wherever_it_is_cut(self):
        data = made()
        for length in range(0, len(data), 997):
            with pytest.raises(DamagedSource, match="damaged zip"):
                members(data[:length])

    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d.replace(b"PK\x01\x02", b"PK\x01\x03"),
            lambda d: d[:-10] + b"\xff\xff\xff\0" + d[-6:],
            lambda d: d[:-6] + b"\xff\xff\xff\x7f" + d[-2:],
            lambda d: entry_changed(42, b"\xff\xff\xff\x0f"),
            lambda d: entry_changed(28, b"\xff\xff"),
        ],
    )
    def test_is_an_error_whatever_it_claims(self, change: Callable[[bytes], bytes]):
        with pytest.raises(DamagedSource, match="damaged zip"):
            members(change(made()))

    def test_is_an_error_where_the_directory_hides_a_file(self):
        """Its first entries are cut off, and where it begins is told to fit."""
        data = made()
        end = data.rindex(b"PK\5\6")
        length, offset = struct.unpack_from("<2L", data, end + 12)
        first = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4) - offset
        changed = bytearray(data)
        struct.pack_into("<2L", changed, end + 12, length - first, offset + first)
        with pytest.raises(DamagedSource, match="other files than it counts"):
            members(bytes(changed))

    def test_in_parts_is_refused(self):
        data = made()
        with pytest.raises(UnsupportedSource, match="several parts"):
            members(data[:-18] + b"\1\0" + data[-16:])

    @pytest.mark.parametrize(
        ("at", "value", "text"),
        [
            (16, b"\0\0\0\0", "checksum"),
            (24, (4999).to_bytes(4, "little"), "more bytes"),
            (24, (5001).to_bytes(4, "little"), "fewer bytes"),
            (20, (5).to_bytes(4, "little"), "ends early"),
            (42, (1).to_bytes(4, "little"), "header is damaged"),
        ],
    )
    def test_content_is_what_it_declares_or_an_error(self, at: int, value: bytes, text: str):
        data = entry_changed(at, value)
        first = members(data)[0]
        with pytest.raises(DamagedSource, match=text):
            for _ in zip_content(BytesIO(data), first):
                pass

    def test_any_bytes_are_files_or_one_error(self):
        """Every single byte of the directory, changed: what comes is checked, or refused."""
        data = made(zipfile.ZIP_STORED)
        for at in range(data.index(b"PK\x01\x02"), len(data)):
            broken = bytearray(data)
            broken[at] ^= 0xFF
            try:
                found = unpacked(bytes(broken))
            except SourceError:
                continue
            assert set(found.values()) <= set(CONTENT.values())
