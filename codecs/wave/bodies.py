"""The planes of a chunk to bodies: their order, references and colours (encoder only).

planes ─► colours, by trial ─► order ─► references by detail ─► bodies
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.colour import KINDS, YCBCR, Group, Planes, transformed
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.plane_format import DecodedPlane, Mask
from tilepress.codecs.wave.structure import choose_references
from tilepress.codecs.wave.trial import plane_bits

__all__ = ["Coloured", "choose_colours", "encode_planes", "span"]

_COLOUR_BANDS = (3, 4)
"""Numbers of bands whose first three may be red, green and blue."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """Rows on which colour transforms are tried: so many runs of so many, spread over a plane."""

    runs: int
    rows: int

    def of(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return these rows, one run below the other, of (…, y, x)."""
        height = planes.shape[-2]
        if height <= self.runs * self.rows:
            return planes
        starts = (
            (2 * k + 1) * height // (2 * self.runs) - self.rows // 2 for k in range(self.runs)
        )
        return np.concatenate([planes[..., y : y + self.rows, :] for y in starts], axis=-2)


_TRIALS = {2: _Trial(1, 64), 3: _Trial(8, 16), 4: _Trial(8, 16)}
"""By format; what was chosen for format 2 is chosen for ever, so that repairs give equal bytes."""
_MARGIN = 0.005
"""Of what planes take as they are, what colours must save in a trial."""
_NEAR = 0.06
"""Where they save less than that, they are tried again with all sets of weights and, where planes
take few enough bits, with context trees: both know of flat and clipped areas what colours hide."""
_ORDER_MARGIN = 0.002
"""Of what three planes take in the usual order, what another must save in a trial."""
_TREE_SAMPLES = 1 << 13
"""That such a tree is grown on."""


def encode_planes(
    planes: Planes, mask: npt.NDArray[np.bool_] | None, bands: int, coder: Coder
) -> list[tuple[tuple[int, ...], bool, bytes]]:
    """Return (references, is a copy, body) of every plane, in plane order."""
    order = _coding_order(len(planes), bands)
    if coder.judges_whole_planes and bands == len(planes) == 3:
        order = _least_order(planes, mask, coder.model) or order
    refs_of = _references(planes, mask, order)
    out: dict[int, tuple[tuple[int, ...], bool, bytes]] = {}
    done: dict[int, DecodedPlane] = {}
    for index in order:
        plane_mask = None if mask is None else mask[index]
        refs = refs_of[index]
        if refs and _equal(planes, mask, index, refs[0]):
            out[index], done[index] = (refs[:1], True, b""), done[refs[0]]
            continue
        body, done[index] = encode_body(planes[index], plane_mask, [done[r] for r in refs], coder)
        out[index] = (refs, False, body)
    return [out[i] for i in range(len(planes))]


def _bits(
    planes: Planes, mask: npt.NDArray[np.bool_] | None, model: WaveModel, *, quick: bool
) -> float:
    """Return about how many bits three planes take that are red, green, blue or stand for them."""
    order = _coding_order(3, 3)
    refs_of = _references(planes, mask, order)
    total = 0.0
    done: dict[int, DecodedPlane] = {}
    for index in order:
        plane_mask = None if mask is None else mask[index]
        refs = [done[r] for r in refs_of[index]]
        bits, done[index] = plane_bits(planes[index], plane_mask, refs, model, quick=quick)
        total += bits
    return total


def _references(
    planes: Planes, mask: npt.NDArray[np.bool_] | None, order: list[int]
) -> dict[int, tuple[int, ...]]:
    """Return what each plane refers to, of those before it in the order of coding."""
    if len(order) == 1:
        return {0: ()}
    previews = [_preview(planes[i], None if mask is None else mask[i]) for i in order]
    earlier = [list(range(max(0, place - 16), place)) for place in range(len(order))]
    chosen = choose_references(previews, earlier)
    return {i: tuple(order[r] for r in refs) for i, refs in zip(order, chosen, strict=True)}


def _least_order(
    planes: Planes, mask: npt.NDArray[np.bool_] | None, model: WaveModel
) -> list[int] | None:
    """Return the order of three planes in which they take least, about; None: as any other."""
    done: dict[tuple[int, tuple[int, ...]], tuple[float, DecodedPlane]] = {}

    def bits(index: int, *refs: int) -> float:
        if (index, refs) not in done:
            there = None if mask is None else mask[index]
            seen = [done[r, ()][1] for r in refs]
            done[index, refs] = plane_bits(planes[index], there, seen, model, quick=False)
        return done[index, refs][0]

    alone = sum(bits(index) for index in range(3))
    sizes: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(3)):
        first, second, third = order
        pair = min(bits(second), bits(second, first))
        sizes[order] = bits(first) + pair + bits(third, *sorted((first, second)))
    usual = sizes[1, 0, 2]
    least = min(sizes, key=lambda order: sizes[order])
    return list(least) if sizes[least] < usual * (1 - _ORDER_MARGIN) and usual < alone else None


class Coloured(NamedTuple):
    """What is coded of a chunk."""

    planes: Planes
    """(planes, y, x), transformed where they are in a group."""
    mask: npt.NDArray[np.bool_] | None
    """Likewise, true where samples are not coded."""
    groups: list[Group]


def choose_colours(
    levels: Planes,
    mask: npt.NDArray[np.bool_] | None,
    bands: int,
    coder: Coder,
    dtype: np.dtype[Any],
    step: int,
) -> Coloured:
    """Return what makes planes smaller: colours transformed, masks left out.

    levels : (planes, y, x); mask : likewise, or None; dtype : of the samples; step : of their grid.
    """
    out = Coloured(levels, mask, [])
    if bands not in _COLOUR_BANDS or len(levels) % bands or dtype.itemsize > 2:
        return out
    if dtype.kind == "f" and coder.model.form > 2:
        return out
    for first in range(0, len(levels), bands):
        three = slice(first, first + 3)
        masks = None if mask is None or not mask[three].any() else mask[three]
        if masks is not None and coder.model.form == 2:
            continue
        trial = _Trials(levels[three], masks, coder, dtype, step)
        chosen = trial.smallest()
        if chosen.mask is None and masks is not None:
            assert out.mask is not None
            left = out.mask.copy()
            left[three] = False
            out = out._replace(mask=left)
        if chosen.groups:
            if out.planes is levels:
                out = out._replace(planes=levels.copy())
            out.planes[three] = chosen.planes
            out.groups.append(Group(first, chosen.groups[0].kind))
    return out if out.mask is None or out.mask.any() else out._replace(mask=None)


class _Way(NamedTuple):
    """A way to code red, green and blue."""

    kind: int | None
    mask: npt.NDArray[np.bool_] | None
    rows: Planes
    """Those that it is tried on."""
    planes: Planes | None = None
    """All of it, where it is transformed already."""


class _Trials:
    """Ways to code red, green and blue, and what some rows of them take."""

    def __init__(
        self,
        rgb: Planes,
        masks: npt.NDArray[np.bool_] | None,
        coder: Coder,
        dtype: np.dtype[Any],
        step: int,
    ) -> None:
        self._form = coder.model.form
        self._rgb, self._masks, self._rows = rgb, masks, _TRIALS[self._form]
        self._exact = step == 1 and dtype.kind in "ui"
        self._bytes = self._exact and dtype == np.uint8
        self._coder = replace(coder, trees=TreeEffort(0, 0), following=None)
        samples = min(coder.trees.samples, _TREE_SAMPLES)
        self._trees = replace(self._coder, trees=TreeEffort(coder.trees.bits, samples))

    def smallest(self) -> Coloured:
        """Return what takes least."""
        plain = [_Way(None, self._masks, self._rows.of(self._rgb))]
        mask = self._masks
        if mask is not None and not (mask == mask[0]).all():
            if not self._exact:
                return Coloured(self._rgb, mask, [])
            mask = None  # what is absent in some of the planes is coded as the samples that it is
            plain.append(plain[0]._replace(mask=None))
        size, best = self._least(plain)
        colours = self._least([way for kind in KINDS[self._form] for way in self._ways(kind, mask)])
        if self._save(*colours, size, best):
            best = colours[1]
        if best.kind is None:
            return Coloured(self._rgb, best.mask, [])
        planes = best.planes
        if planes is None:
            planes = self._transformed(best.kind, mask)
            assert planes is not None
        return Coloured(planes, mask, [Group(0, best.kind)])

    def _save(self, less: float, colours: _Way, size: float, plain: _Way) -> bool:
        """Whether colours save enough, of what both take in a trial."""
        if self._form == 2:
            return less < size
        if not less < size * (1 - _MARGIN):
            return False
        if less < size * (1 - _NEAR):
            return True
        if size <= self._trees.trees.bits * plain.rows.size:
            less, size = (self._bytes_of(way, self._trees) for way in (colours, plain))
        else:
            less, size = (self._size(way, quick=False) for way in (colours, plain))
        return less < size * (1 - _MARGIN)

    def _ways(self, kind: int, mask: npt.NDArray[np.bool_] | None) -> Iterator[_Way]:
        """Yield the way of a kind, if there is one."""
        if kind != YCBCR:
            rows = transformed(self._rows.of(self._rgb), kind)
            assert rows is not None
            yield _Way(kind, mask, rows)
        elif self._bytes and (planes := self._transformed(kind, mask)) is not None:
            yield _Way(kind, mask, self._rows.of(planes), planes)

    def _transformed(self, kind: int, mask: npt.NDArray[np.bool_] | None) -> Planes | None:
        return transformed(self._rgb, kind, None if mask is None else mask[0])

    def _least(self, ways: list[_Way]) -> tuple[float, _Way]:
        """Return the first of the ways that take least, and how much that is."""
        sizes = [self._size(way) for way in ways]
        least = min(sizes)
        return least, ways[sizes.index(least)]

    def _size(self, way: _Way, *, quick: bool = True) -> float:
        if self._form == 2:
            return self._bytes_of(way, self._coder)
        rows, masks = np.ascontiguousarray(way.rows), self._masks_of(way)
        return _bits(rows, masks, self._coder.model, quick=quick)

    def _bytes_of(self, way: _Way, coder: Coder) -> int:
        rows = np.ascontiguousarray(way.rows)
        bodies = encode_planes(rows, self._masks_of(way), 3, coder)
        return sum(len(body) for _, _, body in bodies)

    def _masks_of(self, way: _Way) -> npt.NDArray[np.bool_] | None:
        return None if way.mask is None else self._rows.of(way.mask)


def span(plane: Planes, mask: Mask | None) -> tuple[int, int] | None:
    """Return the least and the largest of the samples that are there."""
    present = plane if mask is None else plane[~mask]
    return (int(present.min()), int(present.max())) if present.size else None


def _coding_order(planes: int, bands: int) -> list[int]:
    """Planes in the order in which they may refer to one another: green before red before blue.

    Luma is coded in the place of green.
    """
    if bands not in _COLOUR_BANDS:
        return list(range(planes))
    order: list[int] = []
    for first in range(0, planes, bands):
        group = list(range(first, min(first + bands, planes)))
        order += [*group[1:2], *group[0:1], *group[2:]]
    return order


def _equal(planes: Planes, mask: npt.NDArray[np.bool_] | None, a: int, b: int) -> bool:
    same_mask = mask is None or np.array_equal(mask[a], mask[b])
    return same_mask and np.array_equal(planes[a], planes[b])


def _preview(plane: Planes, mask: Mask | None) -> npt.NDArray[np.int32]:
    """The plane with absent samples at its middle, in a range that suits int32."""
    low, high = span(plane, mask) or (0, 0)
    shift = max(0, (high - low).bit_length() - 20)
    centred = plane - low if mask is None else np.where(mask, (high - low) // 2, plane - low)
    return (centred >> shift).astype(np.int32)
