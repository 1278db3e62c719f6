"""Stores that a web server gives away, through obstore: to be read, never listed or written."""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tilepress.errors import UsageError
from tilepress.pipeline.storage.s3 import REQUEST_LIMIT_S, RETRY_FOR_S, clean_key, status_of

if TYPE_CHECKING:
    from obstore.store import HTTPStore
    from zarr.abc.store import Store

__all__ = ["HttpPath", "is_http"]


def is_http(where: object) -> bool:
    """Whether a text is an address of a web server."""
    return isinstance(where, str) and re.match(r"https?://", where, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class HttpPath:
    """An address below which the objects of a store lie."""

    base: str
    """Scheme, host and path, without a slash at its end."""

    @classmethod
    def parse(cls, address: str) -> HttpPath:
        """Take an address; raises UsageError for one that is not plainly an https address.

        http is taken on this machine alone: elsewhere whoever is on the way could change samples
        and their checksums.
        """
        parts = urlsplit(address)
        shown = f"{parts.scheme}://…" if "@" in parts.netloc else re.split(r"[?#]", address)[0]
        if "@" in parts.netloc or parts.query or parts.fragment or not parts.hostname:
            raise UsageError(
                f"opening {shown}: want https://host/path of a store, without a password, "
                "parameters or a fragment"
            )
        if parts.scheme.lower() == "http" and not _is_here(parts.hostname):
            raise UsageError(f"opening {shown}: want https://; http is taken on this machine alone")
        return cls(f"{parts.scheme.lower()}://{parts.netloc}/{clean_key(parts.path, shown)}")

    def __repr__(self) -> str:
        return f"HttpPath({str(self)!r})"

    def __str__(self) -> str:
        return self.base

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.base).path).name or urlsplit(self.base).netloc

    def __truediv__(self, key: str) -> HttpPath:
        return HttpPath(f"{self.base}/{clean_key(key, self.base)}")

    def read(self, limit_bytes: int | None = None) -> bytes:
        """Return an object. Raises FileNotFoundError where there is none, OSError on failure."""
        import obstore

        folder, _, name = self.base.rpartition("/")
        with _translated(self.base):
            found = obstore.get(_open(folder), name)
            if limit_bytes is None or found.meta["size"] <= limit_bytes:
                return bytes(found.bytes())
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes} bytes", self.base)

    def is_folder(self) -> bool:
        """A web server lists nothing, so that what it does not give is not there."""
        return False

    def walk(self) -> Iterator[tuple[str, int]]:
        yield from ()

    def zarr_store(self, *, read_only: bool = True) -> Store:
        from zarr.storage import ObjectStore

        if not read_only:
            raise UsageError(f"opening {self.base}: what a web server gives can only be read")
        return ObjectStore(_open(self.base), read_only=True)


def _is_here(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@functools.lru_cache(maxsize=64)
def _open(base: str) -> HTTPStore:
    from obstore.store import HTTPStore

    return HTTPStore.from_url(
        base,
        client_options={
            "allow_http": base.startswith("http://"),
            "timeout": timedelta(seconds=REQUEST_LIMIT_S),
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
    )


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn obstore's errors into OSError; their long texts quote requests and are dropped."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", where) from None
    except exceptions.PermissionDeniedError:
        raise PermissionError(errno.EACCES, "the server refused", where) from None
    except (exceptions.BaseError, OSError) as error:
        told = status_of(error) or "no answer"
        raise OSError(errno.EIO, f"the server failed ({told})", where) from None
