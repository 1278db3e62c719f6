"""What "unchanged" means for a source: of a file, of a folder, of objects in a bucket.

What is returned here goes as JSON into the digest of a plan: one other character, and every sealed
store would count as that of another source.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilepress.errors import SourceError
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.storage.ranges import listing
from tilepress.pipeline.storage.regular import open_regular
from tilepress.pipeline.storage.s3 import BucketPath

__all__ = [
    "FilePrint",
    "ListingPrint",
    "bytes_of",
    "file_print",
    "folder_print",
    "objects_print",
    "prefix_print",
]


@dataclass(frozen=True, slots=True)
class FilePrint:
    """A file that was not touched, or not where its header lies."""

    size: int
    mtime_ns: int
    header_sha256: str
    """Hexadecimal, of the bytes that say what the samples are."""

    @classmethod
    def of(cls, header: bytes, size: int, mtime_ns: int) -> FilePrint:
        return cls(size, mtime_ns, hashlib.sha256(header).hexdigest())


@dataclass(frozen=True, slots=True)
class ListingPrint:
    """Files of which none was touched, added or removed."""

    files: int
    listing: str
    """sha256 of a line for each, hexadecimal."""


def file_print(path: Path, header_bytes: int, *, at_both_ends: bool = False) -> FilePrint:
    """Read what tells that a file has changed: size, time, and its header.

    The header is the first bytes of the file, and with ``at_both_ends`` as many of its last: some
    formats write it when the samples are written.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        header = file.read(header_bytes)
        if at_both_ends:
            if status.st_size > 2 * header_bytes:
                file.seek(-header_bytes, os.SEEK_END)
            header += file.read(header_bytes)
    return FilePrint.of(header, status.st_size, status.st_mtime_ns)


def folder_print(path: Path) -> ListingPrint:
    """List every file below a folder by size and time."""
    digest, count = hashlib.sha256(), 0
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        status = file.stat()
        line = f"{file.relative_to(path).as_posix()} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode())
        count += 1
    return ListingPrint(count, digest.hexdigest())


def objects_print(url: str) -> ListingPrint:
    """List every object below an address by size and version. Raises SourceError."""
    digest, count = hashlib.sha256(), 0
    where = storage_path(url)
    assert isinstance(where, BucketPath), url
    try:
        for remote in listing(where):
            key = remote.url.removeprefix(f"{url}/")
            digest.update(f"{key} {remote.size} {remote.version}\n".encode())
            count += 1
    except OSError as error:
        raise SourceError(f"listing {url}: {error.strerror}") from error
    return ListingPrint(count, digest.hexdigest())


def prefix_print(url: str) -> dict[str, Any]:
    """Return the fingerprint, as JSON, of a source that is all objects below an address."""
    return {storage_path(url).name: asdict(objects_print(url))}


def bytes_of(paths: Sequence[str]) -> int:
    """Return the size of files and of all files in folders; links are not followed below them."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            total += _folder_bytes(path) if stat.S_ISDIR(status.st_mode) else status.st_size
    return total


def _folder_bytes(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
