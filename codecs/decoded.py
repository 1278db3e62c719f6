"""Keep chunks that were decoded, so that windows which share a chunk decode it once.

Random patches, map tiles and slices ask for the same chunks again and again, one window at a time,
and Zarr keeps none. A chunk is known by its record: a hit compares every byte of it, so that
no two records, however alike a hostile one is made, can be taken for each other. Who reads stores
by itself may know its chunks by their place instead. What is kept belongs to the process, is
bounded in bytes, all together, and is let go in the order of last use.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import parse_bytes
from tilepress.codecs.recent import Recent
from tilepress.codecs.record import HEADER_BYTES

__all__ = [
    "DEFAULT_CACHE",
    "VARIABLE",
    "DecodedChunks",
    "Key",
    "allowed_cache",
    "decoded_chunks",
    "key_of",
]

DEFAULT_CACHE = 256 * 2**20
"""Bytes: chunks of 512² uint16 of an image of 8000² or so."""

VARIABLE = "TILEPRESS_CACHE"
"""Bytes that a process keeps of decoded chunks, as 512MiB; 0 keeps none."""

_SEEN = 4096
"""Records that are remembered as read in part, without their samples."""

Array = npt.NDArray[Any]


class Key(NamedTuple):
    """What is cheap to tell of a record and its reading; unlike keys are unlike chunks."""

    codec: str
    shape: tuple[int, ...] | None
    dtype: str | None
    length: int
    ends: bytes
    """Header and checksum of the record."""


@dataclass(frozen=True, slots=True)
class _Kept:
    record: bytes
    """Empty where it is known by its place."""
    samples: Array

    @property
    def nbytes(self) -> int:
        return len(self.record) + self.samples.nbytes


class DecodedChunks:
    """Decoded chunks of a process, up to ``limit`` bytes with their records. Any thread may ask."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: Recent[Hashable, _Kept] = Recent(limit, lambda one: one.nbytes)
        self._seen: Recent[Key, None] = Recent(_SEEN)

    @property
    def nbytes(self) -> int:
        return self._kept.size

    def get(self, key: Key, record: memoryview) -> Array | None:
        """Return the samples of a record, read-only; None where they are not kept."""
        found = self._kept.get(key)
        if found is None or found.record != record:
            return None
        return found.samples

    def put(self, key: Key, record: memoryview, samples: Array) -> Array:
        """Keep the samples of a record, unless they are large; return them, read-only if kept."""
        if len(record) + samples.nbytes > self.limit // 4:
            return samples
        if samples.base is not None:  # a view would keep what it is cut from
            samples = samples.copy()
        samples.flags.writeable = False
        self._kept.put(key, _Kept(bytes(record), samples))
        self._seen.drop(key)
        return samples

    def at(self, place: Hashable) -> Array | None:
        """Return samples that were kept by their place, which nobody else names; None: gone."""
        found = self._kept.get(place)
        return None if found is None else found.samples

    def put_at(self, place: Hashable, samples: Array) -> Array:
        """Keep samples by their place, and return them; the newest stay, however large."""
        if samples.base is not None:  # a view would keep what it is cut from
            samples = samples.copy()
        self._kept.put(place, _Kept(b"", samples))
        return samples

    def seen(self, key: Key) -> bool:
        """Whether a record was read in part before; it is remembered from now on.

        Who reads a part of it for the second time will want more: then all of it is decoded and
        kept.
        """
        return self.limit > 0 and self._seen.put(key, None)

    def __len__(self) -> int:
        return len(self._kept)


def key_of(
    codec: str,
    record: memoryview,
    shape: tuple[int, ...] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> Key:
    """Return what a record is looked up by; ``shape`` and ``dtype`` are what it has to hold."""
    ends = bytes(record[:HEADER_BYTES]) + bytes(record[-4:])
    return Key(codec, shape, None if dtype is None else dtype.str, len(record), ends)


def allowed_cache() -> int:
    """Return the bytes that the environment allows; raises UsageError."""
    said = os.environ.get(VARIABLE)
    if not said:
        return DEFAULT_CACHE
    return 0 if said.strip() == "0" else parse_bytes(said, VARIABLE)


_chunks: DecodedChunks | None = None


def decoded_chunks() -> DecodedChunks:
    """Return those of this process."""
    global _chunks
    if _chunks is None:
        _chunks = DecodedChunks(allowed_cache())
    return _chunks


def _forget() -> None:
    """A forked child may have a held lock; it starts with nothing."""
    global _chunks
    _chunks = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
