"""The payload of a record of ``ntc`` (FORMAT.md §15.1), taken apart with every number bounded."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.layout import LAPPED, TABLES
from tilepress.codecs.ntc.plane import Stream, band_count, padded_sides
from tilepress.codecs.wave.rans import LANES
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import InvalidRecord, UnsupportedFormat

__all__ = [
    "LARGEST_STEP",
    "MOST_BANDS",
    "MOST_SPAN",
    "SMALLEST_STEP",
    "Payload",
    "PlaneHead",
    "pack",
    "unpack",
]

_VERSION = 1
_WAVELET, _TURNED, _ABSENT, _DEPENDENT = 1, 2, 4, 8
SMALLEST_STEP, LARGEST_STEP = 2.0**-12, 2.0**22
MOST_SPAN = 2**16 - 1
"""The largest sample of a plane less its smallest."""
MOST_BANDS = 32
"""Planes that a matrix turns at most."""
_NO_MASK, _NEW_MASK, _SAME_MASK = range(3)


@dataclass(frozen=True, slots=True)
class PlaneHead:
    """What a plane needs beside its stream."""

    low: int
    """The least present sample."""
    span: int
    mean: int
    """Of present samples, less ``low``."""
    crc: int
    """CRC-32C of its decoded samples, little-endian."""
    mask: bytes | None
    """The bitmap of its absent samples; None where it has none."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload taken apart."""

    kind: int
    step: float
    """Exact in single precision."""
    bands: int
    """Planes that go together."""
    matrix: npt.NDArray[np.int16] | None
    """(bands, bands) that turns components into bands; None where planes are coded as they are."""
    absent: npt.NDArray[Any] | None
    """The sample that marks absent ones."""
    heads: Sequence[PlaneHead]
    streams: Sequence[Stream | None]
    """None: a plane of zeros."""
    dependent: bool = False
    """Whether values are of two quantisers; as the model is."""


def pack(payload: Payload) -> bytes:
    """Return the payload's bytes."""
    flags = (_WAVELET if payload.kind != LAPPED else 0) | (
        (_TURNED if payload.matrix is not None else 0)
        | (_ABSENT if payload.absent is not None else 0)
        | (_DEPENDENT if payload.dependent else 0)
    )
    out = [struct.pack("<BBf", _VERSION, flags, payload.step), varint(payload.bands)]
    if payload.matrix is not None:
        out.append(payload.matrix.astype("<i2").tobytes())
    if payload.absent is not None:
        out.append(payload.absent.tobytes())
    before: bytes | None = None
    for head in payload.heads:
        out += [signed_varint(head.low), varint(head.span), varint(head.mean)]
        out.append(struct.pack("<I", head.crc))
        if payload.absent is None:
            continue
        if head.mask is None:
            out.append(bytes([_NO_MASK]))
        elif head.mask == before:
            out.append(bytes([_SAME_MASK]))
        else:
            out += [bytes([_NEW_MASK]), varint(len(head.mask)), head.mask]
        before = head.mask
    for stream in payload.streams:
        if stream is None:
            out.append(varint(0))
            continue
        out += [varint(stream.bands + 1), bytes([stream.low_table])]
        out.append(bytes([LANES.index(len(stream.states))]))
        out += [varint(len(stream.words)), varint(len(stream.raw))]
    for stream in payload.streams:
        if stream is not None:
            out += [stream.states.astype("<u4").tobytes(), stream.words.astype("<u2").tobytes()]
            out.append(stream.raw.tobytes())
    return b"".join(out)


def unpack(data: memoryview, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Payload:
    """Take a payload, not trusted, apart; raises InvalidRecord or UnsupportedFormat."""
    if dtype.kind not in "iu" or dtype.itemsize > 4:
        raise _damaged(f"samples of {dtype.name}")
    reader = Reader(data)
    version, flags = reader.byte(), reader.byte()
    if version != _VERSION or flags & ~(_WAVELET | _TURNED | _ABSENT | _DEPENDENT):
        raise UnsupportedFormat(
            f"decoding a record: its payload is of version {version}, flags {flags:#04x}; "
            f"this tilepress reads version {_VERSION} of ntc; a newer one may be needed"
        )
    (step,) = struct.unpack("<f", reader.take(4))
    if not (math.isfinite(step) and SMALLEST_STEP <= step <= LARGEST_STEP):
        raise _damaged(f"a step of {step:g}")
    bands = reader.varint(shape[0])
    if bands < 1 or shape[0] % bands or (flags & _TURNED and bands > MOST_BANDS):
        raise _damaged(f"{bands} bands of {shape[0]} planes")
    matrix = None
    if flags & _TURNED:
        matrix = np.frombuffer(reader.take(2 * bands * bands), "<i2").reshape(bands, bands)
    absent = None
    if flags & _ABSENT:
        absent = np.frombuffer(reader.take(dtype.itemsize), dtype)[0].reshape(())
    kind = 1 if flags & _WAVELET else LAPPED
    heads = _read_heads(reader, shape, dtype, absent is not None)
    streams = _read_streams(reader, shape, kind)
    reader.finish()
    dependent = bool(flags & _DEPENDENT)
    return Payload(kind, step, bands, matrix, absent, heads, streams, dependent)


def _read_heads(
    reader: Reader, shape: tuple[int, int, int], dtype: np.dtype[Any], masked: bool
) -> list[PlaneHead]:
    info = np.iinfo(dtype)
    heads: list[PlaneHead] = []
    for _ in range(shape[0]):
        low, span = reader.signed_varint(), reader.varint(MOST_SPAN)
        if not info.min <= low <= low + span <= info.max:
            raise _damaged(f"samples from {low} to {low + span} of {dtype.name}")
        mean, crc = reader.varint(span), reader.fixed(4)
        mask = None
        how = reader.byte() if masked else _NO_MASK
        if how == _NEW_MASK:
            mask = bytes(reader.take(reader.varint(2 * shape[1] * shape[2] + 64)))
        elif how == _SAME_MASK and heads and heads[-1].mask is not None:
            mask = heads[-1].mask
        elif how != _NO_MASK:
            raise _damaged(f"a mask of kind {how}")
        heads.append(PlaneHead(low, span, mean, crc, mask))
    return heads


def _read_streams(reader: Reader, shape: tuple[int, int, int], kind: int) -> list[Stream | None]:
    sides = padded_sides(kind, *shape[1:])
    most_bands, cells = band_count(kind, *sides), sides[0] * sides[1]
    heads: list[tuple[int, int, int, int, int] | None] = []
    for _ in range(shape[0]):
        bands = reader.varint(most_bands + 1) - 1
        if bands < 0:
            heads.append(None)
            continue
        table, lanes = reader.byte(), reader.byte()
        if table >= TABLES or lanes >= len(LANES):
            raise _damaged(f"a table {table}, lanes {lanes}")
        # a symbol makes at most a word, and 7 + 20 + 1 raw bits
        words, raw = reader.varint(cells), reader.varint(4 * cells)
        heads.append((bands, table, LANES[lanes], words, raw))
    streams: list[Stream | None] = []
    for head in heads:
        if head is None:
            streams.append(None)
            continue
        bands, table, lanes, words, raw = head
        # copies: what is read side by side lies at any address, numbers of C must not
        states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.uint32)
        if states.min() < 1 << 16:
            raise _damaged("a state below 2^16")
        read = np.frombuffer(reader.take(2 * words), "<u2").astype(np.uint16)
        bits = np.frombuffer(reader.take(raw), np.uint8)
        streams.append(Stream(bands, table, states, read, bits))
    return streams


def _damaged(found: str) -> InvalidRecord:
    return InvalidRecord(f"decoding a payload of ntc: it has {found}")
