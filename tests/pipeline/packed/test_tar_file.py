"""A tar is a stream of headers, each of which may say anything."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO

import pytest

from tilepress.errors import DamagedSource
from tilepress.pipeline.packed.member import LeftOut, Member
from tilepress.pipeline.packed.tar_file import OpenEnd, is_tar, tar_members

CONTENT = {
    "a.txt": b"alpha" * 1000,
    "d/b.bin": os.urandom(70_000),
    "d/empty": b"",
    "long/" * 30 + "name": b"x",
    "d/ümlaut.dcm": b"y" * 512,
}
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def made(kind: int = tarfile.PAX_FORMAT, **kinds: bytes) -> bytes:
    """Return a tar of files, and of members of other kinds, by name."""
    target = BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=kind) as file:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_700_000_000
            file.addfile(info, BytesIO(content))
        for name, what in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = what, "/etc/passwd"
            file.addfile(info)
    return target.getvalue()


def ended(data: bytes, blocks: int) -> bytes:
    """Return a tar with as many blocks of zeros at its end."""
    files = data.rstrip(b"\0")
    return files.ljust(-(-len(files) // 512) * 512, b"\0") + bytes(512 * blocks)


def listed(data: bytes) -> list[object]:
    file = BytesIO(data)

    def skip(length: int) -> int:
        at = file.tell()
        return min(file.seek(at + length), len(data)) - at

    return list(tar_members(file.read, skip))


def unpacked(data: bytes) -> dict[str, bytes]:
    found = [one for one in listed(data) if isinstance(one, Member)]
    return {one.name: data[one.offset : one.offset + one.size] for one in found}


class TestASoundTar:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_gives_its_files(self, kind: int):
        data = made(kind)
        assert is_tar(data)
        assert unpacked(data) == CONTENT

    def test_of_large_numbers(self):
        info = tarfile.TarInfo("a")
        info.size = 2**40
        header = info.tobuf(tarfile.GNU_FORMAT)
        found = list(tar_members(BytesIO(header + bytes(1024)).read, lambda length: length))
        assert [one.size for one in found if isinstance(one, Member)] == [2**40]

    def test_may_have_one_block_of_zeros_at_its_end(self):
        data = made()
        assert unpacked(ended(data, blocks=1)) == CONTENT
        assert unpacked(data + bytes(3_000_000)) == CONTENT

    @pytest.mark.parametrize("head", [b"", bytes(512), b"II*\0" * 128, os.urandom(512), b"0" * 512])
    def test_is_known_by_its_checksum(self, head: bytes):
        assert not is_tar(head)


class TestWhatIsLeftOut:
    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (tarfile.SYMTYPE, LeftOut.LINK),
            (tarfile.LNKTYPE, LeftOut.LINK),
            (tarfile.FIFOTYPE, LeftOut.DEVICE),
            (tarfile.CHRTYPE, LeftOut.DEVICE),
            (b"M", LeftOut.METHOD),
            (tarfile.GNUTYPE_SPARSE, LeftOut.SPARSE),
        ],
    )
    def test_is_counted_by_reason(self, kind: bytes, why: LeftOut):
        found = listed(made(odd=kind))
        assert Counter(one for one in found if isinstance(one, LeftOut)) == {why: 1}
        assert sum(isinstance(one, Member) for one in found) == len(CONTENT)

    @pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b"])
    @pytest.mark.parametrize("kind", FORMATS)
    def test_names_that_lead_elsewhere(self, name: str, kind: int):
        assert LeftOut.NAME in listed(made(kind, **{name: tarfile.REGTYPE}))

    def test_sparse_files_of_pax(self):
        target = BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as file:
            info = tarfile.TarInfo("a")
            info.pax_headers = {"GNU.sparse.major": "1"}
            file.addfile(info)
        assert listed(target.getvalue()) == [LeftOut.SPARSE]


class TestATarWithoutItsEnd:
    """Files may be missing then: what is there is given, and it is told."""

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda data: ended(data, blocks=0), "has no end"),
            (lambda data: data + made(), "follows its end"),
            (lambda data: data + bytes(2_000_000) + b"x", "follows its end"),
        ],
    )
    def test_gives_all_that_it_lists(self, change: Callable[[bytes], bytes], text: str):
        file, found = BytesIO(change(made())), []
        listing = tar_members(file.read, lambda length: len(file.read(length)))
        with pytest.raises(OpenEnd, match=text):
            found.extend(listing)
        assert len([one for one in found if isinstance(one, Member)]) == len(CONTENT)


class TestADamagedTar:
    def test_gives_what_is_whole(self):
        data = made(tarfile.GNU_FORMAT)
        file, found = BytesIO(data[:30_000]), []
        listing = tar_members(file.read, lambda length: len(file.read(length)))
        with pytest.raises(DamagedSource, match="ends early"):
            found.extend(listing)
        assert isinstance(found[0], Member)
        assert found[0].name == "a.txt"

    @pytest.mark.parametrize(
        "records",
        [
            b"8 path=a\n",
            b"x",
            b"99999999999999999999 a=b\n",
            b"0 a=b\n",
            b"12 size=-1234",
            b"10 size=z\n",
        ],
    )
    def test_records_of_pax_that_are_wrong(self, records: bytes):
        info = tarfile.TarInfo("x")
        info.type, info.size = b"x", len(records)
        data = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + made()
        with pytest.raises(DamagedSource, match="damaged tar"):
            listed(data)

    def test_a_name_of_a_gigabyte_is_not_read(self):
        info = tarfile.TarInfo("x")
        info.type, info.size = b"L", 2**30
        with pytest.raises(DamagedSource, match="megabyte"):
            listed(info.tobuf(tarfile.GNU_FORMAT) + bytes(10**6))

    def test_any_header_is_files_or_one_error(self):
        data = made(tarfile.USTAR_FORMAT)
        for at in range(1024):
            broken = bytearray(data)
            broken[at] ^= 0xFF
            try:
                found = unpacked(bytes(broken))
            except DamagedSource:
                continue
            assert set(found) <= {*CONTENT, ""}
