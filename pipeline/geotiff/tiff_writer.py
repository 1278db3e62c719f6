"""Write a TIFF file of several pages: blocks first, one after another, and directories behind.

Layouts: TIFF 6.0 §2 and the BigTIFF design (libtiff).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tilepress.errors import StoreError
from tilepress.pipeline.geotiff.header import (
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUB_IFDS,
    TILE_BYTES,
    TILE_OFFSETS,
    Entry,
)
from tilepress.pipeline.geotiff.slide_record import PageLayout

__all__ = ["PageBlocks", "TiffWriter"]

LONG, IFD, LONG8, IFD8 = 4, 13, 16, 18


@dataclass(frozen=True, slots=True)
class PageBlocks:
    """Where the strips or tiles of a page lie; a block that was not put is absent."""

    layout: PageLayout
    offsets: npt.NDArray[np.uint64]
    lengths: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, layout: PageLayout) -> PageBlocks:
        down, across = layout.grid_shape
        count = (layout.bands if layout.apart else 1) * down * across
        return cls(layout, np.zeros(count, np.uint64), np.zeros(count, np.uint64))

    def put(self, plane: int, row: int, column: int, offset: int, length: int) -> None:
        down, across = self.layout.grid_shape
        number = (plane * down + row) * across + column
        self.offsets[number], self.lengths[number] = offset, length


class TiffWriter:
    """Writes one file. ``big``: with offsets of 64 bits; ``order``: that of all numbers."""

    def __init__(self, file: BinaryIO, *, big: bool, order: str) -> None:
        self._file, self._big, self._order = file, big, order
        mark = b"II" if order == "<" else b"MM"
        head = struct.pack(f"{order}HHHQ", 43, 8, 0, 0) if big else struct.pack(f"{order}HI", 42, 0)
        file.write(mark + head)
        self._end = file.tell()

    def block(self, data: bytes) -> tuple[int, int]:
        """Write a block; return where it lies and how long it is."""
        at = self._append(data)
        return at, len(data)

    def finish(self, pages: Sequence[tuple[PageBlocks, Sequence[PageBlocks]]]) -> None:
        """Write the directories: each page with the levels that hang below it, which may be none.

        Raises StoreError where the file is too large for its kind.
        """
        pointer = 8 if self._big else 4
        for page, below in pages:
            starts = [self._directory(one, ())[0] for one in below]
            start, following = self._directory(page, starts)
            self._file.seek(pointer)
            self._file.write(self._offset(start))
            pointer = following
        self._file.seek(self._end)

    def _directory(self, page: PageBlocks, below: Sequence[int]) -> tuple[int, int]:
        """Write a directory; return where it starts, and where its pointer to the next one lies."""
        kind, code = (LONG8, "u8") if self._big else (LONG, "u4")
        tiled = page.layout.tiled

        def numbers(values: Any, kind: int) -> Entry:  # noqa: ANN401  # numbers
            array = np.asarray(values).astype(self._order + code)
            return Entry(kind, array.size, array.tobytes())

        entries = dict(page.layout.entries)
        entries[TILE_OFFSETS if tiled else STRIP_OFFSETS] = numbers(page.offsets, kind)
        entries[TILE_BYTES if tiled else STRIP_BYTES] = numbers(page.lengths, kind)
        if below:
            entries[SUB_IFDS] = numbers(below, IFD8 if self._big else IFD)
        placed = self._placed(entries)
        count = struct.pack(f"{self._order}{'Q' if self._big else 'H'}", len(entries))
        start = self._append(count + placed + self._offset(0))
        return start, start + len(count) + len(placed)

    def _placed(self, entries: Mapping[int, Entry]) -> bytes:
        """Write the values that do not fit into their entries; return all entries, by tag."""
        room = 8 if self._big else 4
        parts = []
        for tag, entry in sorted(entries.items()):
            count = self._offset(entry.count)
            data = entry.data
            if len(data) > room:
                data = self._offset(self._append(data))
            parts.append(struct.pack(f"{self._order}HH", tag, entry.kind) + count + data)
            parts.append(b"\0" * (room - len(data)))
        return b"".join(parts)

    def _append(self, data: bytes) -> int:
        """Write at the end, on an even offset; return that."""
        self._file.seek(self._end)
        padding = -self._end % (8 if self._big else 2)
        at = self._end + padding
        if not self._big and at + len(data) >= 2**32:
            raise StoreError("writing TIFF: it grows past the 4 GiB of offsets of 32 bits")
        self._file.write(b"\0" * padding + data)
        self._end = at + len(data)
        return at

    def _offset(self, value: int) -> bytes:
        return struct.pack(f"{self._order}{'Q' if self._big else 'I'}", value)
