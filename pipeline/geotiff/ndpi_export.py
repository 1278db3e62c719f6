"""Write an NDPI file again: each level one JPEG stream, as it came, with its own directory.

Entries are those of classic TIFF with offsets of 64 bits, of which the upper halves stand behind
each directory (halved.py). What a directory points to lies before it, for readers such as OpenSlide
guess upper halves from there. Label and macro image were left out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from tilepress.errors import DamagedStore
from tilepress.pipeline.geotiff.halved import LONG, LONG8
from tilepress.pipeline.geotiff.header import ASCII, STRIP_BYTES, STRIP_OFFSETS, Entry
from tilepress.pipeline.geotiff.ndpi_scan import NdpiScan, StripWriting
from tilepress.pipeline.geotiff.slide_record import PageLayout, StoredSlide
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["NDPI_SUFFIX", "is_whole_ndpi", "write_ndpi"]

NDPI_SUFFIX = ".ndpi"


def is_whole_ndpi(levels: Sequence[ExportReader], slide: StoredSlide) -> bool:
    """Whether a store has all streams of the NDPI file that it was made of."""
    return all(
        len(pages) == 1
        and pages[0].scan is not None
        and isinstance(at, KeptStreams)
        and all(map(at.keeps_streams, np.ndindex(*_counts(at))))
        for at, pages in zip(levels, slide.levels, strict=True)
    )


def write_ndpi(file: BinaryIO, levels: Sequence[ExportReader], slide: StoredSlide) -> None:
    """Write a slide of ``is_whole_ndpi``. Raises DamagedStore where streams do not fit."""
    file.write(b"II*\0" + bytes(8))
    pointer = 4
    for number, (at, (page,)) in enumerate(zip(levels, slide.levels, strict=True)):
        assert page.scan is not None, "asked before"
        try:
            entries = _write_stream(file, at, page, page.scan)
        except ValueError as error:
            raise DamagedStore(f"write a slide: level {number}: {error}") from error
        pointer = _write_directory(file, entries, pointer)


def _counts(at: ExportReader) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(at.shape, at.chunk, strict=True))


def _write_stream(
    file: BinaryIO, at: ExportReader, page: PageLayout, scan: NdpiScan
) -> dict[int, Entry]:
    """Write the stream of a level, a row of chunks at a time; return its page's entries."""
    assert isinstance(at, KeptStreams), "asked before"
    start = _to_end(file)
    strip = StripWriting(scan, page.height, page.width)
    file.write(scan.head.data)
    *leading, down, across = _counts(at)
    lefts = [min(x * at.chunk[-1], page.width) for x in range(across + 1)]
    for row in range(down):
        streams = []
        for column in range(across):
            (stream,) = at.streams((*[0] * len(leading), row, column))
            streams.append(stream or b"")
        for part in strip.rows(streams, row * at.chunk[-2], lefts):
            file.write(part)
    file.write(scan.tail)
    place = {STRIP_OFFSETS: _long8(start), STRIP_BYTES: _long8(file.tell() - start)}
    return scan.entries_of_page(page.entries, strip.starts) | place


def _write_directory(file: BinaryIO, entries: Mapping[int, Entry], pointer: int) -> int:
    """Write a directory, to which the offset at ``pointer`` leads; return where the next is told.

    A single number of 64 bits is one of 32, with its upper half behind the directory. Texts never
    stand in their entries, for Hamamatsu's do not, and readers know that.
    """
    lower, upper = [], []
    for tag, entry in sorted(entries.items()):
        halved = entry.kind == LONG8 and entry.count == 1
        value = entry.data
        if entry.kind == ASCII or (len(value) > 4 and not halved):
            value = struct.pack("<Q", _to_end(file))
            file.write(entry.data)
        value = value.ljust(8, b"\0")
        lower.append(struct.pack("<HHI", tag, LONG if halved else entry.kind, entry.count))
        lower.append(value[:4])
        upper.append(value[4:])
    start = _to_end(file)
    file.write(struct.pack("<H", len(upper)) + b"".join(lower))
    following = file.tell()
    file.write(bytes(8) + b"".join(upper))
    file.seek(pointer)
    file.write(struct.pack("<Q", start))
    file.seek(0, 2)
    return following


def _to_end(file: BinaryIO) -> int:
    """Go to the end, on an even offset; return that."""
    end = file.seek(0, 2)
    file.write(b"\0" * (end % 2))
    return end + end % 2


def _long8(value: int) -> Entry:
    return Entry(LONG8, 1, struct.pack("<Q", value))
