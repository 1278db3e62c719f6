"""Three planes in place of red, green and blue: which there are, done and undone (FORMAT.md §3).

    red, green, blue ─► transformed ─► coded in their places ─► undone ─► red, green, blue

All are exact. Sums that no encoder makes are modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.errors import InvalidRecord

__all__ = [
    "KINDS",
    "LESS_GREEN",
    "YCBCR",
    "YCOCG",
    "Group",
    "group_of_each",
    "transformed",
    "undone",
]

Planes = npt.NDArray[np.int64]

YCOCG, YCBCR, LESS_GREEN = range(3)
"""Co, Y, Cg of the reversible YCoCg; Cr, Y, Cb of the IJG's decoder; red and blue less green."""

KINDS = {2: (YCOCG,), **dict.fromkeys((3, 4), (YCOCG, YCBCR, LESS_GREEN))}
"""Those that a format has."""

_PARTS = {
    YCOCG: ((0, 1, 2), (1, 2), (0, 1, 2)),
    YCBCR: ((0, 1), (0, 1, 2), (1, 2)),
    LESS_GREEN: ((0, 1), (1,), (1, 2)),
}
"""In which places is what red, green and blue are made of."""


@dataclass(frozen=True, slots=True)
class Group:
    """Three planes that stand for red, green and blue."""

    first: int
    kind: int = YCOCG

    def parts(self, index: int) -> tuple[int, ...]:
        """Return the coded planes that a plane's samples are made of, itself among them."""
        return tuple(self.first + place for place in _PARTS[self.kind][index - self.first])


def group_of_each(groups: Sequence[Group]) -> dict[int, Group]:
    """Return the group of each plane that is in one."""
    return {group.first + place: group for group in groups for place in range(3)}


_ycbcr_of = bind("tp_ycbcr_of", "lBnnl", "w")
_undo = bind("tp_colour_undo", "wwlllnl", "w")


def transformed(rgb: Planes, kind: int, mask: npt.NDArray[np.bool_] | None = None) -> Planes | None:
    """Return (3, y, x) what is coded in the places of red, green and blue, or None.

    mask : (y, x), pixels that are absent. Only ``YCBCR``, of 0 … 255, may be None: where a pixel is
    none that its formula makes. Of several Y, Cb, Cr that make a pixel it takes the nearest to
    those of the pixel to the left.
    """
    if kind == YCBCR:
        out = np.empty_like(rgb, order="C")
        given = None if mask is None else np.ascontiguousarray(mask).view(np.uint8)
        none = _ycbcr_of(np.ascontiguousarray(rgb), given, *rgb.shape[1:], out)
        return None if none else out
    red, green, blue = rgb
    if kind == LESS_GREEN:
        return np.stack([red - green, green, blue - green])
    # Malvar & Sullivan, 2003
    orange = red - blue
    base = blue + (orange >> 1)
    rest = green - base
    return np.stack([orange, base + (rest >> 1), rest])


def undone(group: Group, index: int, coded: dict[int, Planes]) -> Planes:
    """Return the integers of a plane of a group.

    coded : (y, x) each, at least those of ``group.parts(index)``. Raises InvalidRecord.
    """
    parts = [np.ascontiguousarray(coded[part]) for part in group.parts(index)]
    if len(parts) == 1:
        return parts[0]
    out = np.empty_like(parts[0])
    by_place = dict(zip(group.parts(index), parts, strict=True))
    three = (by_place.get(group.first + place) for place in range(3))
    if _undo(group.kind, index - group.first, *three, out.size, out):
        raise InvalidRecord("decoding a payload: Y, Cb or Cr is not within 0 … 255")
    return out
