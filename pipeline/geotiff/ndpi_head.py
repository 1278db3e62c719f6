"""The head of an NDPI level's JPEG stream, and the restart markers behind it (T.81 annex B)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource, UnsupportedSource

__all__ = [
    "BLOCK",
    "JPEG_END",
    "JpegHead",
    "parse_head",
    "restart_marker",
    "restart_markers",
]

SOF0, DHT, SOS, DQT, DRI = 0xC0, 0xC4, 0xDA, 0xDB, 0xDD
JPEG_END = b"\xff\xd9"
BLOCK = 8
"""Rows and columns of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHead:
    """A stream up to its coded bytes."""

    data: bytes = field(repr=False)
    size_at: int
    """Where in it the height stands, and the width behind it."""
    mcu: tuple[int, int]
    """Rows and columns of an MCU."""
    interval: int
    """MCUs from one restart marker to the next; 0 where there is none."""
    components: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that it says; 0 for what it has no room for."""
        height, width = struct.unpack_from(">HH", self.data, self.size_at)
        return int(height), int(width)

    def sized(self, height: int, width: int) -> bytes:
        """Return the head of a stream of another size."""
        size = struct.pack(">HH", height, width)
        return self.data[: self.size_at] + size + self.data[self.size_at + 4 :]

    def bare(self) -> JpegHead:
        """Return the head without what no decoder needs: texts, and whatever else has a marker."""
        parts, at, size_at, length = [self.data[:2]], 2, 0, 2
        while at < len(self.data):
            size = 2 + int.from_bytes(self.data[at + 2 : at + 4], "big")
            if self.data[at + 1] in (SOF0, DHT, SOS, DQT, DRI):
                if at <= self.size_at < at + size:
                    size_at = length + self.size_at - at
                parts.append(self.data[at : at + size])
                length += size
            at += size
        return replace(self, data=b"".join(parts), size_at=size_at)


def parse_head(data: bytes, doing: str) -> JpegHead:
    """Return the head of a stream. Raises DamagedSource or UnsupportedSource."""
    at, interval, size_at = 2, 0, 0
    mcu, components = (8, 8), 0
    try:
        while True:
            mark, marker, size = struct.unpack_from(">BBH", data, at)
            if mark != 0xFF:
                raise DamagedSource(f"{doing}: damaged: its stream is no JPEG")
            if marker == SOF0:
                size_at, components = at + 5, data[at + 9]
                factors = [data[at + 11 + 3 * n] for n in range(components)]
                mcu = (8 * max(one & 15 for one in factors), 8 * max(one >> 4 for one in factors))
                if data[at + 4] != 8 or not all(mcu):
                    raise UnsupportedSource(f"{doing}: its stream has no samples of 8 bits")
                if components == 1:
                    mcu = (8, 8)  # T.81 A.2.2: of one component, an MCU is one block
            elif 0xC1 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                raise UnsupportedSource(f"{doing}: its stream is no baseline JPEG")
            elif marker == DRI:
                (interval,) = struct.unpack_from(">H", data, at + 4)
            at += 2 + size
            if marker == SOS:
                break
    except (struct.error, IndexError, ValueError) as error:
        raise DamagedSource(f"{doing}: damaged: its stream is cut") from error
    if not size_at or data[:2] != b"\xff\xd8":
        raise DamagedSource(f"{doing}: damaged: its stream has no frame")
    return JpegHead(
        data=data[:at], size_at=size_at, mcu=mcu, interval=interval, components=components
    )


def restart_marker(number: int) -> bytes:
    """Return the marker behind an interval, by its number from 0."""
    return bytes([0xFF, 0xD0 + number % 8])


def restart_markers(coded: bytes) -> npt.NDArray[np.int64]:
    """Return where restart markers are among coded bytes."""
    data = np.frombuffer(coded, np.uint8)
    return np.flatnonzero((data[:-1] == 0xFF) & (data[1:] & 0xF8 == 0xD0)).astype(np.int64)
