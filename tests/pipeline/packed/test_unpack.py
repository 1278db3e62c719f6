"""What is found in a packed file is what is read of it, or an error."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.packed import unpack
from tilepress.pipeline.packed.unpack import (
    check_expansion,
    container_of,
    download,
    heads_in,
    look_up,
    measured,
    open_packed,
    packing_of,
    unpacked,
)
from tilepress.pipeline.storage.ranges import RemoteFile

CONTENT = {"a.txt": b"alpha" * 1000, "d/b.bin": os.urandom(70_000), "d/empty": b""}


def zipped(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def tarred(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, BytesIO(data))
    return path


def got(file: RemoteFile) -> bytes:
    target = BytesIO()
    download(file, target)
    return target.getvalue()


MAKERS = [("a.zip", zipped), ("a.tar", tarred), ("a.tar.gz", tarred)]


@pytest.fixture(params=MAKERS, ids=["zip", "tar", "tar.gz"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, make = request.param
    made: Path = make(tmp_path / name)
    return made


class TestAFileInAPackedOne:
    def test_is_pinned_to_its_content_whatever_it_is_packed_by(self, packed: Path):
        for name, data in CONTENT.items():
            file = look_up(f"{packed}/{name}")
            assert got(file) == data
            assert file.size == len(data)
        assert look_up(f"{packed}/a.txt").version == "crc-a9a8146a"

    def test_has_a_head(self, packed: Path):
        for name, data in CONTENT.items():
            with heads_in(str(packed)) as head_of:
                assert head_of(f"{packed}/{name}") == data[: unpack.HEAD_BYTES]

    def test_that_is_gone_or_was_never_there(self, packed: Path):
        with pytest.raises(FileNotFoundError):
            look_up(f"{packed}/other")
        file = look_up(f"{packed}/a.txt")
        packed.unlink()
        with pytest.raises(DamagedSource, match=r"a.txt: it changed since it was found"):
            got(file)

    @pytest.mark.parametrize("content", [b"other" * 1000, b"longer" * 1000])
    def test_that_is_another_by_now(self, packed: Path, content: bytes):
        file = look_up(f"{packed}/a.txt")
        make = next(make for name, make in MAKERS if name == packed.name)
        make(packed, {"a.txt": content})
        os.utime(packed, ns=(1, 1))
        with pytest.raises(DamagedSource, match="it changed since it was found"):
            got(file)
        assert look_up(f"{packed}/a.txt").version != file.version

    def test_is_the_same_when_others_come(self, packed: Path):
        """An archive that is added to, or packed anew, is unchanged as far as it was known."""
        before = look_up(f"{packed}/a.txt")
        make = next(make for name, make in MAKERS if name == packed.name)
        make(packed, {"first": b"1", **CONTENT})
        os.utime(packed, ns=(1, 1))
        after = look_up(f"{packed}/a.txt")
        assert (after.version, after.size) == (before.version, before.size)
        assert got(before) == CONTENT["a.txt"]

    def test_is_unpacked_into_a_file_that_nobody_sees(self, packed: Path, scratch: Path):
        listed = open_packed(str(packed))
        member = listed.index.find("d/b.bin")
        assert member is not None
        with unpacked(listed.file(member)) as (found, stream):
            assert stream.read() == CONTENT["d/b.bin"]
            assert found.version == look_up(f"{packed}/d/b.bin").version
            names = [path.name for path in scratch.rglob("*") if path.is_file()]
            assert [name for name in names if name != "tar" and "lock" not in name] == []

    def test_is_not_listed_again_while_nothing_changes(self, packed: Path):
        assert open_packed(str(packed)) is open_packed(str(packed))


class TestAGzipFile:
    def test_stands_for_what_it_holds(self, tmp_path: Path):
        path = tmp_path / "a.bin.gz"
        path.write_bytes(gzip.compress(b"content" * 999))
        file = measured(str(path), 0)
        assert file.size == 7 * 999
        assert got(file) == b"content" * 999
        assert look_up(str(path)).version == file.version
        path.write_bytes(gzip.compress(b"another" * 999))
        with pytest.raises(DamagedSource, match="it changed since it was found"):
            got(file)

    def test_that_is_a_bomb_is_measured_no_further_than_is_allowed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(unpack, "FREE_BYTES", 10**6)
        path = tmp_path / "a.gz"
        path.write_bytes(gzip.compress(bytes(10**8)))
        with pytest.raises(UnsupportedSource, match=r"--max-expansion \d+"):
            measured(str(path), 100)
        assert measured(str(path), 2000).size == 10**8


class TestExpansion:
    def test_is_free_to_a_gibibyte_and_limited_then(self):
        check_expansion(2**30, 1, 10)
        check_expansion(2**40, 1, 0)
        check_expansion(10 * 2**30, 2**30, 10)
        with pytest.raises(UnsupportedSource, match="11 times as many"):
            check_expansion(10 * 2**30 + 1, 2**30, 10)


class TestPlainFiles:
    def test_beside_packed_ones_are_pinned_by_their_time(self, tmp_path: Path):
        path = tmp_path / "a.tfw"
        path.write_bytes(b"30")
        file = look_up(str(path))
        assert got(file) == b"30"
        os.utime(path, ns=(1, 1))
        with pytest.raises(DamagedSource, match="it changed since it was found"):
            got(file)

    @pytest.mark.parametrize(
        ("path", "inside"),
        [("a.zip/x", True), ("a.zip/x/y/z", True), ("a.zip", False), ("none/x", False)],
    )
    def test_are_told_from_what_is_in_packed_ones(self, tmp_path: Path, path: str, inside: bool):
        zipped(tmp_path / "a.zip")
        expected = str(tmp_path / "a.zip") if inside else None
        assert container_of(str(tmp_path / path)) == expected


class TestPacking:
    @pytest.mark.parametrize(
        ("name", "make", "packing"),
        [*((name, make, name[2:]) for name, make in MAKERS)],
    )
    def test_is_known_by_content(
        self, tmp_path: Path, name: str, make: Callable[[Path], Path], packing: str
    ):
        data = make(tmp_path / name).read_bytes()
        assert packing_of(data[: unpack.HEAD_BYTES], BytesIO(data)) == packing

    def test_of_others(self):
        for data in (b"", b"text", b"BZh91AY", bytes(512)):
            assert packing_of(data, BytesIO(data)) is None
        data = gzip.compress(b"x")
        assert packing_of(data, BytesIO(data)) == "gzip"


class TestADamagedOne:
    def test_tar_that_is_cut_has_what_is_whole(self, tmp_path: Path):
        path = tarred(tmp_path / "a.tar")
        path.write_bytes(path.read_bytes()[:30_000])
        found = open_packed(str(path))
        assert "ends early" in str(found.problem)
        assert found.index.names("") == ["a.txt"]

    @pytest.mark.parametrize("packed", [False, True])
    def test_tars_that_were_joined_have_the_first_and_say_so(self, tmp_path: Path, packed: bool):
        tar = tarred(tmp_path / "a.tar").read_bytes()
        path = tmp_path / "b"
        path.write_bytes(gzip.compress(tar + tar) if packed else tar + tar)
        found = open_packed(str(path))
        assert "follows its end" in str(found.problem)
        assert "a.txt" in found.index.names("")

    @pytest.mark.parametrize("length", [100, 60_000])
    def test_packed_tar_that_is_cut_has_nothing(self, tmp_path: Path, length: int):
        path = tarred(tmp_path / "a.tar.gz")
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(SourceError):
            open_packed(str(path))
