"""Read zip files (APPNOTE 6.3.10): their directory as a stream, and stored or deflated content.

Only the central directory says what there is, as for every program that unpacks. Nothing of its
size is held in memory. What it lists must not overlap, and that is for ``index`` to say: files that
share their packed bytes are how a small zip unpacks to petabytes.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.packed.member import (
    PIECE_BYTES,
    Extent,
    LeftOut,
    Listed,
    Member,
    clean_name,
)

__all__ = ["zip_content", "zip_members"]

_END = struct.Struct("<4s4H2LH")
_END_64_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s2B4H3L2H")

_MAX_COMMENT_BYTES = 2**16 - 1
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_UTF8 = 1 << 11
_UNIX = 3
_STORED, _DEFLATED = 0, 8
_READ_BYTES = 2**18


class _Damaged(Exception):
    """What is wrong with a zip file."""


def zip_members(file: BinaryIO) -> Iterator[Listed]:
    """Yield what the directory of a zip lists; folders are passed over.

    Raises DamagedSource without a path, OSError.
    """
    try:
        yield from _entries(file)
    except (_Damaged, struct.error) as error:
        raise DamagedSource(f"it is a damaged zip: {error}") from None


def zip_content(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the content of a member, piece by piece, and never more than it declares.

    Raises DamagedSource where it is another than the directory says.
    """
    file.seek(member.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise DamagedSource("its header is damaged")
    *_, name_length, extra_length = _LOCAL.unpack(header)
    file.seek(member.offset + _LOCAL.size + name_length + extra_length)
    pieces = _packed(file, member.packed_bytes)
    checksum = size = 0
    for piece in _inflated(pieces, member.size) if member.deflated else pieces:
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        if size > member.size:
            break
        yield piece
    if size != member.size:
        raise DamagedSource(
            f"it unpacks to {'more' if size > member.size else 'fewer'} bytes than it declares"
        )
    if checksum != member.crc:
        raise DamagedSource("its content does not fit its checksum")


def _packed(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = file.read(min(length, _READ_BYTES))
        if not piece:
            raise DamagedSource("it ends early")
        length -= len(piece)
        yield piece


def _inflated(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Inflate raw deflate; at most one piece more than ``size``, so that excess shows."""
    inflater, made = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        for piece in pieces:
            rest = piece
            while rest and not inflater.eof:
                found = inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unconsumed_tail
                made += len(found)
                yield found
                if made > size:
                    return
        while not inflater.eof and (found := inflater.decompress(b"", PIECE_BYTES)):
            made += len(found)
            yield found
            if made > size:
                return
    except zlib.error:
        raise DamagedSource("its packed content is damaged") from None
    if not inflater.eof:
        raise DamagedSource("its packed content ends early")


def _entries(file: BinaryIO) -> Iterator[Listed]:
    directory, shift, count = _directory(file)
    buffer, at = b"", 0
    start, length = directory
    file.seek(start)
    place = start
    while True:
        if len(buffer) - at < _ENTRY.size + 3 * (2**16 - 1) and place < start + length:
            file.seek(place)
            piece = file.read(min(_READ_BYTES, start + length - place))
            if not piece:
                raise _Damaged("its directory ends early")
            place += len(piece)
            buffer, at = buffer[at:] + piece, 0
            continue
        if at == len(buffer):
            if count % 2**16:  # writers without zip64 count to there
                raise _Damaged("its directory lists other files than it counts")
            return
        count -= 1
        entry = buffer[at : at + _ENTRY.size]
        if not entry.startswith(b"PK\x01\x02") or len(entry) < _ENTRY.size:
            raise _Damaged("its directory does not list files")
        fields = _ENTRY.unpack(entry)
        lengths = fields[12:15]
        end = at + _ENTRY.size + sum(lengths)
        if end > len(buffer):
            raise _Damaged("its directory ends early")
        name = buffer[at + _ENTRY.size : at + _ENTRY.size + lengths[0]]
        extra = buffer[at + _ENTRY.size + lengths[0] : end - lengths[2]]
        yield from _listed(fields, name, extra, shift, start)
        at = end


def _listed(
    fields: tuple[int, ...], name: bytes, extra: bytes, shift: int, limit: int
) -> Iterator[Listed]:
    """Yield what one entry lists; ``limit`` is where the directory begins."""
    _, _, system, _, _, flags, method, _, _, crc, packed, size = fields[:12]
    external, offset = fields[17:19]
    size, packed, offset = _wide(extra, size, packed, offset)
    offset += shift
    stop = offset + _LOCAL.size + len(name) + packed
    if stop > limit:
        raise _Damaged("a file in it lies beyond its end")
    yield Extent(offset, stop)
    kind = stat.S_IFMT(external >> 16) if system == _UNIX else 0
    if name.endswith((b"/", b"\\")) and not size:
        return
    text = _text(name, utf8=bool(flags & _UTF8))
    path = None if text is None else clean_name(text)
    if kind == stat.S_IFLNK:
        yield LeftOut.LINK
    elif kind not in (0, stat.S_IFREG):
        if kind != stat.S_IFDIR:
            yield LeftOut.DEVICE
    elif flags & _ENCRYPTED:
        yield LeftOut.ENCRYPTED
    elif method not in (_STORED, _DEFLATED):
        yield LeftOut.METHOD
    elif path is None:
        yield LeftOut.NAME
    elif method == _STORED and packed != size:
        raise _Damaged("a file in it is stored with another size than its own")
    else:
        yield Member(
            name=path,
            size=size,
            packed_bytes=packed,
            offset=offset,
            deflated=method == _DEFLATED,
            crc=crc,
        )


def _text(name: bytes, *, utf8: bool) -> str | None:
    try:
        return name.decode("utf-8" if utf8 else "cp437")
    except UnicodeDecodeError:
        return None


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return the numbers of an entry, with those of zip64 where 32 bits do not hold them."""
    wanted = [number == 2**32 - 1 for number in (size, packed, offset)]
    at = 0
    while any(wanted) and at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            if length < 8 * sum(wanted) or at + 4 + length > len(extra):
                raise _Damaged("its directory lists no sizes")
            found = iter(struct.unpack_from(f"<{sum(wanted)}Q", extra, at + 4))
            numbers = zip(wanted, (size, packed, offset), strict=True)
            size, packed, offset = (next(found) if is_wide else n for is_wide, n in numbers)
            break
        at += 4 + length
    return size, packed, offset


def _directory(file: BinaryIO) -> tuple[tuple[int, int], int, int]:
    """Return start and length of the directory, what is to be added to offsets in it, and how many
    files it says that it lists.

    A program may stand before a zip that unpacks itself.
    """
    total = file.seek(0, os.SEEK_END)
    start = max(0, total - _END.size - _MAX_COMMENT_BYTES)
    file.seek(start)
    tail = file.read(total - start)
    found = _end_in(tail)
    _, disk, first_disk, here, entries, length, offset, _ = _END.unpack_from(tail, found)
    end = start + found
    if 2**16 - 1 in (disk, first_disk, here, entries) or 2**32 - 1 in (length, offset):
        end, disk, first_disk, here, entries, length, offset = _directory_64(file, end) or (
            *(end, disk, first_disk, here, entries, length, offset),
        )
    if disk or first_disk or here != entries:
        raise UnsupportedSource("it is one of several parts of a zip: join them first")
    shift = end - length - offset
    if shift < 0:
        raise _Damaged("its directory lies elsewhere than it says")
    return (end - length, length), shift, entries


def _end_in(tail: bytes) -> int:
    """Return where the last record of a zip lies: what follows it is its comment, or no zip."""
    loose = -1
    found = len(tail) - _END.size + 4
    while (found := tail.rfind(b"PK\x05\x06", 0, max(found, 0))) >= 0:
        after = len(tail) - found - _END.size
        length = int.from_bytes(tail[found + _END.size - 2 : found + _END.size], "little")
        if length == after:
            return found
        if loose < 0 and length < after:
            loose = found
    if loose < 0:
        raise _Damaged("it has no directory at its end; it may be cut off")
    return loose


def _directory_64(file: BinaryIO, end: int) -> tuple[int, int, int, int, int, int, int] | None:
    """Return where the record of zip64 lies, and what it says; None where there is none."""
    if end < _END_64_LOCATOR.size + _END_64.size:
        return None
    file.seek(end - _END_64_LOCATOR.size)
    locator = file.read(_END_64_LOCATOR.size)
    if not locator.startswith(b"PK\x06\x07"):
        return None
    told = _END_64_LOCATOR.unpack(locator)[2]
    for place in (told, end - _END_64_LOCATOR.size - _END_64.size):
        if place > end - _END_64.size:
            continue
        file.seek(place)
        record = file.read(_END_64.size)
        if record.startswith(b"PK\x06\x06") and len(record) == _END_64.size:
            return (place, *_END_64.unpack(record)[4:])
    raise _Damaged("its directory is damaged")
