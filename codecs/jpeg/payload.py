"""The payload of a record of JPEG streams: packing beside unpacking (FORMAT.md §12)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.grid import MAX_STREAMS, Grid
from tilepress.codecs.jpeg.correction import Correction
from tilepress.codecs.jpeg.markers import Refused, damaged
from tilepress.codecs.jpeg.stream import ONES, Stream, read_skeleton, read_tables
from tilepress.codecs.jpeg.usual import usual_tables
from tilepress.codecs.limits import MAX_SIDE
from tilepress.codecs.wave.wire import Reader, varint

__all__ = ["Head", "Payload", "pack", "unpack"]

_MAX_HEAD = 2**24
"""Bytes of a head at most."""
_MAX_SKELETONS = 2**26
"""Bytes of all skeletons of a record at most, and of the bits that fill bytes between them."""

_INVERTED, _ALIKE, _CORRECTED, _OF_ANY_SIZE = 4, 32, 64, 128
_MANNER = 3
"""Where the two bits of the manner begin."""
_ZEROS, _ALL_ONES, _LISTED = range(3)


@dataclass(frozen=True, slots=True)
class Head:
    """All but coefficients and correction."""

    grid: Grid
    tables: bytes
    """An abbreviated stream with the tables that all streams share; may be empty."""
    streams: tuple[Stream | None, ...]
    colour: int
    """What is done with components: 0 nothing, 1 YCbCr → RGB, 2 YCCK → CMYK."""
    inverted: bool
    """Samples are what is left to the largest value, as Adobe's CMYK."""
    manner: int
    """How components of fewer samples are spread (render.py)."""
    family: int
    """Which contexts components use (planes.py)."""
    crc: int
    """CRC-32C of all streams, one after another."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload taken apart."""

    head: Head
    code: memoryview
    """Of the coefficients."""
    correction: Correction | None
    """What to add to samples."""


def pack(head: Head, code: bytes, correction: Correction | None) -> bytes:
    """Return the payload."""
    grid = head.grid
    parts = [
        head.crc.to_bytes(4, "little"),
        *(varint(n) for n in (grid.frames, grid.rows, grid.columns, grid.height, grid.width)),
        varint(len(head.tables)),
        head.tables,
    ]
    before = b""
    for stream in head.streams:
        if stream is None:
            parts.append(varint(0))
            continue
        parts += _pack_skeleton(stream.skeleton, before)
        parts += [_pack_pads(pads) for pads in stream.pads]
        before = stream.skeleton
    plain = b"".join(parts)
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=usual_tables())
    squeezed = squeezer.compress(plain) + squeezer.flush()
    flags = (
        head.colour
        | (_INVERTED if head.inverted else 0)
        | head.manner << _MANNER
        | (_ALIKE if head.family else 0)
        | (0 if correction is None else _CORRECTED)
        | (_OF_ANY_SIZE if correction is not None and correction.of_any_size else 0)
    )
    last = b"" if correction is None else varint(len(code))
    pieces = [bytes([flags]), varint(len(plain)), varint(len(squeezed)), squeezed, last, code]
    return b"".join(pieces) + (b"" if correction is None else correction.code)


def unpack(payload: memoryview, budget: Budget) -> Payload:
    """Take a payload, not trusted, apart; raises InvalidRecord or TooMuchMemory."""
    reader = Reader(payload)
    flags = reader.byte()
    if flags & 3 == 3 or (flags & _OF_ANY_SIZE and not flags & _CORRECTED):
        raise damaged(f"got flags {flags}")
    size = reader.varint(_MAX_HEAD)
    budget.check(2 * size)
    plain = Reader(memoryview(_inflated(bytes(reader.take(reader.varint(2**26))), size)))
    crc = plain.fixed(4)
    frames, rows, columns = (plain.varint(MAX_STREAMS) for _ in range(3))
    height, width = (plain.varint(MAX_SIDE) for _ in range(2))
    grid = Grid(frames, rows, columns, height, width)
    if not 1 <= grid.count <= MAX_STREAMS or not height or not width:
        raise damaged(f"got a grid of {grid.count} streams")
    tables = bytes(plain.take(plain.varint(_MAX_HEAD)))
    streams = _unpack_streams(plain, grid.count, tables, budget)
    plain.finish()
    head = Head(
        grid, tables, streams, flags & 3, bool(flags & _INVERTED), (flags >> _MANNER) & 3,
        int(bool(flags & _ALIKE)), crc,
    )  # fmt: skip
    if not flags & _CORRECTED:
        return Payload(head, reader.take(reader.left), None)
    code = reader.take(reader.varint(2**31))
    rest = reader.take(reader.left)
    return Payload(head, code, Correction(rest, bool(flags & _OF_ANY_SIZE)))


def _unpack_streams(
    plain: Reader, count: int, tables: bytes, budget: Budget
) -> tuple[Stream | None, ...]:
    streams: list[Stream | None] = []
    before, total = b"", 0
    try:
        shared = read_tables(tables)
        for _ in range(count):
            skeleton = _unpack_skeleton(plain, before)
            if skeleton is None:
                streams.append(None)
                continue
            total += len(skeleton)
            if total > _MAX_SKELETONS:
                raise damaged("its skeletons are too long")
            stream = read_skeleton(skeleton, shared)
            total += sum(2 * stream.intervals(scan) for scan, _ in stream.scans)
            budget.check(total)
            stream.pads = [_unpack_pads(plain, stream.intervals(s)) for s, _ in stream.scans]
            streams.append(stream)
            before = skeleton
    except Refused as error:
        raise damaged(f"a skeleton is damaged ({error})") from error
    return tuple(streams)


def _pack_skeleton(skeleton: bytes, before: bytes) -> list[bytes]:
    """Return 1 + how many bytes are as the last one's, how many at the end, and those between."""
    prefix = _alike(skeleton, before)
    suffix = _alike(skeleton[prefix:][::-1], before[prefix:][::-1])
    middle = skeleton[prefix : len(skeleton) - suffix]
    return [varint(1 + prefix), varint(suffix), varint(len(middle)), middle]


def _alike(a: bytes, b: bytes) -> int:
    """Return how many bytes two begin with in common."""
    size = min(len(a), len(b))
    differ = np.frombuffer(a, np.uint8, size) != np.frombuffer(b, np.uint8, size)
    return int(differ.argmax()) if differ.any() else size


def _unpack_skeleton(plain: Reader, before: bytes) -> bytes | None:
    prefix = plain.varint(len(before) + 1) - 1
    if prefix < 0:
        return None
    suffix = plain.varint(len(before) - prefix)
    middle = bytes(plain.take(plain.varint(_MAX_HEAD)))
    return before[:prefix] + middle + before[len(before) - suffix :]


def _pack_pads(pads: npt.NDArray[np.int16]) -> bytes:
    if np.all(pads == ONES):
        return bytes([_ALL_ONES])
    if not pads.any():
        return bytes([_ZEROS])
    return bytes([_LISTED]) + pads.astype(np.uint8).tobytes()


def _unpack_pads(plain: Reader, count: int) -> npt.NDArray[np.int16]:
    how = plain.byte()
    if how == _LISTED:
        return np.frombuffer(plain.take(count), np.uint8).astype(np.int16)
    if how > _LISTED:
        raise damaged(f"got {how} for the bits that fill bytes")
    return np.full(count, ONES if how == _ALL_ONES else 0, np.int16)


def _inflated(data: bytes, size: int) -> bytes:
    """Return what a deflate stream holds, which must be of a size."""
    unpacker = zlib.decompressobj(-15, zdict=usual_tables())
    try:
        plain = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise damaged("its head is no deflate stream") from error
    if len(plain) != size or not unpacker.eof or unpacker.unused_data:
        raise damaged("its head has a wrong length")
    return plain
