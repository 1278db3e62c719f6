"""Tell whether a file is DICOM, by its content."""

from __future__ import annotations

from pathlib import Path

from tilepress.pipeline.dicom.bytes import open_file

__all__ = ["has_prefix", "is_dicom", "may_be_data_set"]

_FIRST_ELEMENTS = frozenset(
    {
        *((0x0002, n) for n in (0x0000, 0x0001, 0x0002, 0x0010)),
        *((0x0008, n) for n in (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016, 0x0018)),
    }
)
"""What a data set begins with."""


def has_prefix(head: bytes) -> bool:
    """Whether a file has the prefix "DICM", behind a preamble that may hold anything (PS3.10 §7.1).

    ``head`` are its first 132 bytes.
    """
    return head[128:132] == b"DICM"


def may_be_data_set(head: bytes) -> bool:
    """Whether a file begins as a data set without preamble does; some other files do, too."""
    first = {
        (int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order))
        for order in ("little", "big")
    }
    return len(head) > 16 and bool(first & _FIRST_ELEMENTS)


def is_dicom(path: str | Path) -> bool:
    """Whether the content of ``path`` is DICOM.

    The prefix "DICM" behind a preamble says so. A file without it must begin with one of the
    elements that a data set begins with, and parse up to pixels or a SOP class of the standard.
    """
    from tilepress.pipeline.dicom.header import looks_like_data_set

    try:
        source = open_file(path)
    except OSError:
        return False
    try:
        head = source.read(0, 132)
    except OSError:
        return False
    finally:
        source.close()
    return has_prefix(head) or (may_be_data_set(head) and looks_like_data_set(str(path)))
