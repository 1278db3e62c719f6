"""The payload of a record of streams kept as they came (FORMAT.md §13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilepress.codecs.grid import MAX_STREAMS, Grid
from tilepress.codecs.limits import MAX_SIDE
from tilepress.codecs.passed.families import Family, family_of
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord, UnsupportedFormat

__all__ = ["AS_DECODED", "SIGNED", "UNSIGNED", "YCBCR", "Payload", "damaged", "pack", "unpack"]

AS_DECODED, SIGNED, UNSIGNED, YCBCR = range(4)
"""What a sample is of a decoded number: the number; its lowest bits (as many as the stream says
that it has), in two's complement; the same bits without sign; R, G, B of what is Y, Cb, Cr."""

_MAX_STREAM = 2**32


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload taken apart."""

    family: Family
    meaning: int
    grid: Grid
    streams: tuple[bytes | None, ...]


def pack(family: Family, meaning: int, grid: Grid, streams: Sequence[bytes | None]) -> bytes:
    """Return the payload."""
    numbers = (grid.frames, grid.rows, grid.columns, grid.height, grid.width)
    lengths = (0 if one is None else len(one) for one in streams)
    head = [bytes([family.number, meaning]), *map(varint, numbers), *map(varint, lengths)]
    return b"".join([*head, *(one for one in streams if one is not None)])


def unpack(payload: memoryview) -> Payload:
    """Take a payload, not trusted, apart; raises InvalidRecord or UnsupportedFormat."""
    reader = Reader(payload)
    number, meaning = reader.byte(), reader.byte()
    family = family_of(number)
    if family is None:
        raise UnsupportedFormat(f"decoding a record: it keeps streams of a family {number} unknown")
    if meaning > YCBCR:
        raise damaged(f"got {meaning} for what its samples are")
    frames, rows, columns = (reader.varint(MAX_STREAMS) for _ in range(3))
    height, width = (reader.varint(MAX_SIDE) for _ in range(2))
    grid = Grid(frames, rows, columns, height, width)
    if not 1 <= grid.count <= MAX_STREAMS or not height or not width:
        raise damaged(f"got a grid of {grid.count} streams")
    lengths = [reader.varint(_MAX_STREAM) for _ in range(grid.count)]
    streams = tuple(bytes(reader.take(length)) if length else None for length in lengths)
    reader.finish()
    return Payload(family, meaning, grid, streams)


def damaged(what: str) -> InvalidRecord:
    """Return the error of a payload that makes no sense."""
    return InvalidRecord(f"decoding a payload of streams: {what}")
