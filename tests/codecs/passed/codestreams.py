"""JPEG 2000 codestreams that claim much and hold nothing."""

from __future__ import annotations

import struct

__all__ = ["codestream", "segment"]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">HH", marker, len(data) + 2) + data


def codestream(
    rows: int,
    columns: int,
    *,
    components: int = 1,
    depth: int = 7,
    tile: tuple[int, int] | None = None,
    levels: int = 5,
    block: tuple[int, int] = (6, 6),
    precinct: int | None = None,
    layers: int = 1,
    transform: int = 1,
    tiles: int = 1,
    first: bytes = b"",
) -> bytes:
    """Return a codestream of empty tiles.

    block : exponents of the sides of a code-block; first : more markers of the first tile.
    """
    high, wide = tile or (rows, columns)
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, wide, high, 0, 0, components)
    high_block, wide_block = block
    style = struct.pack(
        ">BBHB5B", precinct is not None, 0, layers, 0, levels, high_block - 2, wide_block - 2, 0,
        transform,
    )  # fmt: skip
    if precinct is not None:
        style += bytes([precinct]) * (levels + 1)
    bands = 3 * levels + 1
    steps = b"\x40" + b"\x40" * bands if transform else b"\x42" + b"@\0" * bands
    out = b"\xff\x4f" + segment(0xFF51, size + bytes([depth, 1, 1]) * components)
    out += segment(0xFF52, style) + segment(0xFF5C, steps)
    for number in range(tiles):
        body = (first if number == 0 else b"") + b"\xff\x93\0"
        out += struct.pack(">HHHIBB", 0xFF90, 10, number, 12 + len(body), 0, 1) + body
    return out + b"\xff\xd9"
