"""How the source's reader made samples of components: found by making them in every way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.grid import Grid
from tilepress.codecs.jpeg import render as rendering
from tilepress.codecs.jpeg.layout import Layout
from tilepress.codecs.jpeg.stream import Blocks, Stream

__all__ = ["Chunk", "Meaning", "find_meaning"]

_COLOURS = {
    1: (rendering.NO_TRANSFORM,),
    2: (rendering.NO_TRANSFORM,),
    3: (rendering.YCC, rendering.NO_TRANSFORM),
    4: (rendering.NO_TRANSFORM, rendering.YCCK),
}
"""What may be done with so many components, the more frequent first."""


class Meaning(NamedTuple):
    """What makes samples of components."""

    colour: int
    inverted: bool
    manner: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Streams with the samples that they should make."""

    grid: Grid
    streams: tuple[Stream | None, ...]
    blocks: Blocks
    layout: Layout
    planes: npt.NDArray[Any]


_LOOKED_AT = 3
"""Streams that are made into samples in every way."""


def find_meaning(chunk: Chunk, colour: int | None, inverted: bool | None) -> Meaning:
    """Return what comes nearest to the samples of some streams, among what is left open.

    Those are looked at whose colour changes most: of a flat one all libraries make the same.
    """
    looked_at = _most_detailed(chunk)
    stream = chunk.streams[looked_at[0]]
    assert stream is not None
    best, least = None, 0
    for meaning in _choices(stream, colour, inverted):
        distance = sum(_distance(chunk, number, meaning) for number in looked_at)
        if best is None or distance < least:
            best, least = meaning, distance
        if least == 0:
            break
    assert best is not None
    return best


def _most_detailed(chunk: Chunk) -> list[int]:
    """Return the streams with most coefficients, means aside, beyond those of brightness."""
    planes = chunk.layout.planes
    details = np.zeros(len(chunk.streams), np.int64)
    for plane in planes[1:] or planes:
        inside = plane.owners >= 0
        blocks = chunk.blocks[plane.first : plane.first + plane.owners.size]
        used = np.count_nonzero(blocks[:, 1:], axis=1).reshape(plane.owners.shape)
        details += np.bincount(
            plane.owners[inside], weights=used[inside], minlength=len(details)
        ).astype(np.int64)
    there = [number for number, stream in enumerate(chunk.streams) if stream is not None]
    return sorted(there, key=lambda number: -details[number])[:_LOOKED_AT]


def _choices(stream: Stream, colour: int | None, inverted: bool | None) -> Iterator[Meaning]:
    count = len(stream.frame.components)
    ratios = {rendering.sampling(stream.frame, index) for index in range(count)}
    for kind in _COLOURS[count] if colour is None else (colour,):
        manners = [rendering.TURBO]
        if (2, 1) in ratios:
            manners.append(rendering.PLAIN_TALL)
        if kind != rendering.NO_TRANSFORM or any(v % 2 == 0 or h % 2 == 0 for v, h in ratios):
            manners.append(rendering.IJG)
        if rendering.can_be_fine(stream.frame, kind):
            manners.append(rendering.FINE)
        for inverse in (False, True) if inverted is None else (inverted,):
            for manner in manners:
                yield Meaning(kind, inverse, manner)


def _distance(chunk: Chunk, number: int, meaning: Meaning) -> int:
    """Return how far what a stream makes is from its samples."""
    grid, stream = chunk.grid, chunk.streams[number]
    assert stream is not None
    count = len(stream.frame.components)
    frame, tile = divmod(number, grid.rows * grid.columns)
    row, column = divmod(tile, grid.columns)
    top, left = row * grid.height, column * grid.width
    window = chunk.planes[
        frame * count : (frame + 1) * count, top : top + grid.height, left : left + grid.width
    ]
    out = np.zeros(window.shape, window.dtype)
    alone = Grid(1, 1, 1, grid.height, grid.width)
    rendering.render(
        alone, 0, stream, chunk.blocks, chunk.layout.places[number], *meaning, out
    )  # fmt: skip
    return int(np.abs(out.astype(np.int64) - window).sum())
