"""Name where objects lie, on this machine or in a bucket, with the few operations that both keep.

    place("out/scene.zarr")               FolderPlace: files, written whole, synced, renamed
    place("s3://bucket/out/scene.zarr")   BucketPlace: objects of an S3 service, through obstore

A place is a name, not a handle: it can be made for what does not exist, pickled, and compared.
Every failure is an ``OSError`` with an errno, so that callers sort storage faults in one way:
``FileNotFoundError`` for absence, ``PermissionError`` for refusal, ``EIO`` for what may pass. A
bucket's credentials come from the environment (``AWS_*``) of the process that uses the place; no
place holds, prints or pickles them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from tilepress.errors import UsageError
from tilepress.pipeline.storage.atomic import (
    PARTIAL_SUFFIX,
    file_lock,
    make_directory,
    sweep_partials,
    sync_directory,
    write_atomic,
    write_new,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import S3Store
    from zarr.abc.store import Store

__all__ = ["BucketPlace", "FolderPlace", "Place", "Where", "is_url", "place"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")

RETRY_FOR_S = 60
"""Seconds for which obstore repeats a request that a server or network failed."""

REQUEST_LIMIT_S = 300
"""Seconds that one request may take: a shard over a slow line."""


class Place(Protocol):
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
    def parent(self) -> Place: ...

    def __truediv__(self, key: str) -> Place:
        """Return the place of ``key``, which may have several parts, below this one."""
        ...

    def relative_to(self, other: Place) -> str:
        """Return the key of this place below ``other``; ValueError where it is not below."""
        ...

    def read(self) -> bytes: ...

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


Where = str | Path | Place


def place(where: Where) -> Place:
    """Return the place that a path or URL names.

    Raises UsageError for a URL that is not ``s3://bucket/key``.
    """
    if isinstance(where, Path):
        return FolderPlace(where)
    if not isinstance(where, str):
        return where
    if not is_url(where):
        return FolderPlace(Path(where))
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
    return BucketPlace(bucket, _clean_key(key, where))


def is_url(where: object) -> bool:
    """Whether a source or destination is named by URL rather than by path."""
    return isinstance(where, str) and _URL.match(where) is not None


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A file or folder of this machine."""

    conditional: ClassVar[bool] = False

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> FolderPlace:
        return FolderPlace(self.path.parent)

    def __truediv__(self, key: str) -> FolderPlace:
        return FolderPlace(self.path / key)

    def relative_to(self, other: Place) -> str:
        if not isinstance(other, FolderPlace):
            raise ValueError(f"{self} is not below {other}")  # noqa: TRY004  # as pathlib says it
        return self.path.relative_to(other.path).as_posix()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def read_tagged(self) -> tuple[bytes, str] | None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def size(self) -> int | None:
        try:
            return self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tag(self) -> str | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{found.st_size}-{found.st_mtime_ns}"

    def sha256(self) -> str | None:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, data: bytes | memoryview) -> None:
        write_atomic(self.path, data)

    def create(self, data: bytes | memoryview) -> bool:
        return write_new(self.path, data)

    def swap(self, data: bytes | memoryview, tag: str) -> bool:
        with self.parent.guard():
            found = self.read_tagged()
            if found is None or found[1] != tag:
                return False
            write_atomic(self.path, data)
        return True

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            sync_directory(self.path.parent)

    def remove_tree(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def remove_empty(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def is_folder(self) -> bool:
        return self.path.is_dir()

    def exists(self) -> bool:
        return self.path.exists()

    def walk(self) -> Iterator[tuple[str, int]]:
        for folder, folders, files in os.walk(self.path):
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                with contextlib.suppress(FileNotFoundError):  # somebody else's temporary file
                    yield path.relative_to(self.path).as_posix(), path.lstat().st_size

    def folders(self) -> list[str]:
        with os.scandir(self.path) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))

    def sweep(self) -> None:
        sweep_partials(self.path)

    def age_s(self) -> float | None:
        try:
            written = self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        handle, name = tempfile.mkstemp(
            prefix=".clock-", suffix=PARTIAL_SUFFIX, dir=self.path.parent
        )
        try:
            return os.fstat(handle).st_mtime - written
        finally:
            os.close(handle)
            os.unlink(name)

    def touch(self) -> bool:
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return True

    def check_writable(self) -> None:
        make_directory(self.path)
        handle, name = tempfile.mkstemp(prefix=".tilepress-", suffix=PARTIAL_SUFFIX, dir=self.path)
        os.close(handle)
        os.unlink(name)

    def make_folder(self) -> None:
        make_directory(self.path)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        with file_lock(self.path):
            yield

    def zarr_store(self, *, read_only: bool = True) -> Store:
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=read_only)


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """An object, or a prefix of objects, of an S3 bucket."""

    conditional: ClassVar[bool] = True

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> BucketPlace:
        return BucketPlace(self.bucket, self.key.rpartition("/")[0])

    def __truediv__(self, key: str) -> BucketPlace:
        return BucketPlace(self.bucket, _clean_key(f"{self.key}/{key}", str(self)))

    def relative_to(self, other: Place) -> str:
        prefix = f"{other.key}/" if isinstance(other, BucketPlace) and other.key else ""
        if not isinstance(other, BucketPlace) or self.bucket != other.bucket:
            raise ValueError(f"{self} is not below {other}")
        if not self.key.startswith(prefix):
            raise ValueError(f"{self} is not below {other}")
        return self.key[len(prefix) :]

    def read(self) -> bytes:
        import obstore

        with self._translated("reading"):
            return bytes(obstore.get(self._store, self.key).bytes())

    def read_tagged(self) -> tuple[bytes, str] | None:
        import obstore

        try:
            with self._translated("reading"):
                found = obstore.get(self._store, self.key)
                return bytes(found.bytes()), str(found.meta["e_tag"])
        except FileNotFoundError:
            return None

    def size(self) -> int | None:
        meta = self._head()
        return None if meta is None else int(meta["size"])

    def tag(self) -> str | None:
        meta = self._head()
        return None if meta is None else str(meta["e_tag"])

    def modified(self) -> datetime | None:
        """Return when the object was written, by the server's clock."""
        meta = self._head()
        if meta is None:
            return None
        written: datetime = meta["last_modified"]
        return written

    def sha256(self) -> str | None:
        import obstore

        digest = hashlib.sha256()
        try:
            with self._translated("reading"):
                for part in obstore.get(self._store, self.key):
                    digest.update(part)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        self._put(data, "overwrite")

    def create(self, data: bytes | memoryview) -> bool:
        """Put with If-None-Match; an object that our own repeated request made counts as made."""
        return self._put_if(data, "create")

    def swap(self, data: bytes | memoryview, tag: str) -> bool:
        """Put with If-Match; what our own repeated request put counts as put."""
        return self._put_if(data, {"e_tag": tag})

    def _put_if(self, data: bytes | memoryview, mode: PutMode) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._put(data, mode)
        except (AlreadyExistsError, PreconditionError):
            # A request whose answer was lost is repeated, and then meets what it wrote itself.
            found = self.read_tagged()
            return found is not None and len(data) > 0 and found[0] == bytes(data)
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        import obstore

        with contextlib.suppress(FileNotFoundError), self._translated("removing"):
            obstore.delete(self._store, self.key)

    def remove_tree(self) -> None:
        import obstore

        with self._translated("removing"):
            for batch in obstore.list(self._store, self.key or None, chunk_size=1000):
                obstore.delete(self._store, [meta["path"] for meta in batch])

    def remove_empty(self) -> None:
        pass

    def is_folder(self) -> bool:
        return next(self.walk(), None) is not None

    def exists(self) -> bool:
        return (self.key != "" and self._head() is not None) or self.is_folder()

    def walk(self) -> Iterator[tuple[str, int]]:
        for key, meta in self.objects():
            yield key, int(meta["size"])

    def objects(self) -> Iterator[tuple[str, ObjectMeta]]:
        """Yield key below this place, and what the listing says of the object: size, e_tag…"""
        import obstore

        skip = len(self.key) + 1 if self.key else 0
        with self._translated("listing"):
            for batch in obstore.list(self._store, self.key or None, chunk_size=1000):
                for meta in batch:
                    yield meta["path"][skip:], meta

    def folders(self) -> list[str]:
        import obstore

        with self._translated("listing"):
            found = obstore.list_with_delimiter(self._store, self.key or None)
        return sorted(prefix.rpartition("/")[2] for prefix in found["common_prefixes"])

    def sweep(self) -> None:
        pass  # a put is whole or not at all

    def age_s(self) -> float | None:
        written = self.modified()
        if written is None:
            return None
        probe = self.parent / f".clock-{secrets.token_hex(8)}"
        probe.write(b"")
        try:
            now = probe.modified()
        finally:
            probe.remove()
        return None if now is None else (now - written).total_seconds()

    def touch(self) -> bool:
        found = self.read_tagged()
        return found is not None and self.swap(*found)

    def check_writable(self) -> None:
        probe = self / f".tilepress-{secrets.token_hex(8)}"
        probe.write(b"")
        probe.remove()

    def make_folder(self) -> None:
        pass

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        yield  # conditional puts do what locks do elsewhere

    def zarr_store(self, *, read_only: bool = True) -> Store:
        from zarr.storage import ObjectStore

        return ObjectStore(_open_bucket(self.bucket, self.key), read_only=read_only)

    @property
    def _store(self) -> S3Store:
        return _open_bucket(self.bucket, "")

    def _head(self) -> ObjectMeta | None:
        import obstore

        try:
            with self._translated("asking for"):
                return obstore.head(self._store, self.key)
        except FileNotFoundError:
            return None

    def _put(self, data: bytes | memoryview, mode: PutMode) -> None:
        import obstore

        with self._translated("writing"):
            obstore.put(self._store, self.key, bytes(data), mode=mode, use_multipart=False)

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn obstore's errors into OSError; their long texts quote requests and are dropped."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                text = f"{doing} an object: there is no bucket {self.bucket}"
                raise OSError(errno.ENXIO, text, str(self)) from None
            text = "there is no such object"
            raise FileNotFoundError(errno.ENOENT, text, str(self)) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            text = f"{doing} an object: the service refused ({_status(error)})"
            raise PermissionError(errno.EACCES, text, str(self)) from None
        except (exceptions.BaseError, OSError) as error:
            if _is_credentials(error):
                wanted = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                text = f"{doing} an object: no credentials; {wanted}"
                raise PermissionError(errno.EACCES, text, str(self)) from None
            text = f"{doing} an object: the service failed ({_status(error)})"
            raise OSError(errno.EIO, text, str(self)) from None


@functools.lru_cache(maxsize=64)
def _open_bucket(bucket: str, prefix: str) -> S3Store:
    """Return the client of a bucket; region, endpoint and credentials are the environment's."""
    from obstore.store import S3Store

    allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    if endpoint.lower().startswith("http://") and not allow_http:
        raise UsageError(
            f"opening s3://{bucket}: AWS_ENDPOINT_URL is http://, which sends everything in the "
            "clear; set AWS_ALLOW_HTTP=true if that is meant"
        )
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": allow_http,
            "timeout": timedelta(seconds=REQUEST_LIMIT_S),
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
    )


def _clean_key(key: str, where: str) -> str:
    """Return a key without empty parts; refuse parts that would leave the place."""
    parts = [part for part in key.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise UsageError(f"opening {where}: its key has a part '.' or '..'")
    return "/".join(parts)


def _status(error: Exception) -> str:
    """Return e.g. "status code: 503 Service Unavailable": nothing else of a service's answer."""
    text = str(error)
    match = re.search(r"status code: (\d{3}[ A-Za-z]*)", text)
    if match is not None:
        return f"status {match[1].strip()}"
    return (
        "no connection"
        if "kind: Connect" in text or "error sending" in text
        else (type(error).__name__)
    )


def _is_credentials(error: Exception) -> bool:
    return any(word in str(error) for word in ("169.254.169.254", "InstanceCredential", "IMDS"))
