"""Tiles that an established codec makes smaller at the same error: they are stored by it then.

Measured on public images, that happens where samples have 8 bits: to photographs, by AVIF or JPEG
XL, and to ultrasound with its letters and lines, by AVIF; and to no image of more bits or of more
bands, where JPEG 2000 on a Karhunen–Loève transform is the nearest (docs/decisions/059). Letters
and lines on images of more bits, as annotations are, JPEG XL makes smaller (docs/decisions/070).
So those are tried, or, where somebody wants no tile to be larger than theirs, all of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import weights_id
from tilepress.codecs.classical.payload import encode_payload
from tilepress.codecs.coder import Coded
from tilepress.codecs.ntc.chunk import PRICE
from tilepress.codecs.weights import NO_WEIGHTS

__all__ = ["NUMBER", "Beaten", "encode_rival", "looks_drawn", "rivals_of"]

Array = npt.NDArray[Any]

NUMBER = 5
"""What records call established codecs."""
_RIVALS = {1: ("avif",), 3: ("avif", "jpegxl")}
"""By the number of bands, of samples of 8 bits."""
_OF_DRAWN = ("jpegxl",)
"""Of single bands of more bits that look drawn."""
_ALL = ("jpeg2000", "jpegxl", "avif")
_COARSEST, _FINEST = 5.0, 130.0
_NEAR_DB = 2.0
"""How far a trial may be from the error that is wanted for its costs to tell …"""
_SPAN_DB = 20.0


class _Effort(NamedTuple):
    """How long a rival is looked at."""

    tries: int
    hopeless: float
    """… that nothing nearer will be smaller: bits and error together are so much more."""


_USUAL, _THOROUGH = _Effort(5, 1.03), _Effort(8, 1.15)
_MORE_TRIES, _LEAST_SHARE = 5, 0.4
"""For one that wins: what it is finer than wanted is bytes for nothing, and errors of drawings do
not follow levels, so that halves tell more than slopes."""

_EVERY = 8
"""Rows from one that is looked at to the next."""
_FEW, _NEARLY_ALL = 1 / 20, 0.95
"""Samples look drawn where so few of the steps from one to the next have so much of their energy,
and where one up is mostly followed by one down: letters, lines, points on an empty ground. Borders
of what a scanner has blurred are slopes, steps up after steps up: of 57 public images eight have
their energy in few steps, among them CT and PET, and one, an ultrasound with letters, looks drawn.
"""


class Beaten(NamedTuple):
    """What has to be reached."""

    size: int
    """Bytes of the payload, of which there must be fewer."""
    squared: float
    """Sum of squared errors, which must not be more."""
    step: float
    """Of the quantiser that it was coded with."""


def rivals_of(samples: Array, bands: int, *, every: bool = False) -> tuple[str, ...]:
    """Return the established codecs that may win, or all that take such samples."""
    colours = bands == 3 and len(samples) % 3 == 0
    narrow = samples.dtype == np.uint8
    if every:
        return tuple(name for name in _ALL if narrow or name != "avif")
    if narrow:
        return _RIVALS[3 if colours else 1] if colours or bands == 1 else ()
    return _OF_DRAWN if bands == 1 and looks_drawn(samples) else ()


def looks_drawn(samples: Array) -> bool:
    """Whether (planes, y, x) samples look like letters, lines and flat areas."""
    steps = np.diff(samples[:, ::_EVERY].astype(np.float64), axis=-1)
    if float((steps[..., 1:] * steps[..., :-1]).sum()) > 0:
        return False
    energy = np.square(steps).ravel()
    few, total = int(energy.size * _FEW), float(energy.sum())
    if not few or not total:
        return False
    largest = np.partition(energy, energy.size - few)[energy.size - few :]
    return float(largest.sum()) >= _NEARLY_ALL * total


def encode_rival(
    samples: Array,
    absent: Array | None,
    bands: int,
    peak: float,
    beaten: Beaten,
    *,
    every: bool = False,
) -> Coded | None:
    """Return (planes, y, x) as the smallest of the established codecs; None where none wins.

    every : whether all that take such samples are tried, and for longer.
    """
    if not beaten.squared:
        return None
    best: Coded | None = None
    for name in rivals_of(samples, bands, every=every):
        effort = _THOROUGH if every else _USUAL
        found = _search(name, samples, absent, bands, peak, beaten, effort)
        if found is not None:
            best, beaten = found, beaten._replace(size=len(found.payload))
    return best


def _search(
    name: str,
    samples: Array,
    absent: Array | None,
    bands: int,
    peak: float,
    beaten: Beaten,
    effort: _Effort,
) -> Coded | None:
    """Return what a codec makes of samples at a level with no more error, if that is smaller."""
    goal = 8 * beaten.size + PRICE * beaten.squared / beaten.step**2
    coarse, fine = (_COARSEST, -_SPAN_DB), (_FINEST, _SPAN_DB)
    best: Coded | None = None
    for count in range(effort.tries + _MORE_TRIES):
        if count >= effort.tries and best is None:
            break
        share = -coarse[1] / (fine[1] - coarse[1])
        least = 0.1 if best is None else _LEAST_SHARE
        level = coarse[0] + min(max(share, least), 1 - least) * (fine[0] - coarse[0])
        found = encode_payload(name, samples, absent, bands, level, peak)
        if found is None:
            return best
        error = found.decoded.astype(np.float64) - samples
        squared = float(np.vdot(error, error))
        above_db = 10 * math.log10(beaten.squared / squared) if squared else _SPAN_DB
        if above_db >= 0:
            fine = (level, above_db)
            if len(found.payload) < beaten.size:
                best, beaten = found, beaten._replace(size=len(found.payload))
            if above_db < 0.1:
                break
        else:
            coarse = (level, above_db)
        cost = 8 * len(found.payload) + PRICE * squared / beaten.step**2
        if best is None and abs(above_db) <= _NEAR_DB and cost > effort.hopeless * goal:
            break
    if best is None:
        return None
    return best._replace(number=NUMBER, model_id=weights_id(NO_WEIGHTS))
