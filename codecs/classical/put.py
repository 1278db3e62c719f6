"""Samples of any dtype put so that an established codec takes them, and said how.

Without loss:

- bool → uint8;
- signed integers, and integers of more than 16 bits: offset by the plane's minimum;
- what then still has more than 16 bits, and floats (ordered bit-cast): planes of 16 bits each.

Near-lossless, for a codec that knows no bound (``max_error`` k > 0): integers become
floor((x + k) / (2k + 1)), floats round(x / 2k), which is what a person would do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.classical.base import Anchor, Samples

__all__ = ["RGB_BANDS", "as_rgb", "quantise", "remark", "usable_planes"]

RGB_BANDS = (3, 4)
"""Bands of a frame whose first three are tried as one image."""

_CODEC_BITS = 16
"""Bits per sample that every codec takes."""
_EXACT_FLOAT64 = 2.0**53


def usable_planes(plane: Samples) -> list[Samples]:
    """Return the uint8 or uint16 planes that stand for one plane, most significant first."""
    if plane.dtype == bool:
        return [plane.astype(np.uint8)]
    if plane.dtype in (np.uint8, np.uint16):
        return [plane]
    if plane.dtype.kind in "iu":
        low, high = int(plane.min()), int(plane.max())
        if high - low < 2**_CODEC_BITS:
            exact = (
                plane - plane.min() if plane.dtype.itemsize == 8 else plane.astype(np.int64) - low
            )
            return [exact.astype(np.uint8 if high - low < 256 else np.uint16)]
    return _split(ordered_bits(plane))


def as_rgb(frame: Samples) -> Samples:
    """Return the first three bands of a frame as (y, x, 3)."""
    return np.ascontiguousarray(np.moveaxis(frame[:3], 0, -1))


def remark(anchor: Anchor, dtype: np.dtype[Any]) -> str:
    """Say how samples of ``dtype`` reach a codec; nothing where as they are."""
    if anchor.takes_all:
        return ""
    if dtype.name in anchor.native:
        return f"{dtype} natively or in 16-bit parts" if dtype.kind == "f" else ""
    if dtype.kind == "b":
        return "bool as uint8"
    if dtype in (np.uint8, np.uint16):
        return ""
    if dtype.kind == "f":
        return f"{dtype} in 16-bit parts"
    return "offset to unsigned" + (", in 16-bit parts if wider" if dtype.itemsize > 2 else "")


def quantise(planes: Samples, max_error: float, nodata: float | int | None = None) -> Samples:
    """Return the integers that a person would give a lossless codec to stay within ``max_error``.

    Integers keep their dtype. Floats become int32 or int64; what is not finite or is ``nodata``
    becomes one value below all others. Floats too large for exact steps, and bool, come back as
    they are. Raises ValueError if a sample would come back further off than ``max_error``.
    """
    if planes.dtype.kind == "f":
        return _quantise_floats(planes, max_error, nodata)
    if planes.dtype.kind not in "iu":
        return planes
    k = int(max_error)
    wide = planes if planes.dtype.itemsize == 8 else planes.astype(np.int64)
    step = wide.dtype.type(2 * k + 1)
    levels = wide // step + (wide % step + wide.dtype.type(k)) // step
    with np.errstate(over="ignore"):
        off = levels * step - wide  # of unsigned samples modulo 2^64
    if not (np.minimum(off, -off) if off.dtype.kind == "u" else abs(off)).max(initial=0) <= k:
        raise ValueError(f"quantising {planes.dtype}: a sample is off by more than {k}")
    return levels.astype(planes.dtype)


def _quantise_floats(planes: Samples, max_error: float, nodata: float | int | None) -> Samples:
    values = planes.astype(np.float64)
    absent = ~np.isfinite(values)
    if nodata is not None:
        absent |= planes == np.asarray(nodata).astype(planes.dtype)
    step = 2.0 * max_error
    levels = np.rint(np.where(absent, 0.0, values) / step)
    if not np.abs(levels).max(initial=0.0) < _EXACT_FLOAT64:
        return planes
    off = np.abs(levels * step - values)[~absent]
    slack = max_error * 1e-6 + np.abs(values[~absent]).max(initial=0.0) * 1e-15  # rounding
    if not off.max(initial=0.0) <= max_error + slack:
        raise ValueError(f"quantising {planes.dtype}: a sample is off by more than {max_error}")
    levels[absent] = levels.min(initial=0.0) - 1
    fits = np.abs(levels).max(initial=0.0) < 2**31
    return levels.astype(np.int32 if fits else np.int64)


def ordered_bits(planes: Samples) -> Samples:
    """Return unsigned integers in the order of the samples' values (bit for bit reversible)."""
    unsigned = np.dtype(f"u{planes.dtype.itemsize}")
    bits = planes.view(unsigned)
    sign = unsigned.type(1 << (8 * planes.dtype.itemsize - 1))
    if planes.dtype.kind == "f":
        return np.where(bits & sign, ~bits, bits | sign)
    return bits ^ sign if planes.dtype.kind == "i" else bits


def _split(bits: Samples) -> list[Samples]:
    """Return the 16-bit parts of unsigned samples, the most significant first."""
    parts = range(max(1, bits.dtype.itemsize * 8 // _CODEC_BITS))
    return [
        (bits >> bits.dtype.type(_CODEC_BITS * part)).astype(np.uint16) for part in reversed(parts)
    ]
