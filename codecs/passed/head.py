"""What a stream says of itself, read before any library sees it."""

from __future__ import annotations

from dataclasses import dataclass

from tilepress.errors import UnsupportedArray

__all__ = ["MAX_BITS", "Head", "Refused", "ceil_div"]

MAX_BITS = 16
"""Bits of a sample at most."""


class Refused(UnsupportedArray):
    """A stream is damaged, or of a kind that is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Sizes and meaning of a stream's samples."""

    rows: int
    columns: int
    components: tuple[int, ...]
    """How many a decoder can give: one number, but for WebP, which has alpha on demand."""
    bits: int
    """Of a sample."""
    signed: bool
    exact: bool
    """Whether each decoder gives the same samples of a stream that is complete: whether all is
    integers that the standard prescribes."""
    memory: int
    """Bytes that decoding takes at most, the samples counted."""
    subsampled: bool = False
    """Whether there are fewer samples of its colours than of its luminance: such a stream is Y, Cb,
    Cr, and a decoder makes R, G, B of them."""


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)
