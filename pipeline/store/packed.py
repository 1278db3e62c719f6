"""Put the items of ``source/`` into one array where they are small (STORE.md §8).

An array takes a kilobyte of documents, whatever it holds: the one of "origin" takes the others in.

    line     "origin" as it is, JSON, with one key more: {"packed_items": [[name, bytes], …], …}
    then     a line feed and the other items, one after another
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MAX_PACKED_BYTES", "item_of", "names_of", "origin_of", "pack_items"]

MAX_PACKED_BYTES = 2**18
"""Bytes of all items at most: who wants one reads all."""

_ORIGIN, _ITEMS = "origin", "packed_items"

Items = Iterable[tuple[str, bytes]]


def pack_items(items: Items) -> Items:
    """Return items, all in the first one, "origin", if they are few bytes; else as they are.

    What is too large is not held, but for its beginning.
    """
    rest = iter(items)
    held, size = [], 0
    for item in rest:
        held.append(item)
        size += len(item[1])
        if size > MAX_PACKED_BYTES:
            return itertools.chain(held, rest)
    if len(held) < 2 or held[0][0] != _ORIGIN:
        return held
    (_, origin), *others = held
    told = json.loads(origin)
    told[_ITEMS] = [[name, len(data)] for name, data in others]
    line = json.dumps(told, separators=(",", ":"), sort_keys=True).encode()
    return [(_ORIGIN, b"\n".join((line, b"".join(data for _, data in others))))]


def origin_of(data: bytes) -> Any:  # noqa: ANN401  # JSON that may be damaged
    """Return what "origin" says, packed or not, without what is packed with it.

    Raises ValueError for what is no JSON.
    """
    found = json.loads(data.partition(b"\n")[0])
    return {k: v for k, v in found.items() if k != _ITEMS} if isinstance(found, dict) else found


def names_of(data: bytes) -> list[str]:
    """Return the names of what is packed with "origin"; raises ValueError for nonsense."""
    return list(_lengths(data))


def item_of(data: bytes, name: str) -> bytes:
    """Return one item that is packed with "origin".

    Raises KeyError where there is none of that name, ValueError for nonsense.
    """
    lengths = _lengths(data)
    content = data.partition(b"\n")[2]
    if sum(lengths.values()) != len(content):
        raise ValueError("items of other lengths than they should have")
    at = 0
    for one, length in lengths.items():
        if one == name:
            return content[at : at + length]
        at += length
    raise KeyError(name)


def _lengths(data: bytes) -> Mapping[str, int]:
    found = json.loads(data.partition(b"\n")[0])
    listed = found.get(_ITEMS, []) if isinstance(found, dict) else []
    try:
        lengths = {str(name): int(length) for name, length in listed}
    except (TypeError, ValueError) as error:
        raise ValueError("items without names and lengths") from error
    if len(lengths) != len(listed) or min(lengths.values(), default=0) < 0:
        raise ValueError("items without names and lengths")
    return lengths
