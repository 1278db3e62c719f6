"""Draw small pictures of stores for a catalogue: of places on the ground alone, never of patients.

A store with levels is drawn from the coarsest that is fine enough: one chunk mostly. Of any other
all of it is decoded, so that is done only where it was asked for, and of no more than a bounded
number of samples.
"""

from __future__ import annotations

from typing import Literal

import imagecodecs

from tilepress.errors import TilepressError
from tilepress.pipeline import formats
from tilepress.pipeline.read.look import look_of
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader

__all__ = [
    "MAX_SAMPLES",
    "SIDE",
    "UNREADABLE",
    "Thumbnails",
    "thumbnail_of",
    "thumbnails_asked",
]

Thumbnails = Literal["levels", "all", "none"]
"""Which stores get one: those that have levels, all, or none."""

SIDE = 256
"""Pixels along the longer side at most."""

MAX_SAMPLES = 2**24
"""Samples of the bands that are shown which one thumbnail is made of at most."""

QUALITY = 80
"""Of WebP: some 10 kB, where PNG takes ten times as much."""

UNREADABLE = (TilepressError, ValueError, KeyError, TypeError)
"""What a damaged store may raise as it is read; storage that fails is another matter."""


def thumbnails_asked(asked: bool | None) -> Thumbnails:
    """Return which stores get one where a user said yes, no, or nothing."""
    return "levels" if asked is None else "all" if asked else "none"


def thumbnail_of(reader: StoreReader) -> bytes | None:
    """Return a store's picture as WebP; None where it takes too much, cannot be read, or came from
    files that name a patient, whatever else is told of it.

    Raises OSError where storage fails.
    """
    try:
        if formats.has_private_names(str(reader.origin["kind"])):
            return None
        look = look_of(reader)
        if len(look.bands) * _samples_needed(reader) > MAX_SAMPLES:
            return None
        pixels = Picture(reader).overview(SIDE, look)
    except UNREADABLE:
        return None
    return bytes(imagecodecs.webp_encode(pixels, level=QUALITY))


def _samples_needed(reader: StoreReader) -> int:
    """Return how many samples of a band are decoded: those of the coarsest level that is as large
    as the picture."""
    shapes = [reader.at_level(number).shape[-2:] for number in range(reader.level_count)]
    fine = [height * width for height, width in shapes if max(height, width) >= SIDE]
    return min(fine, default=shapes[0][0] * shapes[0][1])
