"""A coded array as xarray indexes it: windows of remote stores are fetched before they are read.

Zarr knows a chunk's place, the codec what is wrong with it: an error here has both.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from tilepress.errors import InvalidRecord
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.read.fetched import FetchedObjects

__all__ = ["StoredArray"]

MAX_CHUNKS = 2**16
"""Chunks of a window that are looked up one by one, at most."""

MAX_SOUGHT = 1024
"""Chunks of a window that are read one by one, at most, to find which of them is damaged."""

Chunk = tuple[int, ...]


class StoredArray(BackendArray):
    """The samples of a store, read as they are indexed."""

    def __init__(
        self,
        array: zarr.Array[Any],
        grid: ShardGrid,
        key_of: Callable[[Chunk], str],
        objects: FetchedObjects | None,
        store: str,
    ) -> None:
        """Read ``array``, whose shards are ``objects`` under the key that ``key_of`` gives.

        objects : None where nothing is fetched before it is read
        store : what errors call the store
        """
        self._zarr = array
        self._grid = grid
        self._key_of = key_of
        self._objects = objects
        self._store = store
        self.shape = array.shape
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        method = self._basic
        if isinstance(key, indexing.VectorizedIndexer):
            method = self._points
        elif isinstance(key, indexing.OuterIndexer):
            method = self._outer
        support = indexing.IndexingSupport.VECTORIZED
        return indexing.explicit_indexing_adapter(key, self.shape, support, method)

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401
        return await asyncio.to_thread(self.__getitem__, key)

    def _basic(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        return self._read(lambda: self._zarr[key], lambda: self._product(key))

    def _outer(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        return self._read(lambda: self._zarr.oindex[key], lambda: self._product(key))

    def _points(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        return self._read(lambda: self._zarr.vindex[key], lambda: self._scattered(key))

    def _read(self, read: Callable[[], Any], chunks: Callable[[], set[Chunk]]) -> Any:  # noqa: ANN401
        """Read what lies in ``chunks``; raises as Zarr and codecs do, with the place."""
        if self._objects is not None:
            self._fetch(self._objects, chunks())
        try:
            return read()
        except InvalidRecord as error:
            somewhere = f"{self._zarr.path} (tilepress verify says where)"
            where = self._damaged_of(chunks()) or somewhere
            raise type(error)(f"reading {self._store}: {where}: {error}") from error
        except ValueError as error:  # Zarr's, of the index of a shard among others
            place = self._damaged_of(chunks())
            if place is None:
                raise
            raise ValueError(f"reading {self._store}: {place}: {error}") from error

    def _damaged_of(self, chunks: set[Chunk]) -> str | None:
        """Return the key of the first shard that has a damaged one of these chunks, and which.

        None where they are too many to read again, or all are sound.
        """
        if len(chunks) > MAX_SOUGHT:
            return None
        for chunk in sorted(chunks):
            corner = (n * side for n, side in zip(chunk, self._grid.chunk, strict=True))
            try:
                self._zarr[tuple(slice(start, start + 1) for start in corner)]
            except (InvalidRecord, ValueError):
                shard, inside = self._grid.place_of(chunk)
                return f"{self._key_of(shard)}: chunk {inside}"
        return None

    def _scattered(self, key: tuple[Any, ...]) -> set[Chunk]:
        """Return the chunks of points; none where an axis has a slice."""
        if any(isinstance(one, slice) for one in key):
            return set()
        sides = zip(key, self._grid.chunk, strict=True)
        numbers = np.broadcast_arrays(*(np.asarray(one) // side for one, side in sides))
        points = np.unique(np.stack([one.ravel() for one in numbers], axis=-1), axis=0)
        return {tuple(map(int, point)) for point in points}

    def _product(self, key: tuple[Any, ...]) -> set[Chunk]:
        """Return the chunks that a selection along each axis touches."""
        axes = [
            np.unique(np.atleast_1d(np.arange(n)[one]) // chunk)
            for one, n, chunk in zip(key, self.shape, self._grid.chunk, strict=True)
        ]
        if math.prod(map(len, axes)) > MAX_CHUNKS:
            return set()
        return set(itertools.product(*(map(int, one) for one in axes)))

    def _fetch(self, objects: FetchedObjects, chunks: set[Chunk]) -> None:
        per_shard = self._grid.chunks_per_shard
        wanted: dict[Chunk, list[Chunk]] = {}
        for chunk in chunks:
            shard, inside = self._grid.place_of(chunk)
            wanted.setdefault(shard, []).append(inside)
        whole = math.prod(per_shard)  # of such shards Zarr reads the object at once
        objects.fetch(
            {self._key_of(shard): some for shard, some in wanted.items() if len(some) < whole},
            per_shard,
        )
