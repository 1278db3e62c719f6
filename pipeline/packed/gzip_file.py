"""Read gzip files (RFC 1952): one or more streams after another, as gunzip takes them."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tilepress.errors import DamagedSource
from tilepress.pipeline.packed.member import PIECE_BYTES
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["GZIP_MAGIC", "gunzipped", "gzip_head", "gzip_size", "gzip_version", "unpacked_name"]

GZIP_MAGIC = b"\x1f\x8b\x08"

_READ_BYTES = 2**18
_HEAD_PIECE_BYTES = 64
"""Of a small file whose checksum is wrong, all but so many bytes are seen."""
_GZIP = 16 + zlib.MAX_WBITS


def gunzipped(file: BinaryIO, at_a_time: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield what a gzip file holds, piece by piece. Raises DamagedSource, OSError.

    Zeros after the last stream are padding; anything else there is damage.
    """
    inflater, begun, rest = zlib.decompressobj(_GZIP), False, b""
    try:
        while True:
            if not rest and not (rest := file.read(_READ_BYTES)):
                break
            if inflater.eof:
                rest = rest.lstrip(b"\0")
                if rest:
                    inflater, begun = zlib.decompressobj(_GZIP), False
                continue
            begun = True
            yield inflater.decompress(rest, at_a_time)
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            while not rest and not inflater.eof and (more := inflater.decompress(b"", at_a_time)):
                yield more
                rest = inflater.unused_data if inflater.eof else b""
    except zlib.error:
        raise DamagedSource("its gzip stream is damaged") from None
    if begun and not inflater.eof:
        raise DamagedSource("its gzip stream ends early")


def gzip_head(file: BinaryIO, length: int) -> bytes:
    """Return the first bytes of what a gzip file holds; fewer of a short or a damaged one."""
    head = b""
    try:
        for piece in gunzipped(file, _HEAD_PIECE_BYTES):
            head += piece[:length]
            if len(head) >= length:
                break
    except DamagedSource:
        pass
    return head[:length]


def gzip_size(file: BinaryIO) -> int:
    """Return the size that a gzip file claims to unpack to, modulo 2³²: it may hold more."""
    total = file.seek(0, os.SEEK_END)
    file.seek(max(0, total - 4))
    return int.from_bytes(file.read(4), "little")


def gzip_version(path: str | Path) -> str:
    """Return what changes with the content of a gzip file: its last checksum, and its sizes.

    Where zeros lie behind them, or the size is none, it is the digest of all bytes. It is kept for
    ever in the digests of plans. Raises OSError.
    """
    with open_regular(path) as file:
        total = file.seek(0, os.SEEK_END)
        file.seek(max(0, total - 8))
        last = file.read(8)
        if not any(last[-4:]):
            file.seek(0)
            return f"gzip-{_sha256(file)}-{total}"
        return f"gzip-{last.hex()}-{total}"


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def unpacked_name(name: str) -> str:
    """Return what the file in a gzip file is called: as it, without its ending."""
    return name[:-3] if name.lower().endswith(".gz") and len(name) > 3 else name
