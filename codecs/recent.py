"""Keep what was used last, up to a size in all."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _one(_: object) -> int:
    return 1


class Recent(Generic[K, V]):
    """Values by key; those that were not used for longest go first. Any thread may ask.

    ``size_of`` gives the size of a value, by itself 1: then ``limit`` is how many there are. The
    newest stays, however large it is.
    """

    def __init__(self, limit: int, size_of: Callable[[V], int] = _one) -> None:
        self.size = 0
        """Of all values together."""
        self._limit, self._size_of = limit, size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return a value, which counts as used; None where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: K, value: V) -> bool:
        """Keep a value, in place of the one of that key; return whether there was one."""
        with self._lock:
            known = key in self._values
            if known:
                self.size -= self._size_of(self._values.pop(key))
            self._values[key] = value
            self.size += self._size_of(value)
            while self.size > self._limit and len(self._values) > 1:
                _, gone = self._values.popitem(last=False)
                self.size -= self._size_of(gone)
        return known

    def drop(self, key: K) -> None:
        """Forget a value; nothing happens where it is not kept."""
        with self._lock:
            if key in self._values:
                self.size -= self._size_of(self._values.pop(key))

    def values(self) -> list[V]:
        """Return all values, the one that was not used for longest first."""
        with self._lock:
            return list(self._values.values())

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)
