"""What other bands and other planes tell of a band's cells: sums of the hidden units, by torch.

All cells of a band, of many planes, at once; what a band's own cells tell comes as they are decoded
(``symbols.py``). Features are integers below 2^11 and weights of 8 bits, so that sums of products
in singles are exact in any order, and with the inputs that tensor cores take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tilepress.codecs.ntc.device.places import MARGIN, Around, Band, Layout
from tilepress.codecs.ntc.layout import HIDDEN, LAPPED

__all__ = ["Maps", "Surroundings", "log16", "own_map", "sum_map"]


@dataclass(slots=True)
class Maps:
    """What is known of the bands of planes, and tells about those that follow."""

    cells: torch.Tensor
    """(planes, Layout.cells) int16: each band's logarithms, and their sums over 3 × 3."""
    means: torch.Tensor
    """(planes, bands) int64: of magnitudes, by 1/256; 0 of bands that are not coded."""

    @classmethod
    def blank(cls, plane: Layout, count: int, device: torch.device) -> Maps:
        cells = torch.zeros((count, plane.cells), dtype=torch.int16, device=device)
        return cls(cells, torch.zeros((count, len(plane.bands)), dtype=torch.int64, device=device))

    @classmethod
    def together(cls, maps: Sequence[Maps]) -> Maps:
        return cls(torch.cat([m.cells for m in maps]), torch.cat([m.means for m in maps]))

    def one(self, number: int) -> Maps:
        """Return those of a plane, which keep no memory of the others."""
        some = slice(number, number + 1)
        return Maps(self.cells[some].clone(), self.means[some].clone())


def own_map(maps: Maps, band: Band) -> torch.Tensor:
    """Return the logarithms of a band, (planes, y, x) with their margin."""
    return maps.cells[:, band.own : band.own + band.map_cells].view(-1, *band.map_sides)


def sum_map(maps: Maps, band: Band) -> torch.Tensor:
    """Return sums over 3 × 3 of these, with a margin of zeros."""
    first = band.own + band.map_cells
    return maps.cells[:, first : first + band.map_cells].view(-1, *band.map_sides)


def log16(values: torch.Tensor) -> torch.Tensor:
    """Return sixteen times the binary logarithm of value + 1, piecewise linear; int64."""
    above = values + 1
    octave = torch.frexp(above.double())[1].long() - 1
    up, down = (4 - octave).clamp(min=0), (octave - 4).clamp(min=0)
    return 16 * octave + (((above << up) >> down) & 15)


@dataclass(slots=True)
class Surroundings:
    """What tells of a band."""

    band: Band
    near: Around
    maps: Maps
    previous: Maps | None
    energy: torch.Tensor
    """(planes, blocks down, blocks across) int32: sums of lapped bands' logarithms …"""
    coded: int
    """… of so many."""

    def context_means(self) -> torch.Tensor:
        """Return (planes,) int64 by 1/256."""
        near, means = self.near, self.maps.means
        found = [near.up, near.left] if self.band.net == LAPPED else [near.parents[0]]
        some = [means[:, band.number] for band in found if band is not None]
        if not some:
            return torch.zeros_like(means[:, 0])
        return some[0] if len(some) == 1 else (some[0] + some[1]) // 2

    def sums(self, first: torch.Tensor, bias: torch.Tensor, rows: slice) -> torch.Tensor:
        """Return what features but those of ``symbols.NEAR`` add to the hidden units of some rows.

        first : (FEATURES, HIDDEN) float32; bias : (HIDDEN,) int32.
        Returns (planes, rows, columns, HIDDEN) int32.
        """
        told = self._lapped(rows) if self.band.net == LAPPED else self._wavelet(rows)
        if self.previous is None:
            before = torch.zeros_like(self.maps.means[:, 0])
        else:
            before = log16(self.previous.means[:, self.band.number])
        alike = torch.stack([log16(self.context_means()), before], 1).float()
        offsets = (alike @ first[20:22]).to(torch.int32) + bias
        planes, height = len(alike), rows.stop - rows.start
        if not told:
            shape = planes, height, self.band.width, HIDDEN
            return offsets[:, None, None, :].expand(shape).contiguous()
        features = torch.stack([one for _, one in told], -1).float()
        weights = first[[number for number, _ in told]]
        found = (features @ weights).to(torch.int32)
        return found.add_(offsets[:, None, None, :])

    def _cut(self, of: torch.Tensor, rows: slice, down: int = 0, across: int = 0) -> torch.Tensor:
        """Return the cells of a map that lie at those of the band, moved."""
        top, left = MARGIN + rows.start + down, MARGIN + across
        height = rows.stop - rows.start
        return of[:, top : top + height, left : left + self.band.width].int()

    def _lapped(self, rows: slice) -> list[tuple[int, torch.Tensor]]:
        near, maps, previous = self.near, self.maps, self.previous
        told = []
        bands = (near.up, near.left, near.up2, near.left2, near.diagonal, near.other)
        for number, band in enumerate(bands, 6):
            if band is not None:
                told.append((number, self._cut(own_map(maps, band), rows)))
        far = []
        for number, band in ((12, near.up), (13, near.left)):
            if band is not None:
                sums = sum_map(maps, band)
                told.append((number, self._cut(sums, rows) >> 3))
                far += [self._cut(sums, rows, y, x) for y in (-2, 2) for x in (-2, 2)]
        if far:
            told.append((14, _total(far) >> 6))
        if self.coded:
            told.append((15, (self.energy[:, rows] * (65536 // self.coded)) >> 16))
        if previous is None:
            return told
        told.append((16, self._cut(own_map(previous, self.band), rows)))
        told.append((17, self._cut(sum_map(previous, self.band), rows) >> 3))
        around = (near.up, near.left, near.below, near.right)
        beside = [self._cut(own_map(previous, b), rows) for b in around if b is not None]
        told.append((18, _total(beside) >> 2))
        return told

    def _wavelet(self, rows: slice) -> list[tuple[int, torch.Tensor]]:
        near, maps = self.near, self.maps
        told = []
        parents = []
        if near.parents[0] is not None:
            told.append((6, self._widened(own_map(maps, near.parents[0]), rows, 1)))
            for parent in near.parents:
                assert parent is not None, "levels have all three orientations"
                parents.append(self._widened(sum_map(maps, parent), rows, 1))
            told.append((7, parents[0] >> 3))
            told.append((8, _total(parents) // 24))
        if near.grandparent is not None:
            told.append((9, self._widened(sum_map(maps, near.grandparent), rows, 2) >> 3))
        for number, band in zip((10, 12), near.siblings, strict=True):
            if band is not None:
                told.append((number, self._cut(own_map(maps, band), rows)))
                told.append((number + 1, self._cut(sum_map(maps, band), rows) >> 3))
        if self.previous is not None:
            told.append((14, self._cut(own_map(self.previous, self.band), rows)))
            told.append((15, self._cut(sum_map(self.previous, self.band), rows) >> 3))
        return told

    def _widened(self, of: torch.Tensor, rows: slice, by: int) -> torch.Tensor:
        """Return the cells of a map, ``by`` levels coarser, at those of the band."""
        top, end = rows.start >> by, ((rows.stop - 1) >> by) + 1
        columns = ((self.band.width - 1) >> by) + 1
        some = of[:, MARGIN + top : MARGIN + end, MARGIN : MARGIN + columns].int()
        wide = some.repeat_interleave(1 << by, 1).repeat_interleave(1 << by, 2)
        first = rows.start - (top << by)
        return wide[:, first : first + rows.stop - rows.start, : self.band.width]


def _total(some: Sequence[torch.Tensor]) -> torch.Tensor:
    total = some[0].clone()
    for one in some[1:]:
        total += one
    return total


def fill_sums(maps: Maps, band: Band) -> None:
    """Make the sums over 3 × 3 of a band whose logarithms are known."""
    own, sums = own_map(maps, band), sum_map(maps, band)
    m, height, width = MARGIN, band.height, band.width
    rows = _total([own[:, m + y : m + y + height] for y in (-1, 0, 1)])
    found = _total([rows[:, :, m + x : m + x + width] for x in (-1, 0, 1)])
    sums[:, m : m + height, m : m + width].copy_(found)
