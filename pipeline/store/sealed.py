"""A Zarr store in which every chunk exists: absence is damage, never fill value."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import zarr.abc.store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import WrapperStore

from tilepress.codecs.coder import BASE
from tilepress.codecs.zarr_codec import read_by
from tilepress.errors import DamagedStore
from tilepress.pipeline.storage.path import AnyPath, storage_path
from tilepress.pipeline.store.keys import is_chunk

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["SealedStore"]


class SealedStore(WrapperStore["Store"]):
    """A Zarr store in which every chunk exists: absence is damage, never fill value."""

    def __init__(
        self,
        store: Store | AnyPath,
        *,
        read_only: bool = True,
        known: Mapping[str, bytes] | None = None,
        decoder: str = BASE,
    ) -> None:
        """Take a Zarr store, or where one lies; ``known`` are objects that were read already.

        ``decoder`` is what arrays are decoded by that have several.
        """
        if isinstance(store, zarr.abc.store.Store):
            super().__init__(store)
        else:
            super().__init__(storage_path(store).zarr_store(read_only=read_only))
        self._known = dict(known or {})
        self._decoder = decoder

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}  # every task of a graph would carry them

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        if (known := self._at_hand(key, prototype, byte_range)) is not None:
            return known
        value = await self._store.get(key, prototype, byte_range)
        return self._answer(key, prototype, value, whole=byte_range is None)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        ranges = list(key_ranges)
        values = await self._store.get_partial_values(prototype, ranges)
        return [self._present(key, value) for (key, _), value in zip(ranges, values, strict=True)]

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **options: int,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield ranges of one object with their places, as Zarr from 3.3 on asks for chunks."""
        store: Any = self._store
        try:
            async for group in store.get_ranges(key, byte_ranges, prototype=prototype, **options):
                yield [(place, self._present(key, value)) for place, value in group]
        except BaseExceptionGroup as errors:
            if errors.subgroup(FileNotFoundError):  # which Zarr takes for absence
                self._present(key, None)
            raise

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what ``get`` does, for pipelines of Zarr from 3.3 on that read without a loop."""
        prototype = prototype or default_buffer_prototype()
        if (known := self._at_hand(key, prototype, byte_range)) is not None:
            return known
        store: Any = self._store
        value = store.get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._answer(key, prototype, value, whole=byte_range is None)

    def _at_hand(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        """Return an object that was read already, where all of it is asked for."""
        known = self._known.get(key) if byte_range is None else None
        return None if known is None else self._document(known, prototype)

    def _document(self, data: bytes, prototype: BufferPrototype) -> Buffer:
        """Return a document as its readers see it: with the decoder that was asked for."""
        return prototype.buffer.from_bytes(
            data if self._decoder == BASE else read_by(data, self._decoder)
        )

    def _answer(
        self, key: str, prototype: BufferPrototype, value: Buffer | None, *, whole: bool
    ) -> Buffer | None:
        if value and self._decoder != BASE and whole and key.endswith(_DOCUMENT):
            return self._document(value.to_bytes(), prototype)
        return self._present(key, value)

    def _present(self, key: str, value: Buffer | None) -> Buffer | None:
        if (
            not value and is_chunk(key) and not _WITHOUT_CHUNK.search(key)
        ):  # Zarr takes an empty object for a missing one
            found = "missing" if value is None else "cut"
            raise DamagedStore(f"reading {_store_name(self._store)}: {key} is {found}")
        return value


_DOCUMENT = "zarr.json"
_WITHOUT_CHUNK = re.compile(r"(^|/)spatial_ref/c$")
"""The scalar that is its fill value: a lean store has no object for it."""


def _store_name(store: Store) -> str:
    """Return e.g. "scene.zarr" for a store of that folder or prefix."""
    return re.split(r"[/\"]", str(store).rstrip('/)">'))[-1]
