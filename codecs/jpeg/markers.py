"""Walk the markers of a JPEG stream (ITU-T T.81 annex B), bounded before anything is allocated.

What a scan holds is not looked at here: ``walk`` calls back at each, and goes on where it is told.
So one function reads the streams that come in and the skeletons (streams without their scans'
coded bytes) that records keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_RECORD_SAMPLES
from tilepress.errors import InvalidRecord, UnsupportedArray

__all__ = [
    "MAX_SCANS",
    "ZIGZAG",
    "Component",
    "Frame",
    "HuffmanTable",
    "JpegTables",
    "Refused",
    "Scan",
    "damaged",
    "walk",
]

Bytes = npt.NDArray[np.uint8]

MAX_SCANS = 128
"""Scans of one stream at most; progressive ones of libjpeg have ten."""
_MAX_MARKERS = 4096

ZIGZAG = np.array(
    [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
     13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
     52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63], np.int64)  # fmt: skip
"""Place in a block, row by row, of each coefficient in the order of a scan (T.81 figure A.6)."""

_SOI, _EOI, _SOS, _DQT, _DHT, _DRI, _DNL = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC
_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""


class Refused(UnsupportedArray):
    """A stream is no JPEG, is damaged, or is of a kind that this codec does not code."""


@dataclass(frozen=True, slots=True)
class HuffmanTable:
    """Codes of a Huffman table (T.81 annex C)."""

    counts: tuple[int, ...]
    """How many codes have 1 … 16 bits."""
    symbols: bytes


@dataclass(frozen=True, slots=True)
class Component:
    """A component of a frame."""

    number: int
    """Its identifier."""
    h: int
    v: int
    table: int
    """Which quantisation table it uses."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame header says."""

    kind: str
    """"baseline", "extended" or "progressive"."""
    precision: int
    height: int
    width: int
    components: tuple[Component, ...]

    @property
    def h_max(self) -> int:
        return max(c.h for c in self.components)

    @property
    def v_max(self) -> int:
        return max(c.v for c in self.components)

    @property
    def mcus(self) -> tuple[int, int]:
        """Rows and columns of MCUs of interleaved scans."""
        return -(-self.height // (8 * self.v_max)), -(-self.width // (8 * self.h_max))

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns of samples of a component (T.81 §A.1.1)."""
        c = self.components[index]
        return -(-self.height * c.v // self.v_max), -(-self.width * c.h // self.h_max)

    def blocks(self, index: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component in a scan of its own."""
        rows, columns = self.size(index)
        return -(-rows // 8), -(-columns // 8)

    def padded(self, index: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component in interleaved scans."""
        if len(self.components) == 1:
            return self.blocks(index)
        c, (rows, columns) = self.components[index], self.mcus
        return rows * c.v, columns * c.h


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan header says, with the tables that hold at it."""

    components: tuple[int, ...]
    """Places in the frame, ascending."""
    dc: tuple[HuffmanTable | None, ...]
    ac: tuple[HuffmanTable | None, ...]
    first: int
    last: int
    high: int
    low: int
    restart: int
    """MCUs between restart markers; 0 where there are none."""


@dataclass(slots=True)
class JpegTables:
    """Tables as they stand at a place of a stream."""

    quantisation: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    """(64,) row by row."""
    dc: dict[int, HuffmanTable] = field(default_factory=dict)
    ac: dict[int, HuffmanTable] = field(default_factory=dict)
    restart: int = 0
    adobe: int | None = None
    """What the Adobe marker says of the colour transform: 0 none, 1 YCbCr, 2 YCCK."""
    jfif: bool = False

    def copy(self) -> JpegTables:
        return JpegTables(
            dict(self.quantisation), dict(self.dc), dict(self.ac), self.restart, self.adobe,
            self.jfif,
        )  # fmt: skip


OnScan = Callable[[Frame, Scan, JpegTables, int], int]


def walk(data: bytes, tables: JpegTables, on_scan: OnScan | None) -> Frame | None:
    """Read a stream's markers; ``tables`` change as it goes, ``on_scan`` reads what scans hold.

    on_scan : called with frame, scan, tables and the place after the scan's header; returns the
        place after the scan's coded bytes. None: the stream holds tables only.
    Raises Refused for what is no such stream.
    """
    if data[:2] != b"\xff\xd8":
        raise _refused("got no start of an image")
    at, frame, scans = 2, None, 0
    for _ in range(_MAX_MARKERS):
        marker, at = _next_marker(data, at)
        if marker in (_EOI, None):
            if on_scan is not None and not scans:
                raise _refused("it has no scan")
            return frame
        if marker in _ALONE:
            continue
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        if len(body) + 2 != int.from_bytes(data[at : at + 2], "big"):
            raise _refused(f"marker {marker:02x} is cut or has a wrong length")
        at += len(body) + 2
        if marker in _FRAMES:
            if frame is not None:
                raise _refused("it has two frames")
            frame = _read_frame(_FRAMES[marker], body)
        elif marker in _OTHER_FRAMES:
            raise _refused(f"its frame is of kind {marker:02x}, not coded here")
        elif marker in (_SOI, _DNL):
            raise _refused(f"marker {marker:02x} in it is not coded here")
        elif marker == _SOS:
            if frame is None or on_scan is None:
                raise _refused("it has a scan before its frame")
            scans += 1
            if scans > MAX_SCANS:
                raise _refused(f"it has more than {MAX_SCANS} scans")
            at = on_scan(frame, _read_scan(body, frame, tables), tables, at)
        else:
            _read_tables(marker, body, tables)
    raise _refused(f"it has more than {_MAX_MARKERS} markers")


def _next_marker(data: bytes, at: int) -> tuple[int | None, int]:
    """Return the next marker, whatever lies before it, and the place after it."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return None, len(data)
        while at < len(data) and data[at] == 0xFF:
            at += 1
        if at >= len(data):
            return None, len(data)
        at += 1
        if data[at - 1]:
            return data[at - 1], at


def _read_frame(kind: str, body: bytes) -> Frame:
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise _refused("its frame header has a wrong length")
    precision, count = body[0], body[5]
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if precision not in ((8,) if kind == "baseline" else (8, 12)):
        raise _refused(f"its samples have {precision} bits")
    if not 1 <= count <= 4 or not height or not width:
        raise _refused(f"it has {count} components of {height} × {width}")
    if height * width * count > MAX_RECORD_SAMPLES:
        raise _refused(f"{count} components of {height} × {width} are beyond the limits")
    components = tuple(
        Component(body[at], body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
        for at in range(6, len(body), 3)
    )
    if any(not 1 <= c.h <= 4 or not 1 <= c.v <= 4 or c.table > 3 for c in components):
        raise _refused("its frame header has impossible sampling factors or tables")
    if len({c.number for c in components}) != count:
        raise _refused("two of its components have the same number")
    return Frame(kind, precision, height, width, components)


def _read_scan(body: bytes, frame: Frame, tables: JpegTables) -> Scan:
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise _refused("a scan header has a wrong length")
    places = {c.number: place for place, c in enumerate(frame.components)}
    chosen = [places.get(body[1 + 2 * i], -1) for i in range(count)]
    if -1 in chosen or sorted(set(chosen)) != chosen:
        raise _refused("a scan names components that the frame does not have, or not in order")
    if count > 1 and sum(frame.components[c].h * frame.components[c].v for c in chosen) > 10:
        raise _refused("an MCU has more than ten blocks")
    first, last, approximation = body[-3:]
    selectors = [body[2 + 2 * i] for i in range(count)]
    return Scan(
        components=tuple(chosen),
        dc=tuple(tables.dc.get(s >> 4) for s in selectors),
        ac=tuple(tables.ac.get(s & 15) for s in selectors),
        first=first,
        last=last,
        high=approximation >> 4,
        low=approximation & 15,
        restart=tables.restart,
    )


def _read_tables(marker: int, body: bytes, tables: JpegTables) -> None:
    if marker == _DQT:
        _read_quantisation(body, tables)
    elif marker == _DHT:
        _read_huffman(body, tables)
    elif marker == _DRI:
        if len(body) != 2:
            raise _refused("its restart interval has a wrong length")
        tables.restart = int.from_bytes(body, "big")
    elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
        tables.adobe = body[11]
    elif marker == 0xE0 and body[:5] == b"JFIF\0":
        tables.jfif = True


def _read_quantisation(body: bytes, tables: JpegTables) -> None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        size = 128 if wide else 64
        if wide > 1 or number > 3 or at + 1 + size > len(body):
            raise _refused("a quantisation table is damaged")
        steps = np.frombuffer(body, ">u2" if wide else np.uint8, 64, at + 1)
        table = np.zeros(64, np.int64)
        table[ZIGZAG] = steps
        tables.quantisation[number] = table
        at += 1 + size


def _read_huffman(body: bytes, tables: JpegTables) -> None:
    at = 0
    while at < len(body):
        kind, number = body[at] >> 4, body[at] & 15
        counts = tuple(body[at + 1 : at + 17])
        size = sum(counts)
        if kind > 1 or number > 3 or len(counts) < 16 or size > 256 or at + 17 + size > len(body):
            raise _refused("a Huffman table is damaged")
        used = sum(count << (16 - bits) for bits, count in enumerate(counts, 1))
        if used > 1 << 16:
            raise _refused("a Huffman table has more codes than there are")
        table = HuffmanTable(counts, body[at + 17 : at + 17 + size])
        if len(set(table.symbols)) != size:
            raise _refused("a Huffman table has a symbol twice")
        (tables.ac if kind else tables.dc)[number] = table
        at += 17 + size


def _refused(found: str) -> Refused:
    return Refused(f"reading a JPEG stream: {found}")


def damaged(what: str) -> InvalidRecord:
    """Return the error of a record whose skeletons do not fit."""
    return InvalidRecord(f"decoding a JPEG payload: {what}")
