"""Where the chunks of one shard lie: within the shard, in the image, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.store.shard import Chunk, c_order

__all__ = ["chunks_inside", "chunks_of_slabs", "filled_up", "in_image"]


def chunks_inside(grid: ShardGrid, index: tuple[int, ...]) -> list[tuple[Chunk, Box]]:
    """Return the chunks of a shard that lie in the image, with their boxes within the shard."""
    origin = grid.box(index).start
    return [
        (chunk, chunk_box.shifted_to(origin))
        for chunk, chunk_box in zip(
            c_order(grid.chunks_per_shard), grid.chunk_boxes(index), strict=True
        )
        if all(a < n for a, n in zip(chunk_box.start, grid.shape, strict=True))
    ]


def chunks_of_slabs(
    grid: ShardGrid, index: tuple[int, ...], axis: int
) -> Iterator[tuple[Box, list[tuple[Chunk, Box]]]]:
    """Yield slabs of a shard, clipped to the image, with the ``chunks_inside`` of each."""
    box = grid.box(index)
    inside = chunks_inside(grid, index)
    size = grid.chunk[axis]
    for at, start in enumerate(range(box.start[axis], box.stop[axis], size)):
        lower, upper = list(box.start), list(box.stop)
        lower[axis], upper[axis] = start, min(start + size, box.stop[axis])
        slab = Box(tuple(lower), tuple(upper))
        yield slab, [(chunk, place) for chunk, place in inside if chunk[axis] == at]


def in_image(place: Box, shard: Box) -> Box:
    """Return a box within a shard in coordinates of the image, and no further than the shard."""
    start = tuple(a + o for a, o in zip(place.start, shard.start, strict=True))
    ends = zip(place.stop, shard.start, shard.stop, strict=True)
    return Box(start, tuple(min(a + o, n) for a, o, n in ends))


def filled_up(
    clipped: npt.NDArray[Any], shape: tuple[int, ...], fill: float | int | bool
) -> npt.NDArray[Any]:
    """Return the chunk of this shape whose first samples these are; it is in C order."""
    if clipped.shape == shape:
        return np.ascontiguousarray(clipped)
    chunk = np.full(shape, fill, clipped.dtype)
    chunk[tuple(slice(0, n) for n in clipped.shape)] = clipped
    return chunk
