"""Where the blocks of a chunk's streams lie: one plane of blocks for each component.

Streams lie on a grid, frames one below another with empty blocks between, so that a block's
neighbours across tiles are those that it has in the image. Streams of one chunk have the same
components; their sizes may differ at the lower and right borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.grid import Grid
from tilepress.codecs.jpeg.markers import Refused
from tilepress.codecs.jpeg.stream import Place, Stream

__all__ = ["MAX_BLOCKS", "Layout", "Plane", "lay_out"]

MAX_BLOCKS = 2**22
"""Blocks of one record at most: four times the samples that a record may have."""


@dataclass(frozen=True, slots=True)
class Plane:
    """The blocks of a component."""

    first: int
    """Number of its first block."""
    owners: npt.NDArray[np.int32]
    """(rows, columns), which stream a block is of; −1 for those of none."""
    h: int
    v: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies."""

    planes: tuple[Plane, ...]
    places: tuple[list[Place], ...]
    """Of each stream that there is, of each component."""
    steps: npt.NDArray[np.int64]
    """(components, streams, 64)."""
    blocks: int


def lay_out(grid: Grid, streams: Sequence[Stream | None]) -> Layout:
    """Return where the blocks of streams lie; raises Refused where they do not fit together."""
    some = [stream for stream in streams if stream is not None]
    if not some:
        raise Refused("coding JPEG streams: there is none")
    kinds = {
        (s.frame.precision, tuple((c.h, c.v) for c in s.frame.components)) for s in some
    }  # fmt: skip
    if len(kinds) > 1:
        raise Refused("coding JPEG streams: they differ in components or precision")
    planes, first = [], 0
    places: list[list[Place]] = [[] for _ in streams]
    for index, component in enumerate(some[0].frame.components):
        tops, heights = _offsets(streams, index, 0, grid)
        lefts, widths = _offsets(streams, index, 1, grid)
        size = (tops[-1] + heights[-1], lefts[-1] + widths[-1])
        if first + size[0] * size[1] > MAX_BLOCKS:
            raise Refused(f"coding JPEG streams: they have more than {MAX_BLOCKS} blocks")
        owners = np.full(size, -1, np.int32)
        for number, stream in enumerate(streams):
            if stream is None:
                continue
            row, column = divmod(number, grid.columns)
            top, left = tops[row], lefts[column]
            rows, columns = stream.coded[index]
            owners[top : top + rows, left : left + columns] = number
            places[number].append((first + top * size[1] + left, size[1]))
        planes.append(Plane(first, owners, component.h, component.v))
        first += size[0] * size[1]
    steps = np.zeros((len(planes), len(streams), 64), np.int64)
    for number, stream in enumerate(streams):
        if stream is not None:
            steps[:, number] = stream.steps
    return Layout(tuple(planes), tuple(places), steps, first)


def _offsets(
    streams: Sequence[Stream | None], component: int, axis: int, grid: Grid
) -> tuple[list[int], list[int]]:
    """Return where rows (axis 0) or columns of tiles begin and how many blocks they have."""
    count = grid.frames * grid.rows if axis == 0 else grid.columns
    high = next(s.frame.components[component].v for s in streams if s is not None)
    sizes = [0] * count
    for number, stream in enumerate(streams):
        if stream is not None:
            at = number // grid.columns if axis == 0 else number % grid.columns
            sizes[at] = max(sizes[at], stream.frame.padded(component)[axis])
    starts, start = [], 0
    for at, size in enumerate(sizes):
        if axis == 0 and at and at % grid.rows == 0:
            start += high  # between frames; of no stream
        starts.append(start)
        start += size
    return starts, sizes
