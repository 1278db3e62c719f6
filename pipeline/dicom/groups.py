"""Group DICOM files into images by their headers, however many there are.

A series may be spread over folders, so that no image is whole before the last file was seen. What
is kept of a file until then is one row of a temporary database on disk: memory does not grow.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline.dicom.bytes import open_file
from tilepress.pipeline.dicom.header import Instance, hashed
from tilepress.pipeline.image.pseudonyms import UNKEYED, Pseudonyms
from tilepress.pipeline.image.source import SourceSpec

__all__ = ["SeriesGroups", "group_key", "series_name"]

PIECE_BYTES = 2**22
"""What is read at a time to compare files."""

_NUMBER_LIMIT = 2**62
"""Instance numbers beyond are those of damaged headers; SQLite's integers end at 2⁶³."""

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE image (id INTEGER PRIMARY KEY, key TEXT UNIQUE, name TEXT, study TEXT, series TEXT);
CREATE TABLE file (path TEXT, number INTEGER, identity BLOB, image INTEGER, size INTEGER,
                   version TEXT);
CREATE TABLE copies (name TEXT PRIMARY KEY, count INTEGER);
"""


def series_name(instance: Instance) -> str:
    """Return the name of a series: its modality, and the unkeyed hash of its UID.

    Of a file without SeriesInstanceUID the SOPInstanceUID is hashed, else the file's name.
    """
    series = instance.series or hashed(instance.identity or instance.path.rpartition("/")[2])
    return f"{instance.modality}-{series}"


def _pseudonym(name: str, pseudonyms: Pseudonyms) -> str:
    """Return the name of a series with what stands for its UID."""
    modality, dash, series = name.rpartition("-")
    return f"{modality}{dash}{pseudonyms.of(series)}"


def group_key(instance: Instance) -> tuple[Any, ...]:
    """Return what the instances of one image share."""
    alone = (instance.identity or hashed(instance.path)) if instance.alone else ""
    decoded = instance.element.encapsulated and instance.pixels.bands > 1
    tail = instance.element.keyword, alone, decoded
    return series_name(instance), instance.pixels.group, *tail


class SeriesGroups:
    """DICOM files that were seen, to be given back as images."""

    def __init__(self) -> None:
        # "" is a database in a temporary file that SQLite removes, behind a cache of 2 MB
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._rows.executescript(_TABLES)
        self._rows.execute("BEGIN")

    def add(self, instance: Instance, version: str = "") -> None:
        """Keep a file; ``version`` is that of an object in a bucket. Raises SourceError."""
        key, name = repr(group_key(instance)), series_name(instance)
        number = max(-_NUMBER_LIMIT, min(instance.number, _NUMBER_LIMIT))
        identity = bytes.fromhex(instance.identity) or None
        with _database():
            image_row = (key, name, instance.attributes.get("study"), instance.series)
            insert = "INSERT OR IGNORE INTO image (key, name, study, series) VALUES (?, ?, ?, ?)"
            self._rows.execute(insert, image_row)
            (image,) = self._rows.execute("SELECT id FROM image WHERE key = ?", (key,)).fetchone()
            row = (instance.path, number, identity, image, instance.container.file_size, version)
            self._rows.execute("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)", row)

    def images(
        self, pseudonyms: Pseudonyms = UNKEYED
    ) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        """Yield every image, in order of the first file's path, and (path, error) of the rest.

        Copies of one instance are left out with a remark; different files that claim to be one
        instance are failures, all of them.
        """
        with _database():
            yield from self._images(pseudonyms)

    def close(self) -> None:
        self._rows.close()

    def _images(self, pseudonyms: Pseudonyms) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        yield from self._leave_out_copies()
        self._rows.execute("CREATE INDEX by_image ON file (image, number, path)")
        self._rows.execute("CREATE INDEX by_name ON image (name)")
        found = self._rows.execute(
            """SELECT image.id, key, name, study, series, min(path) AS first,
                      (SELECT count(*) FROM image AS other WHERE other.name = image.name
                       AND EXISTS (SELECT 1 FROM file WHERE file.image = other.id))
               FROM file JOIN image ON image.id = file.image GROUP BY image.id ORDER BY first"""
        )
        for image, key, name, study, series, _, images_of_name in found:
            split = f"-{pseudonyms.of(hashed(key))[:6]}" if images_of_name > 1 else ""
            options = {"name": _pseudonym(name, pseudonyms) + split}
            yield self._spec(image, options | pseudonyms.options(study, series), name)

    def _spec(self, image: int, named: Mapping[str, Any], series: str) -> SourceSpec:
        query = "SELECT path, size, version FROM file WHERE image = ? ORDER BY number, path"
        files = self._rows.execute(query, (image,)).fetchall()
        count = self._rows.execute("SELECT count FROM copies WHERE name = ?", (series,)).fetchone()
        remarks = [f"{count[0]} exact copies of instances were left out"] if count else []
        options: dict[str, Any] = {**named, "remarks": remarks}
        if files[0][2]:
            options["objects"] = [[version, size] for _, size, version in files]
        return SourceSpec(
            kind="dicom",
            paths=tuple(path for path, _, _ in files),
            options=options,
            source_bytes=sum(size for _, size, _ in files),
        )

    def _leave_out_copies(self) -> Iterator[tuple[str, SourceError]]:
        self._rows.execute("CREATE INDEX by_identity ON file (identity, path)")
        self._rows.execute(
            """CREATE TABLE twice AS SELECT identity FROM file WHERE identity IS NOT NULL
               GROUP BY identity HAVING count(*) > 1 ORDER BY min(path)"""
        )
        for (identity,) in self._rows.execute("SELECT identity FROM twice"):
            yield from self._compare(identity)

    def _compare(self, identity: bytes) -> Iterator[tuple[str, SourceError]]:
        """Keep one of the files of an instance, or none where they differ."""
        query = """SELECT file.rowid, path, name FROM file JOIN image ON image.id = file.image
                   WHERE identity = ? ORDER BY path"""
        files = self._rows.execute(query, (identity,)).fetchall()
        left_out = files[1:]
        try:
            digests = [_digest(path) for _, path, _ in files]
            if any(a != b for a, b in pairwise(digests)):
                raise DamagedSource(
                    f"grouping a DICOM series: {len(files)} files claim to be the same instance "
                    "but differ; none of them is taken"
                )
        except SourceError as error:
            left_out = files
            yield from ((path, error) for _, path, _ in files)
        else:
            self._rows.execute(
                """INSERT INTO copies VALUES (?, ?)
                   ON CONFLICT DO UPDATE SET count = count + excluded.count""",
                (files[0][2], len(left_out)),
            )
        rows = [(row,) for row, _, _ in left_out]
        self._rows.executemany("DELETE FROM file WHERE rowid = ?", rows)


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    try:
        source = open_file(path)
        try:
            for offset in range(0, source.size, PIECE_BYTES):
                digest.update(source.read(offset, PIECE_BYTES))
        finally:
            source.close()
    except OSError as exc:
        raise DamagedSource(f"reading a DICOM file: {exc.strerror}, in {path}") from None
    return digest.digest()


@contextlib.contextmanager
def _database() -> Iterator[None]:
    """Translate what SQLite raises, which is that the disk is full."""
    try:
        yield
    except sqlite3.Error as exc:
        text = f"grouping DICOM files: {exc}, in the folder for temporary files (TMPDIR)"
        raise SourceError(text) from exc
