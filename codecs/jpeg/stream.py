"""One JPEG stream ↔ its coefficients and its skeleton: the stream without its scans' codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg import huffman, progressive
from tilepress.codecs.jpeg.markers import (
    Frame,
    HuffmanTable,
    JpegTables,
    Refused,
    Scan,
    damaged,
    walk,
)

__all__ = [
    "ONES",
    "Blocks",
    "Place",
    "Stream",
    "read_skeleton",
    "read_stream",
    "read_tables",
    "write_stream",
]

Blocks = npt.NDArray[np.int16]
Place = tuple[int, int]
"""Where a component's blocks of a stream are: number of the first, blocks from row to row."""

ONES = 127
"""Bits that fill bytes in nearly all streams."""

_BITS_OF_BLOCK = 8
"""Blocks that a byte may hold at most: one bit each in a progressive scan."""
_STARTING_ROOM = 1 << 16
_NO_TABLE = HuffmanTable((0,) * 16, b"")


@dataclass(slots=True)
class Stream:
    """What a skeleton says."""

    skeleton: bytes
    frame: Frame
    scans: list[tuple[Scan, int]] = field(default_factory=list)
    """Each with the place in the skeleton where its coded bytes were taken out."""
    pads: list[npt.NDArray[np.int16]] = field(default_factory=list)
    """Of each scan, the bits that fill the last byte of each interval."""
    steps: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 64), np.int64))
    """(components, 64), the quantisation of each."""
    coded: list[tuple[int, int]] = field(default_factory=list)
    """Rows and columns of blocks of each component."""
    adobe: int | None = None
    jfif: bool = False

    def intervals(self, scan: Scan) -> int:
        """How many runs of MCUs without a restart marker a scan has."""
        rows, columns = self.mcus(scan)
        return -(-rows * columns // scan.restart) if scan.restart else 1

    def mcus(self, scan: Scan) -> tuple[int, int]:
        if len(scan.components) == 1:
            return self.frame.blocks(scan.components[0])
        return self.frame.mcus

    def own_places(self) -> tuple[list[Place], int]:
        """Places of the stream's components one after another; and how many blocks they are."""
        places, first = [], 0
        for index in range(len(self.frame.components)):
            rows, columns = self.frame.padded(index)
            places.append((first, columns))
            first += rows * columns
        return places, first


def read_tables(data: bytes) -> JpegTables:
    """Return the tables of an abbreviated stream that has nothing else (TIFF's JPEGTables)."""
    tables = JpegTables()
    if data:
        walk(data, tables, None)
    return tables


def read_stream(data: bytes, tables: JpegTables) -> tuple[Stream, Blocks]:
    """Return what a stream holds, its blocks in ``own_places``; raises Refused."""
    found: Stream | None = None
    blocks: Blocks = np.zeros((0, 64), np.int16)
    whole = np.frombuffer(data, np.uint8)
    taken: list[tuple[int, int]] = []

    def on_scan(frame: Frame, scan: Scan, now: JpegTables, at: int) -> int:
        nonlocal found, blocks
        if found is None:
            found = Stream(b"", frame)
            count = found.own_places()[1]
            if count > _BITS_OF_BLOCK * len(data):
                raise Refused("reading a JPEG stream: it is cut, or too short for its size")
            blocks = np.zeros((count, 64), np.int16)
        pads = np.zeros(found.intervals(scan), np.int16)
        _note(found, scan, now, at - sum(end - begin for begin, end in taken))
        places = _places(found, scan, found.own_places()[0])
        tables_of = _parts_of(scan) if frame.kind == "progressive" else _tables_of(scan)
        decode = progressive.decode_scan if frame.kind == "progressive" else huffman.decode_scan
        end = decode(
            whole, at, places, found.mcus(scan), scan.restart, tables_of, blocks, pads,
            *_part(frame, scan),
        )  # fmt: skip
        if end < 0:
            raise Refused(f"reading a JPEG stream: its coded bytes are damaged or cut ({end})")
        found.pads.append(_plain(pads))
        taken.append((at, end))
        return int(end)

    walk(data, tables.copy(), on_scan)
    assert found is not None
    _check(found)
    pieces, at = [], 0
    for begin, end in taken:
        pieces.append(data[at:begin])
        at = end
    found.skeleton = b"".join([*pieces, data[at:]])
    return found, blocks


def read_skeleton(skeleton: bytes, tables: JpegTables) -> Stream:
    """Return what a skeleton says, but for ``pads``; raises Refused."""
    found: Stream | None = None

    def on_scan(frame: Frame, scan: Scan, now: JpegTables, at: int) -> int:
        nonlocal found
        found = found or Stream(skeleton, frame)
        _note(found, scan, now, at)
        return at

    walk(skeleton, tables.copy(), on_scan)
    assert found is not None
    _check(found)
    return found


def write_stream(stream: Stream, blocks: Blocks, places: list[Place]) -> bytes:
    """Return the stream of a skeleton whose blocks lie at ``places``; raises InvalidRecord."""
    pieces, begin = [], 0
    for (scan, at), pads in zip(stream.scans, stream.pads, strict=True):
        pieces += [stream.skeleton[begin:at], _write_scan(stream, scan, pads, blocks, places)]
        begin = at
    return b"".join([*pieces, stream.skeleton[begin:]])


def _write_scan(
    stream: Stream, scan: Scan, pads: npt.NDArray[np.int16], blocks: Blocks, places: list[Place]
) -> bytes:
    frame = stream.frame
    tables = _parts_of(scan) if frame.kind == "progressive" else _tables_of(scan)
    encode = progressive.encode_scan if frame.kind == "progressive" else huffman.encode_scan
    where = _places(stream, scan, places)
    room = _STARTING_ROOM
    while True:
        out = np.empty(room, np.uint8)
        size = encode(
            out, where, stream.mcus(scan), scan.restart, tables, blocks, pads, *_part(frame, scan)
        )  # fmt: skip
        if size >= 0:
            return out[:size].tobytes()
        if size != huffman.NO_ROOM:
            raise damaged("coefficients do not fit their stream's Huffman tables")
        room *= 4


def _note(stream: Stream, scan: Scan, tables: JpegTables, at: int) -> None:
    """Take down a scan, and the quantisation of components that appear in it first."""
    frame = stream.frame
    if not stream.scans:
        stream.steps = np.zeros((len(frame.components), 64), np.int64)
        stream.coded = [(0, 0)] * len(frame.components)
    for index in scan.components:
        if stream.coded[index] == (0, 0):
            steps = tables.quantisation.get(frame.components[index].table)
            if steps is None:
                raise Refused("reading a JPEG stream: a quantisation table is nowhere")
            stream.steps[index] = steps
            stream.coded[index] = frame.blocks(index)
        elif frame.kind != "progressive":
            raise Refused("reading a JPEG stream: a component has two scans")
        if len(scan.components) > 1:
            stream.coded[index] = frame.padded(index)
    # what a sequential scan says of a part of the coefficients is not meant: some write 0 … 0
    if frame.kind == "progressive":
        _check_part(scan)
    stream.scans.append((scan, at))
    stream.adobe, stream.jfif = tables.adobe, tables.jfif


def _plain(pads: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Return the bits as they were read, or 127 or 0 throughout where all are ones or zeros."""
    count, value = pads >> 8, pads & 255
    if np.all(value == (1 << count) - 1):
        return np.full_like(pads, ONES)
    return value


def _check(stream: Stream) -> None:
    if (0, 0) in stream.coded:
        raise Refused("reading a JPEG stream: a component has no scan")


def _check_part(scan: Scan) -> None:
    """Raise Refused unless a progressive scan's part is one that T.81 §G.1.1.1 allows."""
    means = scan.first == scan.last == 0
    others = 1 <= scan.first <= scan.last <= 63 and len(scan.components) == 1
    if not (means or others) or scan.low > 13 or scan.high not in (0, scan.low + 1):
        raise Refused("reading a JPEG stream: a progressive scan has an impossible part")


def _part(frame: Frame, scan: Scan) -> tuple[int, ...]:
    if frame.kind != "progressive":
        return ()
    return scan.first, scan.last, scan.high, scan.low


def _parts_of(scan: Scan) -> huffman.Tables:
    """Return the table of each component of a progressive scan: one where none is used."""
    if scan.first == 0 and scan.high:
        return (_NO_TABLE,) * len(scan.components)
    chosen = scan.dc if scan.first == 0 else scan.ac
    tables = tuple(table for table in chosen if table is not None)
    if len(tables) != len(scan.components):
        raise Refused("reading a JPEG stream: a scan names a Huffman table that is nowhere")
    return tables


def _tables_of(scan: Scan) -> huffman.Tables:
    """DC, then AC tables of a scan's components."""
    tables = tuple(table for table in (*scan.dc, *scan.ac) if table is not None)
    if len(tables) != 2 * len(scan.components):
        raise Refused("reading a JPEG stream: a scan names a Huffman table that is nowhere")
    return tables


def _places(stream: Stream, scan: Scan, places: list[Place]) -> npt.NDArray[np.int64]:
    rows = []
    count = len(scan.components)
    for number, index in enumerate(scan.components):
        component = stream.frame.components[index]
        first, stride = places[index]
        h, v = (component.h, component.v) if count > 1 else (1, 1)
        rows.append([first, stride, h, v, number, count + number])
    return np.array(rows, np.int64)
