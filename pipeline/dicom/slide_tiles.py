"""The tiles of a slide's level as frames of a DICOM instance, in the order of TILED_FULL.

Tiles that the store keeps as streams which a transfer syntax allows are frames as they are: of JPEG
the shared tables are put into each, and what tells a decoder that they are no Y, Cb, Cr. Others are
written from samples, as lossless JPEG 2000: OpenSlide reads no RLE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.rewrite import lossy_method
from tilepress.pipeline.dicom.slide_header import Coding
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.slide import LevelToWrite, places_of_streams
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["TileFrames", "sampling_of"]

METHODS = {"jpeg": "ISO_10918_1", "jpeg2000": "ISO_15444_1"}
"""What lossy compression a slide has been through is called (PS3.3 C.7.6.1.1.5.1)."""
BASELINE = 0xC0
STANDS_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that no length follows (T.81 table B.1)."""
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""An APP14 marker segment: three components are as they are, and not Y, Cb, Cr."""


class TileFrames:
    """The frames of one level."""

    def __init__(self, level: LevelToWrite, *, is_colour: bool) -> None:
        self._level, self._is_colour = level, is_colour
        self._first = self._first_stream()
        self._photometric = self._photometric_of_streams()

    def coding(self, frame_bytes: int) -> Coding:
        """Return how frames lie in the instance, of ``frame_bytes`` all together."""
        level = self._level
        tile = level.rows * level.columns * level.reader.dtype.itemsize
        raw = tile * level.bands * level.down * level.across
        ratio = max(1.0, raw / max(1, frame_bytes))
        methods = tuple(METHODS[one] for one in (level.came_as,) if one in METHODS)
        if self._photometric is not None:
            syntax = JPEGBaseline8Bit if level.family == "jpeg" else JPEG2000
            return Coding(syntax, self._photometric, methods, ratio)
        if not level.reader.loss.is_lossless:
            methods += (lossy_method(level.reader),)
        photometric = "YBR_RCT" if self._is_colour else "MONOCHROME2"
        return Coding(JPEG2000Lossless, photometric, methods, ratio)

    def __iter__(self) -> Iterator[bytes]:
        """Yield frames by optical path, row and column of tiles."""
        if self._photometric is None:
            yield from self._from_samples()
            return
        absent = self._absent()
        for stream in self._streams():
            yield absent if stream is None else self._frame(stream)

    def _first_stream(self) -> bytes | None:
        if self._level.family not in ("jpeg", "jpeg2000"):
            return None
        return next((one for one in self._streams() if one is not None), None)

    def _photometric_of_streams(self) -> str | None:
        """Return what streams are called in DICOM; None where they cannot be frames."""
        stream, level = self._first, self._level
        if stream is None or level.reader.dtype != np.uint8:
            return None
        if level.family == "jpeg":
            found = _frame_header(self._frame(stream))
            if found is None or found[:2] != (level.rows, level.columns):
                return None
            if not self._is_colour:
                return "MONOCHROME2" if found[2] == 1 else None
            if found[2] != 3:
                return None
            return ("YBR_FULL_422" if found[3] else "YBR_FULL") if level.ycbcr else "RGB"
        at = stream.find(b"\xff\x52", 2)
        if stream[:4] != b"\xff\x4f\xff\x51" or at < 0 or level.ycbcr:
            return None  # a JP2 file is no fragment, and Y, Cb, Cr of the scanner's own no syntax
        if not self._is_colour:
            return "MONOCHROME2"
        mixes, is_reversible = stream[at + 8] != 0, stream[at + 13] == 1
        return ("YBR_RCT" if is_reversible else "YBR_ICT") if mixes else "RGB"

    def _frame(self, stream: bytes) -> bytes:
        level = self._level
        if level.family != "jpeg":
            return stream
        mark = b"" if level.ycbcr or not self._is_colour or _has_adobe(stream) else ADOBE_RGB
        return stream[:2] + mark + level.tables[2:-2] + stream[2:]

    def _absent(self) -> bytes:
        """Return a frame of zeros, for tiles that a sparse file has not."""
        level = self._level
        tile = np.zeros((level.rows, level.columns, 3 if self._is_colour else 1), np.uint8)
        if level.family == "jpeg2000":
            return _lossless(tile, mixes=self._photometric in ("YBR_RCT", "YBR_ICT"))
        if not self._is_colour:
            return bytes(imagecodecs.jpeg8_encode(tile[..., 0], level=100))
        outer = "YCBCR" if level.ycbcr else "RGB"
        data = imagecodecs.jpeg8_encode(
            tile, level=100, colorspace="RGB", outcolorspace=outer, subsampling="444"
        )
        return bytes(data)

    def _streams(self) -> Iterator[bytes | None]:
        level, reader = self._level, self._level.reader
        assert isinstance(reader, KeptStreams), "a family was said"
        together = level.bands if self._is_colour else 1
        sides = (together, level.rows, level.columns)
        chunk = (level.bands, *reader.chunk)[-3:]
        axes = len(reader.shape)
        for path in range(level.bands // together):
            for top in range(0, level.height, chunk[1]):
                found: dict[tuple[int, int], bytes | None] = {}
                for left in range(0, level.width, chunk[2]):
                    whole = (path * together // chunk[0], top // chunk[1], left // chunk[2])
                    index = whole[-axes:]
                    if reader.keeps_streams(index):
                        for (frame, row, column), one in places_of_streams(reader, index, sides):
                            if frame == path:
                                found[row, column] = one
                rows = range(top // level.rows, -(-min(top + chunk[1], level.height) // level.rows))
                for row in rows:
                    yield from (found.get((row, column)) for column in range(level.across))

    def _from_samples(self) -> Iterator[bytes]:
        level, reader = self._level, self._level.reader
        if reader.dtype not in (np.uint8, np.uint16):
            raise UsageError(
                f"exporting DICOM: a slide of {reader.dtype.name} samples, and DICOM has slides of "
                "uint8 and uint16 alone; export to another format"
            )
        together = level.bands if self._is_colour else 1
        axes = len(reader.shape)
        down = level.rows * max(1, reader.chunk[-2] // level.rows)
        for path in range(level.bands // together):
            first, last = path * together, (path + 1) * together
            for top in range(0, level.height, down):
                bottom = min(top + down, level.height)
                box = Box((first, top, 0)[-axes:], (last, bottom, level.width)[-axes:])
                strip = reader.read(box).reshape(together, bottom - top, level.width)
                for row in range(0, bottom - top, level.rows):
                    for left in range(0, level.width, level.columns):
                        part = strip[:, row : row + level.rows, left : left + level.columns]
                        tile = np.zeros((level.rows, level.columns, together), reader.dtype)
                        tile[: part.shape[1], : part.shape[2]] = np.moveaxis(part, 0, -1)
                        yield _lossless(tile, mixes=self._is_colour)


def _lossless(tile: npt.NDArray[Any], *, mixes: bool) -> bytes:
    """Return a codestream of a tile (y, x, samples), of which no sample changes."""
    samples = tile if tile.shape[2] == 3 else tile[..., 0]
    return bytes(imagecodecs.jpeg2k_encode(samples, reversible=True, codecformat="j2k", mct=mixes))


def sampling_of(stream: bytes) -> tuple[int, int]:
    """Return how many columns and rows of luminance a baseline stream has for one of colours."""
    for marker, at in _segments(stream):
        if marker == BASELINE and len(stream) >= at + 8:
            return max(1, stream[at + 7] >> 4), max(1, stream[at + 7] & 15)
    return 1, 1


def _segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of each segment of a JPEG stream before its first scan."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in STANDS_ALONE:
            at += 2
        else:
            yield marker, at + 4
            if marker == 0xDA:
                return
            at += 2 + struct.unpack_from(">H", stream, at + 2)[0]


def _has_adobe(stream: bytes) -> bool:
    return any(m == 0xEE and stream[at : at + 5] == b"Adobe" for m, at in _segments(stream))


def _frame_header(stream: bytes) -> tuple[int, int, int, bool] | None:
    """Return rows, columns and components of a baseline stream, and whether colours have fewer
    samples; None for another stream."""
    for marker, at in _segments(stream):
        if marker == BASELINE and len(stream) >= at + 6 and stream[at] == 8:
            rows, columns, count = struct.unpack_from(">HHB", stream, at + 1)
            factors = {stream[at + 7 + 3 * n] for n in range(count) if at + 7 + 3 * n < len(stream)}
            return rows, columns, count, len(factors) > 1
    return None
