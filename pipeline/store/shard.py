"""The bytes of one shard: a Zarr v3 ``sharding_indexed`` object of records.

    records one after another, in Morton order of their chunk within the shard
    index: per chunk in C order, offset u64 LE and length u64 LE (both 2^64 − 1: no such record)
    crc32c of the index, u32 LE

A chunk that lies outside the image has no record; every other one has.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np

from tilepress.codecs.record import crc32c
from tilepress.errors import DamagedStore

__all__ = ["Chunk", "c_order", "join_records", "morton_order", "split_shard"]

NO_RECORD = 2**64 - 1

Chunk: TypeAlias = tuple[int, ...]
"""Which chunk of a shard, along each axis."""


def join_records(records: Mapping[Chunk, bytes | memoryview], counts: tuple[int, ...]) -> bytes:
    """Return the shard of records; ``counts`` are the chunks per shard along each axis."""
    index = np.full((*counts, 2), NO_RECORD, "<u8")
    parts: list[bytes | memoryview] = []
    offset = 0
    for chunk in morton_order(counts):
        record = records.get(chunk)
        if record is not None:
            index[chunk] = offset, len(record)
            parts.append(record)
            offset += len(record)
    tail = index.tobytes()
    return b"".join([*parts, tail, struct.pack("<I", crc32c(tail))])


def split_shard(data: bytes | memoryview, counts: tuple[int, ...]) -> dict[Chunk, memoryview]:
    """Take a shard apart into the records of its chunks.

    ``counts`` are the chunks per shard along each axis. Raises DamagedStore where the index fails
    its checksum or the records do not fill the object exactly.
    """
    view = memoryview(data)
    index_bytes = 16 * math.prod(counts)
    if len(view) < index_bytes + 4:
        raise DamagedStore(f"got {len(view)} bytes, its index alone takes {index_bytes + 4}")
    index = view[-index_bytes - 4 : -4]
    if crc32c(index) != struct.unpack("<I", view[-4:])[0]:
        raise DamagedStore("its index does not match its crc32c")
    records: dict[Chunk, memoryview] = {}
    total = 0
    pairs = struct.iter_unpack("<QQ", index)
    for chunk, (offset, length) in zip(c_order(counts), pairs, strict=True):
        if (offset, length) == (NO_RECORD, NO_RECORD):
            continue
        if offset + length > len(view) - index_bytes - 4:
            raise DamagedStore(f"the record of chunk {chunk} lies outside it")
        records[chunk] = view[offset : offset + length]
        total += length
    if total != len(view) - index_bytes - 4:
        raise DamagedStore("its records do not fill it")
    return records


def morton_order(counts: tuple[int, ...]) -> list[Chunk]:
    """Return all chunks of a shard in Morton order, the first axis giving the lowest bits.

    Along an axis of n chunks (n − 1).bit_length() bits take part, as in zarr-python.
    """
    bits = [(n - 1).bit_length() for n in counts]

    def code(chunk: Chunk) -> int:
        result = position = 0
        for bit in range(max(bits, default=0)):
            for axis, coordinate in enumerate(chunk):
                if bit < bits[axis]:
                    result |= (coordinate >> bit & 1) << position
                    position += 1
        return result

    return sorted(c_order(counts), key=code)


def c_order(counts: tuple[int, ...]) -> Iterator[Chunk]:
    """Yield all chunks of a shard in C order: the last axis goes fastest."""
    return itertools.product(*(range(n) for n in counts))
