"""How many bytes a shared library has to have, by its own headers (System V ABI, ELF-64)."""

from __future__ import annotations

import struct

__all__ = ["HEADER_BYTES", "MAGIC", "least_bytes"]

MAGIC = b"\x7fELF"

HEADER_BYTES = 64
"""Bytes of the header of a file of 64 bits."""

_LAYOUTS = {b"\x02\x01": "<", b"\x02\x02": ">"}
"""Class and byte order, of 64 bits."""


def least_bytes(file: bytes) -> int:
    """Return where the last thing ends that the headers of a library name.

    file : the whole of it, or what there is of it. It is 0 for what no loader takes for a library
    of 64 bits. A loader maps what the headers name without a look at the length, and a page behind
    the end of the file ends the process.
    """
    if not file.startswith(MAGIC):
        return 0
    if len(file) < HEADER_BYTES:
        return HEADER_BYTES
    order = _LAYOUTS.get(file[4:6])
    if order is None:
        return 0
    segments, sections = struct.unpack_from(f"{order}QQ", file, 32)
    segment_bytes, segment_count, section_bytes, section_count = struct.unpack_from(
        f"{order}4H", file, 54
    )
    ends: list[int] = [HEADER_BYTES, sections + section_bytes * section_count]
    for at in range(segments, segments + segment_bytes * segment_count, segment_bytes or 1):
        ends.append(at + segment_bytes)
        if at + 56 <= len(file):  # what comes before the end is read, what does not is missed
            offset, length = struct.unpack_from(f"{order}Q16xQ", file, at + 8)
            ends.append(offset + length)
    return max(ends)
