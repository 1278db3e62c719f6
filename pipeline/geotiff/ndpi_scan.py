"""What a store keeps of the JPEG stream of an NDPI level beside its chunks, to give it back.

A chunk keeps the coded bytes of its restart intervals as a stream of its own. Here is what lies
around them: the head with its texts, the bytes from the end marker on, how large an interval is,
and those entries of the directory that a pyramid of tiles must not have. Where intervals begin
(McuStarts) is found again as they are written.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import SourceError
from tilepress.pipeline.geotiff.header import (
    LENGTH,
    ROWS_PER_STRIP,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    Directory,
    Entry,
)
from tilepress.pipeline.geotiff.ndpi import MCU_STARTS, MCU_STARTS_HIGH, NdpiLevel
from tilepress.pipeline.geotiff.ndpi_head import (
    JPEG_END,
    JpegHead,
    parse_head,
    restart_marker,
    restart_markers,
)

__all__ = ["OF_NDPI", "NdpiScan", "StripWriting", "entries_from_json", "entries_to_json"]

OF_NDPI = frozenset([ROWS_PER_STRIP, *range(65420, 65500)]) - {65421}
"""Rows of its one strip, and Hamamatsu's own, but for the magnification."""

LONG = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NdpiScan:
    """What is kept of one level."""

    head: JpegHead
    tail: bytes = field(repr=False)
    rows: int
    """Samples of an interval; of a level that is not made of whole ones its own."""
    columns: int
    first: int | None
    """What McuStarts says of the first interval; None where the entry is kept as it is, or
    missing."""
    is_high: bool
    """Whether the upper halves of McuStarts are an entry of their own."""
    entries: Mapping[int, Entry] = field(repr=False)
    """Of the directory, those that only NDPI has."""

    @classmethod
    def of(cls, level: NdpiLevel, directory: Directory, most: int) -> NdpiScan | None:
        """Return what is kept of a level with entries of ``most`` bytes; None where nothing is."""
        if level.unit is None or level.tail is None:
            return None
        own = OF_NDPI
        if (directory.integer(LENGTH), directory.integer(WIDTH)) != (level.height, level.width):
            own |= {LENGTH, WIDTH}
        entries = {
            tag: entry
            for tag, entry in directory.entries.items()
            if tag in own and len(entry.data) <= most
        }
        first = None
        if level.told is not None:
            made = _starts_entries(level.told, is_high=MCU_STARTS_HIGH in directory.entries)
            if all(directory.entries.get(tag) == entry for tag, entry in made.items()):
                first = int(level.told[0])
                for tag in made:
                    entries.pop(tag, None)
        return cls(
            head=level.head,
            tail=level.tail,
            rows=level.interval[0],
            columns=level.interval[1],
            first=first,
            is_high=MCU_STARTS_HIGH in directory.entries,
            entries=entries,
        )

    def entries_of_page(
        self, entries: Mapping[int, Entry], starts: npt.NDArray[np.int64]
    ) -> dict[int, Entry]:
        """Return a page's entries as its directory had them, instead of those of tiles."""
        found = {tag: one for tag, one in entries.items() if tag not in (TILE_WIDTH, TILE_LENGTH)}
        found |= self.entries
        if self.first is not None:
            told = np.concatenate([[self.first], starts[1:]])
            found |= _starts_entries(told, is_high=self.is_high)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "head": base64.b64encode(self.head.data).decode("ascii"),
            "tail": base64.b64encode(self.tail).decode("ascii"),
            "interval": [self.rows, self.columns],
            "first": self.first,
            "high": self.is_high,
            "entries": entries_to_json(self.entries),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> NdpiScan:
        """Return what ``to_json`` was called on; ValueError or the like for others."""
        rows, columns = fields["interval"]
        first = fields["first"]
        if not all(type(size) is int and size > 0 for size in (rows, columns)):
            raise ValueError("sizes of an interval")
        if first is not None and (type(first) is not int or not 0 <= first < 2**63):
            raise ValueError("where an interval begins")
        try:
            head = parse_head(base64.b64decode(fields["head"]), "a slide's record")
        except SourceError as error:
            raise ValueError("the head of a stream") from error
        return cls(
            head=head,
            tail=base64.b64decode(fields["tail"]),
            rows=rows,
            columns=columns,
            first=first,
            is_high=bool(fields["high"]),
            entries=entries_from_json(fields["entries"]),
        )


class StripWriting:
    """Puts the stream of a level together of those of its chunks, row by row of intervals."""

    def __init__(self, scan: NdpiScan, height: int, width: int) -> None:
        self._scan, self._height = scan, height
        self._across = -(-width // scan.columns)
        self._count = -(-height // scan.rows) * self._across
        self._bare = scan.head.bare()
        self._number = 0
        self._at = len(scan.head.data)
        self._starts = np.zeros(self._count, np.int64)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where intervals begin, from the stream's start on, once it is whole."""
        if self._number != self._count:
            raise ValueError(f"{self._number} intervals of {self._count}")
        return self._starts

    def rows(self, streams: Sequence[bytes], top: int, lefts: Sequence[int]) -> Iterator[bytes]:
        """Yield the bytes of all intervals of a row of chunks, by the chunks' streams.

        ``lefts`` are where these begin, and where the last one ends. Raises ValueError for streams
        that are not those of the intervals there.
        """
        widths = [end - begin for begin, end in pairwise(lefts)]
        parts = [self._parts(one, top, wide) for one, wide in zip(streams, widths, strict=True)]
        if not parts or {len(rows) for rows in parts} != {len(parts[0])}:
            raise ValueError("chunks of a row have other rows of intervals")
        for row in range(len(parts[0])):
            for chunk in parts:
                for part in chunk[row]:
                    yield from self._interval(part)

    def _interval(self, part: bytes) -> Iterator[bytes]:
        if self._number >= self._count:
            raise ValueError("more intervals than there are")
        self._starts[self._number] = self._at
        self._number += 1
        self._at += len(part)
        yield part
        if self._number < self._count:
            self._at += 2
            yield restart_marker(self._number - 1)

    def _parts(self, stream: bytes, top: int, width: int) -> list[list[bytes]]:
        """Return the coded bytes of a chunk's intervals, by rows of intervals."""
        across = -(-width // self._scan.columns)
        head, size = self._headed(stream, top, width)
        coded = stream[head:-2]
        if self._count == 1:  # with whatever markers it has within
            return [[coded]]
        marks = restart_markers(coded).tolist()
        begins, ends = [0, *(at + 2 for at in marks)], [*marks, len(coded)]
        parts = [coded[a:b] for a, b in zip(begins, ends, strict=True)]
        if len(parts) != -(-size // self._scan.rows) * across:
            raise ValueError("a chunk has other intervals")
        return [parts[at : at + across] for at in range(0, len(parts), across)]

    def _headed(self, stream: bytes, top: int, width: int) -> tuple[int, int]:
        """Return how long the head of a chunk's stream is, and how many rows it says."""
        end = len(self._bare.data)
        height = int.from_bytes(stream[self._bare.size_at : self._bare.size_at + 2], "big")
        is_whole = stream.startswith(self._bare.sized(height, width)) and stream[-2:] == JPEG_END
        if not is_whole or len(stream) < end + 2 or not 0 < height <= self._height - top:
            raise ValueError("a chunk has a stream of another head")
        return end, height


def _starts_entries(starts: npt.NDArray[np.int64], *, is_high: bool) -> dict[int, Entry]:
    """Return McuStarts as Hamamatsu writes them: the lower halves, and the upper ones if any."""
    found = {MCU_STARTS: _longs(starts & 0xFFFFFFFF)}
    return found | ({MCU_STARTS_HIGH: _longs(starts >> 32)} if is_high else {})


def _longs(values: npt.NDArray[np.int64]) -> Entry:
    return Entry(LONG, values.size, values.astype("<u4").tobytes())


def entries_to_json(entries: Mapping[int, Entry]) -> dict[str, list[Any]]:
    """Return entries with their values as text."""
    return {
        str(tag): [one.kind, one.count, base64.b64encode(one.data).decode("ascii")]
        for tag, one in sorted(entries.items())
    }


def entries_from_json(fields: Mapping[str, Any]) -> dict[int, Entry]:
    """Return what ``entries_to_json`` was called on; ValueError or the like for others."""
    return {
        int(tag): Entry(int(kind), int(count), base64.b64decode(data))
        for tag, (kind, count, data) in fields.items()
    }
