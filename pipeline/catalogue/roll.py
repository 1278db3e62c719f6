"""The entries of an archive in order, in a temporary file: memory does not grow with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from tilepress.pipeline.catalogue.index import RASTER, SERIES, Entry

__all__ = ["Roll"]

CACHE_KIB = 2048
"""Memory that the temporary file may use for its pages."""


class Roll:
    """The entries of an archive in order, in a temporary file that SQLite keeps."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE entries (position INTEGER PRIMARY KEY, store BLOB, kind TEXT, "
            "study TEXT, line TEXT)"
        )
        self._database.execute("CREATE INDEX stores ON entries (store)")
        self._database.execute("CREATE TABLE gone (store BLOB)")

    def close(self) -> None:
        self._database.close()

    def add(self, entry: Entry) -> None:
        self._database.execute(
            "INSERT INTO entries (store, kind, study, line) VALUES (?, ?, ?, ?)",
            (_as_bytes(entry.key), entry.kind, entry.study or "", entry.dump()),
        )

    def add_gone(self, key: str) -> None:
        self._database.execute("INSERT INTO gone VALUES (?)", (_as_bytes(key),))

    def count(self, kind: str = "") -> int:
        """Return how many entries there are, of one kind where that is named."""
        query = "SELECT COUNT(*) FROM entries WHERE ? IN ('', kind)"
        return int(self._database.execute(query, (kind,)).fetchone()[0])

    def lines(self) -> Iterator[str]:
        return self._lines("SELECT line FROM entries ORDER BY position")

    def rasters(self) -> Iterator[Entry]:
        query = "SELECT line FROM entries WHERE kind = ? ORDER BY position"
        return map(Entry.load, self._lines(query, RASTER))

    def studies(self) -> Iterator[Entry]:
        """Yield the DICOM series, those of a study together."""
        query = "SELECT line FROM entries WHERE kind = ? ORDER BY study, position"
        return map(Entry.load, self._lines(query, SERIES))

    def raster(self, store: str) -> Entry | None:
        """Return the entry of a raster; None where there is none of that key."""
        query = "SELECT line FROM entries WHERE store = ? AND kind = ?"
        found = self._database.execute(query, (_as_bytes(store), RASTER)).fetchone()
        return None if found is None else Entry.load(found[0])

    def gone(self) -> Iterator[str]:
        for (store,) in self._database.execute("SELECT store FROM gone"):
            yield store.decode("utf-8", "surrogateescape")

    def _lines(self, query: str, *arguments: str) -> Iterator[str]:
        for (line,) in self._database.execute(query, arguments):
            yield line


def _as_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
