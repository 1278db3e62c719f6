"""Remember which image took which store, in little memory however many there are."""

from __future__ import annotations

import sqlite3

__all__ = ["Taken"]


class Taken:
    """Stores of this run with the images that go there, in a temporary database on disk."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -4096")  # KiB
        self._database.execute(
            "CREATE TABLE taken (store TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID"
        )

    def by(self, store: str, source: str) -> str | None:
        """Take a store for an image; return the image that took it before, None where none did."""
        try:
            self._database.execute("INSERT INTO taken VALUES (?, ?)", (store, source))
        except sqlite3.IntegrityError:
            query = "SELECT source FROM taken WHERE store = ?"
            return str(self._database.execute(query, (store,)).fetchone()[0])
        return None

    def __del__(self) -> None:
        self._database.close()
