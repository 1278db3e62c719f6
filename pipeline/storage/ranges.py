"""Read parts of an object in a bucket by ranges, through a small cache.

Only the blocks that somebody asks for are fetched, so that to look at an image costs its headers.
Every request names the version that was found first: an object that changes meanwhile is an error,
never a mixture.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.storage.path import is_url, storage_path
from tilepress.pipeline.storage.s3 import BucketPath

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

__all__ = [
    "RemoteBytes",
    "RemoteFile",
    "beginning_with",
    "download",
    "listing",
    "look_up",
    "reader",
    "shown",
    "use_reader",
]

BLOCK_BYTES = 64 * 2**10
"""What one request fetches at least: the headers of most images lie in the first block."""

MAX_BLOCKS = 8
"""Blocks of one object that are kept."""

MAX_READERS = 64
"""Objects whose blocks are kept: 32 MiB at most."""

PIECE_BYTES = 8 * 2**20
"""What a download writes at a time."""

_QUERY = re.compile(r"([a-z][a-z0-9+.-]*:/[^?#]*)[?#][^/=]*=.*", re.IGNORECASE | re.DOTALL)
"""An address with parameters behind it; a pattern's "?" has no "=" after it."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What storage says of an object."""

    url: str
    size: int
    version: str
    """What changes with the content: the entity tag in its quotes, else time and size."""
    modified_ns: int = 0

    @property
    def condition(self) -> dict[str, str]:
        """What a request says so that it gets this version or none."""
        return {"if_match": self.version} if self.version.startswith('"') else {}


def shown(text: str) -> str:
    """Return an address as it may stand in a message: its parameters may be a signature."""
    return _QUERY.sub(r"\1?…", text)


def look_up(url: str) -> RemoteFile:
    """Ask for an object; raises FileNotFoundError where there is none, OSError on failure."""
    import obstore

    where = _bucket_place(url)
    with _storage(where):
        return _described(where.bucket, obstore.head(where.client, where.key))


def listing(where: BucketPath, after: str = "") -> Iterator[RemoteFile]:
    """Yield the objects below ``where``, in the order of their keys, as a stream.

    ``after`` is a key of the bucket: those up to it are left out. Raises OSError.
    """
    import obstore

    with _storage(where):
        pages = obstore.list(where.client, where.key or None, offset=after or None, chunk_size=1000)
        for page in pages:
            for meta in page:
                if meta["path"] != where.key:  # an empty object may stand for the folder
                    yield _described(where.bucket, meta)


def beginning_with(address: str) -> Iterator[RemoteFile]:
    """Yield the objects of a folder whose URLs begin with ``address``. Raises OSError."""
    folder = _bucket_place(address.rpartition("/")[0])
    key = address.removeprefix(f"s3://{folder.bucket}/")
    for file in listing(folder, after=key):
        if not file.url.startswith(address):
            return
        yield file


def download(file: RemoteFile, target: BinaryIO) -> RemoteFile:
    """Write a whole object to an open file; return what storage says of it.

    Raises DamagedSource where it is another version, OSError where reading or writing fails.
    """
    import obstore

    where = _bucket_place(file.url)
    written = 0
    with _storage(where):
        options = cast("GetOptions", file.condition)
        found = obstore.get(where.client, where.key, options=options)
        described = _described(where.bucket, found.meta)
        if described.version != file.version:
            raise _changed(file.url)
        pieces = iter(found.stream(min_chunk_size=PIECE_BYTES))
    while True:
        with _storage(where):
            piece = next(pieces, None)
        if piece is None:
            break
        written += target.write(piece)
    if written != file.size:
        raise DamagedSource(f"reading {file.url}: got {written} bytes, want {file.size}")
    return described


class RemoteBytes:
    """The bytes of an object, by ranged requests. One thread at a time."""

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.size = file.size
        # storage tells whole seconds; below them the version speaks, for who caches by time
        self.mtime_ns = file.modified_ns + zlib.crc32(file.version.encode()) % 10**9
        self._where = _bucket_place(file.url)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes at ``offset``; fewer only at the end. Raises OSError."""
        end = min(offset + max(length, 0), self.size)
        if end <= offset:
            return b""
        if end - offset > MAX_BLOCKS // 2 * BLOCK_BYTES:
            return self._fetch(offset, end)
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[offset - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def stream(self) -> BinaryIO:
        return cast("BinaryIO", _Stream(self))

    def close(self) -> None:
        pass  # the blocks stay for who opens the object next

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            start = number * BLOCK_BYTES
            block = self._fetch(start, min(start + BLOCK_BYTES, self.size))
            while len(self._blocks) >= MAX_BLOCKS:
                self._blocks.popitem(last=False)
            self._blocks[number] = block
        self._blocks.move_to_end(number)
        return block

    def _fetch(self, start: int, end: int) -> bytes:
        import obstore

        options = cast("GetOptions", {"range": (start, end), **self.file.condition})
        with _storage(self._where):
            found = obstore.get(self._where.client, self._where.key, options=options)
            data = bytes(found.bytes())
        if len(data) != end - start or _described("", found.meta).version != self.file.version:
            raise _changed(self.file.url)
        return data


class _Stream(io.RawIOBase):
    """A seekable stream that allocates no more than the object has."""

    def __init__(self, source: RemoteBytes) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        length = self._source.size if size is None or size < 0 else size
        data = self._source.read(self._at, length)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any writable buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


_readers: OrderedDict[str, RemoteBytes] = OrderedDict()
_readers_lock = threading.Lock()


def reader(what: str | RemoteFile) -> RemoteBytes:
    """Return the reader of an object, with what it has read already. Raises OSError.

    A URL alone means the version that was last looked at, else the present one.
    """
    url = what if isinstance(what, str) else what.url
    with _readers_lock:
        known = _readers.get(url)
    if known is None or (isinstance(what, RemoteFile) and known.file.version != what.version):
        known = RemoteBytes(look_up(url) if isinstance(what, str) else what)
    with _readers_lock:
        _readers[url] = known
        _readers.move_to_end(url)
        while len(_readers) > MAX_READERS:
            _readers.popitem(last=False)
    return known


def use_reader(reader: RemoteBytes) -> None:
    """Take this reader for its object from now on."""
    with _readers_lock:
        _readers[reader.file.url] = reader


def _bucket_place(url: str) -> BucketPath:
    found = storage_path(url)
    assert isinstance(found, BucketPath), is_url(url)
    return found


def _described(bucket: str, meta: ObjectMeta) -> RemoteFile:
    size, modified_ns = int(meta["size"]), int(meta["last_modified"].timestamp()) * 10**9
    version = meta["e_tag"] or f"{modified_ns}-{size}"
    return RemoteFile(f"s3://{bucket}/{meta['path']}", size, version, modified_ns)


def _changed(url: str) -> DamagedSource:
    return DamagedSource(
        f"reading {url}: it changed since it was found; run the same command again"
    )


@contextlib.contextmanager
def _storage(where: BucketPath) -> Iterator[None]:
    """Translate obstore's errors: OSError, or a SourceError where the object is to blame."""
    from obstore.exceptions import InvalidPathError, PreconditionError

    try:
        with where.translated_errors("reading"):
            try:
                yield
            except InvalidPathError:
                raise UnsupportedSource(
                    f"listing {shown(str(where))}: an object's key has an empty part, '.', '..' "
                    "or a control character, which cannot be addressed; name folders that hold "
                    "none such"
                ) from None
    except PreconditionError:
        raise _changed(str(where)) from None
