"""The head of a JPEG-LS stream (ITU-T T.87): its frame, its first scan, and nothing unusual."""

from __future__ import annotations

import struct

from tilepress.codecs.passed.head import MAX_BITS, Head, Refused

__all__ = ["read_head"]

_SOI, _SOF, _LSE, _SOS = 0xFFD8, 0xFFF7, 0xFFF8, 0xFFDA
_PASSED = frozenset({0xFFFE, *range(0xFFE0, 0xFFF0)})
"""Comments and segments of applications."""
_COLOURS = b"mrfx"
"""What a segment begins with that asks for a transform of colours, which T.87 has not."""
_PRESET = 1
"""The one kind of LSE that holds coding parameters; others are tables and sizes."""
_BYTES_OF_SAMPLE = 8
"""As it is decoded, as it is interleaved, and as it is given back."""
_BYTES = 2**20


def read_head(data: bytes) -> Head:
    """Return what a stream says of itself; raises Refused. One that is cut its decoder refuses."""
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise _refused("it is cut") from error


def _read(data: bytes) -> Head:
    (start,) = struct.unpack_from(">H", data)
    if start != _SOI:
        raise _refused("got no start of an image")
    at, frame = 2, None
    while True:
        marker, size = struct.unpack_from(">HH", data, at)
        content = data[at + 4 : at + 2 + size]
        if size < 2 or len(content) != size - 2:
            raise _refused("it is cut")
        if marker == _SOF:
            if frame is not None:
                raise _refused("it has two frames")
            frame = _frame(content)
        elif marker == _SOS:
            break
        elif marker == _LSE:
            if content[0] != _PRESET:
                raise _refused(f"it has an LSE segment of kind {content[0]}")
        elif marker not in _PASSED or content.startswith(_COLOURS):
            raise _refused(f"it has a marker {marker:04x} that is not kept")
        at += 2 + size
    if frame is None:
        raise _refused("it has a scan before its frame")
    return frame


def _frame(content: bytes) -> Head:
    bits, rows, columns, count = struct.unpack_from(">BHHB", content)
    if len(content) != 6 + 3 * count or any(
        content[at] != 0x11 for at in range(7, len(content), 3)
    ):
        raise _refused("its components differ in size, or are others than it says")
    if not 2 <= bits <= MAX_BITS or not rows or not columns or count not in (1, 2, 3, 4):
        raise _refused(f"it has {count} components of {bits} bits, {rows} × {columns}")
    return Head(
        rows=rows,
        columns=columns,
        components=(count,),
        bits=bits,
        signed=False,
        exact=True,
        memory=_BYTES_OF_SAMPLE * rows * columns * count + _BYTES,
    )


def _refused(found: str) -> Refused:
    return Refused(f"keeping a JPEG-LS stream: {found}")
