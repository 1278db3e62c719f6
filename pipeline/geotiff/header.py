"""Read and extend TIFF directories: the few facts about a file that GDAL does not tell.

GDAL remains the judge of what a file's pixels are. This module answers what it keeps to itself:
whether a directory holds further full images, whether every strip or tile lies inside the file,
byte order and BigTIFF, and the entries that GDAL would drop (orientation, IPTC, vendor tags).
Layouts: TIFF 6.0 §2 and the BigTIFF design (libtiff). All lengths are checked against the file.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.geotiff.halved import (
    LONG8,
    MAX_ENTRIES,
    NDPI,
    halved_directory,
    halved_offset,
    text_elsewhere,
)
from tilepress.pipeline.storage.regular import open_regular

__all__ = [
    "COMPRESSION",
    "PHOTOMETRIC",
    "SAMPLES",
    "Directory",
    "Entry",
    "Page",
    "Pages",
    "TiffHeader",
    "append_entries",
    "bare_file",
    "directory_at",
    "find_entries",
    "find_pages",
    "read_header",
    "read_mask_header",
    "read_open_header",
    "read_pages",
    "walk_directories",
]

MAX_ENTRY_BYTES = 512 * 2**20
"""Value of one entry: the offsets of 67 million tiles."""

MAX_BRIEF_BYTES = 2**20
"""What is read of an entry where many directories are looked at."""

MAX_SUB_DIRECTORIES = 64

MAX_DIRECTORIES = 65_536
"""Directories of one file, overviews and masks included."""

MAX_PAGES = 4096
"""Full images of one file."""

_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4"} | {
    16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip

NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE = 254, 255
REDUCED, PAGE, MASK = 1, 2, 4
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 317, 322, 323, 324, 325
SUB_IFDS, SAMPLE_FORMAT, JPEG_STREAM = 330, 339, 513
FILL_ORDER, JPEG_TABLES, SUBSAMPLING = 266, 347, 530
NOTES = (34665, 34853)
ASCII = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory entry; ``data`` is its value in the file's byte order."""

    kind: int
    """TIFF field type (3 = SHORT, 4 = LONG, …)."""
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """One image file directory."""

    order: str
    """"<" or ">"."""
    entries: Mapping[int, Entry]

    def integers(self, tag: int) -> npt.NDArray[np.int64]:
        """Return the values of an integer entry as int64; empty where there is none."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return np.zeros(0, np.int64)
        return np.frombuffer(entry.data, self.order + _INTEGERS[entry.kind]).astype(np.int64)

    def integer(self, tag: int, default: int = 0) -> int:
        """Return the first value of an integer entry."""
        values = self.integers(tag)
        return int(values[0]) if values.size else default

    @property
    def is_full_image(self) -> bool:
        """Whether this is an image of its own: no overview (bit 0) and no mask (bit 2)."""
        has_pixels = STRIP_OFFSETS in self.entries or TILE_OFFSETS in self.entries
        return has_pixels and not self.integer(NEW_SUBFILE_TYPE) & 0b101


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffHeader:
    """The directory of one image of a TIFF file, and those that hang below it."""

    big: bool
    order: str
    size_bytes: int
    first: Directory
    """The image's directory: the file's first, or that of the page asked for."""
    below: tuple[Directory, ...]
    """Directories of the first one's SubIFDs entry (tag 330)."""
    unread_below: int
    """Further ones that are not looked at: unreadable, too many, or below these."""
    notes: Mapping[int, Directory]
    """Directories of EXIF and GPS entries, by the tag that points to them."""

    @property
    def hidden_images(self) -> int:
        """Full images in SubIFDs, which GDAL does not see (raw camera files, some microscopes)."""
        return sum(directory.is_full_image for directory in self.below)

    def damage(self) -> str | None:
        """Say which strip or tile lies outside the file; None where all lie inside.

        Strips that are absent by convention (offset or length 0, GDAL's sparse files) are sound.
        """
        directory = self.first
        tiled = TILE_OFFSETS in directory.entries
        offsets = directory.integers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
        lengths = directory.integers(TILE_BYTES if tiled else STRIP_BYTES)
        count = min(offsets.size, lengths.size)
        offsets, lengths = offsets[:count], lengths[:count]
        if directory.integer(COMPRESSION, 1) == 1:
            # libtiff corrects lengths of uncompressed data itself: only the start is certain
            lengths = np.minimum(lengths, 1)
        present = (offsets > 0) & (lengths > 0)
        outside = present & (offsets + lengths > self.size_bytes)
        if not outside.any():
            return None
        index = int(outside.argmax())
        what = "tile" if tiled else "strip"
        return (
            f"{what} {index + 1} of {count} ends at byte {int(offsets[index] + lengths[index])}, "
            f"the file at {self.size_bytes}"
        )

    def missing_blocks(self) -> str | None:
        """Say so where the file names fewer strips or tiles than its size needs."""
        directory = self.first
        height, width = directory.integer(LENGTH), directory.integer(WIDTH)
        tile_height, tile_width = directory.integer(TILE_LENGTH), directory.integer(TILE_WIDTH)
        if TILE_OFFSETS in directory.entries:
            if min(tile_height, tile_width) <= 0:
                return None
            needed = -(-height // tile_height) * -(-width // tile_width)
            found, what = directory.integers(TILE_OFFSETS).size, "tiles"
        else:
            rows = min(directory.integer(ROWS_PER_STRIP, height) or height, height)
            needed = -(-height // rows) if rows > 0 else 0
            found, what = directory.integers(STRIP_OFFSETS).size, "strips"
        if directory.integer(PLANAR, 1) == 2:
            needed *= directory.integer(SAMPLES, 1)
        if found >= needed:
            return None
        return f"{height} × {width} samples need {needed} {what}, the file names {found}"


@dataclass(frozen=True, slots=True)
class Page:
    """Where one of several full images of a file is described."""

    directory: int
    """Number of its directory along the file's chain, from 1, as GDAL counts them."""
    offset: int
    """Byte at which that directory starts."""
    mask: int = 0
    """Byte at which the directory of its mask starts, the first that follows it up to the next
    page; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The full images along a file's chain of directories."""

    found: tuple[Page, ...]
    cut: str | None = None
    """Why the chain was not followed to its end; None where it was."""


def read_header(path: Path, page: Page | None = None) -> TiffHeader | None:
    """Read the directory of a file's first image, or of a page of it.

    None where the file is no TIFF or its directory cannot be followed.
    """
    with open_regular(path) as file:
        return read_open_header(file, page)


def read_open_header(file: BinaryIO, page: Page | None = None) -> TiffHeader | None:
    """Read a directory of an open file, as ``read_header`` does."""
    size = os.fstat(file.fileno()).st_size
    try:
        return _read_header(file, size, None if page is None else page.offset)
    except (ValueError, struct.error):
        return None


def read_mask_header(path: Path) -> TiffHeader | None:
    """Read the directory of the internal mask of a file's first image; None where it has none."""
    found = read_pages(path).found
    if not found or not found[0].mask:
        return None
    try:
        with open_regular(path) as file:
            return _read_header(file, os.fstat(file.fileno()).st_size, found[0].mask)
    except (ValueError, struct.error):
        return None


def read_pages(path: Path) -> Pages:
    """List the full images of a TIFF file; none where it is no TIFF.

    The first directory always counts: it is what GDAL opens. Of the others those count that GDAL
    counts: neither overview (reduced resolution) nor mask, and with samples.
    """
    status = path.stat()
    return _read_pages(path.absolute(), (status.st_ino, status.st_size, status.st_mtime_ns))


def find_pages(file: BinaryIO, size: int) -> Pages:
    """List the full images of an open TIFF file of ``size`` bytes, as ``read_pages`` does."""
    found: list[Page] = []
    seen: set[int] = set()
    try:
        layout, at = _read_preamble(file)
        while at and at not in seen:
            if len(seen) == MAX_DIRECTORIES:
                return Pages(tuple(found), f"it has more than {MAX_DIRECTORIES} directories")
            start = at
            seen.add(start)
            raw, at = _raw_directory(file, start, layout, size)
            kind = _subfile_type(file, raw, layout, size)
            if len(seen) > 1 and kind & MASK and not kind & REDUCED:
                found[-1] = replace(found[-1], mask=found[-1].mask or start)
            elif len(seen) == 1 or (kind in (0, PAGE) and _has_samples(raw)):
                if len(found) == MAX_PAGES:
                    return Pages(tuple(found), f"it holds more than {MAX_PAGES} pages")
                found.append(Page(len(seen), start))
    except (ValueError, struct.error) as exc:
        return Pages(tuple(found), f"directory {len(seen)} cannot be read: {exc}")
    return Pages(
        tuple(found), f"directory {len(seen)} leads back to an earlier one" if at else None
    )


def find_entries(file: BinaryIO, size: int, tags: Collection[int]) -> Directory | None:
    """Return the first directory of an open file with these of its entries; None without any."""
    try:
        layout, at = _read_preamble(file)
        raw, _ = _raw_directory(file, at, layout, size)
        found = {tag: _value(file, raw[tag], layout, size) for tag in tags if tag in raw}
    except (ValueError, struct.error):
        return None
    return Directory(layout.order, {tag: e for tag, e in found.items() if e is not None})


def walk_directories(
    file: BinaryIO, size: int, tags: Collection[int], most: int = MAX_PAGES
) -> Iterator[tuple[int, Directory]]:
    """Yield where each directory of an open file's chain starts, and these of its entries.

    Of long entries no more than ``MAX_BRIEF_BYTES``. Raises ValueError where the chain cannot be
    followed to its end, or has more than ``most``.
    """
    layout, at = _read_preamble(file)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) == most:
            raise ValueError("a chain without end")
        seen.add(at)
        directory, following = _directory_of(file, at, layout, size, tags)
        yield at, directory
        at = following


def directory_at(
    file: BinaryIO, size: int, at: int, tags: Collection[int], most: int = MAX_BRIEF_BYTES
) -> Directory:
    """Return these entries of the directory at an offset, as ``walk_directories`` does.

    Of a longer entry than ``most`` only the beginning. Raises ValueError where no directory is.
    """
    layout, _ = _read_preamble(file)
    return _directory_of(file, at, layout, size, tags, most)[0]


def _directory_of(
    file: BinaryIO,
    at: int,
    layout: _Layout,
    size: int,
    tags: Collection[int],
    most: int = MAX_BRIEF_BYTES,
) -> tuple[Directory, int]:
    try:
        raw, following = _raw_directory(file, at, layout, size)
        found = {tag: _value(file, raw[tag], layout, size, most=most) for tag in tags if tag in raw}
    except struct.error as error:
        raise ValueError("a directory is cut off") from error
    return Directory(layout.order, {tag: e for tag, e in found.items() if e is not None}), following


def append_entries(
    path: Path,
    entries: Mapping[int, Entry],
    order: str,
    *,
    removed: Collection[int] = (),
    directories: Mapping[int, Mapping[int, Entry]] | None = None,
) -> None:
    """Add or replace entries of a file's first directory; ``order`` is that of their values.

    The directory is written again at the end of the file and the header is pointed to it, so
    the pixels are never touched. The caller owns the file and renames it into place afterwards.
    Tags in ``removed`` that are not in ``entries`` disappear; ``directories`` are written too and
    their tags point to them.
    """
    with path.open("r+b") as file:
        layout, at = _read_preamble(file)

        def place(tag: int, entry: Entry) -> bytes:
            return _place(file, tag, entry if order == layout.order else _swapped(entry), layout)

        raw, following = _raw_directory(file, at, layout, os.fstat(file.fileno()).st_size)
        for tag in removed:
            raw.pop(tag, None)
        raw.update({tag: place(tag, entry) for tag, entry in entries.items()})
        for tag, below in (directories or {}).items():
            placed = {inner: place(inner, entry) for inner, entry in below.items()}
            start = _write_directory(file, placed, 0, layout)
            pointer = Entry(16 if layout.big else 4, 1, layout.pack(layout.offset, start))
            raw[tag] = _place(file, tag, pointer, layout)
        start = _write_directory(file, raw, following, layout)
        if not layout.big and file.tell() >= 2**32:
            raise ValueError("a classic TIFF file cannot grow past 4 GiB")
        file.seek(8 if layout.big else 4)
        file.write(layout.pack(layout.offset, start))


def bare_file(entries: Mapping[int, Entry], order: str, *, big: bool) -> bytes:
    """Return a TIFF file of one directory, and of nothing that its entries point to."""
    layout, file = _Layout(big, order), io.BytesIO()
    file.write((b"II" if order == "<" else b"MM") + layout.pack("H", 43 if big else 42))
    file.write(layout.pack("H", 8) + layout.pack("H", 0) if big else b"")
    pointer = file.tell()
    file.write(layout.pack(layout.offset, 0))
    raw = {tag: _place(file, tag, entry, layout) for tag, entry in entries.items()}
    start = _write_directory(file, raw, 0, layout)
    file.seek(pointer)
    file.write(layout.pack(layout.offset, start))
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Field widths of classic TIFF and of BigTIFF."""

    big: bool
    order: str
    halved: bool = False
    """Whether it is an NDPI file past 4 GiB: entries of classic TIFF, and behind a directory the
    upper halves of what stands in them. They are put together as those of BigTIFF are."""

    @property
    def count(self) -> str:
        return "Q" if self.big else "H"

    @property
    def offset(self) -> str:
        return "Q" if self.big else "I"

    @property
    def offset_bytes(self) -> int:
        return 8 if self.big else 4

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12

    def pack(self, code: str, value: int) -> bytes:
        return struct.pack(self.order + code, value)

    def unpack(self, code: str, data: bytes) -> int:
        return int(struct.unpack(self.order + code, data)[0])


@lru_cache(maxsize=16)
def _read_pages(path: Path, _: tuple[int, ...]) -> Pages:
    """Follow the chain; remembered, as every page of a file is opened on its own."""
    with open_regular(path) as file:
        return find_pages(file, os.fstat(file.fileno()).st_size)


def _subfile_type(file: BinaryIO, raw: Mapping[int, bytes], layout: _Layout, size: int) -> int:
    """Return the bits of NewSubfileType, or what they would be by the old SubfileType."""
    entries = {
        tag: entry
        for tag in (NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE)
        if tag in raw and (entry := _value(file, raw[tag], layout, size)) is not None
    }
    directory = Directory(layout.order, entries)
    old = {2: REDUCED, 3: PAGE}.get(directory.integer(OLD_SUBFILE_TYPE), 0)
    return directory.integer(NEW_SUBFILE_TYPE, old)


def _has_samples(raw: Mapping[int, bytes]) -> bool:
    return {WIDTH, LENGTH} <= raw.keys() and not raw.keys().isdisjoint(
        (STRIP_OFFSETS, TILE_OFFSETS, JPEG_STREAM)
    )


def _read_header(file: BinaryIO, size: int, at: int | None) -> TiffHeader:
    layout, start = _read_preamble(file)
    first = _directory(file, start if at is None else at, layout, size)

    def follow(offset: int) -> Directory | None:
        try:
            return _directory(file, offset, layout, size)
        except (ValueError, struct.error):
            return None  # a broken thumbnail or camera note says nothing about the image

    starts = first.integers(SUB_IFDS)
    starts = starts[starts > 0]
    below = [follow(int(at)) for at in starts[:MAX_SUB_DIRECTORIES]]
    found = tuple(directory for directory in below if directory is not None)
    nested = sum(directory.integers(SUB_IFDS).size for directory in found)
    notes = {tag: follow(first.integer(tag)) for tag in NOTES if tag in first.entries}
    return TiffHeader(
        big=layout.big,
        order=layout.order,
        size_bytes=size,
        first=first,
        below=found,
        unread_below=starts.size - len(found) + nested,
        notes={tag: directory for tag, directory in notes.items() if directory is not None},
    )


def _read_preamble(file: BinaryIO) -> tuple[_Layout, int]:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise ValueError("no TIFF byte order mark")
    (version,) = struct.unpack(order + "H", head[2:4])
    if version == 42 and order == "<" and (at := halved_offset(file, head)):
        return _Layout(True, order, halved=True), at
    if version == 42:
        return _Layout(False, order), int(struct.unpack(order + "I", head[4:8])[0])
    if version == 43:
        return _Layout(True, order), int(struct.unpack(order + "Q", head[8:16])[0])
    raise ValueError("no TIFF version")


def _raw_directory(
    file: BinaryIO, at: int, layout: _Layout, size: int
) -> tuple[dict[int, bytes], int]:
    """Return the directory's entries as they stand, by tag, and the next directory's offset."""
    if not 0 < at < size:
        raise ValueError("directory outside the file")
    if layout.halved:
        return halved_directory(file, at)
    file.seek(at)
    count = layout.unpack(layout.count, file.read(struct.calcsize("<" + layout.count)))
    if count > MAX_ENTRIES:
        raise ValueError("too many entries")
    block = file.read(count * layout.entry_bytes)
    if len(block) != count * layout.entry_bytes:
        raise ValueError("directory is cut off")
    raw: dict[int, bytes] = {}
    for start in range(0, len(block), layout.entry_bytes):
        entry = block[start : start + layout.entry_bytes]
        raw.setdefault(layout.unpack("H", entry[:2]), entry)
    tail = file.read(layout.offset_bytes)
    complete = len(tail) == layout.offset_bytes
    return raw, layout.unpack(layout.offset, tail) if complete else 0


def _directory(file: BinaryIO, at: int, layout: _Layout, size: int) -> Directory:
    raw, _ = _raw_directory(file, at, layout, size)
    entries = {tag: _value(file, entry, layout, size) for tag, entry in raw.items()}
    if NDPI in raw and layout.order == "<":
        for tag, entry in entries.items():
            if entry is not None and entry.kind == ASCII and entry.count <= 4:
                inline = raw[tag][4 + layout.offset_bytes :]
                text = text_elsewhere(file, inline, entry.count)
                entries[tag] = entry if text is None else Entry(ASCII, entry.count, text)
    return Directory(layout.order, {tag: e for tag, e in entries.items() if e is not None})


def _value(
    file: BinaryIO, raw: bytes, layout: _Layout, size: int, most: int = MAX_ENTRY_BYTES
) -> Entry | None:
    """Return an entry's value; None where it lies outside the file or its type is unknown.

    Of a longer one than ``most`` only the beginning is read.
    """
    kind = layout.unpack("H", raw[2:4])
    count = layout.unpack(layout.offset, raw[4 : 4 + layout.offset_bytes])
    length = _TYPE_BYTES.get(kind, 0) * count
    inline = raw[4 + layout.offset_bytes :]
    room = 4 if layout.halved and kind != LONG8 else len(inline)
    if not 0 < length <= min(size, MAX_ENTRY_BYTES):
        return None
    if length <= room:
        return Entry(kind, count, inline[:length])
    offset = layout.unpack(layout.offset, inline)
    if offset + length > size:
        return None
    file.seek(offset)
    unit = _TYPE_BYTES[kind]
    return Entry(kind, count, file.read(min(length, most - most % unit)))


def _write_directory(
    file: BinaryIO, raw: Mapping[int, bytes], following: int, layout: _Layout
) -> int:
    """Write a directory at the end of the file; return where it starts."""
    start = _padded_end(file)
    file.write(layout.pack(layout.count, len(raw)))
    file.write(b"".join(raw[tag] for tag in sorted(raw)))
    file.write(layout.pack(layout.offset, following))
    return start


def _place(file: BinaryIO, tag: int, entry: Entry, layout: _Layout) -> bytes:
    """Write a value that does not fit into its entry; return the entry's bytes."""
    head = layout.pack("H", tag) + layout.pack("H", entry.kind)
    head += layout.pack(layout.offset, entry.count)
    if len(entry.data) <= layout.offset_bytes:
        return head + entry.data.ljust(layout.offset_bytes, b"\0")
    at = _padded_end(file)
    file.write(entry.data)
    return head + layout.pack(layout.offset, at)


def _padded_end(file: BinaryIO) -> int:
    """Move to the end of the file, on a multiple of 8 as BigTIFF asks for."""
    end = file.seek(0, os.SEEK_END)
    file.write(b"\0" * (-end % 8))
    return end + -end % 8


def _swapped(entry: Entry) -> Entry:
    """Return the entry in the other byte order; rationals are pairs of 4-byte integers."""
    unit = 4 if entry.kind in (5, 10) else _TYPE_BYTES[entry.kind]
    if unit == 1:
        return entry
    return Entry(
        entry.kind, entry.count, np.frombuffer(entry.data, f"u{unit}").byteswap().tobytes()
    )
