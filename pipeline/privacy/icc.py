"""Take the texts out of an ICC profile, and leave what makes colours of samples (ISO 15076-1)."""

from __future__ import annotations

import struct

__all__ = ["without_texts"]

_COLOURS = frozenset(
    {
        *(b"XYZ ", b"curv", b"para", b"mft1", b"mft2", b"mAB ", b"mBA ", b"sf32", b"chrm"),
        *(b"view", b"meas", b"mpet"),
    }
)
"""Types of tags that hold numbers."""

MAX_TAGS = 200


def without_texts(profile: bytes) -> bytes | None:
    """Return a profile of the same length in which every text is blank; None if it is none.

    Bytes that no tag of numbers has become 0: texts, makers, dates, whatever lies between tags.
    """
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    (count,) = struct.unpack_from(">I", profile, 128)
    if count > MAX_TAGS or 132 + 12 * count > len(profile):
        return None
    made = bytearray(len(profile))
    made[:4] = struct.pack(">I", len(profile))
    made[8:24] = profile[8:24]  # version, class, spaces; not the maker's module before
    made[24:36] = struct.pack(">6H", 1970, 1, 1, 0, 0, 0)
    made[36:40] = b"acsp"
    made[44:48] = profile[44:48]
    made[64:80] = profile[64:80]  # intent and illuminant
    made[128:132] = profile[128:132]
    for number in range(count):
        at = 132 + 12 * number
        name, start, size = struct.unpack_from(">4sII", profile, at)
        if start < 132 + 12 * count or size < 8 or start + size > len(profile):
            return None
        made[at : at + 12] = profile[at : at + 12] if name in _NAMES else _unnamed(profile, at)
        data = profile[start : start + size]
        made[start : start + size] = data if data[:4] in _COLOURS else _blank(data)
    return bytes(made)


_NAMES = frozenset(
    {
        *(b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC"),
        *(b"chad", b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2", b"gamt", b"lumi"),
        *(b"meas", b"view", b"desc", b"cprt", b"chrm", b"pre0", b"pre1", b"pre2"),
        *(b"D2B0", b"D2B1", b"B2D0", b"B2D1"),
    }
)
"""Names of tags that the standard has."""


def _unnamed(profile: bytes, at: int) -> bytes:
    """Return an entry of the table of tags that is called by its number."""
    return b"x%03d" % ((at - 132) // 12) + profile[at + 4 : at + 12]


def _blank(data: bytes) -> bytes:
    """Return a text of the same type and length that is empty; of an unknown type an empty one."""
    blank = bytearray(len(data))
    blank[:4] = data[:4] if data[:4] in (b"desc", b"text", b"mluc") else b"text"
    if blank[:4] == b"desc" and len(data) >= 12:
        blank[8:12] = struct.pack(">I", 1)
    return bytes(blank)
