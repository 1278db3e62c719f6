"""Read tar files (POSIX ustar and pax, GNU): their headers as a stream.

Of a packed tar the content is read over; of a plain one it is stepped over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tilepress.errors import DamagedSource
from tilepress.pipeline.packed.member import PIECE_BYTES, LeftOut, Listed, Member, clean_name

__all__ = ["BLOCK_BYTES", "OpenEnd", "is_tar", "tar_members"]

BLOCK_BYTES = 512

MAX_EXTENDED_BYTES = 2**20
"""Of a long name or of pax records."""

_REGULAR = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_DEVICES = (b"3", b"4", b"6")
_FOLDERS = (b"5", b"D")
_SPARSE = (b"S",)
_PASSED_OVER = (b"V", b"g")  # a volume's label, what holds for all that follow

_MAX_SIZE = 2**62


def is_tar(head: bytes) -> bool:
    """Whether a file begins with the header of a tar, by its checksum."""
    return len(head) >= BLOCK_BYTES and any(head[:100]) and _has_checksum(head[:BLOCK_BYTES])


def tar_members(read: Callable[[int], bytes], skip: Callable[[int], int]) -> Iterator[Listed]:
    """Yield what a tar lists; folders are passed over.

    ``read`` gives the next bytes, fewer only at the end; ``skip`` steps over some and says over how
    many. Where the tar ends early, what came before is yielded, and DamagedSource raised then:
    OpenEnd where that is between two files, or where something follows the blocks that end it.
    """
    at, told = 0, _Told(None, None, sparse=False)
    while True:
        block = read(BLOCK_BYTES)
        at += len(block)
        if not any(block):
            _check_end(read, block)
            return
        if len(block) < BLOCK_BYTES or not _has_checksum(block):
            raise DamagedSource("it is a damaged tar: a header is wrong, or it ends early")
        kind = block[156:157]
        size = _number(block[124:136]) if told.size is None else told.size
        padded = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if kind in (b"L", b"K", b"x"):
            if size > MAX_EXTENDED_BYTES:
                raise DamagedSource("it is a damaged tar: a name in it has a megabyte")
            data = read(padded)
            at += len(data)
            if len(data) < padded:
                raise DamagedSource("it is a damaged tar: it ends early")
            told = _told(kind, data[:size], told)
            continue
        length = padded if kind not in (*_LINKS, *_DEVICES, *_FOLDERS) else 0
        yield from _listed(block, kind, size, at, told)
        if kind != b"g":
            told = _Told(None, None, sparse=False)
        if skip(length) < length:
            raise DamagedSource("it is a damaged tar: it ends early")
        at += length


class OpenEnd(DamagedSource):
    """Raised where a tar has no end of its own: all that it lists is whole, and there may be more.

    It was cut between two files, or others were put behind its end.
    """


def _check_end(read: Callable[[int], bytes], block: bytes) -> None:
    """Raise OpenEnd unless a tar ends with a block of zeros, and nothing else follows it."""
    if len(block) < BLOCK_BYTES:
        raise OpenEnd("it has no end, as a tar that was cut off; there may be more files")
    while rest := read(PIECE_BYTES):
        if any(rest):
            raise OpenEnd("something follows its end, as where tars were joined; unpack it")


class _Told(NamedTuple):
    """What was told ahead of a header."""

    name: bytes | None
    size: int | None
    sparse: bool


def _listed(block: bytes, kind: bytes, size: int, at: int, told: _Told) -> Iterator[Listed]:
    if kind in _FOLDERS or kind in _PASSED_OVER:
        return
    raw = _name(block) if told.name is None else told.name
    if kind in _LINKS:
        yield LeftOut.LINK
    elif kind in _DEVICES:
        yield LeftOut.DEVICE
    elif kind in _SPARSE or told.sparse:
        yield LeftOut.SPARSE
    elif kind not in _REGULAR:
        yield LeftOut.METHOD
    elif raw.endswith(b"/"):  # a folder, as the first tars had them
        return
    else:
        name = clean_name(raw.decode("utf-8", "surrogateescape"))
        mark = f"{_number(block[136:148])}-{_number(block[148:156])}"
        found = Member(name=name or "", size=size, packed_bytes=size, offset=at, mark=mark)
        yield LeftOut.NAME if name is None else found


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return prefix + b"/" + name if block[257:263] == b"ustar\0" and prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _told(kind: bytes, data: bytes, told: _Told) -> _Told:
    """Add what a long name, or pax records, tell of the next header."""
    if kind == b"K":
        return told
    if kind == b"L":
        return told._replace(name=data.rstrip(b"\0"))
    for key, value in _records(data):
        if key == b"path":
            told = told._replace(name=value)
        elif key == b"size":
            told = told._replace(size=_decimal(value))
        elif key.startswith(b"GNU.sparse"):
            told = told._replace(sparse=True)
    return told


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of pax: "25 path=folder/file.tif\\n", the length first."""
    while data:
        length = _decimal(data.partition(b" ")[0])
        record, data = data[:length], data[length:]
        key, mark, value = record.partition(b" ")[2].partition(b"=")
        if not mark or not value.endswith(b"\n"):
            raise DamagedSource("it is a damaged tar: its extended header is wrong")
        yield key, value[:-1]


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18 or not int(text) < _MAX_SIZE:
        raise DamagedSource("it is a damaged tar: its extended header is wrong")
    return int(text)


def _number(field: bytes) -> int:
    """Return a number of a header: octal, or binary where its first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        text = _text(field).strip()
        value = int(text, 8) if text and not text.strip(b"01234567") else 0 if not text else -1
    if not 0 <= value < _MAX_SIZE:
        raise DamagedSource("it is a damaged tar: a number in a header is none")
    return value


def _has_checksum(block: bytes) -> bool:
    text = _text(block[148:156]).strip()
    if not text or text.strip(b"01234567"):
        return False
    plain = sum(block) - sum(block[148:156]) + 8 * 0x20
    signed = plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    return int(text, 8) in (plain, signed)
