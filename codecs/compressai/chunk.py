"""Code the planes of one chunk by a model of CompressAI, and decode them (FORMAT.md §19).

Three planes that go together are a picture, scaled to 0 … 1. Any other plane is one of three equal
channels, and becomes their mean.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.classical.exact import Kept, absent_samples, filled, pack_kept, read_kept
from tilepress.codecs.classical.numbers import of_real
from tilepress.codecs.compressai.network import (
    MULTIPLE,
    Picture,
    Strings,
    compress,
    decompress,
    writer,
)
from tilepress.codecs.record import samples_crc
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedFormat

__all__ = ["decode_chunk", "encode_chunk"]

Array = npt.NDArray[Any]

_VERSION = 1
_TOGETHER = 1
_MOST_TEXT, _MOST_STRINGS = 200, 3
_DECODING_BYTES = 6000
"""What a sample of a picture takes on its way through a large model in doubles."""


class _Range(NamedTuple):
    """What 0 and 1 of a picture are, in samples."""

    low: int
    high: int


def encode_chunk(
    samples: Array,
    absent: Array | None,
    bands: int,
    net: Any,  # noqa: ANN401  # a torch module
) -> tuple[bytes, Array]:
    """Return the payload of samples (planes, y, x) and what it decodes to.

    Raises CodecError where the model does not decode what it coded.
    """
    size = 3 if bands == 3 else 1
    where = absent_samples(samples, absent)
    decoded = np.empty_like(samples)
    parts = []
    for first in range(0, len(samples), size):
        members = slice(first, first + size)
        present = samples[members][~where[members]]
        span = _range_of(present, samples.dtype)
        planes = [
            filled(np.where(gone, 0, plane).astype(np.float64), gone)
            for plane, gone in zip(samples[members], where[members], strict=True)
        ]
        picture = (np.stack(planes * (3 // size)) - span.low) / max(span.high - span.low, 1)
        strings, back = compress(net, np.clip(picture, 0, 1))
        decoded[members] = _samples(back, span, samples.dtype, size)
        parts += [struct.pack("<ii", *span), *map(varint, strings.shape)]
        parts.append(varint(len(strings.strings)))
        for one in strings.strings:
            parts += [varint(len(one)), one]
    single = np.zeros(samples.shape, bool)
    if absent is not None:
        single = absent_samples(decoded, absent) & ~where
    kept = Kept(
        absent,
        where if where.any() else None,
        single if single.any() else None,
        samples[single],
    )
    kept.put_back(decoded)
    told = writer().encode()
    head = [bytes([_VERSION, _TOGETHER if size == 3 else 0]), varint(len(told)), told]
    head.append(struct.pack("<I", samples_crc(decoded)))
    return b"".join([*head, pack_kept(kept), *parts]), decoded


def decode_chunk(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    net: Any,  # noqa: ANN401
    budget: Budget,
    planes: frozenset[int] | None = None,
) -> Array:
    """Decode a payload, not trusted, whole; samples that differ here are never returned.

    Raises InvalidRecord, UnsupportedFormat, ChecksumMismatch or TooMuchMemory.
    """
    reader = Reader(payload)
    version, flags = reader.byte(), reader.byte()
    if version != _VERSION or flags & ~_TOGETHER:
        raise UnsupportedFormat(
            f"decoding a record: its payload is of version {version}, flags {flags:#04x}; "
            f"this tilepress reads version {_VERSION} of compressai; a newer one may be needed"
        )
    size = 3 if flags & _TOGETHER else 1
    if shape[0] % size or dtype.kind not in "iu" or dtype.itemsize > 2:
        raise InvalidRecord(f"decoding a payload of compressai: {shape[0]} planes of {dtype.name}")
    padded = math.prod(-(-n // MULTIPLE) * MULTIPLE for n in shape[1:])
    budget.check(math.prod(shape) * (dtype.itemsize + 2) + _DECODING_BYTES * padded)
    told = bytes(reader.take(reader.varint(_MOST_TEXT)))
    crc = reader.fixed(4)
    kept = read_kept(reader, shape, dtype)
    out = np.zeros(shape, dtype)
    for first in range(0, shape[0], size):
        span = _Range(*struct.unpack("<ii", reader.take(8)))
        sides = (reader.varint(padded), reader.varint(padded))
        strings = [
            bytes(reader.take(reader.varint(reader.left)))
            for _ in range(reader.varint(_MOST_STRINGS))
        ]
        if span.low > span.high or not strings or math.prod(sides) * 256 > padded:
            raise InvalidRecord("decoding a payload of compressai: its numbers are impossible")
        try:
            back = decompress(net, Strings(sides, strings), *shape[1:])
        except MemoryError:
            raise
        except Exception as error:  # it asserts, and torch has many kinds
            raise InvalidRecord(
                "decoding a payload of compressai: its decoder refuses it"
            ) from error
        out[first : first + size] = _samples(back, span, dtype, size)
    reader.finish()
    kept.put_back(out)
    if samples_crc(out) != crc:
        said = "".join(c if c.isprintable() else "?" for c in told.decode("ascii", "replace"))
        raise ChecksumMismatch(
            f"decoding a record: {said} wrote it, and {writer()} decodes it to other samples; "
            "read it with the versions and the kind of processor that wrote it"
        )
    return out


def _range_of(present: Array, dtype: np.dtype[Any]) -> _Range:
    """Return the range of a picture: that of its 8 bits, else of its present samples."""
    if dtype.itemsize == 1:
        return _Range(*(int(n) for n in (np.iinfo(dtype).min, np.iinfo(dtype).max)))
    return _Range(int(present.min()), int(present.max())) if present.size else _Range(0, 0)


def _samples(picture: Picture, span: _Range, dtype: np.dtype[Any], size: int) -> Array:
    planes = picture if size == 3 else picture.mean(axis=0, keepdims=True)
    values = span.low + np.clip(planes, 0, 1) * (span.high - span.low)
    clamp = (dtype.type(span.low), dtype.type(span.high)) if _fits(span, dtype) else None
    return of_real(values, dtype, clamp)


def _fits(span: _Range, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return bool(limits.min <= span.low <= span.high <= limits.max)
