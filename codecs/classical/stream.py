"""What is told of a compressed stream of an established codec, lossless or lossy."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.levels import EXACT

__all__ = ["Setting", "Size", "Stream", "as_array", "size_of_codestream"]

Samples = npt.NDArray[Any]

Size = tuple[int, int]
"""Rows and columns."""


class Setting(NamedTuple):
    """How finely a stream is coded."""

    bits: int
    """Of its integers."""
    level: float
    """1 to 140 (levels.py), or ``EXACT``."""
    step: float
    """Of a uniform quantiser of the error that is wanted, in units of the stream's integers."""
    near: int | None = None
    """Where each integer must be within this of its own, instead of the level."""

    @property
    def is_exact(self) -> bool:
        return self.level == EXACT and not self.near

    def psnr_db(self) -> float:
        """Return what ``step`` means over the whole range of ``bits``."""
        return 20 * math.log10((2**self.bits - 1) * math.sqrt(12.0) / self.step)

    @property
    def largest_error(self) -> int:
        """The error of integers that a codec with a bound may make."""
        if self.near is not None:
            return self.near
        return 0 if self.level == EXACT else max(0, round((self.step - 1) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A codec of one plane (y, x) of uint8 or uint16, or of three as colours, (y, x, 3)."""

    encode: Callable[[Samples, Setting], bytes]
    decode: Callable[[bytes, Samples], Samples]
    """From a stream, and an array of the shape and dtype that it must have."""
    size: Callable[[bytes], Size | None] | None
    """What a stream's head says, read before any library sees it, None of what is no head; or None
    where nothing is decoded beyond the array that is given."""
    most_bits: int = 16
    lossy_bits: int = 16
    """Of integers that are coded lossily, at most."""
    colours: bool = False
    """Whether it mixes three planes that are red, green and blue; those of codecs with ``mixed``
    only where nothing is lost."""
    mixed: bool = False
    """Whether planes go through a Karhunen-Loève transform first, for it has none."""
    irreversible: bool = False
    """Whether decoders may differ where it is lossy: those that have floats, or round colours."""
    bounded: bool = False
    """Whether it can hold a largest error."""
    loses: bool = True
    """Whether it can lose anything; else multiples of a step are what it is given."""
    memory: int = 64
    """Bytes that decoding takes for each sample, at most."""


def size_of_codestream(data: bytes) -> Size | None:
    """Return rows and columns of a JPEG 2000 codestream of one tile (ISO/IEC 15444-1, A.5.1)."""
    if len(data) < 42 or data[:4] != b"\xff\x4f\xff\x51":
        return None
    wide, high, left, top, tile_wide, tile_high = struct.unpack_from(">6I", data, 8)
    (components,) = struct.unpack_from(">H", data, 40)
    if left or top or tile_wide < wide or tile_high < high or components not in (1, 3):
        return None
    return high, wide


def as_array(found: object, like: Samples) -> Samples:
    """Return what a library gave, of the shape and dtype that are wanted or as it is."""
    array = np.asarray(found)
    return array.astype(like.dtype) if array.dtype.kind in "ui" else array
