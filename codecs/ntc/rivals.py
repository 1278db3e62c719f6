"""Tiles that an established codec makes smaller at the same error: they are stored by it then.

Measured on public images, that happens where samples have 8 bits: to photographs, by AVIF or JPEG
XL, and to ultrasound with its letters and lines, by AVIF; and to no image of more bits or of more
bands, where JPEG 2000 on a Karhunen–Loève transform is the nearest (docs/decisions/059). Only those
are tried.
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

__all__ = ["NUMBER", "Beaten", "encode_rival", "has_rivals"]

Array = npt.NDArray[Any]

NUMBER = 5
"""What records call established codecs."""
_RIVALS = {1: ("avif",), 3: ("avif", "jpegxl")}
"""By the number of bands, of samples of 8 bits."""
_COARSEST, _FINEST = 5.0, 130.0
_TRIES = 5
_NEAR_DB = 2.0
"""How far a trial may be from the error that is wanted for its costs to tell …"""
_HOPELESS = 1.03
"""… that nothing nearer will be smaller: bits and error together are so much more."""
_SPAN_DB = 20.0


class Beaten(NamedTuple):
    """What has to be reached."""

    size: int
    """Bytes of the payload, of which there must be fewer."""
    squared: float
    """Sum of squared errors, which must not be more."""
    step: float
    """Of the quantiser that it was coded with."""


def has_rivals(samples: Array, bands: int) -> bool:
    """Whether an established codec may win."""
    return samples.dtype == np.uint8 and bands in _RIVALS and len(samples) % bands == 0


def encode_rival(
    samples: Array, absent: Array | None, bands: int, peak: float, beaten: Beaten
) -> Coded | None:
    """Return (planes, y, x) as the smallest of the established codecs; None where none wins."""
    if not has_rivals(samples, bands) or not beaten.squared:
        return None
    best: Coded | None = None
    for name in _RIVALS[bands]:
        found = _search(name, samples, absent, bands, peak, beaten)
        if found is not None:
            best, beaten = found, beaten._replace(size=len(found.payload))
    return best


def _search(
    name: str, samples: Array, absent: Array | None, bands: int, peak: float, beaten: Beaten
) -> Coded | None:
    """Return what a codec makes of samples at a level with no more error, if that is smaller."""
    goal = 8 * beaten.size + PRICE * beaten.squared / beaten.step**2
    coarse, fine = (_COARSEST, -_SPAN_DB), (_FINEST, _SPAN_DB)
    best: Coded | None = None
    for _ in range(_TRIES):
        share = -coarse[1] / (fine[1] - coarse[1])
        level = coarse[0] + min(max(share, 0.1), 0.9) * (fine[0] - coarse[0])
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
        if best is None and abs(above_db) <= _NEAR_DB and cost > _HOPELESS * goal:
            break
    if best is None:
        return None
    return best._replace(number=NUMBER, model_id=weights_id(NO_WEIGHTS))
