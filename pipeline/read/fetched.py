"""Objects of a bucket or web server, with the ranges that a window needs fetched at once.

Zarr before 3.3 asks for the chunks of a shard one after another, a round trip each, and every Zarr
for the shard's index before each window. Whoever knows the window asks here first: indexes are
kept, ranges that lie close together are one request, and Zarr then finds the bytes where it looks
for them.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import ObjectStore, WrapperStore

from tilepress.codecs.recent import Recent
from tilepress.codecs.record import crc32c
from tilepress.pipeline.storage.s3 import status_of

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["KEPT_BYTES", "FetchedObjects", "index_bytes"]

KEPT_BYTES = 256 * 2**20
"""What one opened store keeps of records. A window that wants more is read as Zarr reads."""

CLOSE_BYTES = 2**20
"""Ranges with a smaller gap are one request: so much arrives while another is answered."""

_AT_ONCE = 8
_ABSENT = 2**64 - 1

Chunk: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[int, int]
"""First byte, and the one behind the last."""


def index_bytes(chunks_per_shard: Sequence[int]) -> int:
    """Return the length of a shard's index: 16 bytes per chunk, and a CRC-32C."""
    return 16 * int(np.prod(chunks_per_shard)) + 4


class FetchedObjects(WrapperStore["ObjectStore[Any]"]):
    """A Zarr store of remote objects that answers from what was fetched, where it was."""

    def __init__(self, store: ObjectStore[Any]) -> None:
        super().__init__(store)
        self._indexes: dict[str, bytes] = {}
        self._kept: Recent[tuple[str, Range], bytes] = Recent(KEPT_BYTES, len)

    def __reduce__(self) -> tuple[Any, ...]:
        return (FetchedObjects, (self._store,))

    def fetch(self, wanted: Mapping[str, Iterable[Chunk]], chunks_per_shard: Sequence[int]) -> None:
        """Fetch records before they are read: of each shard's key, those of some of its chunks.

        What cannot be fetched is left to whoever reads it, who knows how to say so.
        """
        size = index_bytes(chunks_per_shard)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda key: self._fetch_index(key, size), wanted))
            ranges = {
                key: self._missing(key, chunks, chunks_per_shard) for key, chunks in wanted.items()
            }
            if sum(stop - start for some in ranges.values() for start, stop in some) > KEPT_BYTES:
                return
            list(pool.map(self._fetch_ranges, ranges, ranges.values()))

    def _fetch_index(self, key: str, size: int) -> None:
        import obstore
        from obstore.exceptions import BaseError

        if key in self._indexes:
            return
        with suppress(BaseError, OSError):
            found = obstore.get(self._store.store, key, options={"range": {"suffix": size}})
            self._indexes[key] = bytes(found.bytes())

    def _fetch_ranges(self, key: str, ranges: list[Range]) -> None:
        import obstore
        from obstore.exceptions import BaseError

        if not ranges:
            return
        starts, ends = zip(*ranges, strict=True)
        with suppress(BaseError, OSError):
            found = obstore.get_ranges(
                self._store.store, key, starts=starts, ends=ends, coalesce=CLOSE_BYTES
            )
            for one, data in zip(ranges, found, strict=True):
                if len(data) == one[1] - one[0]:
                    self._kept.put((key, one), bytes(data))

    def _missing(
        self, key: str, chunks: Iterable[Chunk], chunks_per_shard: Sequence[int]
    ) -> list[Range]:
        """Return the ranges of records that are not kept, in the order of the object."""
        index = self._indexes.get(key, b"")
        if len(index) != index_bytes(chunks_per_shard):
            return []
        if crc32c(index[:-4]) != int.from_bytes(index[-4:], "little"):
            return []
        entries = np.frombuffer(index[:-4], "<u8").reshape(*chunks_per_shard, 2)
        found = []
        for chunk in chunks:
            start, length = (int(value) for value in entries[chunk])
            if start == _ABSENT or not 0 < length <= KEPT_BYTES or start + length > _ABSENT:
                continue
            if (key, (start, start + length)) not in self._kept:
                found.append((start, start + length))
        return sorted(found)

    def _found(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        if isinstance(byte_range, SuffixByteRequest):
            index = self._indexes.get(key)
            return index if index is not None and len(index) == byte_range.suffix else None
        if isinstance(byte_range, RangeByteRequest):
            return self._kept.get((key, (byte_range.start, byte_range.end)))
        return None

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        found = self._found(key, byte_range)
        if found is not None:
            return prototype.buffer.from_bytes(found)
        try:
            return await self._store.get(key, prototype, byte_range)
        except (_foreign_error(), OverflowError) as error:
            raise _told(key, error) from None

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        ranges = list(key_ranges)
        values = [self._found(*one) for one in ranges]
        rest = [one for one, value in zip(ranges, values, strict=True) if value is None]
        others = iter(await self._store.get_partial_values(prototype, rest) if rest else [])
        return [
            next(others) if value is None else prototype.buffer.from_bytes(value)
            for value in values
        ]

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **options: int,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield ranges of one object with their places: Zarr from 3.3 on asks for chunks so."""
        found = [self._found(key, one) for one in byte_ranges]
        kept = [(place, data) for place, data in enumerate(found) if data is not None]
        if kept:
            yield [(place, prototype.buffer.from_bytes(data)) for place, data in kept]
        rest = [place for place, data in enumerate(found) if data is None]
        if rest:
            store: Any = self._store
            asked = [byte_ranges[place] for place in rest]
            try:
                async for group in store.get_ranges(key, asked, prototype=prototype, **options):
                    yield [(rest[place], data) for place, data in group]
            except BaseExceptionGroup as errors:
                wrong = errors.subgroup((_foreign_error(), OverflowError))
                if wrong is None:
                    raise
                raise _told(key, wrong.exceptions[0]) from None


def _foreign_error() -> type[Exception]:
    from obstore.exceptions import BaseError

    return BaseError


def _told(key: str, error: BaseException) -> OSError:
    """Return what went wrong in a line: obstore's texts quote requests, over several."""
    found = status_of(error) or type(error).__name__
    wrong = "it takes no requests for ranges" if "Range" in str(error) else found
    return OSError(errno.EIO, f"the server failed ({wrong})", key)
