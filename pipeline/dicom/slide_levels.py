"""Put the instances of a series together as the levels of a slide, or say why that cannot be.

Instances of one matrix are one level: its parts (concatenations), its optical paths, its focal
planes. Nothing is put together that could not be taken apart again: each frame has a place of its
own, on one grid of tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.dicom.tiling import Tiling

__all__ = ["Member", "SlideLevel", "SlideLevels", "slide_levels"]

MAX_LEVELS = 64
MAX_PLACES = 2**24
"""Tiles of one level, over all focal planes and paths: an index of as many places is made."""

FREE_PLACES, PLACES_PER_FRAME = 2**16, 256
"""Places that a level may have of which hardly any has a frame, and for each that has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What must be known of an instance."""

    tiling: Tiling
    rows: int
    """Of a frame."""
    columns: int
    form: str
    """What all instances of a slide have alike: bands, bits, colours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideLevel:
    """One level."""

    height: int
    width: int
    rows: int
    """Of a tile."""
    columns: int
    first: int
    """Number of its first place, among those of all levels."""
    frames: npt.NDArray[np.int64] = field(repr=False)
    """(paths, focal planes, tiles down, tiles across, 2): instance and frame; −1 where there is
    none."""
    members: tuple[int, ...]
    """The instances that it is made of."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        paths, planes, down, across = self.frames.shape[:-1]
        return paths, planes, down, across

    @property
    def absent(self) -> int:
        """How many tiles there is no frame of."""
        return int((self.frames[..., 0] < 0).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideLevels:
    """The levels of a slide, from the full resolution on."""

    levels: tuple[SlideLevel, ...]
    paths: int
    planes: int
    depths: tuple[float, ...]
    """Of focal planes, in µm; () where nothing says."""
    others: tuple[int, ...] = ()
    """Instances that are no levels: their bands, bits, optical paths or focal planes are others."""


def slide_levels(members: Sequence[Member]) -> SlideLevels | str:
    """Return the levels that instances make with the largest one, or why they make none."""
    largest = max(members, key=lambda one: one.tiling.rows * one.tiling.columns)
    others = [at for at, one in enumerate(members) if one.form != largest.form]
    by_size: dict[tuple[int, int], list[int]] = {}
    for at, one in enumerate(members):
        if at in others:
            continue
        by_size.setdefault((one.tiling.rows, one.tiling.columns), []).append(at)
    sizes = sorted(by_size, key=lambda size: (-size[0] * size[1], size))
    if len(sizes) > MAX_LEVELS:
        return f"its instances have {len(sizes)} sizes"
    if not all(_is_reduced(size, sizes[0]) for size in sizes):
        return "its instances have matrices of other shapes"
    base = [members[at].tiling for at in by_size[sizes[0]]]
    paths = list(dict.fromkeys(path for one in base for path in one.paths))
    depths = sorted({depth for one in base for depth in one.depths})
    levels: list[SlideLevel] = []
    first = 0
    for size in sizes:
        chosen = by_size[size]
        known = all(set(members[at].tiling.paths) <= set(paths) for at in chosen)
        known &= all(set(members[at].tiling.depths) <= set(depths) for at in chosen)
        found = _level(members, chosen, paths, depths, first) if known else "other paths"
        if isinstance(found, str) and known:
            return found
        if isinstance(found, str) or (levels and found.shape[:2] != levels[0].shape[:2]):
            others += chosen
            continue
        levels.append(found)
        first += math.prod(found.shape)
    count, planes = levels[0].shape[:2]
    return SlideLevels(
        levels=tuple(levels),
        paths=count,
        planes=planes,
        depths=tuple(depths) if len(depths) == planes else (),
        others=tuple(sorted(others)),
    )


def _is_reduced(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Whether a matrix is that of the whole in fewer samples; sides are rounded."""
    down, across = whole[0] / size[0], whole[1] / size[1]
    return abs(down - across) <= max(down, across) * (0.02 + 1.5 / min(size))


def _level(
    members: Sequence[Member],
    chosen: Sequence[int],
    paths: Sequence[str],
    depths: Sequence[float],
    first: int,
) -> SlideLevel | str:
    one = members[chosen[0]]
    rows, columns, size = one.rows, one.columns, (one.tiling.rows, one.tiling.columns)
    if any((members[at].rows, members[at].columns) != (rows, columns) for at in chosen):
        return "the tiles of a level have several sizes"
    down, across = -(-size[0] // rows), -(-size[1] // columns)
    listed = []
    for at in chosen:
        tiling = members[at].tiling
        places = tiling.places
        if (places[:, 0] % rows).any() or (places[:, 1] % columns).any():
            return "its tiles lie on no grid"
        path = np.array([paths.index(name) for name in tiling.paths] or [0])[places[:, 2]]
        plane = places[:, 3]
        if tiling.depths:
            plane = np.array([depths.index(depth) for depth in tiling.depths])[plane]
        frame = np.arange(len(places))
        columns_of = (path, plane, places[:, 0] // rows, places[:, 1] // columns)
        listed.append(np.stack([*columns_of, np.full_like(frame, at), frame], axis=1))
    found = np.concatenate(listed)
    shape = (int(found[:, 0].max()) + 1, int(found[:, 1].max()) + 1, down, across)
    shape = (max(shape[0], len(paths)), shape[1], down, across)
    if math.prod(shape) > min(MAX_PLACES, FREE_PLACES + PLACES_PER_FRAME * len(found)):
        return f"a level of {len(found)} tiles has places for {math.prod(shape)}"
    if (found[:, 2] >= down).any() or (found[:, 3] >= across).any():
        return "tiles lie beyond its matrix"
    numbers = np.ravel_multi_index(tuple(found[:, :4].T), shape)
    if len(np.unique(numbers)) < len(numbers):
        return "several frames have one place"
    frames = np.full((math.prod(shape), 2), -1, np.int64)
    frames[numbers] = found[:, 4:]
    return SlideLevel(
        height=size[0],
        width=size[1],
        rows=rows,
        columns=columns,
        first=first,
        frames=frames.reshape(*shape, 2),
        members=tuple(chosen),
    )
