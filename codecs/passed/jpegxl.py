"""The head of a JPEG XL codestream (ISO/IEC 18181-1, annexes C and D, 18181-2 of its boxes).

One frame that is the image, of one or three colours, is kept: no profile, alpha, preview, animation
or orientation. Other frames may be larger than the image, and nothing would bound them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tilepress.codecs.passed.head import MAX_BITS, Head, Refused

__all__ = ["read_head"]

_JXL_BOX = bytes.fromhex("0000000c4a584c200d0a870a")
_BYTES_OF_SAMPLE = 64
"""Floats of the image, of what it is predicted of and filtered with, and what is given back."""
_BYTES = 2**26

GREY, RGB = 1, 0
_CUSTOM = 2
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_NAME = ((0, 0), (4, 0), (5, 16), (10, 48))


class _Metadata(NamedTuple):
    bits: int
    colours: int
    xyb: bool


class _Bits:
    """Reads bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, count: int) -> int:
        last = self._at + count
        if last > 8 * len(self._data):
            raise _refused("it is cut")
        word = int.from_bytes(self._data[self._at // 8 : last // 8 + 1], "little")
        found = word >> self._at % 8 & ((1 << count) - 1)
        self._at = last
        return found

    def flag(self) -> bool:
        return self.read(1) == 1

    def choice(self, kinds: tuple[tuple[int, int], ...]) -> int:
        """Read two bits that say how many follow, and what to add to them."""
        count, more = kinds[self.read(2)]
        return self.read(count) + more

    def long(self) -> int:
        """Read a number of up to 64 bits (18181-1, U64)."""
        kind = self.read(2)
        if kind < 3:
            return (0, 1, 17)[kind] + self.read((0, 4, 8)[kind])
        found, shift = self.read(12), 12
        while shift < 60 and self.flag():
            found |= self.read(8) << shift
            shift += 8
        return found | self.read(4) << 60 if shift == 60 and self.flag() else found

    def to_byte(self) -> None:
        if self.read(-self._at % 8):
            raise _refused("bits that fill a byte are set")


def read_head(data: bytes) -> Head:
    """Return what a codestream, bare or in boxes, says of itself; raises Refused."""
    try:
        stream = _codestream(data)
    except struct.error as error:
        raise _refused("it is cut") from error
    if stream[:2] != b"\xff\x0a":
        raise _refused("got no start of a codestream")
    bits = _Bits(stream[2:4096])
    rows, columns = _size(bits)
    told = _metadata(bits)
    bits.to_byte()
    return Head(
        rows=rows,
        columns=columns,
        components=(told.colours,),
        bits=told.bits,
        signed=False,
        exact=_frame(bits, told),
        memory=_BYTES_OF_SAMPLE * rows * columns * told.colours + _BYTES,
    )


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, joined where it lies in several boxes."""
    if not data.startswith(_JXL_BOX):
        return data
    parts, at = [], 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if length == 0:
            length = len(data) - at
        if length < head or at + length > len(data):
            raise _refused("a box has an impossible length")
        if kind == b"jxlc":
            return data[at + head : at + length]
        if kind == b"jxlp":
            parts.append(data[at + head + 4 : at + length])
        at += length
    return b"".join(parts)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()
    rows = 8 * (bits.read(5) + 1) if small else bits.choice(_SIZES)
    ratio = bits.read(3)
    if ratio:
        return rows, rows * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1]
    return rows, 8 * (bits.read(5) + 1) if small else bits.choice(_SIZES)


def _metadata(bits: _Bits) -> _Metadata:
    if bits.flag():
        found = _Metadata(8, 3, True)
    else:
        extra = bits.flag()
        if extra and (bits.read(3) or any(bits.flag() for _ in range(3))):
            raise _refused("it is turned, moves, or has a preview")
        if bits.flag():
            raise _refused("its samples are floats")
        depth = bits.choice(((0, 8), (0, 10), (0, 12), (6, 1)))
        if depth > MAX_BITS:
            raise _refused(f"its samples have {depth} bits")
        bits.flag()  # whether 16 bits suffice for what is decoded
        if bits.choice(((0, 0), (0, 1), (4, 2), (12, 1))):
            raise _refused("it has more than colours")
        xyb = bits.flag()
        found = _Metadata(depth, _colours(bits), xyb)
        if extra and not bits.flag():  # how bright it is meant to be
            bits.read(32)
            bits.read(17)
        if bits.long():
            raise _refused("its head is extended")
    if not bits.flag():
        raise _refused("its colours are made in a way of its own")
    return found


def _colours(bits: _Bits) -> int:
    """Return the number of colours; how they are meant changes no sample."""
    if bits.flag():
        return 3
    if bits.flag():
        raise _refused("it has a colour profile")
    space = bits.choice(_ENUM)
    if space not in (GREY, RGB):
        raise _refused("it is neither grey nor red, green and blue")
    if bits.choice(_ENUM) == _CUSTOM:
        _points(bits, 1)
    if space == RGB and bits.choice(_ENUM) == _CUSTOM:
        _points(bits, 3)
    if bits.flag():
        bits.read(24)
    else:
        bits.choice(_ENUM)
    bits.choice(_ENUM)
    return 3 if space == RGB else 1


def _points(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choice(((19, 0), (19, 2**19), (20, 2**20), (21, 2**21)))


def _frame(bits: _Bits, told: _Metadata) -> bool:
    """Check the head of the first frame, which must be all; return whether it is exact."""
    if bits.flag():
        return False
    if bits.read(2):
        raise _refused("it begins with a frame that is not shown")
    modular = bits.flag()
    flags = bits.long()
    colour = not told.xyb and bits.flag()
    if flags & 32:
        raise _refused("it needs another frame")
    if colour:
        bits.read(6)
    upsampled = bits.read(2) != 0
    if modular:
        bits.read(2)
    elif told.xyb:
        bits.read(6)
    _passes(bits)
    if bits.flag():
        raise _refused("its frame is a part of it")
    if bits.choice(((0, 0), (0, 1), (0, 2), (2, 3))):
        raise _refused("its frame is laid over another")
    if not bits.flag():
        raise _refused("it has more than one frame")
    for _ in range(bits.choice(_NAME)):
        bits.read(8)
    filtered = bits.flag() or bits.flag() or bits.read(2) != 0
    return modular and not (told.xyb or colour or flags or upsampled or filtered)


def _passes(bits: _Bits) -> None:
    count = bits.choice(((0, 1), (0, 2), (0, 3), (3, 4)))
    if count == 1:
        return
    smaller = bits.choice(((0, 0), (0, 1), (0, 2), (1, 3)))
    bits.read(2 * (count - 1))
    for _ in range(smaller):
        bits.read(2)
    for _ in range(smaller):
        bits.choice(((0, 0), (0, 1), (0, 2), (3, 0)))


def _refused(found: str) -> Refused:
    return Refused(f"keeping a JPEG XL stream: {found}")
