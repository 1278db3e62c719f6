"""Remember which image claimed which store, in little memory however many there are."""

from __future__ import annotations

import os
import sqlite3

__all__ = ["Claims"]


class Claims:
    """Stores of this run with the images that go there, in a temporary database on disk."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -4096")  # KiB
        self._database.execute(
            "CREATE TABLE claims (store BLOB PRIMARY KEY, image BLOB) WITHOUT ROWID"
        )

    def claim(self, store: str, image: str) -> str | None:
        """Claim a store for an image; return the image that claimed it before, None for nobody."""
        try:
            # as bytes: SQLite takes no text that is not UTF-8, and folders have such names
            self._database.execute(
                "INSERT INTO claims VALUES (?, ?)", (os.fsencode(store), os.fsencode(image))
            )
        except sqlite3.IntegrityError:
            query = "SELECT image FROM claims WHERE store = ?"
            found = self._database.execute(query, (os.fsencode(store),)).fetchone()[0]
            return os.fsdecode(found)
        return None

    def __del__(self) -> None:
        self._database.close()
