"""Read patches of many stores, and keep the chunks that they are made of."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from tilepress.codecs.decoded import DecodedChunks, allowed_cache, decoded_chunks
from tilepress.codecs.threads import map_chunks
from tilepress.pipeline.patches.blocks import Layout
from tilepress.pipeline.patches.chunks import Chunk, Records
from tilepress.pipeline.patches.stored import Needed, PatchStore, Window

__all__ = ["PatchReader", "Read", "block_bytes"]

Array = npt.NDArray[Any]


class Read(NamedTuple):
    """Samples of a patch, (bands, size, size)."""

    samples: Array
    """As they are stored."""
    present: Array | None
    """Which of them are there; None where nobody asked."""

    @property
    def valid(self) -> float:
        """Fraction of the samples that are there, as far as anybody asked."""
        return 1.0 if self.present is None else float(self.present.mean())


class _Kept:
    """What one process keeps."""

    def __init__(self, limit: int | None) -> None:
        self.process = os.getpid()
        self.records = Records()
        self.chunks = decoded_chunks() if limit is None else DecodedChunks(limit)
        self.mark = object()
        """Tells its chunks from those of a reader that opened the stores at another time."""
        self.decoded = 0

    def place(self, needed: Needed) -> tuple[object, ...]:
        """Return what a chunk is kept under."""
        return self.mark, *_name(needed)


class PatchReader:
    """Patches of stores. Any thread may ask, and any process: each keeps chunks of its own."""

    def __init__(self, size: int, limit: int | None) -> None:
        """Read patches of ``size`` × ``size``; keep ``limit`` bytes of decoded chunks.

        None: keep them with all else that the process has decoded, within ``TILEPRESS_CACHE``.
        """
        self.size, self._own_limit = size, limit
        self._kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    @property
    def limit(self) -> int:
        """Bytes that may be kept."""
        return allowed_cache() if self._own_limit is None else self._own_limit

    @property
    def chunks_decoded(self) -> int:
        """How many chunks this process has decoded."""
        return self._of_this_process().decoded

    def prepare(self, asked: Sequence[tuple[PatchStore, Window]], *, threads: bool) -> None:
        """Decode what patches need and is not kept, several chunks at a time with ``threads``."""
        kept = self._of_this_process()
        wanted = {
            _name(one): one for store, window in asked for one in store.needed(window, self.size)
        }
        missing = [one for one in wanted.values() if kept.chunks.at(kept.place(one)) is None]
        if threads and len(missing) > 1:
            map_chunks(self._get, missing)

    def read(self, store: PatchStore, window: Window, *, present: bool) -> Read:
        """Return a patch."""
        samples = store.read(window, self.size, self._get)
        there = store.present(samples, window, self.size, self._get) if present else None
        return Read(samples, there)

    def _get(self, needed: Needed) -> Array:
        kept = self._of_this_process()
        place = kept.place(needed)
        found = kept.chunks.at(place)
        if found is None:
            record = kept.records.get(needed.array, needed.chunk)
            found = kept.chunks.put_at(place, needed.array.decode(record, needed.planes))
            kept.decoded += 1
        return found

    def _of_this_process(self) -> _Kept:
        """Return what this process keeps: a fork begins anew, for a lock may be held in it."""
        if self._kept is None or self._kept.process != os.getpid():
            self._kept = _Kept(self._own_limit)
        return self._kept


def block_bytes(layout: Layout, store: PatchStore) -> int:
    """Return what the decoded chunks of the largest block of a store take."""
    grid, bands = store.image.grid, len(store.bands)
    if store.band_axis is not None:
        count = grid.chunk[store.band_axis]
        bands = min(grid.shape[store.band_axis], -(-bands // count) * count)
    sides = ((layout.y, grid.chunk[-2]), (layout.x, grid.chunk[-1]))
    area = math.prod(min(axis.chunks, axis.side) * side for axis, side in sides)
    deep = math.prod(grid.chunk[axis] for axis in store.others)
    return bands * deep * area * (store.image.dtype.itemsize + (store.mask is not None))


def _name(needed: Needed) -> tuple[str, str, Chunk, Any]:
    return needed.array.where, needed.array.name, needed.chunk, needed.planes
