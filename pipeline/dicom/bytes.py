"""Locate the data set and the pixel element of one DICOM file as byte ranges, under limits.

    preamble  file meta  data set elements …  pixel element header | value | trailing elements
    0         132        dataset_offset       element_offset        value_offset          size

Offsets count from the start of the file; where the data set is deflated (PS3.5 A.5) they count
from the start of a file whose data set had never been deflated.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tilepress.errors import DamagedSource, TilepressError, UnsupportedSource
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.regular import open_regular

if TYPE_CHECKING:
    from tilepress.pipeline.storage.ranges import RemoteBytes

__all__ = [
    "DEFLATED",
    "ENCAPSULATED_NATIVE",
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "IMPLICIT_LITTLE",
    "NATIVE_SYNTAXES",
    "ByteSource",
    "Container",
    "FileBytes",
    "Fragment",
    "PixelElement",
    "file_bytes",
    "foreign_errors",
    "fragments",
    "locate_pixel_element",
    "open_bytes",
    "open_file",
    "quiet_pydicom",
    "scan_container",
]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
ENCAPSULATED_NATIVE = "1.2.840.10008.1.2.1.98"
"""Frames that are not compressed, each in a fragment of its own (PS3.5 A.4.11)."""
NATIVE_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})

MAX_INFLATED_BYTES = 2**30
"""Size of an inflated data set at most: it is held in memory while its pixels are read."""
MAX_INFLATION = 256
"""Expansion that a deflated data set may have above ``FREE_INFLATED_BYTES``: no bombs."""
FREE_INFLATED_BYTES = 64 * 2**20
MAX_META_BYTES = 2**20
"""Size of the file meta information at most."""
MAX_FRAGMENTS = 2**24
"""Fragments of one encapsulated pixel element at most."""

_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"))
_LONG_VRS |= {b"UT", b"UV"}
_PIXEL_TAGS = {0x7FE00010: "pixels", 0x7FE00008: "float32", 0x7FE00009: "float64"}
_UNDEFINED = 0xFFFFFFFF
_SMALL_READ_BYTES = 2**16

_quiet_lock = threading.RLock()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings and log records, which may quote patient text, from going anywhere.

    The filters are process-wide, so that only one thread at a time is inside.
    """
    logger = logging.getLogger("pydicom")
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = before


@contextmanager
def foreign_errors(
    doing: str, path: str | Path, passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Translate whatever a parser or decoder raises on damaged bytes into ``DamagedSource``.

    Only the exception's type is told: its message may quote the header. The chain is cut for the
    same reason. Types in ``passing`` are left alone.
    """
    try:
        yield
    except (TilepressError, MemoryError):
        raise
    except OSError as exc:
        found = exc.strerror or type(exc).__name__
        raise DamagedSource(f"{doing}: {found}, in {path}") from None
    except Exception as exc:  # pydicom and its plug-ins raise nearly every type on damaged input
        if isinstance(exc, passing):
            raise
        found = f"damaged, or more than its reader knows ({type(exc).__name__})"
        raise DamagedSource(f"{doing}: {found}, in {path}") from None


class ByteSource(Protocol):
    """Bytes that can be read at any offset."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes at ``offset``; fewer only at the end."""
        ...

    def stream(self) -> BinaryIO:
        """Return a new buffered stream over all bytes; the caller closes it."""
        ...

    def close(self) -> None: ...


class FileBytes:
    """The bytes of a regular file, by positioned reads."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with open_regular(path) as file:
            self._file = os.dup(file.fileno())
        status = os.fstat(self._file)
        self.size, self.mtime_ns = status.st_size, status.st_mtime_ns

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        length = max(0, min(length, self.size - offset))
        while length:
            part = os.pread(self._file, min(length, 2**30), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self) -> BinaryIO:
        with open_regular(self._path) as file:
            return _ClippedReader(FileIO(os.dup(file.fileno())))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_file(path: str | Path) -> FileBytes | RemoteBytes:
    """Open the bytes of a file, or of an object where ``path`` is a URL. Raises OSError."""
    if is_url(path):
        from tilepress.pipeline.storage.ranges import reader

        return reader(str(path))
    return FileBytes(path)


class _ClippedReader(BufferedReader):
    """A stream that allocates no more than the file has, whatever length a header claims."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _SMALL_READ_BYTES:
            size = max(0, min(size, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


class _MemoryBytes:
    """Bytes in memory: a deflated file after inflation."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def stream(self) -> BinaryIO:
        return BytesIO(self._content)

    def close(self) -> None:
        self._content = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What the file meta information says of one file."""

    path: str
    file_size: int
    mtime_ns: int
    has_preamble: bool
    syntax: str
    """Transfer syntax UID; guessed from the first element where the file has none."""
    dataset_offset: int
    """Where the data set begins: preamble and file meta information lie before it."""
    implicit: bool
    little: bool

    @property
    def deflated(self) -> bool:
        return self.syntax == DEFLATED


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelElement:
    """Where the pixel element of one file lies."""

    keyword: str
    """"pixels", "float32" or "float64"."""
    vr: str
    """Value representation as written; "" in implicit encodings."""
    element_offset: int
    value_offset: int
    value_length: int
    """Bytes of the value; of an encapsulated one, of all items with the closing delimiter."""
    encapsulated: bool
    precision: int = 0
    """Bits per sample that the first codestream declares; 0 where that is not asked."""
    items: int = 0
    """Fragments of an encapsulated value, without the offset table."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item of encapsulated pixel data (PS3.5 A.4)."""

    item_offset: int
    """Offset of the item tag as the tables count it: from the first item after the table."""
    offset: int
    length: int


def scan_container(path: str | Path) -> Container:
    """Read preamble and file meta information of ``path``.

    Raises
    ------
    DamagedSource
        the file cannot be opened or is too short to be a data set
    """
    with foreign_errors("reading DICOM file meta information", path):
        source = open_file(path)
        try:
            return _scan(source, str(path))
        finally:
            source.close()


def _scan(source: FileBytes | RemoteBytes, path: str) -> Container:
    has_preamble = source.read(128, 4) == b"DICM"
    position = 132 if has_preamble else 0
    syntax = ""
    while (head := source.read(position, 12))[:2] == b"\x02\x00" and len(head) >= 8:
        element, length, value = _explicit_little(head, position)
        if element == 0x0010:
            syntax = source.read(value, min(length, 64)).rstrip(b"\0 ").decode("ascii", "replace")
        position = value + length
        if position > min(source.size, MAX_META_BYTES):
            raise DamagedSource(
                f"reading DICOM file meta information: it runs past the file or {MAX_META_BYTES} "
                f"bytes, in {path}"
            )
    implicit, little = _encoding(syntax, source.read(position, 6))
    if not syntax:
        syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
    return Container(
        path=path,
        file_size=source.size,
        mtime_ns=source.mtime_ns,
        has_preamble=has_preamble,
        syntax=syntax,
        dataset_offset=position,
        implicit=implicit,
        little=little,
    )


def _explicit_little(head: bytes, position: int) -> tuple[int, int, int]:
    """Return (element number, value length, value offset) of a file meta element."""
    (element,) = struct.unpack_from("<H", head, 2)
    vr = head[4:6]
    if vr in _LONG_VRS and len(head) == 12:
        return element, struct.unpack_from("<I", head, 8)[0], position + 12
    if vr.isalpha() and vr.isupper():
        return element, struct.unpack_from("<H", head, 6)[0], position + 8
    return element, struct.unpack_from("<I", head, 4)[0], position + 8


def _encoding(syntax: str, first: bytes) -> tuple[bool, bool]:
    """Return (implicit, little) from the transfer syntax or else from the first element."""
    if syntax:
        return syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    group = int.from_bytes(first[:2], "little")
    return not explicit, not explicit or group < 0x0400


def open_bytes(container: Container) -> ByteSource:
    """Open the bytes of one file, inflated where its data set is deflated."""
    source = open_file(container.path)
    if not container.deflated:
        return source
    try:
        meta = source.read(0, container.dataset_offset)
        return _MemoryBytes(meta + _inflate(source, container))
    finally:
        source.close()


def file_bytes(container: Container) -> bytes:
    """Return the deflated bytes of a deflated file's data set as they lie in the file."""
    source = open_file(container.path)
    try:
        return source.read(container.dataset_offset, source.size)
    finally:
        source.close()


def _inflate(source: ByteSource, container: Container) -> bytes:
    packed = source.read(container.dataset_offset, source.size)
    limit = min(MAX_INFLATED_BYTES, max(FREE_INFLATED_BYTES, MAX_INFLATION * len(packed)))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, limit)
    if not inflater.eof:
        found = f"more than {limit} bytes" if inflater.unconsumed_tail else "a truncated stream"
        raise DamagedSource(f"inflating a DICOM data set: found {found}, in {container.path}")
    return content


def locate_pixel_element(
    source: ByteSource, container: Container, element_offset: int, *, implicit: bool
) -> PixelElement | None:
    """Parse the header of the pixel element that should lie at ``element_offset``.

    Returns None where the file ends there or another element follows.
    """
    head = source.read(element_offset, 12)
    if len(head) < 8:
        return None
    order = "<" if container.little else ">"
    group, element = struct.unpack_from(order + "HH", head)
    keyword = _PIXEL_TAGS.get(group << 16 | element)
    if keyword is None:
        return None
    vr = "" if implicit else head[4:6].decode("latin-1")
    if implicit or head[4:6] not in _LONG_VRS:
        (length,) = struct.unpack_from(
            order + ("I" if implicit else "H"), head, 4 if implicit else 6
        )
        value_offset = element_offset + 8
    else:
        (length,) = struct.unpack_from(order + "I", head, 8)
        value_offset = element_offset + 12
    encapsulated = length == _UNDEFINED
    items = -1  # the first one is the offset table
    if encapsulated:
        length = 0
        for part in fragments(source, value_offset, container.path):
            items += 1
            length = part.offset + part.length - value_offset
        length += 8 if source.read(value_offset + length, 4) == b"\xfe\xff\xdd\xe0" else 0
    return PixelElement(
        keyword=keyword,
        vr=vr,
        element_offset=element_offset,
        value_offset=value_offset,
        value_length=length,
        encapsulated=encapsulated,
        items=max(0, items),
    )


def fragments(source: ByteSource, value_offset: int, path: str) -> Iterator[Fragment]:
    """Yield the items of encapsulated pixel data, the basic offset table first."""
    position = value_offset
    base: int | None = None
    for _ in range(MAX_FRAGMENTS):
        head = source.read(position, 8)
        if len(head) < 8 or head[:4] == b"\xfe\xff\xdd\xe0":
            return  # some writers forget the delimiter at the end of the file
        length = struct.unpack_from("<I", head, 4)[0]
        if head[:4] != b"\xfe\xff\x00\xe0" or length == _UNDEFINED:
            raise DamagedSource(
                f"reading encapsulated pixel data: no item at byte {position}, in {path}"
            )
        if position + 8 + length > source.size:
            raise DamagedSource(
                f"reading encapsulated pixel data: item of {length} bytes at byte {position}, "
                f"but the file ends at {source.size}, in {path}"
            )
        yield Fragment(0 if base is None else position - base, position + 8, length)
        position += 8 + length
        base = position if base is None else base
    raise UnsupportedSource(
        f"reading encapsulated pixel data: more than {MAX_FRAGMENTS} fragments, in {path}"
    )
