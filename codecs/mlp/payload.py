"""The payload of a record of ``mlp`` (FORMAT.md §18.1), taken apart with every number bounded."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.classical.exact import Kept, pack_kept, read_kept
from tilepress.codecs.mlp.plane import Stream
from tilepress.codecs.wave.rans import LANES
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord, UnsupportedFormat

__all__ = ["MOST_BANDS", "MOST_SHIFT", "Payload", "PlaneHead", "pack", "unpack"]

_VERSION = 1
_TURNED, _SHIFTED = 1, 2
MOST_BANDS = 32
"""Planes that a matrix turns at most."""
MOST_SHIFT = 21


@dataclass(frozen=True, slots=True)
class PlaneHead:
    """What a plane needs beside its stream."""

    middle: float
    """What is added to what its units give."""
    low: Any
    """The least sample that it may have, a NumPy scalar …"""
    high: Any
    """… and the largest."""
    crc: int
    """CRC-32C of its decoded samples, little-endian."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload taken apart."""

    step: float
    """Of the quantiser, in units of samples."""
    bands: int
    """Planes that go together."""
    matrix: npt.NDArray[np.int16] | None
    """(bands, bands) that turns components into bands; None where planes are coded as they are."""
    shifts: npt.NDArray[np.uint8] | None
    """(units,): the step of each unit is 2^shift steps; None: all are 0."""
    kept: Kept
    heads: Sequence[PlaneHead]
    streams: Sequence[Stream | None]
    """None: a plane of zeros."""


def pack(payload: Payload) -> bytes:
    """Return the payload's bytes."""
    flags = (_TURNED if payload.matrix is not None else 0) | (
        _SHIFTED if payload.shifts is not None else 0
    )
    out = [struct.pack("<BBd", _VERSION, flags, payload.step), varint(payload.bands)]
    if payload.matrix is not None:
        out.append(payload.matrix.astype("<i2").tobytes())
    if payload.shifts is not None:
        out.append(payload.shifts.tobytes())
    out.append(pack_kept(payload.kept))
    for head in payload.heads:
        out += [struct.pack("<d", head.middle), head.low.tobytes(), head.high.tobytes()]
        out.append(struct.pack("<I", head.crc))
    for stream in payload.streams:
        if stream is None:
            out.append(varint(0))
            continue
        out += [varint(stream.units), bytes([LANES.index(len(stream.states))])]
        out += [varint(len(stream.words)), varint(len(stream.raw))]
        out += [stream.states.astype("<u4").tobytes(), stream.words.astype("<u2").tobytes()]
        out.append(stream.raw.tobytes())
    return b"".join(out)


def unpack(
    data: memoryview, shape: tuple[int, int, int], dtype: np.dtype[Any], units: int, blocks: int
) -> Payload:
    """Take a payload, not trusted, apart; raises InvalidRecord or UnsupportedFormat.

    units : of the network; blocks : of a plane.
    """
    reader = Reader(data)
    version, flags = reader.byte(), reader.byte()
    if version != _VERSION or flags & ~(_TURNED | _SHIFTED):
        raise UnsupportedFormat(
            f"decoding a record: its payload is of version {version}, flags {flags:#04x}; "
            f"this tilepress reads version {_VERSION} of mlp; a newer one may be needed"
        )
    if dtype.kind not in "iuf":
        raise _damaged(f"samples of {dtype.name}")
    (step,) = struct.unpack("<d", reader.take(8))
    if not (math.isfinite(step) and step > 0):
        raise _damaged(f"a step of {step:g}")
    bands = reader.varint(shape[0])
    if bands < 1 or shape[0] % bands or (flags & _TURNED and bands > MOST_BANDS):
        raise _damaged(f"{bands} bands of {shape[0]} planes")
    matrix = shifts = None
    if flags & _TURNED:
        matrix = np.frombuffer(reader.take(2 * bands * bands), "<i2").reshape(bands, bands)
    if flags & _SHIFTED:
        shifts = np.frombuffer(bytes(reader.take(units)), np.uint8)
        if shifts.max() > MOST_SHIFT:
            raise _damaged(f"a step of 2^{shifts.max()} steps")
    kept = read_kept(reader, shape, dtype)
    heads = [_read_head(reader, dtype) for _ in range(shape[0])]
    streams = [_read_stream(reader, units, blocks) for _ in range(shape[0])]
    reader.finish()
    return Payload(step, bands, matrix, shifts, kept, heads, streams)


def _read_head(reader: Reader, dtype: np.dtype[Any]) -> PlaneHead:
    (middle,) = struct.unpack("<d", reader.take(8))
    low, high = np.frombuffer(bytes(reader.take(2 * dtype.itemsize)), dtype)
    if not (math.isfinite(middle) and low <= high):  # as no NaN is
        raise _damaged(f"samples of {low} to {high} around {middle:g}")
    return PlaneHead(middle, low, high, reader.fixed(4))


def _read_stream(reader: Reader, units: int, blocks: int) -> Stream | None:
    count = reader.varint(units)
    if not count:
        return None
    lanes = reader.byte()
    if lanes >= len(LANES):
        raise _damaged(f"lanes of kind {lanes}")
    # a symbol makes at most a word, and 7 + 20 + 1 raw bits
    words, raw = reader.varint(count * blocks), reader.varint(4 * count * blocks)
    states = np.frombuffer(reader.take(4 * LANES[lanes]), "<u4").astype(np.uint32)
    if states.min() < 1 << 16:
        raise _damaged("a state below 2^16")
    read = np.frombuffer(reader.take(2 * words), "<u2").astype(np.uint16)
    return Stream(count, states, read, np.frombuffer(bytes(reader.take(raw)), np.uint8))


def _damaged(found: str) -> InvalidRecord:
    return InvalidRecord(f"decoding a payload of mlp: it has {found}")
