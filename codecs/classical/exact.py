"""Samples that come back to the bit, whatever a lossy codec makes of those around them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord

__all__ = ["Kept", "absent_samples", "filled", "odd_samples", "pack_kept", "read_kept"]

Array = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]


class Kept(NamedTuple):
    """Samples that are kept beside streams: absent ones, all alike, and single ones."""

    absent: Array | None
    """One sample; None where there is none."""
    where_absent: Marks | None
    where_single: Marks | None
    single: Array
    """In the order of the marks."""

    def put_back(self, decoded: Array) -> None:
        """Write them over what streams gave, in place."""
        if self.where_absent is not None:
            decoded[self.where_absent] = self.absent
        if self.where_single is not None:
            decoded[self.where_single] = self.single


def absent_samples(samples: Array, absent: Array | None) -> Marks:
    """Mark the samples that are the absent one, bit by bit."""
    if absent is None:
        return np.zeros(samples.shape, bool)
    raw = f"u{samples.dtype.itemsize}"
    return np.asarray(samples.view(raw) == absent.view(raw))


def odd_samples(samples: Array) -> Marks:
    """Mark what no lossy codec is given: NaN and infinities."""
    if samples.dtype.kind != "f":
        return np.zeros(samples.shape, bool)
    return np.asarray(~np.isfinite(samples))


def filled(plane: npt.NDArray[np.float64], missing: Marks) -> npt.NDArray[np.float64]:
    """Return a plane (y, x) whose missing samples are what those around them are in the mean.

    From coarse to fine: each missing sample is that of the level above.
    """
    if not missing.any():
        return plane
    if missing.all():
        return np.zeros_like(plane)
    rows, columns = plane.shape
    padded = ((0, rows % 2), (0, columns % 2))
    weight = np.pad((~missing).astype(np.float64), padded)
    total = np.pad(np.where(missing, 0.0, plane), padded)
    quads = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2)
    counts, sums = (part.reshape(quads).sum(axis=(1, 3)) for part in (weight, total))
    above = filled(sums / np.maximum(counts, 1.0), counts == 0)
    return np.where(missing, np.repeat(np.repeat(above, 2, 0), 2, 1)[:rows, :columns], plane)


def pack_kept(kept: Kept) -> bytes:
    """Return what a payload says of them: absent sample and bitmap, bitmap and samples."""
    parts = []
    for marks, values in ((kept.where_absent, kept.absent), (kept.where_single, kept.single)):
        if marks is None or values is None:
            parts.append(varint(0))
            continue
        bits = encode_bitmap(marks.reshape(-1, marks.shape[-1]))
        parts += [varint(len(bits) + 1), bits, values.tobytes()]
    return b"".join(parts)


def read_kept(reader: Reader, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Kept:
    """Read what ``pack_kept`` gave, not trusted; raises InvalidRecord."""
    where_absent = _marks(reader, shape)
    absent = None
    if where_absent is not None:
        absent = np.frombuffer(bytes(reader.take(dtype.itemsize)), dtype).reshape(())
    where_single = _marks(reader, shape)
    count = 0 if where_single is None else int(np.count_nonzero(where_single))
    single = np.frombuffer(bytes(reader.take(count * dtype.itemsize)), dtype)
    return Kept(absent, where_absent, where_single, single)


def _marks(reader: Reader, shape: tuple[int, int, int]) -> Marks | None:
    length = reader.varint(2**32)
    if not length:
        return None
    found = decode_bitmap(reader.take(length - 1), shape[0] * shape[1], shape[2]).reshape(shape)
    if not found.any():
        raise InvalidRecord("decoding a payload: it marks no sample")
    return found
