"""Hold what a packed file lists, however much that is, in a temporary database on disk."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tilepress.errors import SourceError, UnsupportedSource
from tilepress.pipeline.packed.member import MAX_MEMBERS, Extent, LeftOut, Listed, Member

__all__ = ["Index"]

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -4096;
CREATE TABLE member (folder TEXT, base TEXT, size INTEGER, packed INTEGER, offset INTEGER,
                     deflated INTEGER, crc INTEGER, mark TEXT, older INTEGER,
                     PRIMARY KEY (folder, base)) WITHOUT ROWID;
CREATE TABLE extent (start INTEGER, stop INTEGER);
"""

_ADD = """
INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT DO UPDATE SET older = older + 1, size = excluded.size, packed = excluded.packed,
    offset = excluded.offset, deflated = excluded.deflated, crc = excluded.crc,
    mark = excluded.mark
"""
"""The last file of a name is the one that unpacking leaves."""

_FIND = """SELECT size, packed, offset, deflated, crc, mark FROM member
           WHERE folder = ? AND base = ?"""

_ROWS = 1000


class Index:
    """The files of one packed file, by folder and name. Threads may ask one after another."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        """Take what is listed; raises UnsupportedSource where that is too much, or overlaps."""
        self.left_out: Counter[LeftOut] = Counter()
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._rows.executescript(_TABLES)
        with _room():
            self._fill(listed)
            self._check_extents()
            (older,) = self._rows.execute("SELECT coalesce(sum(older), 0) FROM member").fetchone()
        self.left_out[LeftOut.OLDER] = older

    def folders(self) -> Iterator[str]:
        """Yield the folders that files lie in, "" for none, sorted."""
        query = "SELECT DISTINCT folder FROM member WHERE folder >= ? ORDER BY folder LIMIT ?"
        found = [row[0] for row in self._rows.execute(query, ("", _ROWS))]
        while found:
            yield from found
            after = found[-1] + "\0"
            found = [row[0] for row in self._rows.execute(query, (after, _ROWS))]

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        query = "SELECT base FROM member WHERE folder = ? ORDER BY base"
        return [row[0] for row in self._rows.execute(query, (folder,))]

    def members(self, folder: str, names: Sequence[str]) -> Iterator[Member]:
        """Yield the files of a folder that have these names."""
        for name in names:
            found = self.find(f"{folder}/{name}" if folder else name)
            if found is not None:
                yield found

    def find(self, name: str) -> Member | None:
        folder, _, base = name.rpartition("/")
        row = self._rows.execute(_FIND, (folder, base)).fetchone()
        if row is None:
            return None
        size, packed, offset, deflated, crc, mark = row
        return Member(
            name=name,
            size=size,
            packed_bytes=packed,
            offset=offset,
            deflated=bool(deflated),
            crc=crc,
            mark=mark,
        )

    def _fill(self, listed: Iterable[Listed]) -> None:
        members: list[tuple[object, ...]] = []
        extents: list[tuple[int, int]] = []
        count = 0
        self._rows.execute("BEGIN")
        for one in listed:
            if isinstance(one, LeftOut):
                self.left_out[one] += 1
            elif isinstance(one, Extent):
                extents.append((one.start, one.stop))
            else:
                members.append(_row(one))
            count += not isinstance(one, Extent)
            if count > MAX_MEMBERS:
                raise UnsupportedSource(f"it lists more than {MAX_MEMBERS} files; unpack it first")
            if len(members) + len(extents) >= _ROWS:
                self._flush(members, extents)
        self._flush(members, extents)
        self._rows.execute("COMMIT")

    def _flush(self, members: list[tuple[object, ...]], extents: list[tuple[int, int]]) -> None:
        self._rows.executemany(_ADD, members)
        self._rows.executemany("INSERT INTO extent VALUES (?, ?)", extents)
        members.clear()
        extents.clear()

    def _check_extents(self) -> None:
        """Raise UnsupportedSource where files share packed bytes: it unpacks to no end."""
        reached = 0
        for start, stop in self._rows.execute("SELECT start, stop FROM extent ORDER BY start"):
            if start < reached:
                raise UnsupportedSource("files in it share their packed bytes, as only bombs do")
            reached = stop
        self._rows.execute("DROP TABLE extent")


def _row(member: Member) -> tuple[object, ...]:
    folder, _, base = member.name.rpartition("/")
    numbers = member.size, member.packed_bytes, member.offset, member.deflated, member.crc
    return folder, base, *numbers, member.mark


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Translate what SQLite raises, which is that the disk is full."""
    try:
        yield
    except sqlite3.Error as error:
        text = f"listing it: {error}, in the folder for temporary files (TMPDIR)"
        raise SourceError(text) from error
    except OverflowError:
        raise UnsupportedSource("a file in it claims more bytes than any disk has") from None
