"""Turn what the user names into a stream of files: folders, patterns, lists, buckets.

    "scene.tif" "folder/"               a file; a folder, searched through
    "folder/**/*.tif"                   a pattern, where no file has that very name
    "-"  "@names.txt"                   a list of paths and URLs from standard input or from a file
    "s3://bucket/key.tif" "s3://b/p/"   an object; all objects of a folder; a pattern of them

Nothing is held but the names of one folder, or of ``BATCH_FILES`` files, at a time. What cannot be
read is an item of the stream, too: no input ends a run.

How an archive names what was found (``InputFile.relative``): below the folder that was named; below
the part of a pattern before its first wildcard; by its file name alone where the file was named.
Entries of a list keep the path as it is written there, without a leading slash, so that files of
one name in different folders stay apart.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tilepress.errors import NoSuchSource, SourceError, TilepressError, UnsupportedSource
from tilepress.pipeline.find.patterns import has_wildcard, split_pattern
from tilepress.pipeline.find.walk import (
    Batch,
    BucketWalk,
    End,
    Failure,
    FolderWalk,
    InputFile,
    Item,
    ZarrNode,
    each_or_failure,
    is_utf8,
    not_utf8,
    printable_name,
    unsupported,
)
from tilepress.pipeline.image.names import is_virtual
from tilepress.pipeline.storage.path import is_url, storage_path
from tilepress.pipeline.storage.ranges import listing, look_up
from tilepress.pipeline.storage.s3 import BucketPath

__all__ = ["absolute", "expand", "read_list"]

BATCH_FILES = 1000
"""Files that are looked at together, so that the first image is found at once."""

BATCH_S = 1.0
"""Seconds for which named files are gathered: a list on a pipe may come slowly."""

MAX_ENTRY_BYTES = 2**16
"""One entry of a list; paths end at 4096 bytes, keys at 1024."""

PIECE_BYTES = 2**16

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def expand(sources: Iterable[str | Path], *, whole_folders: bool = False) -> Iterator[Item]:
    """Yield what every source holds; files that are named one after another are one argument.

    With ``whole_folders`` all files of a folder are one batch, however many, as stacks need it.
    """
    named = _Named(None if whole_folders else BATCH_FILES)
    limit = None if whole_folders else BATCH_FILES
    for source in sources:
        for item in each_or_failure(_argument(os.fspath(source)), os.fspath(source)):
            if isinstance(item, InputFile):
                yield from named.add(item)
            elif isinstance(item, _Tree):
                yield from named.flush()
                yield End()
                yield from each_or_failure(item.walk.items(limit), item.walk.name)
                yield End()
            elif isinstance(item, _Found):
                yield from each_or_failure(item.items(named, limit), item.pattern)
            else:
                yield item
    yield from named.flush()
    yield End()


def absolute(source: str | Path) -> str:
    """Return what a source is called from any folder: for records of what was asked for."""
    text = os.fspath(source)
    if text == "-" or is_url(text):
        return text
    if text.startswith("@") and not os.path.lexists(text):
        return f"@{os.path.abspath(text[1:])}"
    return os.path.abspath(text)


def read_list(pieces: Iterable[bytes], where: str) -> Iterator[str]:
    """Yield the entries of a list: one per line, or each ended by a NUL as ``find -print0`` does.

    Which of the two it is, is seen at the first end of an entry. Empty lines are passed over; a
    path may begin with any sign, so that there are no comments. Raises UnsupportedSource where an
    entry is longer than any path.
    """
    rest, mark = b"", b""
    for piece in pieces:
        rest += piece
        if not mark:
            rest = rest.removeprefix(b"\xef\xbb\xbf")
            mark = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
        *entries, rest = rest.split(mark) if mark else [rest]
        for entry in entries:
            yield from _decoded(entry, mark)
        if len(rest) > MAX_ENTRY_BYTES:
            text = f"an entry has more than {MAX_ENTRY_BYTES} bytes: it is no list of paths"
            raise UnsupportedSource(f"reading {where}: {text}")
    yield from _decoded(rest, mark)


def _decoded(entry: bytes, mark: bytes) -> Iterator[str]:
    if mark != b"\0":
        entry = entry.removesuffix(b"\r")
    if entry.strip():
        yield os.fsdecode(entry)


# arguments


def _argument(text: str) -> Iterator[InputFile | _Tree | _Found | Failure]:
    """Yield what one argument means."""
    if text == "-":
        if sys.stdin is None:
            yield unsupported("-", "standard input is closed")
            return
        yield from _list(_spooled(sys.stdin.buffer).pieces(), "standard input")
    elif text.startswith("@") and not os.path.lexists(text):
        yield from _list_file(text[1:])
    elif (refusal := _refusal(text)) is not None:
        yield refusal
    elif is_url(text):
        yield from _named_object(text)
    elif not os.path.lexists(text) and has_wildcard(text):
        yield _Found(text)
    else:
        yield from _named_path(text, os.path.basename(os.path.abspath(text)))


def _refusal(text: str) -> Failure | None:
    """Say why an argument is never opened; None where it may be."""
    if not is_utf8(text):
        return not_utf8(text)
    if is_virtual(os.path.abspath(text)):
        return unsupported(text, "GDAL's virtual files are not opened; name the file itself")
    scheme = _SCHEME.match(text)
    if scheme is None or (not is_url(text) and os.path.lexists(text)):
        return None
    rest = text[scheme.end() :].lstrip("/")
    host = rest.partition("/")[0]
    shown = f"{scheme[1]}://{'…@' * ('@' in host)}{host.rpartition('@')[2]}/…"
    if scheme[1].lower() != "s3":
        reason = "sources are files, folders and s3://bucket/key; fetch it first"
        return unsupported(shown, reason)
    if "@" in host or ":" in host:
        wanted = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return unsupported(shown, f"an address holds no credentials; set {wanted}")
    if not is_url(text):
        return unsupported(text, "want s3://bucket/key, as a text and not as a Path")
    try:
        storage_path(text)
    except TilepressError as error:
        return Failure(printable_name(text), UnsupportedSource(printable_name(str(error))))
    return None


def _named_path(text: str, relative: str) -> Iterator[InputFile | _Tree | Failure]:
    try:
        is_folder = os.path.isdir(text)
        if not is_folder:
            os.stat(text)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        kind: type[SourceError] = SourceError
        if isinstance(error, FileNotFoundError):
            kind, found = NoSuchSource, "there is no such file"
        yield Failure(printable_name(text), kind(f"opening {printable_name(text)}: {found}"))
        return
    if is_folder:
        yield _Tree(FolderWalk(text))
    else:
        yield InputFile(str(Path(text).absolute()), relative)


def _named_object(url: str) -> Iterator[InputFile | _Tree | _Found | Failure]:
    """Yield an object, or the folder of that name where there is no such object."""
    where = storage_path(url)
    assert isinstance(where, BucketPath)
    try:
        if where.key and not url.endswith("/"):
            try:
                remote = look_up(str(where))
            except FileNotFoundError:
                remote = None
            if remote is not None:
                yield InputFile(remote.url, where.name, remote)
                return
        if next(listing(where), None) is not None:
            yield _Tree(BucketWalk(where))
        elif has_wildcard(where.key):
            yield _Found(url)
        else:
            text = f"opening {printable_name(url)}: there is no such object, and none below it"
            yield Failure(printable_name(url), NoSuchSource(text))
    except OSError as error:
        yield Failure(
            printable_name(url), SourceError(f"opening {printable_name(url)}: {error.strerror}")
        )
    except SourceError as error:
        yield Failure(printable_name(url), error)


# lists


def _list_file(path: str) -> Iterator[InputFile | _Tree | _Found | Failure]:
    if not path:
        yield unsupported("@", "want the name of a list after @")
        return
    try:
        with open(path, "rb") as file:
            yield from _list(iter(lambda: file.read(PIECE_BYTES), b""), printable_name(path))
    except OSError as error:
        found = error.strerror or type(error).__name__
        text = f"reading the list {printable_name(path)}: {found}"
        yield Failure(printable_name(path), SourceError(text))


def _list(pieces: Iterable[bytes], where: str) -> Iterator[InputFile | _Tree | _Found | Failure]:
    """Yield what a list names; its entries are taken literally, wildcards too."""
    try:
        for entry in read_list(pieces, where):
            yield from _entry(entry)
    except UnsupportedSource as error:
        yield Failure(where, error)


def _entry(text: str) -> Iterator[InputFile | _Tree | Failure]:
    refusal = _refusal(text)
    if refusal is not None:
        yield refusal
    elif not is_url(text):
        relative = _as_written(text)
        for item in _named_path(text, relative):
            yield _Tree(FolderWalk(text, relative)) if isinstance(item, _Tree) else item
    elif text.endswith("/"):
        where = storage_path(text)
        assert isinstance(where, BucketPath)
        yield _Tree(BucketWalk(where, f"{where.bucket}/{where.key}".rstrip("/")))
    else:
        where = storage_path(text)
        assert isinstance(where, BucketPath)
        yield InputFile(str(where), f"{where.bucket}/{where.key}")


def _as_written(text: str) -> str:
    """Return the path that an archive keeps for an entry of a list."""
    relative = os.path.normpath(text)
    if relative.startswith(".."):
        relative = os.path.abspath(text)
    return "" if relative == "." else relative.lstrip("/")


@functools.lru_cache(maxsize=1)
def _spooled(stream: BinaryIO) -> _Spooled:
    return _Spooled(stream)


class _Spooled:
    """A stream that is kept in a temporary file as it is read, so that it can be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._ended = False
        weakref.finalize(self, self._file.close)

    def pieces(self) -> Iterator[bytes]:
        """Yield all that the stream gives, from its beginning, as it comes."""
        at = 0
        while piece := self._piece(at):
            at += len(piece)
            yield piece

    def _piece(self, at: int) -> bytes:
        self._file.seek(at)
        piece = self._file.read(PIECE_BYTES)
        if not piece and not self._ended:
            read: Callable[[int], bytes] = getattr(self._stream, "read1", self._stream.read)
            piece = read(PIECE_BYTES)
            self._ended = not piece
            self._file.write(piece)
        return piece


class _Named:
    """Files that were named one after another, until there are enough to be looked at."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._count = 0
        self._since = 0.0
        self._folders: dict[str, dict[str, InputFile]] = {}

    def add(self, file: InputFile) -> Iterator[Batch]:
        if not self._count:
            self._since = time.monotonic()
        files = self._folders.setdefault(posixpath.dirname(file.path), {})
        self._count += file.path not in files
        files.setdefault(file.path, file)
        if self._limit is None:
            return
        if self._count >= self._limit or time.monotonic() - self._since > BATCH_S:
            yield from self.flush()

    def flush(self) -> Iterator[Batch]:
        folders, self._folders, self._count = self._folders, {}, 0
        for files in folders.values():
            yield Batch(tuple(files.values()), {}, named=True)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A folder that is an argument of its own."""

    walk: FolderWalk | BucketWalk


@dataclass(frozen=True, slots=True)
class _Found:
    """All that a pattern matches."""

    pattern: str

    def items(self, named: _Named, limit: int | None) -> Iterator[Item]:
        """Yield it; matching folders are arguments of their own, as if a shell had named them."""
        yield from named.flush()
        yield End()
        any_match = False
        for item in self._walk().items(limit):
            any_match |= isinstance(item, (Batch, ZarrNode))
            yield item
        if not any_match:
            shown = printable_name(self.pattern)
            text = "there is no such file, and as a pattern it matches no image"
            yield Failure(shown, NoSuchSource(f"opening {shown}: {text}"))
        yield End()

    def _walk(self) -> FolderWalk | BucketWalk:
        if not is_url(self.pattern):
            root, pattern = split_pattern(self.pattern)
            return FolderWalk(root, pattern=pattern)
        bucket, _, key = self.pattern.partition("://")[2].partition("/")
        root, pattern = split_pattern(key)
        folder = "" if root == "." else root.strip("/")
        return BucketWalk(BucketPath(bucket, folder), pattern=pattern)
