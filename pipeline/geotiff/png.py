"""Check PNG files before GDAL reads them: for samples that are missing it gives stale memory."""

from __future__ import annotations

import zlib
from pathlib import Path

from tilepress.pipeline.storage.regular import open_regular

__all__ = ["png_damage"]

MAGIC = b"\x89PNG\r\n\x1a\n"
PIECE = 2**20
"""Bytes that are read or inflated at a time."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by colour type (PNG §11.2.2)."""

_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column and row, step of columns and rows of each pass (PNG §8.2)."""


def png_damage(path: Path) -> str | None:
    """Say what is wrong with a file's chunks, their CRCs or the length of its samples, or None.

    The whole file is read and inflated once, in pieces.
    """
    with open_regular(path) as file:
        if file.read(8) != MAGIC:
            return "no PNG signature"
        inflate = zlib.decompressobj()
        wanted, got = -1, 0
        while True:
            head = file.read(8)
            if len(head) < 8:
                return "it ends before its last chunk"
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            name = kind.decode("latin-1")
            crc, rest = zlib.crc32(kind), length
            body = b""
            while rest:
                piece = file.read(min(rest, PIECE))
                if not piece:
                    return f"it ends inside chunk {name!r}"
                rest -= len(piece)
                crc = zlib.crc32(piece, crc)
                if kind == b"IHDR":
                    body += piece
                elif kind == b"IDAT" and got <= wanted:
                    try:
                        got += _inflated(inflate, piece, wanted - got)
                    except zlib.error:
                        return "its samples cannot be inflated"
            if file.read(4) != crc.to_bytes(4, "big"):
                return f"chunk {name!r} does not match its CRC"
            if kind == b"IHDR":
                if len(body) != 13 or body[9] not in _CHANNELS:
                    return "its header makes no sense"
                wanted = _raw_bytes(body)
            if kind == b"IEND":
                break
    return None if got >= wanted >= 0 else f"its samples have {got} bytes, want {wanted}"


def _inflated(inflate: zlib._Decompress, piece: bytes, most: int) -> int:
    """Return how many bytes ``piece`` inflates to; no more than a little above ``most``."""
    got = 0
    while piece and got <= most and not inflate.eof:
        got += len(inflate.decompress(piece, PIECE))
        piece = inflate.unconsumed_tail
    return got


def _raw_bytes(header: bytes) -> int:
    """Return the length of all rows, each with its filter byte."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    total = 0
    for column, row, across, down in passes:
        columns = max(0, -(-(width - column) // across))
        rows = max(0, -(-(height - row) // down))
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total
