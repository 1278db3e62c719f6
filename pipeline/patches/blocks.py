"""Choose where patches lie, so that those of one block of chunks are taken together.

    chunks      │   │   │   │   │   │
    blocks      ├───────┼───────┼───┤      of 2 × 2 chunks in one epoch,
                ├───┼───────┼───────┤      and cut elsewhere in the next

A patch lies within one block, so that the chunks of a block are decoded once while its patches are
taken. Where blocks are cut changes with the epoch, at random, and patches that cross a border of
chunks are drawn the more often the more seldom a block holds them: over the epochs every position
of an image is as likely as any other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.patches.stored import PatchStore, Window

__all__ = ["Block", "Epoch", "Layout", "default_length", "grid_epoch", "layout_of", "random_epoch"]

Numbers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """y or x of an image: samples, samples of a chunk, and those of a patch."""

    length: int
    chunk: int
    size: int

    @property
    def chunks(self) -> int:
        return -(-self.length // self.chunk)

    @property
    def side(self) -> int:
        """Chunks along a block: 2, or as many as a patch can lie across, and one."""
        return max(2, -(-(self.size - 1) // self.chunk) + 1)

    def spans(self, cut: int) -> list[tuple[int, int]]:
        """Return the chunks of each block: the first, and the one behind the last."""
        if self.chunks <= self.side:
            return [(0, self.chunks)]
        inner = [number for number in range(1, self.chunks) if number % self.side == cut]
        edges = [0, *inner, self.chunks]
        return list(itertools.pairwise(edges))

    def cut(self, random: np.random.Generator, *, by_weight: bool) -> list[tuple[int, int]]:
        """Return the blocks of a way to cut: drawn by what they can give in all, or any."""
        if not by_weight:
            return self.spans(int(random.integers(self.side)))
        ways = [self.spans(number) for number in range(self.side)]
        given = [sum(_weight(self, span) for span in way) for way in ways]
        return ways[int(random.choice(len(ways), p=_shares(given)))]

    def weights(self, span: tuple[int, int]) -> Weights:
        """Return how likely each first sample of a patch is to be drawn within a block."""
        first = np.arange(*self.positions(span))
        if self.chunks <= self.side:
            return np.ones(len(first))
        crossed = (first + self.size - 1) // self.chunk - first // self.chunk
        return self.side / (self.side - crossed)  # cut by so many of the ways to cut

    def positions(self, span: tuple[int, int]) -> tuple[int, int]:
        """Return the first sample of the first patch within a block, and that behind the last."""
        start, stop = span[0] * self.chunk, min(self.length, span[1] * self.chunk)
        return start, max(start, stop - self.size + 1)


@lru_cache(maxsize=4096)
def _weight(axis: Axis, span: tuple[int, int]) -> float:
    """Return what a block can give along an axis; images of an archive are cut alike."""
    return float(axis.weights(span).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an image is cut: the planes of a chunk along the other axes, y and x."""

    planes: tuple[tuple[int, int], ...]
    """Length and chunk of every axis but bands, y and x."""
    y: Axis
    x: Axis

    @property
    def plane_blocks(self) -> int:
        return math.prod(-(-length // chunk) for length, chunk in self.planes)

    @property
    def positions(self) -> float:
        """How many patches there are."""
        deep = math.prod(length for length, _ in self.planes)
        tall, wide = (axis.length - axis.size + 1 for axis in (self.y, self.x))
        return float(deep * tall * wide)

    def places(self, number: int) -> list[range]:
        """Return the planes of a block along each of those axes."""
        ranges: list[range] = []
        for length, chunk in reversed(self.planes):
            number, at = divmod(number, -(-length // chunk))
            ranges.insert(0, range(at * chunk, min(length, (at + 1) * chunk)))
        return ranges


@dataclass(frozen=True, slots=True)
class Block:
    """Chunks of a store from which patches are taken together."""

    store: int
    planes: int
    """Number of its chunk along the axes that are neither bands nor y and x."""
    y: tuple[int, int]
    x: tuple[int, int]


class Epoch:
    """The patches of an epoch, numbered block by block."""

    def __init__(
        self,
        layouts: Sequence[Layout],
        blocks: Sequence[Block],
        counts: Numbers,
        seed: tuple[int, ...] = (),
    ) -> None:
        self._layouts, self._blocks, self._seed = layouts, blocks, seed
        self.counts = counts
        """Patches of every block."""

    @cached_property
    def starts(self) -> Numbers:
        """Number of the first patch of every block, and behind the last."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def block_of(self, number: int) -> int:
        """Return the block that a patch is taken of."""
        return int(np.searchsorted(self.starts, number, side="right")) - 1

    def store_of(self, block: int) -> int:
        return self._blocks[block].store

    def windows(self, block: int) -> list[Window]:
        """Return where the patches of a block lie, in the order of their numbers."""
        return self.more(block, 0)

    def more(self, block: int, draw: int) -> list[Window]:
        """Return other patches of the same block: of each ``draw`` others."""
        one, count = self._blocks[block], int(self.counts[block])
        layout = self._layouts[one.store]
        random = np.random.default_rng([*self._seed, block, draw])
        rows = _drawn(layout.y, one.y, count, random)
        columns = _drawn(layout.x, one.x, count, random)
        planes = [
            random.integers(some.start, some.stop, count) for some in layout.places(one.planes)
        ]
        return [
            Window(tuple(int(axis[n]) for axis in planes), int(rows[n]), int(columns[n]))
            for n in range(count)
        ]


def _drawn(axis: Axis, span: tuple[int, int], count: int, random: np.random.Generator) -> Numbers:
    total = np.cumsum(axis.weights(span))
    found: Numbers = np.searchsorted(total, random.random(count) * total[-1], side="right")
    return axis.positions(span)[0] + np.minimum(found, len(total) - 1)


class GridEpoch(Epoch):
    """Patches side by side: each position once, in rows of blocks."""

    def __init__(self, layouts: Sequence[Layout], stride: int) -> None:
        blocks, counts, windows = [], [], []
        for store, layout in enumerate(layouts):
            for planes in range(layout.plane_blocks):
                for y in layout.y.spans(0):
                    for x in layout.x.spans(0):
                        found = _side_by_side(layout, planes, y, x, stride)
                        if found:
                            blocks.append(Block(store, planes, y, x))
                            counts.append(len(found))
                            windows.append((planes, y, x))
        super().__init__(layouts, blocks, np.array(counts, np.int64))
        self._stride = stride

    def windows(self, block: int) -> list[Window]:
        one = self._blocks[block]
        layout = self._layouts[one.store]
        return _side_by_side(layout, one.planes, one.y, one.x, self._stride)

    def more(self, block: int, draw: int) -> list[Window]:
        """Return nothing: there are no others."""
        return []


def _side_by_side(
    layout: Layout, planes: int, y: tuple[int, int], x: tuple[int, int], stride: int
) -> list[Window]:
    rows, columns = _steps(layout.y, y, stride), _steps(layout.x, x, stride)
    grids = np.meshgrid(*layout.places(planes), rows, columns, indexing="ij")
    table = np.stack([one.ravel() for one in grids], axis=-1).tolist()
    return [Window(tuple(row[:-2]), row[-2], row[-1]) for row in table]


def _steps(axis: Axis, span: tuple[int, int], stride: int) -> list[int]:
    """Return the first samples of patches that begin in a block; the last ends with the image."""
    last = axis.length - axis.size
    every = [*range(0, last, stride), last]
    low, high = span[0] * axis.chunk, span[1] * axis.chunk
    return [first for first in every if low <= first < high]


def grid_epoch(layouts: Sequence[Layout], stride: int) -> Epoch:
    """Return the patches at every ``stride`` samples of every plane, the last ones flush."""
    return GridEpoch(layouts, stride)


def random_epoch(
    layouts: Sequence[Layout], seed: int, epoch: int, length: int, coverage: float
) -> Epoch:
    """Return ``length`` random patches of some blocks, those of each block together.

    A block that is visited gives as many patches as cover it ``coverage`` times, or more where
    there are not blocks enough.

    Ways to cut differ in what their blocks can give, and an epoch has as many patches whichever it
    is: so a way is drawn the more often the more it can give. Of several images that is the sum;
    one of them, drawn by its size, is cut by that rule, and the others any way, which is the same.
    """
    random = np.random.default_rng([seed, epoch])
    blocks: list[Block] = []
    weights: list[float] = []
    samples: list[float] = []
    heavy = int(random.choice(len(layouts), p=_shares([one.positions for one in layouts])))
    for store, layout in enumerate(layouts):
        rows = layout.y.cut(random, by_weight=store == heavy)
        columns = layout.x.cut(random, by_weight=store == heavy)
        down = [(span, _weight(layout.y, span)) for span in rows]
        across = [(span, _weight(layout.x, span)) for span in columns]
        for planes in range(layout.plane_blocks):
            depth = math.prod(map(len, layout.places(planes)))
            for y, tall in down:
                for x, wide in across:
                    if tall * wide:
                        blocks.append(Block(store, planes, y, x))
                        weights.append(tall * wide * depth)
                        samples.append(float(layout.y.size * layout.x.size))
    order = random.permutation(len(blocks))
    shares = np.array(weights)[order]
    wanted = coverage * shares / np.array(samples)[order]
    if wanted.sum() < length:
        wanted = length * shares / shares.sum()
    ends = np.cumsum(wanted)
    points = (random.random() * ends[-1] + np.arange(length)) % ends[-1]
    found = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
    counts = np.bincount(found, minlength=len(ends))
    kept = np.flatnonzero(counts)
    chosen = [blocks[order[number]] for number in kept]
    return Epoch(layouts, chosen, counts[kept], (seed, epoch))


def _shares(values: Sequence[float]) -> Weights:
    found: Weights = np.array(values, np.float64)
    found /= found.sum()
    return found


def default_length(layouts: Sequence[Layout]) -> int:
    """Return how many patches have as many samples as all images together."""
    total = 0.0
    for layout in layouts:
        depth = math.prod(length for length, _ in layout.planes)
        total += depth * layout.y.length * layout.x.length / (layout.y.size * layout.x.size)
    return max(1, round(total))


def layout_of(store: PatchStore, size: int) -> Layout:
    """Return how patches of ``size`` × ``size`` can be cut from a store."""
    grid = store.image.grid
    (height, width), (tall, wide) = grid.shape[-2:], grid.chunk[-2:]
    return Layout(
        planes=tuple((grid.shape[axis], grid.chunk[axis]) for axis in store.others),
        y=Axis(height, tall, size),
        x=Axis(width, wide, size),
    )
