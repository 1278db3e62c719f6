"""Tell copies of an instance from other files that claim to be it.

Names of instances should be unique, but files are copied, corrected and sent again, and some
programs give one SOPInstanceUID to all that they write.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline.dicom.bytes import open_file
from tilepress.pipeline.packed.unpack import unpacked
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import RemoteFile
from tilepress.pipeline.storage.regular import given

__all__ = ["OTHER_HEADER", "OWN_IMAGE", "SAME_UID", "left_out_copies"]

OTHER_HEADER = (
    "{} files hold an instance and its pixels again, with another header: they were left out"
)
SAME_UID = "{} files claim to be instances that others are, and differ: each is a plane of its own"
OWN_IMAGE = "{} files claim to be the same instances as others and have other pixel data"
"""Remarks of an image, with the number of files."""

PIECE_BYTES = 2**22
"""What is read at a time to compare files."""


class _File(NamedTuple):
    row: int
    path: str
    name: str
    image: int
    place: str
    start: int
    length: int
    size: int
    version: str


def left_out_copies(rows: sqlite3.Connection) -> Iterator[tuple[str, SourceError]]:
    """Leave out copies of instances, and set apart what only claims to be one.

    Of files whose pixels are equal the first by path stays, and before it one that is not packed.
    Others stay all: in their series where they lie at other places of it or have other numbers,
    else as images of their own. Yields (path, error) of files that cannot be read.
    """
    rows.execute("CREATE INDEX by_identity ON file (identity, path)")
    rows.execute(
        """CREATE TABLE twice AS SELECT identity FROM file WHERE identity IS NOT NULL
           GROUP BY identity HAVING count(*) > 1 ORDER BY min(path)"""
    )
    for (identity,) in rows.execute("SELECT identity FROM twice"):
        query = """SELECT rowid, path, name, image, place, start, length, size, version FROM file
                   WHERE identity = ? ORDER BY version <> '', path"""
        files = [_File(*found) for found in rows.execute(query, (identity,)).fetchall()]
        yield from _sort_out(rows, files)


def _sort_out(rows: sqlite3.Connection, files: list[_File]) -> Iterator[tuple[str, SourceError]]:
    """Keep, leave out or set apart the files of one identity."""
    whole: dict[bytes, _File] = {}
    pixels: set[tuple[int, str, bytes]] = set()
    places: dict[tuple[int, str], int] = {}
    for file in files:
        try:
            digest = _digest(file)
            if digest in whole:
                _leave_out(rows, file)
                rows.execute(
                    """INSERT INTO copies VALUES (?, 1)
                       ON CONFLICT DO UPDATE SET count = count + 1""",
                    (whole[digest].name,),
                )
                continue
            inner = _digest(file, file.start, file.length) if file.length else digest
        except SourceError as error:
            _leave_out(rows, file)
            yield file.path, error
            continue
        whole[digest] = file
        mark = file.image, file.place, inner
        if mark in pixels:
            _leave_out(rows, file)
            _remark(rows, file.image, "", OTHER_HEADER)
            continue
        pixels.add(mark)
        again = places.get(mark[:2], 0)
        places[mark[:2]] = again + 1
        if again:
            part = f"again {again}"
            rows.execute("UPDATE file SET part = ? WHERE rowid = ?", (part, file.row))
            _remark(rows, file.image, part, OWN_IMAGE)
            _remark(rows, file.image, "", OWN_IMAGE)
        elif len(places) > 1:
            _remark(rows, file.image, "", SAME_UID)


def _leave_out(rows: sqlite3.Connection, file: _File) -> None:
    rows.execute("DELETE FROM file WHERE rowid = ?", (file.row,))


def _remark(rows: sqlite3.Connection, image: int, part: str, text: str) -> None:
    rows.execute("INSERT INTO remark VALUES (?, ?, ?)", (image, part, text))


@contextlib.contextmanager
def _at_hand(file: _File) -> Iterator[None]:
    """Unpack a file that is packed while it is read."""
    if not file.version or is_url(file.path):
        yield
        return
    remote = RemoteFile(file.path, file.size, file.version)
    with unpacked(remote) as (_, stream), given(file.path, stream.fileno()):
        yield


def _digest(file: _File, start: int = 0, length: int | None = None) -> bytes:
    """Hash a file, or a range of its bytes."""
    digest = hashlib.sha256()
    try:
        with _at_hand(file), contextlib.closing(open_file(file.path)) as source:
            stop = source.size if length is None else min(source.size, start + length)
            for offset in range(start, stop, PIECE_BYTES):
                digest.update(source.read(offset, min(PIECE_BYTES, stop - offset)))
    except OSError as exc:
        raise DamagedSource(f"reading a DICOM file: {exc.strerror}, in {file.path}") from None
    return digest.digest()
