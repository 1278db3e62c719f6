"""However much a packed file lists, it takes no memory, and nothing twice."""

from __future__ import annotations

import tracemalloc

import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.packed import index as room
from tilepress.pipeline.packed.index import Index
from tilepress.pipeline.packed.member import Extent, LeftOut, Member


def member(name: str, offset: int = 0, **fields: object) -> Member:
    return Member(name=name, size=3, packed_bytes=3, offset=offset, **fields)  # type: ignore[arg-type]


class TestFiles:
    def test_come_by_folder_and_name(self):
        names = ["b/z", "a", "b/a", "b/c/d", "b", "b-/x"]
        index = Index(member(name) for name in names)
        assert list(index.folders()) == ["", "b", "b-", "b/c"]
        assert index.names("b") == ["a", "z"]
        assert [one.name for one in index.members("b", ["z", "a"])] == ["b/z", "b/a"]

    def test_are_what_was_listed(self):
        listed = member("x/a", 7, deflated=True, crc=2**32 - 1, mark="m")
        assert Index([listed]).find("x/a") == listed
        assert Index([listed]).find("x") is None

    def test_of_one_name_are_the_last_as_unpacking_leaves_it(self):
        index = Index([member("a", 1), member("b", 2), member("a", 3)])
        found = index.find("a")
        assert found is not None
        assert found.offset == 3
        assert index.left_out == {LeftOut.OLDER: 1}

    def test_of_many_folders_all_come(self):
        index = Index(member(f"{n:05}/a") for n in range(2500))
        assert len(list(index.folders())) == 2500

    def test_take_no_memory(self):
        tracemalloc.start()
        index = Index(member(f"{n % 7}/{n:06}") for n in range(30_000))
        assert tracemalloc.get_traced_memory()[1] < 2**21
        tracemalloc.stop()
        assert sum(len(index.names(folder)) for folder in index.folders()) == 30_000


class TestWhatIsRefused:
    def test_files_that_share_their_bytes(self):
        """A bomb of 42 kB that unpacks to 5 GB lists one block of zeros under many names."""
        Index([Extent(50, 70), Extent(0, 50), Extent(70, 70)])
        with pytest.raises(UnsupportedSource, match="share their packed bytes"):
            Index([Extent(50, 70), Extent(0, 51)])

    def test_more_files_than_anybody_has(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(room, "MAX_MEMBERS", 10)
        with pytest.raises(UnsupportedSource, match="lists more than 10 files"):
            Index(member(str(n)) for n in range(11))
        with pytest.raises(UnsupportedSource, match="lists more than 10 files"):
            Index([LeftOut.LINK] * 11)

    def test_sizes_that_no_disk_has(self):
        with pytest.raises(UnsupportedSource, match="more bytes than any disk"):
            Index([member("a", 2**63)])
