"""A Zarr store of objects that are asked for, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from tilepress.errors import SourceError
from tilepress.pipeline.storage.below import MAX_WANTED, Below, Wanted

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["AskedStore"]

_Asked = tuple[Wanted, "asyncio.Future[bytes | None]"]


class AskedStore(Store):
    """Reads keys below an address of a bucket; nothing is listed, nothing written.

    What Zarr asks for while an answer is waited for is asked for together. Storage that fails
    raises SourceError: as a missing chunk, it would read as fill values.
    """

    def __init__(self, name: str, objects: Below, documents: dict[str, bytes | None]) -> None:
        """``name`` is told in messages; ``documents`` are objects that were read already."""
        super().__init__(read_only=True)
        self._name, self._objects, self._documents = name, objects, documents
        self._waiting: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = Store.__hash__

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        from zarr.core.buffer import default_buffer_prototype

        wanted = prototype or default_buffer_prototype()
        if byte_range is None and key in self._documents:
            data = self._documents[key]
        else:
            data = await self._asked((key, *_part(byte_range)))
        return None if data is None else wanted.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        asked = (self.get(key, prototype, part) for key, part in key_ranges)
        return list(await asyncio.gather(*asked))

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def _asked(self, wanted: Wanted) -> bytes | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()
        self._waiting.append((wanted, answer))
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        """Ask for what is waited for, until nothing is."""
        await asyncio.sleep(0)  # let others of the same window ask first
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MAX_WANTED], self._waiting[MAX_WANTED:]
                await self._ask_for(asked)
        finally:
            self._asking = None

    async def _ask_for(self, asked: Sequence[_Asked]) -> None:
        try:
            found = await asyncio.to_thread(self._objects.fetch, [wanted for wanted, _ in asked])
        except Exception as error:  # theirs who wait
            for (key, *_), answer in asked:
                _settle(answer, self._failure(key, error))
            return
        for (_, answer), data in zip(asked, found, strict=False):
            _settle(answer, data)
        self._waiting[:0] = asked[len(found) :]

    def _failure(self, key: str, error: Exception) -> Exception:
        if not isinstance(error, OSError):
            return error
        failure = SourceError(f"reading {self._name}: {key}: {error.strerror or 'storage failed'}")
        failure.__cause__ = error
        return failure

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return False

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError


def _part(asked: ByteRequest | None) -> tuple[int, int | None]:
    """Return the first byte of a part, from the end where negative, and the one after its last."""
    if isinstance(asked, RangeByteRequest):
        return asked.start, asked.end
    if isinstance(asked, OffsetByteRequest):
        return asked.offset, None
    if isinstance(asked, SuffixByteRequest):
        return -asked.suffix, None
    return 0, None


def _settle(answer: asyncio.Future[bytes | None], with_: bytes | Exception | None) -> None:
    if answer.done():  # nobody waits any more
        return
    if isinstance(with_, Exception):
        answer.set_exception(with_)
    else:
        answer.set_result(with_)
