"""Take the texts out of an ICC profile, and leave what makes colours of samples (ISO 15076-1)."""

from __future__ import annotations

import struct

__all__ = ["without_texts"]

_CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
_SPACES = frozenset({b"RGB ", b"GRAY", b"CMYK", b"XYZ ", b"Lab "})
_INTENTS = 4
_D50 = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
"""The illuminant of every profile (7.2.16)."""

_TABLES = (b"A2B", b"B2A", b"D2B", b"B2D", b"gamt", b"pre")
"""Beginnings of names of tags that are tables of any content: no profile without them is one."""

_LARGEST = 8 << 16
"""Fixed-point numbers of colours are below 8, and a text is not."""

_PARAMETERS = (1, 3, 4, 5, 7)
"""Of a curve, by its type (10.18)."""

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
    if profile[12:16] not in _CLASSES or not {profile[16:20], profile[20:24]} <= _SPACES:
        return None
    made[8:10] = profile[8:10]  # version
    made[12:24] = profile[12:24]  # class and spaces; not the maker's module before
    made[24:36] = struct.pack(">6H", 1970, 1, 1, 0, 0, 0)
    made[36:40] = b"acsp"
    made[67] = profile[67] % _INTENTS
    made[68:80] = _D50
    made[128:132] = profile[128:132]
    for number in range(count):
        at = 132 + 12 * number
        name, start, size = struct.unpack_from(">4sII", profile, at)
        if start < 132 + 12 * count or size < 8 or start + size > len(profile):
            return None
        made[at : at + 12] = profile[at : at + 12] if name in _NAMES else _unnamed(profile, at)
        if name.startswith(_TABLES):
            return None
        data = profile[start : start + size]
        made[start : start + size] = _numbers(data) or _blank(data)
    return bytes(made)


def _numbers(data: bytes) -> bytes | None:
    """Return a tag of the same length that is numbers and nothing else; None for any other."""
    kind, length = data[:4], 0
    if kind == b"XYZ ":
        length = 20
    elif kind == b"sf32":
        length = 44
    elif kind == b"para" and len(data) >= 12 and data[9] < len(_PARAMETERS):
        length = 12 + 4 * _PARAMETERS[data[9]]
    elif kind == b"curv" and len(data) >= 12:
        length = 12 + 2 * int.from_bytes(data[8:12], "big")
    if not length or not length <= len(data) < length + 4:
        return None
    if kind == b"curv":
        curve = struct.unpack_from(f">{(length - 12) // 2}H", data, 12)
        if list(curve) not in (sorted(curve), sorted(curve, reverse=True)):
            return None
    else:
        begin = 12 if kind == b"para" else 8
        fixed = struct.unpack_from(f">{(length - begin) // 4}i", data, begin)
        if any(abs(number) >= _LARGEST for number in fixed):
            return None
    head = {b"curv": data[8:12], b"para": b"\0" + data[9:10] + bytes(2)}.get(kind, b"")
    return (kind + bytes(4) + head + data[8 + len(head) : length]).ljust(len(data), b"\0")


_NAMES = frozenset(
    {
        *(b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC"),
        *(b"chad", b"lumi", b"meas", b"view", b"desc", b"cprt", b"chrm"),
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
