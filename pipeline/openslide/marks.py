"""Know slides that OpenSlide reads by their content, without OpenSlide.

Looked at are the marks that its own detection goes by (version 4.0): of TIFF files Software,
ImageDescription and XMP of the first directory; of others how they begin. A MIRAX file says
nothing, so its ending counts, and the folder beside it has to be there once it is read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import Enum
from typing import BinaryIO

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.names import stays_below

__all__ = ["Maker", "files_of_key_file", "is_key_file", "is_tiff", "maker_of", "tiff_maker"]


class Maker(Enum):
    """Whose format a slide is in, as people are told."""

    MIRAX = "3DHISTECH (MIRAX)"
    VMS = "Hamamatsu (VMS or VMU)"
    LEICA = "Leica (SCN)"
    PHILIPS = "Philips (TIFF)"
    SAKURA = "Sakura (svslide)"
    TRESTLE = "Trestle"
    VENTANA = "Ventana (BIF)"


_KEY_FILE = re.compile(rb"\s*\[(Uncompressed )?Virtual Microscope Specimen\]")
_SQLITE = b"SQLite format 3\0"
_SAKURA_TABLE = b"DataManagerSQLiteConfigXPO"
_SCHEMA_BYTES = 2**18
"""Of a database's beginning, where the names of its tables lie."""

MAX_KEY_FILE = 2**20

_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
DESCRIPTION, SOFTWARE, TILE_WIDTH, XMP = 270, 305, 322, 700
MAX_ENTRIES = 4096
MAX_TEXT = 2**20
"""Of a text in a directory that is looked at: marks stand at its beginning."""

_LEICA = re.compile(rb"http://www\.leica-microsystems\.com/scn/2010/(10/01|03/10)")


def is_tiff(head: bytes) -> bool:
    return head[:4] in _TIFF


def is_key_file(head: bytes) -> bool:
    """Whether a file begins as Hamamatsu's lists of the files of a slide do."""
    return _KEY_FILE.match(head) is not None


def maker_of(head: bytes, name: str, stream: BinaryIO) -> Maker | None:
    """Return whose slide a file is that is no TIFF file; None for any other file."""
    if is_key_file(head):
        return Maker.VMS
    if head.startswith(_SQLITE):
        stream.seek(0)
        return Maker.SAKURA if _SAKURA_TABLE in stream.read(_SCHEMA_BYTES) else None
    is_mirax = name.lower().endswith(".mrxs") and not is_tiff(head)
    return Maker.MIRAX if is_mirax else None


def tiff_maker(stream: BinaryIO) -> Maker | None:
    """Return whose slide a TIFF file is, by its first directory; None for any other file.

    What cannot be read has no mark.
    """
    try:
        texts = dict(_first_directory(stream))
    except (struct.error, ValueError, OverflowError, OSError):  # offsets that no file has
        return None
    software = texts.get(SOFTWARE, b"")
    if _LEICA.search(texts.get(DESCRIPTION, b"")):
        return Maker.LEICA
    if b"iScan" in texts.get(XMP, b""):
        return Maker.VENTANA
    if TILE_WIDTH in texts and software.startswith(b"Philips"):
        return Maker.PHILIPS if b"DPUfsImport" in texts.get(DESCRIPTION, b"") else None
    if TILE_WIDTH in texts and software.startswith(b"MedScan") and DESCRIPTION in texts:
        return Maker.TRESTLE
    return None


def _first_directory(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield tags of a TIFF file's first directory, with the beginning of its texts.

    Raises struct.error where the file ends before.
    """
    stream.seek(0)
    head = stream.read(16)
    order = _TIFF.get(head[:4], "")
    big = b"+" in head[2:4]
    offset_form, count_form, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + offset_form, head, 8 if big else 4)
    stream.seek(at)
    (count,) = struct.unpack(order + count_form, stream.read(struct.calcsize(count_form)))
    entries = stream.read(entry_bytes * min(count, MAX_ENTRIES))
    for start in range(0, len(entries) - entry_bytes + 1, entry_bytes):
        tag, _, length = struct.unpack_from(f"{order}HH{offset_form}", entries, start)
        if tag == TILE_WIDTH:
            yield tag, b""
        elif tag in (DESCRIPTION, SOFTWARE, XMP):
            value = entries[start + entry_bytes // 5 * 3 : start + entry_bytes]
            value = value[-8:] if big else value[-4:]
            if length > len(value):
                stream.seek(struct.unpack(order + offset_form, value)[0])
                value = stream.read(min(length, MAX_TEXT))
            yield tag, value[:length]


def files_of_key_file(stream: BinaryIO, path: str) -> tuple[str, ...]:
    """Return the files that a list of Hamamatsu's names, all of its own folder.

    Raises UnsupportedSource where one lies elsewhere. What only speeds reading up is left out.
    """
    stream.seek(0)
    text = stream.read(MAX_KEY_FILE).decode("utf-8", "replace")
    found: dict[str, None] = {}
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not value or not re.match(r"(ImageFile|MapFile|MacroImage)\b", key):
            continue
        if "/" in value or value.startswith("*") or not stays_below(value):
            raise UnsupportedSource(
                f"opening {path}: it names a file of another folder ({key}), which is not opened"
            )
        found[value] = None
    if not found:
        raise UnsupportedSource(f"opening {path}: it names no files of a slide")
    return tuple(found)
