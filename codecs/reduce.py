"""Reduce samples to a lower resolution: blocks of rows and columns to one sample each.

The same samples give the same ones on every machine: sums are of integers, or of float64 added in
one fixed order, pairs first.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["METHODS", "Method", "all_of", "reduced"]

Method = Literal["average", "nearest", "mode"]

METHODS: tuple[Method, ...] = get_args(Method)

_Array = npt.NDArray[Any]


def reduced(
    samples: _Array,
    factor: int,
    method: Method,
    absent: npt.NDArray[np.bool_] | None = None,
    taken: tuple[float | int, float | int] | None = None,
) -> _Array:
    """Return one sample for each block of ``factor`` × ``factor``, a power of two.

    samples : (…, y, x); where the sides are no multiples the last blocks are cut.
    absent : (…, y, x), what does not count. A block of which nothing counts gives the sample in its
    middle.
    taken : the smallest and the largest value that mean absence; no average is one of them.

    "average" rounds halves up, "mode" takes the smallest of several, for samples of one byte.
    """
    middle = _nearest(samples, factor)
    if method == "nearest":
        return middle
    if method == "mode":
        return _mode(samples, factor, absent, middle)
    return _average(samples, factor, absent, taken, middle)


def all_of(marks: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Mark the blocks of marks (…, y, x) of which all are marked."""
    return np.asarray(_sums((~marks).astype(np.int32), factor) == 0)


def _nearest(samples: _Array, factor: int) -> _Array:
    rows, columns = (
        np.minimum(np.arange(-(-n // factor)) * factor + factor // 2, n - 1)
        for n in samples.shape[-2:]
    )
    return np.ascontiguousarray(samples[..., rows[:, np.newaxis], columns])


def _average(
    samples: _Array,
    factor: int,
    absent: npt.NDArray[np.bool_] | None,
    taken: tuple[float | int, float | int] | None,
    middle: _Array,
) -> _Array:
    is_float = samples.dtype.kind == "f"
    small = samples.dtype.itemsize <= 2 and factor <= 128  # sums stay below 2^31
    kind = np.float64 if is_float else np.int32 if small else np.int64
    wide = samples.astype(kind)
    if absent is None:
        counts: _Array = np.multiply.outer(*(_lengths(n, factor) for n in samples.shape[-2:]))
    else:
        wide[absent] = 0
        counts = _sums((~absent).astype(np.int32), factor)
    sums = _sums(wide, factor)
    some = np.maximum(counts, 1)
    if is_float:
        found = (sums / some).astype(samples.dtype)
    else:
        found = ((2 * sums.astype(np.int64) + some) // (2 * some)).astype(samples.dtype)
    if taken is not None:
        found[(found >= taken[0]) & (found <= taken[1])] = _beside(taken, samples.dtype)
    return found if absent is None else np.where(counts > 0, found, middle)


def _lengths(size: int, factor: int) -> npt.NDArray[np.int64]:
    """Return how many rows, or columns, each block has."""
    starts = np.arange(0, size, factor)
    return np.minimum(starts + factor, size) - starts


def _sums(samples: _Array, factor: int) -> _Array:
    """Return the sum of each block: of pairs of rows, of pairs of columns, and so on."""
    ends = [(0, 0)] * (samples.ndim - 2) + [(0, -n % factor) for n in samples.shape[-2:]]
    found: _Array = np.pad(samples, ends) if any(after for _, after in ends) else samples
    while factor > 1:
        found = found[..., 0::2, :] + found[..., 1::2, :]
        found = found[..., 0::2] + found[..., 1::2]
        factor //= 2
    return found


def _beside(taken: tuple[float | int, float | int], dtype: np.dtype[Any]) -> float | int:
    """Return the value next to those that mean absence."""
    low, high = (dtype.type(value) for value in taken)
    if dtype.kind == "f":
        return float(np.nextafter(high, dtype.type(np.inf)))
    limits = np.iinfo(dtype)
    return int(high) + 1 if int(high) < limits.max else int(low) - 1


def _mode(
    samples: _Array, factor: int, absent: npt.NDArray[np.bool_] | None, middle: _Array
) -> _Array:
    found, most = middle.copy(), np.zeros(middle.shape, np.int32)
    counted = samples if absent is None else samples[~absent]
    for value in np.unique(counted):
        same = samples == value
        if absent is not None:
            same &= ~absent
        count = _sums(same.astype(np.int32), factor)
        more = count > most
        found[more], most[more] = value, count[more]
    return found
