"""A coded array as xarray indexes it: windows of remote stores are fetched before they are read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.read.fetched import FetchedObjects

__all__ = ["StoredArray"]

MAX_CHUNKS = 2**16
"""Chunks of a window that are looked up one by one, at most."""

Chunk = tuple[int, ...]


class StoredArray(BackendArray):
    """The samples of a store, read as they are indexed."""

    def __init__(
        self,
        array: zarr.Array[Any],
        grid: ShardGrid,
        key_of: Callable[[Chunk], str],
        objects: FetchedObjects,
    ) -> None:
        """Read ``array``, whose shards are ``objects`` under the key that ``key_of`` gives."""
        self._zarr = array
        self._grid = grid
        self._key_of = key_of
        self._objects = objects
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

    def _basic(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        self._fetch(self._product(key))
        return self._zarr[key]

    def _outer(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        self._fetch(self._product(key))
        return self._zarr.oindex[key]

    def _points(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        if not any(isinstance(one, slice) for one in key):
            sides = zip(key, self._grid.chunk, strict=True)
            numbers = np.broadcast_arrays(*(np.asarray(one) // side for one, side in sides))
            points = np.unique(np.stack([one.ravel() for one in numbers], axis=-1), axis=0)
            self._fetch({tuple(map(int, point)) for point in points})
        return self._zarr.vindex[key]

    def _product(self, key: tuple[Any, ...]) -> set[Chunk]:
        """Return the chunks that a selection along each axis touches."""
        axes = [
            np.unique(np.atleast_1d(np.arange(n)[one]) // chunk)
            for one, n, chunk in zip(key, self.shape, self._grid.chunk, strict=True)
        ]
        if math.prod(map(len, axes)) > MAX_CHUNKS:
            return set()
        return set(itertools.product(*(map(int, one) for one in axes)))

    def _fetch(self, chunks: set[Chunk]) -> None:
        per_shard = self._grid.chunks_per_shard
        wanted: dict[Chunk, list[Chunk]] = {}
        for chunk in chunks:
            shard, inside = self._grid.place_of(chunk)
            wanted.setdefault(shard, []).append(inside)
        whole = math.prod(per_shard)  # of such shards Zarr reads the object at once
        self._objects.fetch(
            {self._key_of(shard): some for shard, some in wanted.items() if len(some) < whole},
            per_shard,
        )
