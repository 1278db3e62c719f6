"""The box of an array that is coded, and the fill around it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_RECORD_SAMPLES, MAX_SIDE
from tilepress.codecs.record import RecordHeader
from tilepress.errors import UnsupportedArray

__all__ = ["Boxed", "absent_sample", "boxed", "restored"]

Array = npt.NDArray[Any]


class Boxed(NamedTuple):
    """An array as it is coded."""

    samples: Array
    """(planes, y, x) of the coded box, little-endian."""
    absent: Array | None
    """One sample that marks absent ones."""
    fill: Array
    """One sample, of which all is that lies outside of the box."""
    shape: tuple[int, int, int]
    two_d: bool


def boxed(array: Array, nodata: float | int | None) -> Boxed:
    """Return the samples of an array, (planes, y, x) or (y, x), that are coded.

    Raises UnsupportedArray for other axes, sides beyond the limits, and nodata that is no value of
    the dtype.
    """
    if array.ndim not in (2, 3):
        raise UnsupportedArray(f"coding a tile: got {array.ndim} axes, want 2 or 3")
    planes = array if array.ndim == 3 else array[None]
    if max(planes.shape) > MAX_SIDE or planes.size > MAX_RECORD_SAMPLES:
        raise UnsupportedArray(f"coding a tile: shape {array.shape} is beyond the limits")
    little = np.ascontiguousarray(planes, dtype=planes.dtype.newbyteorder("<"))
    absent = absent_sample(nodata, little.dtype)
    fill = np.zeros((), little.dtype) if absent is None else absent
    coded = _coded_box(little, fill)
    samples = np.ascontiguousarray(little[: coded[0], : coded[1], : coded[2]])
    if absent is None and samples.dtype.kind == "f" and np.isnan(samples).any():
        absent = samples[np.isnan(samples)][0].reshape(())
    return Boxed(samples, absent, fill, little.shape, two_d=array.ndim == 2)


def restored(header: RecordHeader, samples: Array) -> Array:
    """Put the coded box back into its fill."""
    native = header.dtype.newbyteorder("=")
    if header.coded == header.shape:
        out = samples.astype(native, copy=not samples.flags.writeable)
    else:
        fill = np.frombuffer(header.fill, header.dtype)[0]
        out = np.full(header.shape, fill, native)
        planes, rows, columns = header.coded
        out[:planes, :rows, :columns] = samples
    return out[0] if header.two_d else out


def absent_sample(nodata: float | int | None, dtype: np.dtype[Any]) -> Array | None:
    """Return nodata as one sample of ``dtype``, or None; refuses what the dtype cannot hold."""
    if nodata is None:
        return None
    if dtype.kind in "uib":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if (
            (isinstance(nodata, float) and not math.isfinite(nodata))
            or nodata != int(nodata)
            or not low <= nodata <= high
        ):
            raise UnsupportedArray(f"coding a tile: nodata {nodata} is no value of {dtype}")
        return np.array(int(nodata), dtype)
    try:
        with np.errstate(over="ignore"):  # float64's lowest as nodata of float32 means −inf
            return np.array(nodata, dtype)
    except OverflowError as error:
        raise UnsupportedArray(f"coding a tile: nodata is no value of {dtype}") from error


def _coded_box(samples: Array, fill: Array) -> tuple[int, int, int]:
    """Return the box that remains when trailing planes, rows and columns of fill are cut."""
    raw = f"u{samples.dtype.itemsize}"
    other = samples.view(raw) != fill.view(raw)
    if not other.any():
        return (0, 0, 0)
    sizes = []
    for axis in range(3):
        used = other.any(axis=tuple(a for a in range(3) if a != axis))
        sizes.append(int(np.flatnonzero(used)[-1]) + 1)
    return (sizes[0], sizes[1], sizes[2])
