"""Read what lies below an address of a bucket: whole objects or parts, several at a time.

Who may not reach a bucket asks somebody who may, by the same words: ``use_below``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol, cast

from tilepress.errors import DamagedSource, SourceError, UsageError
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.storage.s3 import BucketPath

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

__all__ = ["MAX_WANTED", "Below", "ObjectsBelow", "Wanted", "below", "use_below"]

MAX_WANTED = 16
"""Objects that one call may ask for."""

MAX_OBJECT_BYTES = 2**31
"""Length of what is read at once of one object: encoders of chunks take no more."""

MAX_ANSWER_BYTES = 2**28
"""Length of what one call returns, unless its first object alone is longer."""

_MAX_KEY = 1024
"""Bytes of a key (S3)."""

_IS_OUTSIDE = re.compile(r"status 416\b")
"""How a service says that an object ends before the part that was asked for."""

Wanted = tuple[str, int, int | None]
"""Key below the address, first byte, and the one after the last; a negative first byte counts from
the end, None is the end."""

WHOLE = (0, None)


class Below(Protocol):
    """What lies below one address."""

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | None]:
        """Return what is asked for, None where there is no such object.

        Up to ``MAX_WANTED`` may be asked for. The answer may be shorter than the question, by those
        that would make it too long: they are asked for again. Raises OSError where storage fails,
        SourceError where something is asked for that is never given.
        """
        ...


class ObjectsBelow:
    """Objects of a bucket, by requests to its service. For any thread."""

    def __init__(self, url: str) -> None:
        found = storage_path(url)
        assert isinstance(found, BucketPath), url
        self._where = found

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | None]:
        places = [self._place(key) for key, _, _ in wanted[:MAX_WANTED]]
        if len(places) == 1:
            return [_body(where, _begun(where, wanted[0])) for where in places]
        with ThreadPoolExecutor(MAX_WANTED, thread_name_prefix="fetch") as pool:
            begun = list(pool.map(_begun, places, wanted))
            ends = accumulate(0 if one is None else _length(one) for one in begun)
            count = max(1, sum(end <= MAX_ANSWER_BYTES for end in ends))
            return list(pool.map(_body, places[:count], begun[:count]))

    def _place(self, key: str) -> BucketPath:
        """Return the object of this key; who asks may want one that lies elsewhere."""
        try:
            if key and key.isprintable() and len(key.encode()) <= _MAX_KEY:
                return self._where / key
        except (UsageError, UnicodeEncodeError):
            pass
        text = "it asks for an object that is none of its own"
        raise SourceError(f"reading {self._where}: {text}")


def _begun(where: BucketPath, wanted: Wanted) -> GetResult | None:
    """Ask for an object, or a part; its bytes come when they are read."""
    import obstore

    _, start, stop = wanted
    options: dict[str, object] = {}
    if start < 0:
        options["range"] = {"suffix": -start}
    elif stop is not None:
        options["range"] = (start, stop)
    elif start:
        options["range"] = {"offset": start}
    try:
        with where.translated_errors("reading"):
            found = obstore.get(where.client, where.key, options=cast("GetOptions", options))
    except FileNotFoundError:
        return None
    except OSError as error:
        if _IS_OUTSIDE.search(error.strerror or ""):
            text = "it is shorter than what says where its parts lie"
            raise DamagedSource(f"reading {where}: {text}") from None
        raise
    if _length(found) > MAX_OBJECT_BYTES:
        text = f"{_length(found)} bytes are wanted at once, the limit is {MAX_OBJECT_BYTES}"
        raise SourceError(f"reading {where}: {text}")
    return found


def _length(found: GetResult) -> int:
    start, stop = found.range
    return int(stop - start)


def _body(where: BucketPath, found: GetResult | None) -> bytes | None:
    if found is None:
        return None
    with where.translated_errors("reading"):
        return bytes(found.bytes())


_used: dict[str, Below] = {}


def use_below(url: str, objects: Below) -> None:
    """Take this for what lies below an address from now on."""
    _used[url] = objects


def below(url: str) -> Below:
    """Return what lies below an address: by requests to its service, where nothing else is used."""
    return _used.get(url) or ObjectsBelow(url)
