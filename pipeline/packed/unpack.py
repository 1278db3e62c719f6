"""The door to packed files: what is in them, and the content of each file, checked.

    /data/scene.tif.gz           the file that a gzip file holds, by the gzip file's own path
    /data/study.zip/a/IM1        a file in a zip or a tar: a path that no other file can have

A file that is found in one is pinned to its content as an object of a bucket is (``RemoteFile``):
its version is a checksum, so that nobody unpacks another file than was found. No name in a packed
file is ever the name of a file that is written by what stands here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.packed.gzip_file import (
    GZIP_MAGIC,
    gunzipped,
    gzip_head,
    gzip_version,
    unpacked_name,
)
from tilepress.pipeline.packed.index import Index
from tilepress.pipeline.packed.member import PIECE_BYTES, LeftOut, Listed, Member
from tilepress.pipeline.packed.tar_file import BLOCK_BYTES, OpenEnd, is_tar, tar_members
from tilepress.pipeline.packed.zip_file import zip_content, zip_members
from tilepress.pipeline.storage import ranges
from tilepress.pipeline.storage.copies import Copy, scratch_folder
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import RemoteFile
from tilepress.pipeline.storage.regular import open_regular

__all__ = [
    "FREE_BYTES",
    "Packed",
    "as_copied",
    "check_expansion",
    "container_of",
    "download",
    "heads_in",
    "look_beside",
    "look_up",
    "measured",
    "open_packed",
    "packing_of",
    "unpacked",
]

FREE_BYTES = 2**30
"""What a file of any size may unpack to."""

OPEN = 2
"""Packed files whose lists are kept."""

HEAD_BYTES = BLOCK_BYTES
"""What ``packing_of`` wants to see of a file."""

_PLAIN, _BESIDE, _GZIP, _CRC, _MARKED = "file-", "beside-", "gzip-", "crc-", "tar-"
"""What versions begin with: of a plain file, beside which others are packed; of one that says more
of a packed one; of what a gzip file holds; of a file in a zip or tar, by its content; of one in a
tar that nobody has read."""


def packing_of(head: bytes, file: BinaryIO) -> str | None:
    """Tell how a file is packed by its first bytes: "zip", "tar", "tar.gz" or "gzip"."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(GZIP_MAGIC):
        file.seek(0)
        return "tar.gz" if is_tar(gzip_head(file, HEAD_BYTES)) else "gzip"
    return "tar" if is_tar(head) else None


def check_expansion(size: int, packed_bytes: int, allowed: float) -> None:
    """Raise UnsupportedSource where a file unpacks to more than its packed bytes may stand for."""
    if allowed and size > FREE_BYTES and size > allowed * packed_bytes:
        ratio = -(-size // max(packed_bytes, 1))
        raise UnsupportedSource(
            f"its {packed_bytes} bytes unpack to {size}, {ratio} times as many; if that is right, "
            f"pass --max-expansion {ratio}"
        )


@dataclass(frozen=True, slots=True)
class _State:
    """A packed file as it was found: another one of its name is another one."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> _State:
        with open_regular(path) as file:
            found = os.fstat(file.fileno())
        return cls(path, found.st_size, found.st_mtime_ns)


class Packed:
    """A zip or tar whose files are listed. Threads may ask at the same time."""

    def __init__(self, path: str) -> None:
        """List it. Raises SourceError without a path, OSError."""
        self.path, self._state = path, _State.of(path)
        self.problem: SourceError | None = None
        """Why there may be more in it than is listed."""
        self.packed_bytes, self.unpacked_bytes = self._state.size, 0
        """The second one of a packed tar alone: all of that is unpacked, or nothing."""
        with open_regular(path) as file:
            packing = packing_of(file.read(HEAD_BYTES), file)
            file.seek(0)
            if packing == "zip":
                self.index = Index(zip_members(file))
            elif packing == "tar":
                self.index = Index(self._of_tar(file))
            elif packing == "tar.gz":
                self.index = Index(self._of_packed_tar(file))
            else:
                raise DamagedSource("it is no packed file any more")
        self._packing = packing

    @property
    def left_out(self) -> dict[LeftOut, int]:
        """How many files in it are not listed, by reason."""
        return {why: count for why, count in self.index.left_out.items() if count}

    def file(self, member: Member) -> RemoteFile:
        """Return a file in it, as far as is known without reading it."""
        version = f"{_MARKED}{self._state.mtime_ns}-{member.mark}"
        if member.crc is not None:
            version = f"{_CRC}{member.crc:08x}"
        return RemoteFile(f"{self.path}/{member.name}", member.size, version, self._state.mtime_ns)

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a file in it. Raises SourceError, OSError."""
        with self.opened() as file:
            yield from self.content_in(file, member)

    def content_in(self, file: BinaryIO, member: Member) -> Iterator[bytes]:
        """Yield the content of a file in it, of what ``opened`` gave."""
        if self._packing == "zip":
            yield from zip_content(file, member)
            return
        file.seek(member.offset)
        left = member.size
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                raise DamagedSource("its packed file ends early")
            left -= len(piece)
            yield piece

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it to read what it holds; of a packed tar, the tar. Raises SourceError, OSError."""
        if _State.of(self.path) != self._state:
            raise DamagedSource("its packed file changed since it was listed")
        if self._packing != "tar.gz":
            with open_regular(self.path) as file:
                yield file
            return
        tar = RemoteFile(self.path, self.unpacked_bytes, gzip_version(self.path))
        copy = contextlib.closing(Copy([("tar", tar)], _gunzip_to))
        with copy as found, found.paths[0].open("rb") as file:
            yield file

    def _of_tar(self, file: BinaryIO) -> Iterator[Listed]:
        """List a tar as far as it is whole."""

        def skip(length: int) -> int:
            at = file.tell()
            return min(file.seek(at + length), self._state.size) - at

        try:
            yield from tar_members(file.read, skip)
        except DamagedSource as error:
            self.problem = error

    def _of_packed_tar(self, file: BinaryIO) -> Iterator[Listed]:
        """List a packed tar: of one that is damaged anywhere nothing can be unpacked."""
        stream = _Forward(gunzipped(file))
        try:
            yield from tar_members(stream.read, stream.skip)
        except OpenEnd as error:
            self.problem = error
        while stream.skip(2**62):  # to its end: what is damaged there is damaged
            pass
        self.unpacked_bytes = stream.at


class _Forward:
    """Bytes that come once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest, self.at = pieces, memoryview(b""), 0

    def read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length and self._more():
            piece = self._rest[: length - len(found)]
            found += piece
            self._rest = self._rest[len(piece) :]
        self.at += len(found)
        return bytes(found)

    def skip(self, length: int) -> int:
        done = 0
        while done < length and self._more():
            step = min(length - done, len(self._rest))
            self._rest = self._rest[step:]
            done += step
        self.at += done
        return done

    def _more(self) -> bool:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._rest = memoryview(piece)
        return True


_open: OrderedDict[_State, Packed] = OrderedDict()
_lock = threading.Lock()


def open_packed(path: str) -> Packed:
    """Return a zip or tar, listed; one that was listed of late is not read again.

    Raises SourceError without a path, OSError.
    """
    state = _State.of(path)
    with _lock:
        found = _open.get(state)
        if found is not None:
            _open.move_to_end(state)
            return found
    found = Packed(path)
    with _lock:
        _open[state] = found
        while len(_open) > OPEN:
            _open.popitem(last=False)
    return found


def container_of(path: str) -> str | None:
    """Return the packed file that a path leads into; None where it leads into none."""
    for folder in Path(path).parents:
        try:
            if os.path.isfile(folder):
                return str(folder)
            if os.path.isdir(folder):
                return None
        except (OSError, ValueError):
            continue
    return None


def look_up(path: str) -> RemoteFile:
    """Return a file in a packed file as it is now, or an object of a bucket.

    Raises FileNotFoundError where there is none, SourceError, OSError.
    """
    if is_url(path):
        return ranges.look_up(path)
    container = container_of(path)
    if container is None:
        return _by_itself(path)
    packed, member = _member(path, container)
    if member.crc is not None:
        return packed.file(member)
    checksum = 0
    for piece in packed.content(member):
        checksum = zlib.crc32(piece, checksum)
    return replace(packed.file(member), version=f"{_CRC}{checksum:08x}")


def _by_itself(path: str) -> RemoteFile:
    """Look at a file of which the path does not say whether it is meant, or what it holds."""
    with open_regular(path) as file:
        found, head = os.fstat(file.fileno()), file.read(len(GZIP_MAGIC))
    if head == GZIP_MAGIC:
        return RemoteFile(path, -1, gzip_version(path), found.st_mtime_ns)
    version = f"{_PLAIN}{found.st_mtime_ns}"
    return RemoteFile(path, found.st_size, version, found.st_mtime_ns)


def look_beside(path: str) -> RemoteFile:
    """Look at a plain file that says more of a packed one: no link that leads elsewhere.

    Raises RefusedFile for others, OSError.
    """
    with open_regular(path, (os.path.dirname(path),)) as file:
        found = os.fstat(file.fileno())
    version = f"{_BESIDE}{found.st_mtime_ns}"
    return RemoteFile(path, found.st_size, version, found.st_mtime_ns)


def _member(path: str, container: str) -> tuple[Packed, Member]:
    packed = open_packed(container)
    return packed, _member_in(packed, path)


def _member_in(packed: Packed, path: str) -> Member:
    member = packed.index.find(path.removeprefix(packed.path).lstrip("/"))
    if member is None:
        raise FileNotFoundError(2, "there is no such file in it", path)
    return member


def download(file: RemoteFile, target: BinaryIO) -> RemoteFile:
    """Write an object, or the content of a file in a packed file, whole; return what is known.

    Raises DamagedSource where it is another than was found, SourceError, OSError.
    """
    if is_url(file.url):
        return ranges.download(file, target)
    try:
        if file.version.startswith(_GZIP):
            return _gunzip_to(file, target)
        if file.version.startswith((_PLAIN, _BESIDE)):
            return _copy_to(file, target)
        return _unpack_to(file, target)
    except SourceError as error:
        raise type(error)(f"reading {file.url}: {error}") from None


def _unpack_to(file: RemoteFile, target: BinaryIO) -> RemoteFile:
    container = container_of(file.url)
    if container is None:
        raise _changed()
    try:
        packed, member = _member(file.url, container)
    except FileNotFoundError:
        raise _changed() from None
    checksum = 0
    for piece in packed.content(member):
        checksum = zlib.crc32(piece, checksum)
        target.write(piece)
    found = packed.file(member)
    if file.version.startswith(_CRC):
        found = replace(found, version=f"{_CRC}{checksum:08x}")
    if (found.version, found.size) != (file.version, file.size):
        raise _changed()
    return found


def _gunzip_to(file: RemoteFile, target: BinaryIO) -> RemoteFile:
    if file.version != gzip_version(file.url):
        raise _changed()
    written = 0
    with open_regular(file.url) as packed:
        mtime_ns = os.fstat(packed.fileno()).st_mtime_ns
        for piece in gunzipped(packed):
            written += target.write(piece)
            if 0 <= file.size < written:
                raise _changed()
    if written != file.size:
        raise _changed()
    return replace(file, modified_ns=mtime_ns)


def _copy_to(file: RemoteFile, target: BinaryIO) -> RemoteFile:
    is_beside = file.version.startswith(_BESIDE)
    within = (os.path.dirname(file.url),) if is_beside else None
    with open_regular(file.url, within) as plain:
        found = look_beside(file.url) if is_beside else _by_itself(file.url)
        shutil.copyfileobj(plain, target, PIECE_BYTES)
    if (found.version, found.size, target.tell()) != (file.version, file.size, file.size):
        raise _changed()
    return found


def _changed() -> DamagedSource:
    return DamagedSource("it changed since it was found; run the same command again")


@contextlib.contextmanager
def heads_in(container: str) -> Iterator[Callable[[str], bytes]]:
    """Open a packed file; give what reads the first bytes of a file in it, by its path.

    Raises SourceError, OSError.
    """
    packed = open_packed(container)
    with packed.opened() as opened:

        def head(path: str) -> bytes:
            member = _member_in(packed, path)
            found = b""
            for piece in packed.content_in(opened, member):
                found += piece[: HEAD_BYTES - len(found)]
                if len(found) == HEAD_BYTES:
                    break
            return found

        yield head


@contextlib.contextmanager
def unpacked(file: RemoteFile) -> Iterator[tuple[RemoteFile, BinaryIO]]:
    """Unpack a file into one that nobody else can open and that goes when this ends.

    Gives what is known of it, pinned to its content, and the open file. Raises as ``download``.
    """
    with tempfile.TemporaryFile(dir=scratch_folder()) as target:
        stream = cast("BinaryIO", target)
        found = download(file, stream)
        stream.flush()
        if found.version.startswith(_MARKED):
            stream.seek(0)
            checksum = 0
            while piece := stream.read(PIECE_BYTES):
                checksum = zlib.crc32(piece, checksum)
            found = replace(found, version=f"{_CRC}{checksum:08x}")
        stream.seek(0)
        yield found, stream


def measured(path: str, allowed: float) -> RemoteFile:
    """Return what a gzip file holds: its size is known once all of it was unpacked, to nowhere.

    Raises UnsupportedSource where it is more than ``check_expansion`` allows, DamagedSource,
    OSError.
    """
    version, size = gzip_version(path), 0
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        for piece in gunzipped(file):
            size += len(piece)
            check_expansion(size, found.st_size, allowed)
    return RemoteFile(path, size, version, found.st_mtime_ns)


def as_copied(name: str, version: str) -> str:
    """Return what the copy of a pinned file is called: what was packed loses the ending of that."""
    return unpacked_name(name) if version.startswith(_GZIP) else name
