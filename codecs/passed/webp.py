"""The head of a WebP file (RFC 9649): one still image, lossless or lossy, with or without alpha."""

from __future__ import annotations

import struct

from tilepress.codecs.passed.head import Head, Refused

__all__ = ["read_head"]

_PASSED = frozenset({b"ALPH", b"ICCP", b"EXIF", b"XMP "})
_BYTES_OF_PIXEL = 32
"""Planes of lossy images, what is predicted of, pixels, alpha, and what is given back."""
_BYTES = 2**20


def read_head(data: bytes) -> Head:
    """Return what a whole file says of itself; raises Refused."""
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise _refused("it is cut") from error


def _read(data: bytes) -> Head:
    riff, length, kind = struct.unpack_from("<4sI4s", data)
    if riff != b"RIFF" or kind != b"WEBP":
        raise _refused("got no start of a file")
    if length < 12 or 8 + length > len(data):
        raise _refused("it is cut")
    canvas, at = None, 12
    while True:
        name, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size]
        if len(content) != size:
            raise _refused("it is cut")
        if name == b"VP8X":
            if content[0] & 2:
                raise _refused("it moves")
            canvas = _canvas(content)
        elif name in (b"VP8 ", b"VP8L"):
            sides = _of_lossy(content) if name == b"VP8 " else _of_lossless(content)
            break
        elif name not in _PASSED:
            raise _refused(f"it has a chunk {name!r}")
        at += 8 + size + size % 2
    if canvas not in (None, sides):
        raise _refused("its image and its canvas differ in size")
    columns, rows = sides
    return Head(
        rows=rows,
        columns=columns,
        components=(3, 4),
        bits=8,
        signed=False,
        exact=name == b"VP8L",
        memory=_BYTES_OF_PIXEL * rows * columns + _BYTES,
    )


def _canvas(content: bytes) -> tuple[int, int]:
    wide, high = (int.from_bytes(content[at : at + 3], "little") for at in (4, 7))
    return wide + 1, high + 1


def _of_lossy(content: bytes) -> tuple[int, int]:
    """Return columns and rows by the head of a key frame (RFC 6386, 9.1)."""
    wide, high = struct.unpack_from("<HH", content, 6)
    if content[0] & 1 or content[3:6] != b"\x9d\x01\x2a" or not wide & 16383 or not high & 16383:
        raise _refused("its image is no key frame")
    return wide & 16383, high & 16383


def _of_lossless(content: bytes) -> tuple[int, int]:
    (bits,) = struct.unpack_from("<I", content, 1)
    if content[0] != 0x2F or bits >> 29:
        raise _refused("its image begins otherwise than one")
    return (bits & 16383) + 1, (bits >> 14 & 16383) + 1


def _refused(found: str) -> Refused:
    return Refused(f"keeping a WebP stream: {found}")
