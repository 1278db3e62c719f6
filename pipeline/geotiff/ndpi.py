"""Read the levels of a Hamamatsu slide (NDPI): each one JPEG stream, in windows.

A level is one strip, whose stream has a restart marker after so many MCUs (T.81 B.2.4.4); where
they lie, McuStarts says (tag 65426, 65432 its upper halves), or a search. Between markers nothing
depends on what came before, so that a window is a stream of its own: those intervals that it
touches, with others around, for the samples of colours are drawn from their neighbours, and a
frame header that says how large that is. Sizes are the directory's: those of a frame end at 65535.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.geotiff.halved import NDPI
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    LENGTH,
    PHOTOMETRIC,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    WIDTH,
    Entry,
    TiffHeader,
)
from tilepress.pipeline.geotiff.ndpi_head import (
    BLOCK,
    JPEG_END,
    JpegHead,
    parse_head,
    restart_marker,
    restart_markers,
)
from tilepress.pipeline.storage.regular import open_regular

__all__ = [
    "MCU_STARTS",
    "MCU_STARTS_HIGH",
    "NDPI_TILE",
    "NdpiLevel",
    "is_ndpi_level",
    "long_entry",
]

NDPI_TILE = 512
"""Sides of the tiles that a level is written with, and read as far as GDAL is concerned."""
MCU_STARTS, MCU_STARTS_HIGH = 65426, 65432
JPEG, YCBCR = 7, 6
MAX_HEAD = 2**20
"""Bytes up to the first coded ones."""
PIECE = 2048
"""Rows and columns that are decoded at a time, but for what whole intervals take more."""
MAX_PIECE_BYTES = 2**29
"""Decoded ones, at most."""
MAX_SIDE = 65_500
"""Of what libjpeg decodes."""
WIDE = 512
"""Samples of an interval that is wide: chunks of it would be low."""
LOW_ROWS = 256
"""Rows of chunks of wide intervals with half of the rows of colours, at least: each border of rows
is smoothed across, and has to be corrected."""
MAX_UNIT_SAMPLES = 2**25
"""Of what streams are kept by, half of what a record may have: a level without markers is one."""
SEARCHED_BYTES = 2**24


def is_ndpi_level(header: TiffHeader) -> bool:
    """Whether an image is a JPEG stream of a Hamamatsu slide."""
    first = header.first
    is_jpeg = first.integer(COMPRESSION) == JPEG
    return NDPI in first.entries and is_jpeg and first.integers(STRIP_OFFSETS).size == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NdpiLevel:
    """One level, and how its intervals lie on it: ``(down, across)`` of ``rows`` × ``columns``."""

    path: Path
    height: int
    width: int
    offset: int
    """Of the stream, in the file."""
    length: int
    head: JpegHead
    rows: int
    """Samples of an interval."""
    columns: int
    told: npt.NDArray[np.int64] | None = field(repr=False)
    """Where McuStarts says that intervals begin, from the stream's start on."""
    is_ycbcr: bool
    order: str
    """Of the directory's bytes."""
    tail: bytes | None = field(repr=False)
    """What follows the coded bytes, from the end marker on; None where there is none."""

    compress = "JPEG"

    @classmethod
    def of(cls, path: Path, header: TiffHeader) -> NdpiLevel:
        """Return the level of a directory. Raises DamagedSource or UnsupportedSource."""
        first = header.first
        height, width = first.integer(LENGTH), first.integer(WIDTH)
        offset, length = first.integer(STRIP_OFFSETS), first.integer(STRIP_BYTES)
        if min(height, width, offset, length) < 1:
            raise DamagedSource(f"open {path}: damaged: a level has no samples, or no stream")
        head = _read_head(path, offset, length)
        if not head.interval and all(head.size):
            height, width = head.size  # the directory rounds that of small levels in its own way
        if head.components != first.integer(SAMPLES, 1) or head.components not in (1, 3):
            raise UnsupportedSource(f"open {path}: its stream has {head.components} components")
        across = -(-width // head.mcu[1])
        down = -(-height // head.mcu[0])
        interval = head.interval or across * down
        if across % interval and interval % across:
            interval = across * down  # they end within rows: it is decoded as a whole
        told = first.integers(MCU_STARTS)
        if (high := first.integers(MCU_STARTS_HIGH)).size == told.size:
            told = told | high << 32
        level = cls(
            path=path,
            height=height,
            width=width,
            offset=offset,
            length=length,
            head=head,
            rows=head.mcu[0] * max(1, interval // across),
            columns=head.mcu[1] * min(interval, across),
            told=None,
            is_ycbcr=first.integer(PHOTOMETRIC) == YCBCR,
            order=first.order,
            tail=_tail(path, offset, length),
        )
        around = 3 if level.down * level.across > 1 else 1  # intervals of a piece, down and across
        size = level.rows * level.columns * around**2 * head.components
        if size > MAX_PIECE_BYTES or max(level.rows, level.columns) * around > MAX_SIDE:
            text = f"{level.rows} × {level.columns} samples of it are decoded together at least"
            raise UnsupportedSource(f"open {path}: {text}")
        return replace(level, told=told if told.size == level.down * level.across else None)

    @property
    def down(self) -> int:
        return -(-self.height // self.rows)

    @property
    def across(self) -> int:
        return -(-self.width // self.columns)

    @property
    def interval(self) -> tuple[int, int]:
        """Rows and columns of an interval; of the level where it is not made of whole ones."""
        is_one = self.down * self.across == 1
        return (self.height, self.width) if is_one else (self.rows, self.columns)

    @property
    def unit(self) -> tuple[int, int] | None:
        """Rows and columns of what streams are kept by: an interval or several, or all of a level
        that is not made of whole ones. None where none are kept."""
        rows, columns = self.interval
        if self.head.mcu[0] > BLOCK and columns > WIDE and self.down * self.across > 1:
            rows *= -(-LOW_ROWS // rows)
        if self.tail is None or self.order != "<":  # NDPI is little-endian
            return None
        return (
            (rows, columns) if rows * columns * self.head.components <= MAX_UNIT_SAMPLES else None
        )

    def stream(self, top: int, left: int, bottom: int, right: int) -> bytes | None:
        """Return whole intervals as a stream of their own, with the tables alone in its head.

        None where there are other restart markers among them than they have. Raises DamagedSource.
        """
        downs = _touched(top, bottom, self.rows, self.height)
        acrosses = _touched(left, right, self.columns, self.width)
        head = self.head.bare().sized(bottom - top, right - left)
        coded = b"".join(self._coded(downs, acrosses))
        count = len(downs) * len(acrosses)
        if self.down * self.across > 1 and len(restart_markers(coded)) != count - 1:
            return None
        return head + coded + JPEG_END

    def sized(self, header: TiffHeader) -> TiffHeader:
        """Return the level's header with the size of its samples."""
        first = header.first
        if (first.integer(LENGTH), first.integer(WIDTH)) == (self.height, self.width):
            return header
        sizes = {LENGTH: self.height, WIDTH: self.width, ROWS_PER_STRIP: self.height}
        told = {tag: long_entry(value, header.order) for tag, value in sizes.items()}
        return replace(header, first=replace(first, entries={**first.entries, **told}))

    def read_into(self, bands: list[int], window: Window, out: npt.NDArray[Any]) -> None:
        """Read bands, from 1, into ``out``, (bands, y, x). Raises DamagedSource."""
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        for y in range(top, bottom, PIECE):
            for x in range(left, right, PIECE):
                end_y, end_x = min(y + PIECE, bottom), min(x + PIECE, right)
                part = self._piece(y, x, end_y, end_x)[[band - 1 for band in bands]]
                out[:, y - top : end_y - top, x - left : end_x - left] = part

    def _piece(self, top: int, left: int, bottom: int, right: int) -> npt.NDArray[Any]:
        """Return samples (bands, y, x) of a window, decoded with an MCU around it."""
        high, wide = self.head.mcu
        downs = _touched(top - high, bottom + high, self.rows, self.height)
        acrosses = _touched(left - wide, right + wide, self.columns, self.width)
        y, x = downs.start * self.rows, acrosses.start * self.columns
        height = min(downs.stop * self.rows, self.height) - y
        width = min(acrosses.stop * self.columns, self.width) - x
        coded = b"".join(self._coded(downs, acrosses))
        samples = self._decoded(self.head.sized(height, width) + coded + JPEG_END)
        if samples.shape[1:] != (height, width):
            raise DamagedSource(f"read {self.path}: damaged: a part of its stream is not whole")
        return samples[:, top - y : bottom - y, left - x : right - x]

    def _coded(self, downs: range, acrosses: range) -> Iterator[bytes]:
        """Yield the coded bytes of intervals, with the markers between them numbered anew."""
        starts = self._starts()
        count = 0
        with open_regular(self.path) as file:
            for row in downs:
                first = row * self.across + acrosses.start
                last = row * self.across + acrosses.stop
                begin, end = int(starts[first]), int(starts[last])
                file.seek(self.offset + begin)
                data = file.read(end - begin)
                if len(data) != end - begin:
                    raise DamagedSource(f"read {self.path}: truncated: a level is not whole")
                for number in range(first, last):
                    part = data[int(starts[number]) - begin : int(starts[number + 1]) - begin]
                    is_last = number + 1 == len(starts) - 1
                    if not is_last and part[-2:] != restart_marker(number):
                        text = f"there is no restart marker behind interval {number + 1}"
                        raise DamagedSource(f"read {self.path}: damaged: {text}")
                    yield part if is_last else part[:-2]
                    count += 1
                    if count < len(downs) * len(acrosses):
                        yield restart_marker(count - 1)

    def _starts(self) -> npt.NDArray[np.int64]:
        """Return where intervals begin, and where the last one ends."""
        count, begin = self.down * self.across, len(self.head.data)
        if count == 1:  # with whatever markers it has within
            end = _end_of(self.path, self.offset, self.length)
            return np.array([begin, max(begin, end)], np.int64)
        if self.told is None:
            found = _searched(self.path, self.offset, self.length, begin)
            if len(found) != count + 1:
                text = f"a level has {len(found) - 1} restart intervals, {count} are its samples'"
                raise DamagedSource(f"read {self.path}: damaged: {text}")
            return found
        starts = np.concatenate([self.told, [_end_of(self.path, self.offset, self.length)]])
        starts[0] = begin
        if (np.diff(starts) < 2).any() or starts[-1] > self.length:
            raise DamagedSource(f"read {self.path}: damaged: McuStarts do not follow each other")
        return starts

    def _decoded(self, stream: bytes) -> npt.NDArray[Any]:
        import imagecodecs

        how: dict[str, Any] = {}
        if self.head.components == 3:
            how = {"colorspace": "YCBCR" if self.is_ycbcr else "RGB", "outcolorspace": "RGB"}
        try:
            found = np.asarray(imagecodecs.jpeg8_decode(stream, **how))
        except (RuntimeError, ValueError) as error:
            raise DamagedSource(
                f"read {self.path}: damaged: a part of its stream cannot be decoded"
            ) from error
        return found[np.newaxis] if found.ndim == 2 else np.moveaxis(found, -1, 0)


def long_entry(value: int, order: str) -> Entry:
    """Return an entry of one number."""
    return Entry(4, 1, np.array([value], f"{order}u4").tobytes())


def _touched(start: int, stop: int, size: int, whole: int) -> range:
    """Return the numbers of the intervals that a range touches, which may go past the image."""
    return range(max(0, start) // size, -(-min(stop, whole) // size))


def _read_head(path: Path, offset: int, length: int) -> JpegHead:
    """Read the markers of a stream up to its scan. Raises DamagedSource or UnsupportedSource."""
    with open_regular(path) as file:
        file.seek(offset)
        data = file.read(min(length, MAX_HEAD))
    return parse_head(data, f"open {path}")


def _end_of(path: Path, offset: int, length: int) -> int:
    """Return where the coded bytes of a stream end: at its end marker."""
    with open_regular(path) as file:
        begin = max(0, length - 4096)
        file.seek(offset + begin)
        tail = file.read(length - begin)
    at = tail.rfind(JPEG_END)
    if at < 0:
        raise DamagedSource(f"read {path}: truncated: a level has no end")
    return begin + at


def _tail(path: Path, offset: int, length: int) -> bytes | None:
    """Return the bytes from the end marker on; None where the file ends before."""
    try:
        end = _end_of(path, offset, length)
    except DamagedSource:
        return None  # who reads the samples is told
    with open_regular(path) as file:
        file.seek(offset + end)
        data = file.read(length - end)
    return data if len(data) == length - end else None


@lru_cache(maxsize=16)
def _searched(path: Path, offset: int, length: int, begin: int) -> npt.NDArray[np.int64]:
    """Return where intervals begin, by their markers, and where the last one ends."""
    found = [np.array([begin], np.int64)]
    end = _end_of(path, offset, length)
    with open_regular(path) as file:
        for at in range(begin, end, SEARCHED_BYTES):
            file.seek(offset + at)
            data = file.read(min(SEARCHED_BYTES + 1, end - at))
            found.append(restart_markers(data) + at + 2)
    return np.concatenate([*found, np.array([end], np.int64)])
