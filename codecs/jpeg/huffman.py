"""Read and write the coded bytes of sequential scans (T.81 annexes C, F.1.2, F.2.2).

Coefficients of all streams of a chunk lie in one array, blocks of 64 row by row; where a
component's blocks of a stream are is told by a row of ``places``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import ZIGZAG, HuffmanTable
from tilepress.codecs.wave.compiled import jit

__all__ = [
    "AC",
    "BAD_CODE",
    "CUT",
    "DC",
    "FIRST",
    "MOST_BYTES",
    "NO_CODE",
    "NO_RESTART",
    "NO_ROOM",
    "STRIDE",
    "H",
    "V",
    "code_table",
    "decode_scan",
    "encode_scan",
    "end_interval",
    "fill",
    "fill_byte",
    "look_up_table",
    "next_interval",
    "put",
    "size_of",
    "symbol",
    "take",
    "value",
    "write_restart",
]

CUT, BAD_CODE, NO_RESTART, NO_ROOM, NO_CODE = -1, -2, -3, -4, -5
"""What ``decode_scan`` and ``encode_scan`` answer where they cannot go on."""

FIRST, STRIDE, H, V, DC, AC = range(6)
"""Columns of ``places``: number of the stream's first block, blocks between rows, columns and
rows of an MCU, tables."""

_ZIGZAG = ZIGZAG.copy()
MOST_BYTES = 64 * 31 // 8 * 2 + 16
"""Of one block with stuffed zeros, and a restart marker."""


@functools.lru_cache(maxsize=64)
def look_up_table(table: HuffmanTable) -> npt.NDArray[np.int32]:
    """Return, for the next 16 bits, 256 · length of the code + symbol; 0 where none begins so."""
    out = np.zeros(1 << 16, np.int32)
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


@jit
def fill(data: Any, place: Any) -> None:
    """Read bytes until 49 bits or more are at hand; zeros, counted, where the scan's bytes end."""
    bits, count, fake, at = place[0], place[1], place[2], place[3]
    while count <= 48:
        byte = np.int64(0)
        if at < len(data):
            byte = np.int64(data[at])
            if byte != 255:
                at += 1
            elif at + 1 < len(data) and data[at + 1] == 0:
                at += 2
            else:
                byte = 0
                fake += 8
        else:
            fake += 8
        bits = (bits << 8) | byte
        count += 8
    place[0], place[1], place[2], place[3] = bits, count, fake, at


@jit
def take(place: Any, size: int) -> int:
    """Return the next bits, which must be at hand."""
    place[1] -= size
    value = (place[0] >> place[1]) & ((np.int64(1) << size) - 1)
    place[0] &= (np.int64(1) << place[1]) - 1
    return value


@jit
def value(place: Any, size: int) -> int:
    """Return a signed number of ``size`` bits (T.81 F.2.2.1)."""
    if size == 0:
        return 0
    value = take(place, size)
    return value if value >> (size - 1) else value - (np.int64(1) << size) + 1


@jit
def symbol(place: Any, table: Any) -> int:
    """Return the next symbol, or −1 where no code begins so; 16 bits must be at hand."""
    found = table[(place[0] >> (place[1] - 16)) & 0xFFFF]
    if found == 0:
        return -1
    take(place, found >> 8)
    return found & 255


@jit
def _decode_block(data: Any, place: Any, dc: Any, ac: Any, block: Any, before: int) -> int:
    """Decode a block; returns its first coefficient less the one before, or a large number."""
    fill(data, place)
    size = symbol(place, dc)
    if size < 0 or size > 15:
        return 1 << 30
    difference = value(place, size)
    if not -32768 <= before + difference <= 32767:
        return 1 << 30
    block[0] = before + difference
    at = 1
    while at < 64:
        fill(data, place)
        found = symbol(place, ac)
        if found < 0:
            return 1 << 30
        run, size = found >> 4, found & 15
        if size == 0:
            if run != 15:
                break
            at += 16
            continue
        at += run
        if at > 63:
            return 1 << 30
        block[_ZIGZAG[at]] = value(place, size)
        at += 1
    return difference


@jit
def end_interval(data: Any, place: Any) -> int:
    """Go back to the byte after the last that was needed; returns 256 · bits left of it + they."""
    left = place[1] - place[2]
    if left < 0:
        return -1
    pad = left & 7
    bits = 0
    if pad:
        bits = (place[0] >> (place[1] - pad)) & ((1 << pad) - 1)
    at = place[3]
    for _ in range(left >> 3):
        at -= 2 if at > 1 and data[at - 1] == 0 and data[at - 2] == 255 else 1
    place[0], place[1], place[2], place[3] = 0, 0, 0, at
    return (pad << 8) | bits


@jit
def next_interval(data: Any, place: Any, pads: Any, interval: int) -> int:
    """End an interval and step over the restart marker after it; returns 0, or what is wrong."""
    pads[interval] = end_interval(data, place)
    at = place[3]
    if pads[interval] < 0:
        return CUT
    if at + 1 >= len(data) or data[at] != 255 or data[at + 1] != 0xD0 + (interval & 7):
        return NO_RESTART
    place[3] += 2
    return 0


@jit
def decode_scan(
    data: Any, start: int, places: Any, mcus: Any, restart: int, tables: Any, blocks: Any, pads: Any
) -> int:
    """Decode a scan's bytes from ``start`` on; returns the place after them, or what is wrong.

    data : (n,) uint8; places : (components, 6) int64; mcus : rows and columns; tables : (t, 65536)
    int32 of ``look_up_table``; blocks : (n, 64) int16, zeros where the scan's are; pads : (k,)
    int16, filled with 256 · number + value of the bits that fill the last byte of each interval.
    """
    place = np.zeros(4, np.int64)
    place[3] = start
    before = np.zeros(4, np.int64)
    done = 0
    interval = 0
    for row in range(mcus[0]):
        for column in range(mcus[1]):
            if restart and done == restart:
                wrong = next_interval(data, place, pads, interval)
                if wrong:
                    return wrong
                before[:] = 0
                done = 0
                interval += 1
            for c in range(len(places)):
                one = places[c]
                for v in range(one[V]):
                    for h in range(one[H]):
                        at = one[FIRST] + (row * one[V] + v) * one[STRIDE] + column * one[H] + h
                        difference = _decode_block(
                            data, place, tables[one[DC]], tables[one[AC]], blocks[at], before[c]
                        )
                        if difference == 1 << 30:
                            return CUT if place[2] else BAD_CODE
                        before[c] += difference
            if place[1] < place[2]:
                return CUT
            done += 1
    pads[interval] = end_interval(data, place)
    return place[3] if pads[interval] >= 0 else CUT


@jit
def put(out: Any, place: Any, value: int, size: int) -> None:
    """Write bits, at most 32."""
    bits = (place[0] << size) | value
    count = place[1] + size
    n = place[2]
    while count >= 8:
        byte = (bits >> (count - 8)) & 255
        out[n] = byte
        n += 1
        if byte == 255:
            out[n] = 0
            n += 1
        count -= 8
    place[0], place[1], place[2] = bits & ((np.int64(1) << count) - 1), count, n


@jit
def size_of(value: int) -> int:
    size = 0
    value = abs(value)
    while value:
        size += 1
        value >>= 1
    return size


@jit
def _encode_block(out: Any, place: Any, dc: Any, ac: Any, block: Any, before: int) -> bool:
    """Write a block; says whether all of its symbols have codes."""
    difference = np.int64(block[0]) - before
    size = size_of(difference)
    if size > 15 or dc[size] == 0:
        return False
    put(out, place, dc[size] >> 5, dc[size] & 31)
    if size:
        bits = difference if difference > 0 else difference + (np.int64(1) << size) - 1
        put(out, place, bits, size)
    run = 0
    for at in range(1, 64):
        value = np.int64(block[_ZIGZAG[at]])
        if value == 0:
            run += 1
            continue
        while run > 15:
            if ac[0xF0] == 0:
                return False
            put(out, place, ac[0xF0] >> 5, ac[0xF0] & 31)
            run -= 16
        size = size_of(value)
        code = ac[(run << 4) | size] if size < 16 else 0
        if code == 0:
            return False
        bits = value if value > 0 else value + (np.int64(1) << size) - 1
        put(out, place, code >> 5, code & 31)
        put(out, place, bits, size)
        run = 0
    if run:
        if ac[0] == 0:
            return False
        put(out, place, ac[0] >> 5, ac[0] & 31)
    return True


@jit
def fill_byte(out: Any, place: Any, pad: int) -> None:
    """End an interval with as many bits of ``pad`` as its last byte has left."""
    count = -place[1] & 7
    if count:
        put(out, place, pad & ((1 << count) - 1), count)


@jit
def write_restart(out: Any, place: Any, pad: int, interval: int) -> None:
    """End an interval and write the restart marker after it."""
    fill_byte(out, place, pad)
    out[place[2]] = 255
    out[place[2] + 1] = 0xD0 + (interval & 7)
    place[2] += 2


@jit
def encode_scan(
    out: Any, places: Any, mcus: Any, restart: int, codes: Any, blocks: Any, pads: Any
) -> int:
    """Write a scan's bytes to ``out``, (n,) uint8; returns how many, or what is wrong.

    codes : (t, 256) int32 of ``code_table``; pads : (k,) int16, the bits that fill the last byte of
    each interval, at most seven; the others as ``decode_scan`` has them.
    """
    place = np.zeros(3, np.int64)
    before = np.zeros(4, np.int64)
    done = 0
    interval = 0
    for row in range(mcus[0]):
        for column in range(mcus[1]):
            if restart and done == restart:
                write_restart(out, place, pads[interval], interval)
                before[:] = 0
                done = 0
                interval += 1
            for c in range(len(places)):
                one = places[c]
                for v in range(one[V]):
                    for h in range(one[H]):
                        if place[2] + MOST_BYTES > len(out):
                            return NO_ROOM
                        at = one[FIRST] + (row * one[V] + v) * one[STRIDE] + column * one[H] + h
                        if not _encode_block(
                            out, place, codes[one[DC]], codes[one[AC]], blocks[at], before[c]
                        ):
                            return NO_CODE
                        before[c] = blocks[at, 0]
            done += 1
    fill_byte(out, place, pads[interval])
    return place[2]
