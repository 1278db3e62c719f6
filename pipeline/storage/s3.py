"""Objects of an S3 service, through obstore.

Credentials come from the environment (``AWS_*``) of the process that uses a bucket; nothing here
holds, prints or pickles them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tilepress.errors import UsageError
from tilepress.pipeline.storage.regular import RefusedFile

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import S3Store
    from zarr.abc.store import Store

__all__ = ["BucketPath", "clean_key", "status_of"]

RETRY_FOR_S = 60
"""Seconds for which obstore repeats a request that a server or network failed."""

REQUEST_LIMIT_S = 300
"""Seconds that one request may take: a shard over a slow line."""


@dataclass(frozen=True, slots=True)
class BucketPath:
    """An object, or a prefix of objects, of an S3 bucket."""

    conditional: ClassVar[bool] = True

    bucket: str
    key: str = ""

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

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
    def parent(self) -> BucketPath:
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def __truediv__(self, key: str) -> BucketPath:
        return BucketPath(self.bucket, clean_key(f"{self.key}/{key}", str(self)))

    def relative_to(self, other: object) -> str:
        prefix = f"{other.key}/" if isinstance(other, BucketPath) and other.key else ""
        if not isinstance(other, BucketPath) or self.bucket != other.bucket:
            raise ValueError(f"{self} is not below {other}")
        if not self.key.startswith(prefix):
            raise ValueError(f"{self} is not below {other}")
        return self.key[len(prefix) :]

    def read(self, limit_bytes: int | None = None) -> bytes:
        import obstore

        with self.translated_errors("reading"):
            found = obstore.get(self.client, self.key)
            if limit_bytes is None or found.meta["size"] <= limit_bytes:
                return bytes(found.bytes())
        raise RefusedFile(f"it has more than {limit_bytes} bytes", str(self))

    def read_tagged(self) -> tuple[bytes, str] | None:
        import obstore

        try:
            with self.translated_errors("reading"):
                found = obstore.get(self.client, self.key)
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
            with self.translated_errors("reading"):
                for part in obstore.get(self.client, self.key):
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

        with contextlib.suppress(FileNotFoundError), self.translated_errors("removing"):
            obstore.delete(self.client, self.key)

    def remove_all(self, keys: Sequence[str]) -> None:
        import obstore

        with self.translated_errors("removing"):
            for start in range(0, len(keys), 1000):
                some = keys[start : start + 1000]
                obstore.delete(self.client, [(self / key).key for key in some])

    def remove_tree(self) -> None:
        import obstore

        with self.translated_errors("removing"):
            for batch in obstore.list(self.client, self.key or None, chunk_size=1000):
                obstore.delete(self.client, [meta["path"] for meta in batch])

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
        with self.translated_errors("listing"):
            for batch in obstore.list(self.client, self.key or None, chunk_size=1000):
                for meta in batch:
                    yield meta["path"][skip:], meta

    def folders(self) -> list[str]:
        import obstore

        with self.translated_errors("listing"):
            found = obstore.list_with_delimiter(self.client, self.key or None)
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
    def client(self) -> S3Store:
        """The service, as obstore has it."""
        return _open_bucket(self.bucket, "")

    def _head(self) -> ObjectMeta | None:
        import obstore

        try:
            with self.translated_errors("asking for"):
                return obstore.head(self.client, self.key)
        except FileNotFoundError:
            return None

    def _put(self, data: bytes | memoryview, mode: PutMode) -> None:
        import obstore

        with self.translated_errors("writing"):
            obstore.put(self.client, self.key, bytes(data), mode=mode, use_multipart=False)

    @contextlib.contextmanager
    def translated_errors(self, doing: str) -> Iterator[None]:
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


def clean_key(key: str, where: str) -> str:
    """Return a key without empty parts; refuse parts that would leave the place."""
    parts = [part for part in key.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise UsageError(f"opening {where}: its key has a part '.' or '..'")
    return "/".join(parts)


def status_of(error: BaseException) -> str | None:
    """Return e.g. "status 503 Service Unavailable": nothing else of an answer, or None."""
    match = re.search(r"status code: (\d{3}[ A-Za-z]*)", str(error))
    return None if match is None else f"status {match[1].strip()}"


def _status(error: Exception) -> str:
    """Return what a service answered, or why it did not."""
    text = str(error)
    unreached = "kind: Connect" in text or "error sending" in text
    return status_of(error) or ("no connection" if unreached else type(error).__name__)


def _is_credentials(error: Exception) -> bool:
    return any(word in str(error) for word in ("169.254.169.254", "InstanceCredential", "IMDS"))
