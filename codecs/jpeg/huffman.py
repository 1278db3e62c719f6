"""Read and write the coded bytes of sequential scans (T.81 annexes C, F.1.2, F.2.2).

Coefficients of all streams of a chunk lie in one array, blocks of 64 row by row; where a
component's blocks of a stream are is told by a row of ``places``. The loops are those of
native/huffman.c.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import ZIGZAG, HuffmanTable
from tilepress.codecs.native.library import bind

__all__ = [
    "NO_ROOM",
    "Tables",
    "code_table",
    "codes_of",
    "decode_scan",
    "encode_scan",
    "look_up_table",
    "look_ups_of",
    "scan_of",
]

Tables = tuple[HuffmanTable, ...]

NO_ROOM = -4
"""What ``encode_scan`` answers where its array is too short."""

_STRIDE, _H, _V = 1, 2, 3
"""Columns of ``places``: (components, 6), number of the stream's first block, blocks between rows,
columns and rows of an MCU, tables of DC and AC."""

_long, _at = ctypes.c_int64, ctypes.c_void_p


@functools.lru_cache(maxsize=64)
def look_up_table(table: HuffmanTable) -> npt.NDArray[np.uint16]:
    """Return, for the next 16 bits, 256 · length of the code + symbol; 0 where none begins so."""
    out = np.zeros(1 << 16, np.uint16)
    at = code = 0
    for length, count in enumerate(table.counts, 1):
        for _ in range(count):
            span = 1 << (16 - length)
            out[code : code + span] = (length << 8) | table.symbols[at]
            code += span
            at += 1
    return out


@functools.lru_cache(maxsize=64)
def code_table(table: HuffmanTable) -> npt.NDArray[np.int32]:
    """Return, for each symbol, 32 · code + its length; 0 where it has none."""
    out = np.zeros(256, np.int32)
    at = code = 0
    for length, count in enumerate(table.counts, 1):
        for _ in range(count):
            out[table.symbols[at]] = (code << 5) | length
            code += 1
            at += 1
        code <<= 1
    return out


@functools.lru_cache(maxsize=8)
def look_ups_of(tables: Tables) -> npt.NDArray[np.uint16]:
    """Return ``look_up_table`` of several, (t, 65536)."""
    return np.stack([look_up_table(table) for table in tables])


@functools.lru_cache(maxsize=64)
def codes_of(tables: Tables) -> npt.NDArray[np.int32]:
    """Return ``code_table`` of several, (t, 256)."""
    return np.stack([code_table(table) for table in tables])


class ScanStructure(ctypes.Structure):
    """``Scan`` of native/huffman.h."""

    _fields_ = (
        ("places", _at),
        ("components", _long),
        ("rows", _long),
        ("columns", _long),
        ("restart", _long),
        ("blocks", _at),
        ("pads", _at),
    )


def scan_of(
    places: npt.NDArray[np.int64], mcus: tuple[int, int], restart: int,
    blocks: npt.NDArray[np.int16], pads: npt.NDArray[np.int16],
) -> ScanStructure:  # fmt: skip
    """Return where the blocks of a scan are; raises ValueError where there are not so many."""
    rows, columns = mcus
    intervals = -(-rows * columns // restart) if restart else 1
    last = (
        places[:, 0] + (rows * places[:, _V] - 1) * places[:, _STRIDE] + columns * places[:, _H] - 1
    )
    if last.max() >= len(blocks) or places.min() < 0 or len(pads) < intervals:
        raise ValueError(
            f"got {len(blocks)} blocks, {len(pads)} intervals; want {last.max() + 1}, {intervals}"
        )
    arrays = ((places, np.int64), (blocks, np.int16), (pads, np.int16))
    if any(array.dtype != dtype or not array.flags.c_contiguous for array, dtype in arrays):
        raise TypeError("an array is of another type, or not contiguous")
    return ScanStructure(
        places=places.ctypes.data,
        components=len(places),
        rows=rows,
        columns=columns,
        restart=restart,
        blocks=blocks.ctypes.data,
        pads=pads.ctypes.data,
    )


_decode = bind("tp_decode_scan", "BnnpHl", "n")
_encode = bind("tp_encode_scan", "Bnpil", "n")


def decode_scan(
    data: npt.NDArray[np.uint8], start: int, places: npt.NDArray[np.int64], mcus: tuple[int, int],
    restart: int, tables: Tables, blocks: npt.NDArray[np.int16], pads: npt.NDArray[np.int16],
) -> int:  # fmt: skip
    """Decode a scan's bytes from ``start`` on; returns the place after them, or below 0.

    data : (n,) uint8; places : (components, 6) int64; mcus : rows and columns; tables : of DC, then
    of AC; blocks : (n, 64) int16, zeros where the scan's are; pads : (k,) int16, filled with
    256 · number + value of the bits that fill the last byte of each interval.

    Below 0: −1 the bytes are cut, −2 there is no such code, −3 no restart marker where one is due.
    """
    scan = scan_of(places, mcus, restart, blocks, pads)
    return _decode(data, len(data), start, ctypes.byref(scan), look_ups_of(tables), ZIGZAG)


def encode_scan(
    out: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], mcus: tuple[int, int], restart: int,
    tables: Tables, blocks: npt.NDArray[np.int16], pads: npt.NDArray[np.int16],
) -> int:  # fmt: skip
    """Write a scan's bytes to ``out``, (n,) uint8; returns how many, NO_ROOM, or another below 0
    where a coefficient has no code.

    pads : (k,) int16, the bits that fill the last byte of each interval, at most seven; the others
    as ``decode_scan`` has them.
    """
    scan = scan_of(places, mcus, restart, blocks, pads)
    return _encode(out, len(out), ctypes.byref(scan), codes_of(tables), ZIGZAG)
