"""Keep a long list on disk: the latest entries in memory, the others in a private SQLite file.

SQLite makes the file where temporary files belong (``$SQLITE_TMPDIR``, ``$TMPDIR``, ``/var/tmp``)
and takes its name away at once, so that nothing of it is left however the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

__all__ = ["KEPT_ENTRIES", "Spool"]

KEPT_ENTRIES = 2000
"""Entries in memory at most: about two megabytes of results."""

BATCH = 500
"""Entries that an iteration reads at a time."""

CACHE_KIB = 1024
"""Memory that SQLite may use for its pages."""

T = TypeVar("T")


class Spool(Sequence[T], Generic[T]):
    """A list that can only grow, and whose memory does not.

    Parameters
    ----------
    dump, load :
        Turn an entry into text and back. An entry that was read again equals the one appended; it
        need not be the same object.
    keep :
        Entries that are kept in memory at most.

    An iteration sees what is appended meanwhile, as with a list. Threads may share a spool.
    """

    def __init__(
        self, dump: Callable[[T], str], load: Callable[[str], T], *, keep: int = KEPT_ENTRIES
    ) -> None:
        self._dump = dump
        self._load = load
        self._keep = keep
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._spilled = 0
        self._recent: list[T] = []

    def append(self, entry: T) -> None:
        """Add an entry; OSError (ENOSPC, EIO) where the disk does not take the older ones."""
        with self._lock:
            self._recent.append(entry)
            if len(self._recent) > self._keep:
                self._spill()

    def close(self) -> None:
        """Forget every entry and the file; this also happens when the spool is collected."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database, self._spilled, self._recent = None, 0, []

    def __len__(self) -> int:
        return self._spilled + len(self._recent)

    def __iter__(self) -> Iterator[T]:
        start = 0
        while batch := self._read(start, BATCH):
            yield from batch
            start += len(batch)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        with self._lock:
            places = range(len(self))[index]
            if isinstance(places, int):
                return self._read(places, 1)[0]
            return [self._read(place, 1)[0] for place in places]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Spool, list, tuple)):
            return NotImplemented
        same = all(mine == theirs for mine, theirs in zip(self, other, strict=False))
        return len(self) == len(other) and same

    __hash__ = None  # type: ignore[assignment]  # it grows, as a list does

    def __repr__(self) -> str:
        more = f", … {len(self)} in all" if len(self) > 3 else ""
        return f"[{', '.join(map(repr, islice(self, 3)))}{more}]"

    def _read(self, start: int, count: int) -> list[T]:
        """Return up to ``count`` entries from place ``start`` on."""
        with self._lock:
            if start >= self._spilled:
                start -= self._spilled
                return self._recent[start : start + count]
            assert self._database is not None
            stop = min(start + count, self._spilled)
            with _as_os_error():
                rows = self._database.execute(
                    "SELECT entry FROM entries WHERE place >= ? AND place < ? ORDER BY place",
                    (start, stop),
                ).fetchall()
        return [self._load(text) for (text,) in rows]

    def _spill(self) -> None:
        """Move what is in memory to the file; on an error it all stays where it was."""
        with _as_os_error():
            database = self._database or self._open()
            rows = ((self._spilled + i, self._dump(e)) for i, e in enumerate(self._recent))
            with database:  # one transaction
                database.execute("BEGIN")
                database.executemany("INSERT INTO entries VALUES (?, ?)", rows)
        self._spilled += len(self._recent)
        self._recent = []

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, database.close)
        database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        database.execute("CREATE TABLE entries (place INTEGER PRIMARY KEY, entry TEXT NOT NULL)")
        self._database = database
        return database


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise OSError(
            errno.ENOSPC if full else errno.EIO,
            f"keeping the report in a temporary file: {error}",
        ) from error
