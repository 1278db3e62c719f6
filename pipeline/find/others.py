"""Gather the files of a search that are no images, until an archive keeps them.

What a search comes by is known to be called after patients, or not, when its argument ends: as soon
as one file of an argument is DICOM, none of its files is called by its name. So the files lie in a
temporary database till then, and come back folder by folder.
"""

from __future__ import annotations

import json
import os
import posixpath
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from tilepress.errors import UsageError
from tilepress.pipeline.find.walk import InputFile
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = ["KEEPS", "Keep", "OtherFile", "OtherFiles", "check_keep"]

Keep: TypeAlias = Literal["all", "known", "none"]
"""Which files an archive keeps that are no images: all of searched folders, those that are known to
accompany images, or none."""

KEEPS: tuple[str, ...] = get_args(Keep)


def check_keep(keep: str) -> Keep:
    """Return which files are kept; raise UsageError for a word that says nothing."""
    for word in get_args(Keep):
        if keep == word:
            found: Keep = word
            return found
    raise UsageError(f"compressing: got --keep {keep!r}, want {', '.join(KEEPS)}")


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that is no image."""

    file: InputFile
    kind: str
    """What it is counted as: its ending, "" for unusual ones, or a word."""
    private: bool
    """Whether its path may name a patient."""

    @property
    def folder(self) -> str:
        """The folder that it lies in, below what was named."""
        return posixpath.dirname(self.file.relative)

    @property
    def name(self) -> str:
        return posixpath.basename(self.file.relative)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> OtherFile:  # noqa: ANN401  # JSON
        """Return what ``to_json`` was called on; ValueError, KeyError, TypeError for others."""
        file, remote = dict(fields["file"]), fields["file"]["remote"]
        file["remote"] = None if remote is None else RemoteFile(**remote)
        texts = (file["path"], file["relative"], fields["kind"])
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a file has other types")
        return cls(InputFile(**file), fields["kind"], bool(fields["private"]))


class OtherFiles:
    """The files of one search that are no images, and that an archive keeps."""

    def __init__(self, keep: Keep = "known") -> None:
        self.keep = keep
        self.files = 0
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -4096")  # KiB
        self._database.execute(
            "CREATE TABLE files (path BLOB PRIMARY KEY, folder BLOB, relative BLOB, kind TEXT, "
            "remote TEXT, private INTEGER) WITHOUT ROWID"
        )
        self._database.execute("CREATE INDEX folders ON files (folder, relative)")

    def wants(self, *, known: bool) -> bool:
        """Whether a file is kept that is known to accompany images, or is not."""
        return self.keep == "all" or (self.keep == "known" and known)

    def add(self, file: InputFile, kind: str) -> None:
        """Take a file, unless it came before."""
        remote = None if file.remote is None else json.dumps(asdict(file.remote))
        found = self._database.execute(
            "INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?, NULL)",
            (
                os.fsencode(file.path),
                os.fsencode(posixpath.dirname(file.relative)),
                os.fsencode(file.relative),
                kind,
                remote,
            ),
        )
        self.files += found.rowcount

    def end_argument(self, *, private: bool) -> None:
        """Say of what came since the last argument whether its paths may name patients."""
        query = "UPDATE files SET private = ? WHERE private IS NULL"
        self._database.execute(query, (private,))

    def folders(self) -> Iterator[Sequence[OtherFile]]:
        """Yield the files, those of one folder together, in the order of their names."""
        query = "SELECT DISTINCT folder FROM files ORDER BY folder"
        for (folder,) in self._database.execute(query).fetchall():
            query = "SELECT path, relative, kind, remote, private FROM files WHERE folder = ?"
            rows = self._database.execute(f"{query} ORDER BY relative, path", (folder,))
            yield [_file(*row) for row in rows]

    def count(self) -> Counter[str]:
        """Return how many files there are of each kind."""
        query = "SELECT kind, COUNT(*) FROM files GROUP BY kind"
        return Counter(dict(self._database.execute(query)))

    def close(self) -> None:
        self._database.close()


def _file(path: bytes, relative: bytes, kind: str, remote: str | None, private: int) -> OtherFile:
    found = None if remote is None else RemoteFile(**json.loads(remote))
    file = InputFile(os.fsdecode(path), os.fsdecode(relative), found)
    return OtherFile(file, kind, bool(private))
