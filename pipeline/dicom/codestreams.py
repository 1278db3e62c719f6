"""Read what a codestream says of itself, before a decoder allocates anything for it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from tilepress.pipeline.dicom.bytes import ByteSource, PixelElement

__all__ = ["CODESTREAM_HEAD_BYTES", "Declared", "declared", "declared_precision"]

CODESTREAM_HEAD_BYTES = 2**20
"""What is read of a codestream to find its size."""


class Declared(NamedTuple):
    """What a codestream says of itself."""

    rows: int
    columns: int
    bands: int
    bits: int


def declared(head: bytes) -> Declared | None:
    """Parse the beginning of a JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream; None of others."""
    if head.startswith(b"\xff\xd8"):
        return _declared_jpeg(head)
    if head.startswith((b"\xff\x0a", _JPEG_XL_BOX)):
        return _declared_jpeg_xl(head)
    siz = head.find(b"\xff\x4f\xff\x51", 0, 4096)
    if siz < 0 or len(head) < siz + 43:
        return None
    x1, y1, x0, y0 = struct.unpack_from(">4I", head, siz + 8)
    bands, bits = struct.unpack_from(">HB", head, siz + 40)
    return Declared(y1 - y0, x1 - x0, bands, (bits & 0x7F) + 1)


def _declared_jpeg(head: bytes) -> Declared | None:
    """Walk the markers up to the frame header (SOF0 … SOF15 or SOF55)."""
    position = 2
    while position + 10 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, bands = struct.unpack_from(">BHHB", head, position + 4)
            return Declared(rows, columns, bands, bits) if rows and columns else None
        if marker == 0xDA:
            return None
        position += 2 + struct.unpack_from(">H", head, position + 2)[0]
    return None


_JPEG_XL_BOX = bytes.fromhex("0000000c4a584c200d0a870a")


def _declared_jpeg_xl(head: bytes) -> Declared | None:
    """Read the size header (ISO/IEC 18181-1, annex D.2); bands and bits are 0: not told."""
    start = _jpeg_xl_codestream(head)
    if head[start : start + 2] != b"\xff\x0a":
        return None
    bits = _Bits(head[start + 2 : start + 16])
    if small := bits.read(1):
        rows = 8 * (bits.read(5) + 1)
    else:
        rows = bits.read(_SIZES[bits.read(2)]) + 1
    ratio = _RATIOS[bits.read(3)]
    if ratio is not None:
        return Declared(rows, rows * ratio[0] // ratio[1], 0, 0)
    columns = 8 * (bits.read(5) + 1) if small else bits.read(_SIZES[bits.read(2)]) + 1
    return Declared(rows, columns, 0, 0)


_SIZES = (9, 13, 18, 30)
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Of columns to rows."""


def _jpeg_xl_codestream(head: bytes) -> int:
    """Return where the codestream begins: at once, or in the first box that has a part of it."""
    position = 0
    while head[position : position + 2] != b"\xff\x0a" and position + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        if kind == b"jxlc":
            return position + (16 if length == 1 else 8)
        if kind == b"jxlp":
            return position + (20 if length == 1 else 12)
        if length < 8:  # to the end of the file, or a length of 64 bits before the pixels
            return len(head)
        position += length
    return position


class _Bits:
    """Reads bits, the lowest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def read(self, count: int) -> int:
        """Return a number; 0 where there are no bits left."""
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        return found


def declared_precision(source: ByteSource, element: PixelElement) -> int:
    """Return the bits per sample that the first codestream declares; 0 where it does not tell."""
    head = source.read(element.value_offset, CODESTREAM_HEAD_BYTES)
    if not element.encapsulated or len(head) < 16:
        return 0
    skip = 8 + struct.unpack_from("<I", head, 4)[0] + 8
    found = declared(head[skip:])
    return found.bits if found else 0
