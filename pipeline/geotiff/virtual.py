"""Tell whether an HDF5 file maps samples of other files (virtual datasets, HDF5 1.10).

Its library gives fill values for files that it cannot open, and says nothing. Which files they are
stands in objects of global heaps (HDF5 file format 3.0, §III.E, "Virtual Dataset Layout"): what
looks like one is taken for one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tilepress.pipeline.storage.regular import open_regular

__all__ = ["HDF5_MAGIC", "maps_other_files"]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

PIECE_BYTES = 2**22

_COLLECTION = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")
_MAX_COLLECTION_BYTES = 2**26

_MAPPING = re.compile(
    rb"[\0\1].{8}.?(?:[^\0]{1,4096}\0)?(?:[^\0]{1,4096}\0)[\0-\3]\0\0\0[\0-\3]\0\0\0", re.DOTALL
)
"""A version and a count; names of a file and of a dataset in it, of which newer versions may leave
one out; the type and version of a selection."""


def maps_other_files(path: Path) -> bool:
    """Whether a file is HDF5 and may map samples of other files. Raises OSError."""
    with open_regular(path) as file:
        if file.read(len(HDF5_MAGIC)) != HDF5_MAGIC:
            return False
        return any(
            _is_mapping(value) for place in _collections(file) for value in _objects(file, place)
        )


def _collections(file: BinaryIO) -> Iterator[int]:
    """Yield where collections of global heaps may begin."""
    at, kept = 0, b""
    while True:
        file.seek(at)
        piece = file.read(PIECE_BYTES)
        if not piece:
            return
        window = kept + piece
        for found in re.finditer(b"GCOL\1\0\0\0", window):
            yield at - len(kept) + found.start()
        at, kept = at + len(piece), window[-7:]


def _objects(file: BinaryIO, place: int) -> Iterator[bytes]:
    """Yield the values of a collection."""
    file.seek(place)
    head = file.read(_COLLECTION.size)
    if len(head) < _COLLECTION.size:
        return
    length = min(_COLLECTION.unpack(head)[2], _MAX_COLLECTION_BYTES)
    data = file.read(max(length - _COLLECTION.size, 0))
    at = 0
    while at + _OBJECT.size <= len(data):
        number, _, size = _OBJECT.unpack_from(data, at)
        if not number:  # free space
            return
        yield data[at + _OBJECT.size : at + _OBJECT.size + size]
        at += _OBJECT.size + -(-size // 8) * 8


def _is_mapping(value: bytes) -> bool:
    count = int.from_bytes(value[1:9], "little")
    return 0 < count < 2**32 and _MAPPING.match(value) is not None
