"""Boxes of samples and the grid of chunks and shards: the only place that does tile arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Box", "ShardGrid", "choose_grid"]

MAX_PLANES_PER_CHUNK = 16
"""Planes that one record holds at most (DESIGN §3), unless the user says: one read decodes no more
than it must."""

MAX_SHARD_BYTES = 128 * 2**20
"""Decoded size of one shard at most: what one task holds in memory a few times over."""


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box of samples, one (start, stop) pair per axis of the image."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @classmethod
    def of_chunk(
        cls, index: tuple[int, ...], chunk: tuple[int, ...], shape: tuple[int, ...]
    ) -> Box:
        """Return the box of a chunk, by its number along each axis, cut where the array ends."""
        start = tuple(i * c for i, c in zip(index, chunk, strict=True))
        ends = zip(start, chunk, shape, strict=True)
        return cls(start, tuple(min(a + c, n) for a, c, n in ends))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def shifted_to(self, origin: tuple[int, ...]) -> Box:
        """Return the same box in coordinates that count from ``origin``."""
        return Box(
            tuple(a - o for a, o in zip(self.start, origin, strict=True)),
            tuple(b - o for b, o in zip(self.stop, origin, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class ShardGrid:
    """How an image is cut: ``shape`` in samples, ``chunk`` one record, ``shard`` one object."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.chunk) == len(self.shard):
            raise ValueError(f"axes differ: {self.shape}, {self.chunk}, {self.shard}")
        if any(s % c for s, c in zip(self.shard, self.chunk, strict=True)):
            raise ValueError(f"shard {self.shard} is no multiple of chunk {self.chunk}")

    @property
    def counts(self) -> tuple[int, ...]:
        """Shards along each axis."""
        return tuple(-(-n // s) for n, s in zip(self.shape, self.shard, strict=True))

    @property
    def total(self) -> int:
        return math.prod(self.counts)

    @property
    def chunks_per_shard(self) -> tuple[int, ...]:
        return tuple(s // c for s, c in zip(self.shard, self.chunk, strict=True))

    def place_of(self, chunk: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the index of a chunk's shard, and of the chunk within it."""
        sides = [divmod(i, n) for i, n in zip(chunk, self.chunks_per_shard, strict=True)]
        return tuple(one for one, _ in sides), tuple(one for _, one in sides)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield every shard index in C order, as a stream."""
        return itertools.product(*(range(n) for n in self.counts))

    def box(self, index: tuple[int, ...]) -> Box:
        """Return the samples of one shard, clipped to the image."""
        start = tuple(i * s for i, s in zip(index, self.shard, strict=True))
        stop = tuple(min(a + s, n) for a, s, n in zip(start, self.shard, self.shape, strict=True))
        return Box(start, stop)

    @property
    def chunk_counts(self) -> tuple[int, ...]:
        """Chunks along each axis, those clipped by the image's end included."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def total_chunks(self) -> int:
        return math.prod(self.chunk_counts)

    def apart(self, axis: int) -> ShardGrid:
        """Return the grid with chunks and shards of one sample along an axis."""
        one = [(*sides[:axis], 1, *sides[axis + 1 :]) for sides in (self.chunk, self.shard)]
        return ShardGrid(self.shape, *one)

    def sample_chunks(self, count: int) -> Iterator[Box]:
        """Yield the boxes of at most ``count`` chunks, clipped to the image, drawn all over it.

        The same ones each time.
        """
        chosen = np.arange(self.total_chunks)
        if self.total_chunks > count:
            draw = np.random.default_rng(self.total_chunks)
            chosen = draw.choice(self.total_chunks, count, replace=False)
        for number in chosen:
            index = tuple(map(int, np.unravel_index(int(number), self.chunk_counts)))
            yield Box.of_chunk(index, self.chunk, self.shape)

    def chunk_boxes(self, index: tuple[int, ...]) -> Iterator[Box]:
        """Yield the *unclipped* boxes of a shard's chunks in C order; some may lie outside."""
        origin = tuple(i * s for i, s in zip(index, self.shard, strict=True))
        for inner in itertools.product(*(range(n) for n in self.chunks_per_shard)):
            start = tuple(o + i * c for o, i, c in zip(origin, inner, self.chunk, strict=True))
            yield Box(start, tuple(a + c for a, c in zip(start, self.chunk, strict=True)))


def choose_grid(
    shape: tuple[int, ...],
    itemsize: int,
    *,
    tile: int = 512,
    planes: int = 0,
    block: tuple[int, ...] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> ShardGrid:
    """Choose chunk and shard for an image of ``shape`` (…, y, x) with ``itemsize`` bytes a sample.

    The chunk is ``tile`` × ``tile`` × planes, planes balanced so that no chunk exceeds ``planes``,
    or ``MAX_PLANES_PER_CHUNK`` where that is 0, and inner leading axes stay whole first (bands of
    one slice go together). The shard grows by whole chunks along x, then y, then the leading axes,
    while it stays within ``max_shard_bytes``. With ``block``, the sides of what lies in the source
    as one stream, chunks consist of whole blocks, and of ``tile`` × ``tile`` samples only if these
    have no more.
    """
    *leading, height, width = shape
    area = _whole_blocks(height, width, tile, block)
    chunk_leading: list[int] = []
    most = planes or MAX_PLANES_PER_CHUNK
    room = max(1, min(most, most * tile**2 // math.prod(area)))
    if block is not None:
        room = max(room, math.prod(block[:-2]))
    for n in reversed(leading):
        size = max(1, -(-n // -(-n // max(1, room))))
        chunk_leading.insert(0, size)
        room = room // size if size == n else 0
    chunk = (*chunk_leading, *area)
    shard = list(chunk)
    for axis in reversed(range(len(shape))):
        whole = -(-shape[axis] // chunk[axis])
        others = math.prod(shard) // shard[axis] * itemsize
        fits = max(1, max_shard_bytes // (others * chunk[axis]))
        shard[axis] = chunk[axis] * min(whole, fits)
        if fits < whole:
            break
    return ShardGrid(tuple(shape), chunk, tuple(shard))


def _whole_blocks(
    height: int, width: int, tile: int, block: tuple[int, ...] | None
) -> tuple[int, int]:
    """Return rows and columns of a chunk: ``tile`` at most, or about as many samples in blocks."""
    if block is None or (height <= tile and width <= tile):
        return min(tile, height), min(tile, width)
    down, across = block[-2:]
    wide = min(width, across * max(1, tile // across)) if width > tile else width
    rows = tile if wide <= tile else max(1, tile**2 // wide)
    return height if height <= rows else min(height, down * max(1, rows // down)), wide
