"""Name where objects lie, on this machine or in a bucket, with the few operations that both keep.

    storage_path("out/scene.zarr")              FolderPath: files, written whole, synced, renamed
    storage_path("s3://bucket/out/scene.zarr")  BucketPath: objects of an S3 service, by obstore

A storage path is a name, not a handle: it can be made for what does not exist, pickled, compared.
Every failure is an ``OSError`` with an errno, so that callers sort storage faults in one way:
``FileNotFoundError`` for absence, ``PermissionError`` for refusal, ``EIO`` for what may pass. A
bucket's credentials come from the environment (``AWS_*``) of the process that uses the path; no
path holds, prints or pickles them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from tilepress.errors import UsageError
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.s3 import BucketPath, clean_key

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["AnyPath", "BucketPath", "FolderPath", "StoragePath", "is_url", "storage_path"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")


class StoragePath(Protocol):
    """A name under which an object, or objects, may lie."""

    conditional: ClassVar[bool]
    """Whether ``create`` and ``swap`` are the storage's own, so that no lock is needed."""

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def parent(self) -> StoragePath: ...

    def __truediv__(self, key: str) -> StoragePath:
        """Return the place of ``key``, which may have several parts, below this one."""
        ...

    def relative_to(self, other: StoragePath) -> str:
        """Return the key of this place below ``other``; ValueError where it is not below."""
        ...

    def read(self, limit_bytes: int | None = None) -> bytes:
        """Return the object; RefusedFile, and nothing read, where it is larger than the limit."""
        ...

    def read_tagged(self) -> tuple[bytes, str] | None:
        """Return an object and the tag of this version of it; None where there is none."""
        ...

    def size(self) -> int | None:
        """Return the bytes of the object; None where there is none."""
        ...

    def tag(self) -> str | None:
        """Return a cheap mark that changes with the object; None where there is no object."""
        ...

    def sha256(self) -> str | None:
        """Return the digest of the object, hexadecimal; None where there is none."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Write the object, whole or not at all; on return it survives a power cut."""
        ...

    def create(self, data: bytes | memoryview) -> bool:
        """Write the object unless there is one; False where there is."""
        ...

    def swap(self, data: bytes | memoryview, tag: str) -> bool:
        """Replace the object if it still is the version with ``tag``; False where it is not."""
        ...

    def remove(self) -> None:
        """Remove the object; nothing happens where there is none."""
        ...

    def remove_all(self, keys: Sequence[str]) -> None:
        """Remove objects below; on return their absence survives a power cut."""
        ...

    def remove_tree(self) -> None:
        """Remove everything below."""
        ...

    def remove_empty(self) -> None:
        """Remove the folder if nothing is in it; buckets have no empty folders."""
        ...

    def is_folder(self) -> bool:
        """Whether anything lies below (or a folder exists, on this machine)."""
        ...

    def exists(self) -> bool:
        """Whether there is an object or a folder."""
        ...

    def walk(self) -> Iterator[tuple[str, int]]:
        """Yield key and size of every object below, as a stream; no order is promised."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the folders right below, sorted."""
        ...

    def sweep(self) -> None:
        """Remove what killed writers left below; only when no other writer is at work."""
        ...

    def age_s(self) -> float | None:
        """Return how long ago the object was written, by the storage's own clock."""
        ...

    def touch(self) -> bool:
        """Make the object young again; False where there is none or it changed meanwhile."""
        ...

    def check_writable(self) -> None:
        """Make the folder; raise OSError where nothing can be written below."""
        ...

    def make_folder(self) -> None:
        """Make the folder where storage has folders."""
        ...

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Hold an advisory lock on the folder where there are such locks."""
        ...

    def zarr_store(self, *, read_only: bool = True) -> Store:
        """Return a Zarr store of what lies below."""
        ...


AnyPath = str | Path | StoragePath


def storage_path(where: AnyPath) -> StoragePath:
    """Return the place that a path or URL names.

    Raises UsageError for a URL that is not ``s3://bucket/key``.
    """
    if isinstance(where, Path):
        return FolderPath(where)
    if not isinstance(where, str):
        return where
    if not is_url(where):
        return FolderPath(Path(where))
    scheme, _, rest = where.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not _BUCKET.fullmatch(bucket):
        # What stands before "@" and after "?" may be a password or a signature.
        shown = f"{scheme}://…" if "@" in rest else re.split(r"[?#]", where, maxsplit=1)[0]
        raise UsageError(f"opening {shown}: want a path or s3://bucket/key")
    if re.search(r"[?&]X-Amz-|[?&]AWSAccessKeyId=", key, re.IGNORECASE):
        shown = re.split(r"[?#]", where, maxsplit=1)[0]
        raise UsageError(
            f"opening {shown}: signed addresses are not taken; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and give s3://bucket/key alone"
        )
    return BucketPath(bucket, clean_key(key, where))


def is_url(where: object) -> bool:
    """Whether a source or destination is named by URL rather than by path."""
    return isinstance(where, str) and _URL.match(where) is not None
