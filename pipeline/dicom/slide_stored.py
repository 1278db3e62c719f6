"""Give the frames of a slide's instances from a store: tiles of its levels, or their streams."""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader, StoredLevels
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["SlidePlanes", "StoredTiles", "stored_tiles"]

MAX_CACHED_BYTES = 256 * 2**20
"""Decoded strips that are kept at most, beside the one that is read from."""

MAX_STREAM_BYTES = 64 * 2**20
"""Streams that are kept at most, beside those of the last chunk: those of a row of a wide level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTiles:
    """How a level is cut into tiles."""

    first: int
    """Number of its first place."""
    shape: tuple[int, int, int, int]
    """Optical paths, focal planes, tiles down, tiles across."""
    rows: int
    columns: int

    @property
    def end(self) -> int:
        return self.first + math.prod(self.shape)


def stored_tiles(reader: ExportReader) -> list[StoredTiles]:
    """Return how the levels of a slide are cut. Raises ValueError or the like for nonsense."""
    found: list[StoredTiles] = []
    for one in reader.origin["levels"]:
        paths, planes, down, across = (int(n) for n in one["shape"])
        rows, columns = (int(n) for n in one["tile"])
        first = found[-1].end if found else 0
        if min(paths, planes, down, across, rows, columns) < 1 or int(one["first"]) != first:
            raise ValueError("tiles of a level")
        shape = (paths, planes, down, across)
        found.append(StoredTiles(first=first, shape=shape, rows=rows, columns=columns))
    if not isinstance(reader, StoredLevels) or reader.level_count != len(found) or not found:
        raise ValueError("other levels than the store has")
    for number, level in enumerate(found):
        height, width = reader.at_level(number).shape[-2:]
        if level.shape[2:] != (-(-height // level.rows), -(-width // level.columns)):
            raise ValueError("other tiles than the store has")
    return found


class SlidePlanes:
    """Gives the frames of a slide by their numbers, as ``Planes`` gives those of a series.

    It reads rows of chunks, for whoever wants all of them; with ``alone`` the chunks of a frame.
    """

    def __init__(self, reader: ExportReader, *, alone: bool = False) -> None:
        assert isinstance(reader, StoredLevels), "asked before"
        self._is_alone = alone
        self._tiles = stored_tiles(reader)
        self._readers = [reader.at_level(number) for number in range(reader.level_count)]
        self._margins = _margins(reader)
        self._strips: OrderedDict[tuple[int, int, int], npt.NDArray[Any]] = OrderedDict()
        self._streams: OrderedDict[tuple[int, ...], list[bytes | None]] = OrderedDict()
        self._stream_bytes = 0

    def read(self, number: int) -> npt.NDArray[Any]:
        """Return samples (B, Y, X) of one frame, with what it has beyond the matrix."""
        level, (path, plane, row, column) = self._place(number)
        tiles, reader = self._tiles[level], self._readers[level]
        height, width = reader.shape[-2:]
        own = self._bands(reader) // tiles.shape[0]
        out = np.zeros((own, tiles.rows, tiles.columns), reader.dtype)
        top, left = row * tiles.rows, column * tiles.columns
        bottom, right = min(top + tiles.rows, height), min(left + tiles.columns, width)
        side = reader.chunk[-2]
        for strip in range(top // side, -(-bottom // side)):
            first, last = max(top, strip * side), min(bottom, (strip + 1) * side)
            if self._is_alone:
                samples = self._read(level, plane, (first, last), (left, right))
                part = samples[path * own : (path + 1) * own]
            else:
                samples = self._strip(level, plane, strip)[path * own : (path + 1) * own]
                part = samples[:, first - strip * side : last - strip * side, left:right]
            out[:, first - top : last - top, : right - left] = part
        if number in self._margins:
            _put_margin(out, self._margins[number], bottom - top, right - left)
        return out

    def keep_streams(self, numbers: Sequence[int]) -> bool:
        """Whether the streams of all of these frames are kept."""
        asked: dict[tuple[int, ...], bool] = {}
        for number in numbers:
            level, index, _ = self._chunk_of(number)
            reader = self._readers[level]
            if (level, *index) not in asked:
                kept = isinstance(reader, KeptStreams) and reader.keeps_streams(index)
                asked[level, *index] = kept
                if not kept:
                    return False
        return True

    def stream(self, number: int) -> bytes:
        """Return the stream of one frame. Raises DamagedStore where there is none."""
        level, index, within = self._chunk_of(number)
        reader = self._readers[level]
        assert isinstance(reader, KeptStreams), "asked before"
        key = (level, *index)
        found = self._streams.get(key)
        if found is None:
            found = reader.streams(index)
            self._keep(key, found)
        stream = found[within] if within < len(found) else None
        if stream is None:
            raise DamagedStore("exporting DICOM: a frame has no stream")
        return stream

    def _keep(self, key: tuple[int, ...], streams: list[bytes | None]) -> None:
        """Keep the streams of a chunk, and fewer of those that were read before."""
        self._streams[key] = streams
        self._stream_bytes += _bytes_of(streams)
        while self._stream_bytes > MAX_STREAM_BYTES and len(self._streams) > 1:
            self._stream_bytes -= _bytes_of(self._streams.popitem(last=False)[1])

    def _place(self, number: int) -> tuple[int, tuple[int, int, int, int]]:
        for level, tiles in enumerate(self._tiles):
            if tiles.first <= number < tiles.end:
                path, plane, row, column = np.unravel_index(number - tiles.first, tiles.shape)
                return level, (int(path), int(plane), int(row), int(column))
        raise DamagedStore("exporting DICOM: a frame that the slide does not have")

    def _bands(self, reader: ExportReader) -> int:
        return dict(zip(reader.axes, reader.shape, strict=True)).get("band", 1)

    def _chunk_of(self, number: int) -> tuple[int, tuple[int, ...], int]:
        """Return the level and the chunk that a frame lies in, and its number there."""
        level, (path, plane, row, column) = self._place(number)
        tiles, reader = self._tiles[level], self._readers[level]
        own = self._bands(reader) // tiles.shape[0]
        sides = {"z": 1, "band": own, "y": tiles.rows, "x": tiles.columns}
        at = {"z": plane, "band": path, "y": row, "x": column}
        index, within = [], 0
        for axis, size, chunk in zip(reader.axes, reader.shape, reader.chunk, strict=True):
            number_at, inside = divmod(at[axis] * sides[axis], chunk)
            here = min(chunk, size - number_at * chunk)
            within = within * -(-here // sides[axis]) + inside // sides[axis]
            index.append(number_at)
        return level, tuple(index), within

    def _strip(self, level: int, plane: int, strip: int) -> npt.NDArray[Any]:
        """Return the samples (bands, y, x) of a row of chunks of a focal plane."""
        key = (level, plane, strip)
        if key not in self._strips:
            reader = self._readers[level]
            side = reader.chunk[-2]
            height, width = reader.shape[-2:]
            rows = (strip * side, min((strip + 1) * side, height))
            found = self._read(level, plane, rows, (0, width))
            self._strips[key] = found
            limit = MAX_CACHED_BYTES + found.nbytes
            while sum(one.nbytes for one in self._strips.values()) > limit:
                self._strips.popitem(last=False)
        return self._strips[key]

    def _read(
        self, level: int, plane: int, rows: tuple[int, int], columns: tuple[int, int]
    ) -> npt.NDArray[Any]:
        """Return the samples (bands, y, x) of a part of a focal plane."""
        reader = self._readers[level]
        bands = self._bands(reader)
        ranges = {"z": (plane, plane + 1), "band": (0, bands), "y": rows, "x": columns}
        chosen = [ranges[axis] for axis in reader.axes]
        box = Box(tuple(a for a, _ in chosen), tuple(b for _, b in chosen))
        return reader.read(box).reshape(bands, rows[1] - rows[0], columns[1] - columns[0])


def _bytes_of(streams: Sequence[bytes | None]) -> int:
    return sum(64 if one is None else 64 + len(one) for one in streams)


def _margins(reader: ExportReader) -> Mapping[int, bytes]:
    """Return what frames have beyond the matrix, by their numbers, as zlib streams."""
    if "slide-margins" not in reader.source_names():
        return {}
    index = np.frombuffer(reader.source_bytes("slide-margins"), "<u8").reshape(-1, 2).tolist()
    data, at, found = reader.source_bytes("slide-margin-samples"), 0, {}
    for number, length in index:
        found[number] = data[at : at + length]
        at += length
    if at != len(data):
        raise ValueError("margins of another length than their index says")
    return found


def _put_margin(out: npt.NDArray[Any], margin: bytes, high: int, wide: int) -> None:
    """Put the samples to the right of the matrix, and those below it, into a frame."""
    right, below = out[:, :high, wide:], out[:, high:]
    size = right.nbytes + below.nbytes
    try:
        data = zlib.decompressobj().decompress(margin, size + 1)
    except zlib.error:
        data = b""
    if len(data) != size:
        raise DamagedStore("exporting DICOM: a margin of another size than its frame's")
    samples = np.frombuffer(data, out.dtype.newbyteorder("<"))
    right[:] = samples[: right.size].reshape(right.shape)
    below[:] = samples[right.size :].reshape(below.shape)
