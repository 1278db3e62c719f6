"""Hold the records of the shards that were read last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

__all__ = ["MAX_SHARD_BYTES_HELD", "HeldShards"]

MAX_SHARD_BYTES_HELD = 256 * 2**20
"""Bytes of shards that are held while streams are asked for: a row of chunks crosses several."""

Index = tuple[int, ...]
Records = Mapping[Index, memoryview]


class HeldShards:
    """Records by the number of their shard and by their place in it, of those read last."""

    def __init__(self, read: Callable[[Index], Records]) -> None:
        """``read`` returns the records of a shard; what it raises, ``of`` does."""
        self._read = read
        self._held: OrderedDict[Index, Records] = OrderedDict()

    def of(self, shard: Index) -> Records:
        """Return the records of a shard, by their place in it."""
        if shard not in self._held:
            self._held[shard] = self._read(shard)
            while len(self._held) > 1 and _bytes_of(self._held) > MAX_SHARD_BYTES_HELD:
                self._held.popitem(last=False)
        return self._held[shard]


def _bytes_of(shards: Mapping[Index, Records]) -> int:
    return sum(record.nbytes for records in shards.values() for record in records.values())
