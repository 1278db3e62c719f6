"""Read the directories of NDPI files past 4 GiB: entries of classic TIFF, with offsets of 64 bits.

The header has 64 bits for where the first directory starts, each directory for where the next one
does, and behind it the upper halves of what stands in its entries. (There is no specification;
OpenSlide and tifffile read them so.)
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["LONG8", "MAX_ENTRIES", "NDPI", "halved_directory", "halved_offset", "text_elsewhere"]

MAX_ENTRIES = 4096
"""Entries of one directory; real ones have a few dozen."""
LONG, LONG8 = 4, 16
HEAD_BYTES = 12
NDPI = 65420
"""What every page of Hamamatsu's has."""


def halved_offset(file: BinaryIO, head: bytes) -> int:
    """Return where the first directory of an NDPI file past 4 GiB starts; 0 for any other file."""
    size = file.seek(0, os.SEEK_END)
    at = int.from_bytes(head[4:12], "little")
    if size < 2**32 or not 0 < at < size:
        return 0
    try:
        raw, _ = halved_directory(file, at)
    except (ValueError, struct.error):
        return 0
    return at if NDPI in raw else 0


def text_elsewhere(file: BinaryIO, inline: bytes, count: int) -> bytes | None:
    """Return the short text that an entry of NDPI points to; None where it holds it itself.

    Hamamatsu writes texts out of their entries that would fit into them.
    """
    at = int.from_bytes(inline, "little")
    if not HEAD_BYTES <= at <= file.seek(0, os.SEEK_END) - count:
        return None
    file.seek(at)
    text = file.read(count)
    is_text = text[-1:] == b"\0" and text.rstrip(b"\0").decode("latin-1").isprintable()
    return text if is_text else None


def halved_directory(file: BinaryIO, at: int) -> tuple[dict[int, bytes], int]:
    """Return the entries of such a directory as BigTIFF has them, and where the next one starts."""
    file.seek(at)
    (count,) = struct.unpack("<H", file.read(2))
    if count > MAX_ENTRIES:
        raise ValueError("too many entries")
    block, following, upper = file.read(12 * count), file.read(8), file.read(4 * count)
    if len(upper) != 4 * count:
        raise ValueError("directory is cut off")
    raw: dict[int, bytes] = {}
    for number in range(count):
        entry = block[12 * number : 12 * number + 12]
        high = upper[4 * number : 4 * number + 4]
        tag, kind, values = struct.unpack("<HHI", entry[:8])
        if kind == LONG and values == 1 and any(high):
            kind = LONG8
        raw.setdefault(tag, struct.pack("<HHQ", tag, kind, values) + entry[8:] + high)
    return raw, int(struct.unpack("<Q", following)[0])
