"""Where the bands of a plane lie, in coding order, and which of them tell about one another.

The same as native/bands.h, for planes of one size that run together.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tilepress.codecs.ntc.layout import LAPPED, LAPPED_BANDS, WAVELET, WAVELET_BANDS
from tilepress.codecs.ntc.plane import wavelet_levels

__all__ = ["MARGIN", "Around", "Band", "Layout", "around", "layout"]

MARGIN = 3
"""Cells around a map, zeros."""
_BLOCK = 8
_MEANS_LEVELS = 3
"""Of the lapped transform's means, at most."""


@dataclass(frozen=True, slots=True)
class Band:
    """A band behind the lowest."""

    number: int
    """From 0 on, in coding order."""
    height: int
    width: int
    net: int
    embedding: int
    down: int
    """Lapped: the frequency; CDF 9/7: the level …"""
    across: int
    """… and the orientation."""
    of_means: bool
    """Whether it lies in the plane of a lapped plane's means."""
    row: int
    column: int
    step: int
    """First cell, and how far it is to the next, both ways."""
    own: int
    """Where its map begins in the maps of a plane; that of sums over 3 × 3 follows."""

    @property
    def map_sides(self) -> tuple[int, int]:
        return self.height + 2 * MARGIN, self.width + 2 * MARGIN

    @property
    def map_cells(self) -> int:
        return self.map_sides[0] * self.map_sides[1]


@dataclass(frozen=True, slots=True)
class Layout:
    """A plane of coefficients."""

    kind: int
    height: int
    width: int
    levels: int
    """Of CDF 9/7: of the plane, or of its means."""
    low: tuple[int, int]
    """Rows and columns of the lowest band."""
    bands: tuple[Band, ...]
    cells: int
    """Of the maps of all bands."""


@dataclass(frozen=True, slots=True)
class Around:
    """Bands that tell about one of the same plane; None where there is none."""

    up: Band | None = None
    left: Band | None = None
    up2: Band | None = None
    left2: Band | None = None
    diagonal: Band | None = None
    other: Band | None = None
    below: Band | None = None
    """The next frequencies, of which the plane before tells."""
    right: Band | None = None
    parents: tuple[Band | None, ...] = (None, None, None)
    """The first is of the same orientation."""
    grandparent: Band | None = None
    siblings: tuple[Band | None, ...] = (None, None)


@functools.lru_cache(maxsize=64)
def layout(kind: int, height: int, width: int) -> Layout:
    """Return where the bands of a plane of padded sides lie."""
    bands: list[Band] = []
    cells = 0

    def add(
        sides: tuple[int, int],
        at: tuple[int, int, int],
        net: int,
        embedding: int,
        place: tuple[int, int],
        *,
        of_means: bool,
    ) -> None:
        nonlocal cells
        band = Band(len(bands), *sides, net, embedding, *place, of_means, *at, cells)
        bands.append(band)
        cells += 2 * band.map_cells

    def wavelet(height: int, width: int, levels: int, first: int) -> tuple[int, int]:
        sides = [(height, width)]
        for _ in range(levels):
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        for level in range(levels, 0, -1):
            (h, w), (low_h, low_w) = sides[level - 1], sides[level]
            for k in (1, 2, 3):
                size = h - low_h if k & 2 else low_h, w - low_w if k & 1 else low_w
                at = low_h if k & 2 else 0, low_w if k & 1 else 0, 1
                embedding = first + 3 * (level - 1) + k - 1
                add(size, at, WAVELET, embedding, (level, k), of_means=kind == LAPPED)
        return sides[levels]

    if kind == WAVELET:
        levels = wavelet_levels(height, width)
        low = wavelet(height, width, levels, 0)
    else:
        h, w = height // _BLOCK, width // _BLOCK
        levels = min(_MEANS_LEVELS, wavelet_levels(h, w))
        low = wavelet(h, w, levels, WAVELET_BANDS - 3 * _MEANS_LEVELS)
        frequencies = [(v, u) for v in range(_BLOCK) for u in range(_BLOCK) if v + u]
        for v, u in sorted(frequencies, key=lambda at: (at[0] + at[1], at[0])):
            add((h, w), (v, u, _BLOCK), LAPPED, _BLOCK * v + u, (v, u), of_means=False)
        assert len(bands) >= LAPPED_BANDS - 1
    return Layout(kind, height, width, levels, low, tuple(bands), cells)


def around(plane: Layout, band: Band) -> Around:
    """Return the bands that tell about one."""
    at = {(b.net, b.down, b.across): b for b in plane.bands}

    def find(down: int, across: int) -> Band | None:
        return at.get((band.net, down, across))

    v, u = band.down, band.across
    if band.net == LAPPED:
        return Around(
            up=find(v - 1, u),
            left=find(v, u - 1),
            up2=find(v - 2, u),
            left2=find(v, u - 2),
            diagonal=find(v - 1, u - 1),
            other=find(v - 1, u + 1),
            below=find(v + 1, u),
            right=find(v, u + 1),
        )
    others = [k for k in (1, 2, 3) if k != u]
    siblings = [find(v, k) for k in range(1, u)]
    return Around(
        parents=tuple(find(v + 1, k) for k in (u, *others)),
        grandparent=find(v + 2, u),
        siblings=(*siblings, None, None)[:2],
    )
