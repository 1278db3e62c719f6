"""Number the patches of stores, epoch after epoch, and read them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tilepress.codecs.budget import parse_bytes
from tilepress.codecs.recent import Recent
from tilepress.errors import UsageError
from tilepress.pipeline.patches.blocks import (
    Epoch,
    default_length,
    grid_epoch,
    layout_of,
    random_epoch,
)
from tilepress.pipeline.patches.order import Run
from tilepress.pipeline.patches.reader import PatchReader, Read, block_bytes
from tilepress.pipeline.patches.stored import Needed, PatchStore, Window
from tilepress.pipeline.patches.stores import (
    Stores,
    check_alike,
    check_labels,
    named_stores,
    open_stores,
)

__all__ = ["Patch", "PatchOptions", "Patches"]

Array = npt.NDArray[Any]

DRAWS = 64
"""Patches that are tried for one with samples enough."""

_OF_A_BLOCK = 8
"""Of these, how many of the same block: others have to be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """Which patches are taken, and of what."""

    size: int
    length: int | None = None
    positions: str = "random"
    stride: int | None = None
    coverage: float = 2.0
    bands: Sequence[str | int] | None = None
    level: int = 0
    hu: bool = False
    masked: bool = False
    min_valid: float = 0.0
    seed: int = 0
    cache: int | str | None = None
    same_dtype: bool = False
    """Whether all stores must have samples of one type."""

    def __post_init__(self) -> None:
        grid, stride, length = self.positions == "grid", self.stride, self.length
        wrong = None
        if self.positions not in ("random", "grid"):
            wrong = f"got positions {self.positions!r}, want 'random' or 'grid'"
        elif self.size < 1 or (stride is not None and stride < 1):
            wrong = f"got size {self.size} and stride {stride}, want 1 or more"
        elif length is not None and length < 1:
            wrong = f"got length {length}, want 1 or more"
        elif grid and (length is not None or self.min_valid):
            wrong = "a grid has the patches that it has; leave length and min_valid out"
        elif stride is not None and not grid:
            wrong = "a stride is that of positions='grid'"
        elif not 0 < self.coverage < float("inf"):
            wrong = f"got coverage {self.coverage}, want a number above 0"
        elif not 0 <= self.min_valid <= 1:
            wrong = f"got min_valid {self.min_valid}, want a fraction"
        if wrong is not None:
            raise UsageError(f"taking patches: {wrong}")

    @property
    def cache_bytes(self) -> int | None:
        """What is kept beside all else that the process keeps; None where it is one of them."""
        return parse_bytes(self.cache, "cache") if isinstance(self.cache, str) else self.cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What a patch is made of."""

    store: PatchStore
    window: Window
    read: Read
    label: Array | None
    """(bands, size, size) as stored; None where there are no labels."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a number leads: an epoch, a block of it, and one of its patches."""

    epoch: int
    block: int
    at: int


_Place = tuple[int, Window, _Origin]


class _Places:
    """What one process remembers of where patches lie."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.epochs: Recent[int, Epoch] = Recent(2)
        self.windows: Recent[tuple[int, int], list[Window]] = Recent(4096)


class Patches:
    """Patches of stores by number: the same in every process. Picklable, and safe to fork."""

    def __init__(self, stores: Stores, options: PatchOptions, labels: Stores | None = None) -> None:
        """Open every store. Raises UsageError where their patches would differ in shape."""
        self.options = options
        self._absent = options.masked or options.min_valid > 0
        self.stores = open_stores(
            named_stores(stores),
            bands=options.bands,
            level=options.level,
            hu=options.hu,
            masked=self._absent,
        )
        """What patches are taken from."""
        check_alike(self.stores, options.size, same_dtype=options.same_dtype)
        self.labels: list[PatchStore] = []
        if labels is not None:
            self.labels = open_stores(named_stores(labels), level=options.level)
            check_labels(self.stores, self.labels)
            check_alike(self.labels, options.size, same_dtype=True)
        self._layouts = [layout_of(store, options.size) for store in self.stores]
        self._is_grid = options.positions == "grid"
        self.reader = PatchReader(options.size, options.cache_bytes)
        self._places: _Places | None = None
        self._length = options.length or default_length(self._layouts)
        if self._is_grid:
            self._length = len(self._epoch(0))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_places": None}

    def __len__(self) -> int:
        """How many patches an epoch has."""
        return self._length

    @property
    def blocks_at_once(self) -> int:
        """How many blocks of chunks a process can keep decoded."""
        labels: Sequence[PatchStore | None] = self.labels or [None] * len(self.stores)
        largest = max(
            block_bytes(layout, store) + (0 if label is None else block_bytes(layout, label))
            for layout, store, label in zip(self._layouts, self.stores, labels, strict=True)
        )
        return max(1, self.reader.limit * 3 // 4 // largest)  # some are being replaced

    def runs(self, epoch: int) -> list[Run]:
        """Return the first number of each block of an epoch, and how many patches it has."""
        blocks = self._epoch(epoch)
        starts = (epoch * len(self) + blocks.starts[:-1]).tolist()
        return list(zip(starts, blocks.counts.tolist(), strict=True))

    def place_of(self, number: int) -> tuple[int, Window]:
        """Return the store of a patch, by its place among them, and where it lies."""
        return self._place(number)[:2]

    def get(self, numbers: Sequence[int], *, threads: bool) -> Iterator[Patch]:
        """Yield patches, whose chunks are decoded side by side with ``threads``.

        Numbers from ``len`` on are those of the next epochs, negative ones count from the end of
        the first. Raises IndexError, and UsageError where no patch has samples enough.
        """
        for places in self._groups([self._place(number) for number in numbers]):
            asked = [(self.stores[store], window) for store, window, _ in places]
            asked += [(self.labels[store], window) for store, window, _ in places if self.labels]
            self.reader.prepare(asked, threads=threads)
            yield from (self._patch(*place) for place in places)

    def _groups(self, places: Sequence[_Place]) -> Iterator[list[_Place]]:
        """Yield patches together whose chunks can be kept together."""
        group: list[_Place] = []
        chunks: dict[Needed, int] = {}
        for place in places:
            store, window, _ = place
            needed = self.stores[store].needed(window, self.options.size)
            if self.labels:
                needed += self.labels[store].needed(window, self.options.size)
            more = {one: one.nbytes for one in needed if one not in chunks}
            if group and sum(chunks.values()) + sum(more.values()) > self.reader.limit // 2:
                yield group
                group, chunks, more = [], {}, {one: one.nbytes for one in needed}
            group.append(place)
            chunks |= more
        if group:
            yield group

    def _patch(self, store: int, window: Window, origin: _Origin) -> Patch:
        read = self.reader.read(self.stores[store], window, present=self._absent)
        if read.valid < self.options.min_valid:
            store, window, read = self._another(origin)
        label = None
        if self.labels:
            label = self.reader.read(self.labels[store], window, present=False).samples
        return Patch(store=self.stores[store], window=window, read=read, label=label)

    def _another(self, origin: _Origin) -> tuple[int, Window, Read]:
        """Return another random patch with samples enough, of the same block if that has some."""
        blocks = self._epoch(origin.epoch)
        for draw in range(1, DRAWS):
            block = (origin.block + draw // _OF_A_BLOCK) % len(blocks.counts)
            windows = blocks.more(block, draw)
            store, window = blocks.store_of(block), windows[origin.at % len(windows)]
            read = self.reader.read(self.stores[store], window, present=True)
            if read.valid >= self.options.min_valid:
                return store, window, read
        raise UsageError(
            f"taking patches: {DRAWS} random ones had less than {self.options.min_valid:.0%} "
            f"valid samples, the last of {self.stores[store].where}; lower min_valid"
        )

    def _place(self, number: int) -> _Place:
        number += len(self) if number < 0 else 0
        if number < 0:
            raise IndexError(f"taking a patch: there are {len(self)}")
        epoch, inner = divmod(number, len(self))
        blocks, known = self._epoch(epoch), self._of_this_process().windows
        block = blocks.block_of(inner)
        windows = known.get((epoch, block))
        if windows is None:
            windows = blocks.windows(block)
            known.put((epoch, block), windows)
        at = inner - int(blocks.starts[block])
        return blocks.store_of(block), windows[at], _Origin(epoch, block, at)

    def _epoch(self, epoch: int) -> Epoch:
        epoch = 0 if self._is_grid else epoch
        known, options = self._of_this_process().epochs, self.options
        found = known.get(epoch)
        if found is None and self._is_grid:
            found = grid_epoch(self._layouts, options.stride or options.size)
        elif found is None:
            found = random_epoch(self._layouts, options.seed, epoch, self._length, options.coverage)
        known.put(epoch, found)
        return found

    def _of_this_process(self) -> _Places:
        if self._places is None or self._places.process != os.getpid():
            self._places = _Places()
        return self._places
