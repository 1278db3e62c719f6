"""What a packed file lists: members that can be unpacked, and what is left out, by reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "MAX_MEMBERS",
    "MAX_NAME_BYTES",
    "MAX_PART_BYTES",
    "PIECE_BYTES",
    "Extent",
    "LeftOut",
    "Listed",
    "Member",
    "clean_name",
]

MAX_MEMBERS = 2**22
"""Files in one packed file: some three times as many as the largest studies and products have."""

MAX_PART_BYTES = 255
"""Of a name, or of a folder's: what file systems take."""

MAX_NAME_BYTES = 2048
"""Of a name with its folders: it fits below a scratch folder."""

PIECE_BYTES = 2**20
"""What is unpacked at a time."""


class LeftOut(Enum):
    """Why a file in a packed file is not taken."""

    ENCRYPTED = "encrypted"
    METHOD = "packed by another method than deflate"
    NAME = "with a name that leads elsewhere, or that no file can have"
    SPARSE = "sparse"
    NESTED = "packed files themselves"
    LINK = "links in packed files"
    DEVICE = "pipes and devices"
    OLDER = "older files of the same name"

    @property
    def is_loss(self) -> bool:
        """Whether an image may be lost with it: then it is told as a failure."""
        return self not in (LeftOut.LINK, LeftOut.DEVICE, LeftOut.OLDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in a packed file."""

    name: str
    """Path below the packed file, as ``clean_name`` gives it."""
    size: int
    """As it is declared, unpacked; a file that unpacks to another size is damaged."""
    packed_bytes: int
    offset: int
    """Of its local header in a zip, of its content in a tar."""
    deflated: bool = False
    crc: int | None = None
    """CRC-32 of the content; None where the packed file does not tell."""
    mark: str = ""
    """What the packed file tells that changes with the content, where it tells no CRC."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The bytes of a packed file that one of its files lies in, taken or not."""

    start: int
    stop: int


Listed = Member | LeftOut | Extent
"""What a directory gives, one after another."""


def clean_name(name: str) -> str | None:
    """Return a member's path below its packed file; None where it is none that a file can have.

    ``./`` goes, and a backslash, which programs of Windows write, is a slash. A path that is
    absolute or goes up is none: whoever writes such a one means to reach another file.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return None
    bad = any(
        part in ("", "..") or not 0 < n <= MAX_PART_BYTES
        for part, n in zip(parts, sizes, strict=True)
    )
    if bad or "\0" in name or sum(sizes) + len(sizes) > MAX_NAME_BYTES or not parts:
        return None
    if len(parts[0]) == 2 and parts[0][1] == ":":  # a drive of Windows
        return None
    return "/".join(parts)
