"""Read and write the coded bytes of progressive scans (T.81 annex G).

A scan has some of the coefficients, or one more bit of them. Writing follows the IJG's library,
which almost all files come from: runs of blocks without further coefficients are as long as they
may be, and end early where more than 937 bits of correction have gathered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.jpeg.huffman import (
    BAD_CODE,
    CUT,
    FIRST,
    MOST_BYTES,
    NO_CODE,
    NO_ROOM,
    STRIDE,
    H,
    V,
    end_interval,
    fill,
    fill_byte,
    next_interval,
    put,
    size_of,
    symbol,
    take,
    value,
    write_restart,
)
from tilepress.codecs.jpeg.markers import ZIGZAG
from tilepress.codecs.wave.compiled import jit

__all__ = ["decode_scan", "encode_scan"]

_ZIGZAG = ZIGZAG.copy()
_LONGEST_RUN = 0x7FFF
_GATHERED = 1000 - 64 + 1
"""Bits of correction above which a run of blocks ends (MAX_CORR_BITS of the IJG)."""

_RUN, _BITS = range(2)
"""Places of a writer's state: blocks in the run, bits of correction that wait for its end."""


@jit
def _decode_means(
    data: Any, place: Any, table: Any, block: Any, before: int, high: int, low: int
) -> int:
    """Decode a block's mean, or its next bit; returns the mean's difference, 2^30 if it is bad."""
    fill(data, place)
    if high:
        if take(place, 1):
            block[0] |= np.int16(1) << low
        return 0
    size = symbol(place, table)
    if size < 0 or size > 15:
        return 1 << 30
    difference = value(place, size)
    found = (before + difference) << low
    if not -32768 <= found <= 32767:
        return 1 << 30
    block[0] = found
    return difference


@jit
def _decode_first(
    data: Any, place: Any, table: Any, block: Any, run: int, first: int, last: int, low: int
) -> int:
    """Decode a block's coefficients; returns the blocks left in the run, or −1."""
    if run:
        return run - 1
    at = first
    while at <= last:
        fill(data, place)
        found = symbol(place, table)
        if found < 0:
            return -1
        zeros, size = found >> 4, found & 15
        if size == 0:
            if zeros < 15:
                return (1 << zeros) - 1 + (take(place, zeros) if zeros else 0)
            at += 16
            continue
        at += zeros
        if at > last:
            return -1
        number = value(place, size) << low
        if not -32767 <= number <= 32767:
            return -1
        block[_ZIGZAG[at]] = number
        at += 1
    return 0


@jit
def _correct(data: Any, place: Any, block: Any, k: int, low: int) -> bool:
    """Read the next bit of a coefficient that is not 0; says whether it stays within bounds."""
    fill(data, place)
    if take(place, 1):
        number = np.int64(block[k])
        number += (1 << low) if number > 0 else -(1 << low)
        if not -32767 <= number <= 32767:
            return False
        block[k] = number
    return True


@jit
def _decode_next(
    data: Any, place: Any, table: Any, block: Any, run: int, first: int, last: int, low: int
) -> int:
    """Decode one more bit of a block's coefficients; returns as ``_decode_first``."""
    at = first
    if run == 0:
        while at <= last:
            fill(data, place)
            found = symbol(place, table)
            if found < 0:
                return -1
            zeros, size = found >> 4, found & 15
            new = 0
            if size > 1:
                return -1
            if size:
                new = (1 << low) if take(place, 1) else -(1 << low)
            elif zeros < 15:
                run = (1 << zeros) + (take(place, zeros) if zeros else 0)
                break
            while at <= last:
                k = _ZIGZAG[at]
                if block[k]:
                    if not _correct(data, place, block, k, low):
                        return -1
                else:
                    if zeros == 0:
                        break
                    zeros -= 1
                at += 1
            if new:
                if at > last:
                    return -1
                block[_ZIGZAG[at]] = new
            at += 1
    if run == 0:
        return 0
    while at <= last:
        k = _ZIGZAG[at]
        if block[k] and not _correct(data, place, block, k, low):
            return -1
        at += 1
    return run - 1


@jit
def decode_scan(
    data: Any, start: int, places: Any, mcus: Any, restart: int, tables: Any, blocks: Any,
    pads: Any, first: int, last: int, high: int, low: int,
) -> int:  # fmt: skip
    """As ``huffman.decode_scan``, of coefficients first … last, down to bit ``low``.

    tables : one for each component; high : 0, or the bit that was read before.
    """
    place = np.zeros(4, np.int64)
    place[3] = start
    before = np.zeros(4, np.int64)
    done = 0
    interval = 0
    run = 0
    for row in range(mcus[0]):
        for column in range(mcus[1]):
            if restart and done == restart:
                if run:
                    return CUT
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
                        if first == 0:
                            difference = _decode_means(
                                data, place, tables[c], blocks[at], before[c], high, low
                            )
                            if difference == 1 << 30:
                                return CUT if place[2] else BAD_CODE
                            before[c] += difference
                        elif high:
                            run = _decode_next(
                                data, place, tables[c], blocks[at], run, first, last, low
                            )
                        else:
                            run = _decode_first(
                                data, place, tables[c], blocks[at], run, first, last, low
                            )
                        if run < 0:
                            return CUT if place[2] else BAD_CODE
            if place[1] < place[2]:
                return CUT
            done += 1
    if run:
        return BAD_CODE
    pads[interval] = end_interval(data, place)
    return place[3] if pads[interval] >= 0 else CUT


@jit
def _end_run(out: Any, place: Any, table: Any, state: Any, waiting: Any) -> bool:
    """Write the run of blocks without further coefficients, and the bits that wait for it."""
    run = state[_RUN]
    if run:
        size = size_of(run) - 1
        code = table[size << 4]
        if code == 0:
            return False
        put(out, place, code >> 5, code & 31)
        if size:
            put(out, place, run & ((1 << size) - 1), size)
        state[_RUN] = 0
    for i in range(state[_BITS]):
        put(out, place, np.int64(waiting[i]), 1)
    state[_BITS] = 0
    return True


@jit
def _encode_first(
    out: Any, place: Any, table: Any, block: Any, state: Any, waiting: Any, first: int, last: int,
    low: int,
) -> bool:  # fmt: skip
    """Write a block's coefficients; says whether all symbols have codes."""
    zeros = 0
    for at in range(first, last + 1):
        number = np.int64(block[_ZIGZAG[at]])
        magnitude = abs(number) >> low
        if magnitude == 0:
            zeros += 1
            continue
        if state[_RUN] and not _end_run(out, place, table, state, waiting):
            return False
        while zeros > 15:
            if table[0xF0] == 0:
                return False
            put(out, place, table[0xF0] >> 5, table[0xF0] & 31)
            zeros -= 16
        size = size_of(magnitude)
        code = table[(zeros << 4) | size] if size < 16 else 0
        if code == 0:
            return False
        put(out, place, code >> 5, code & 31)
        bits = magnitude if number > 0 else (np.int64(1) << size) - 1 - magnitude
        put(out, place, bits, size)
        zeros = 0
    if zeros:
        state[_RUN] += 1
        if state[_RUN] == _LONGEST_RUN:
            return _end_run(out, place, table, state, waiting)
    return True


@jit
def _encode_next(
    out: Any, place: Any, table: Any, block: Any, state: Any, waiting: Any, first: int, last: int,
    low: int,
) -> bool:  # fmt: skip
    """Write one more bit of a block's coefficients; says whether all symbols have codes."""
    newest = 0
    for at in range(first, last + 1):
        if abs(np.int64(block[_ZIGZAG[at]])) >> low == 1:
            newest = at
    zeros = 0
    begin = state[_BITS]  # of this block's bits of correction, behind those that wait already
    own = 0
    for at in range(first, last + 1):
        number = np.int64(block[_ZIGZAG[at]])
        magnitude = abs(number) >> low
        if magnitude == 0:
            zeros += 1
            continue
        while zeros > 15 and at <= newest:
            if not _flush(out, place, table, state, waiting, begin, own) or table[0xF0] == 0:
                return False
            put(out, place, table[0xF0] >> 5, table[0xF0] & 31)
            for i in range(own):
                put(out, place, np.int64(waiting[begin + i]), 1)
            begin, own = 0, 0
            zeros -= 16
        if magnitude > 1:
            waiting[begin + own] = magnitude & 1
            own += 1
            continue
        if not _flush(out, place, table, state, waiting, begin, own):
            return False
        code = table[(zeros << 4) | 1]
        if code == 0:
            return False
        put(out, place, code >> 5, code & 31)
        put(out, place, 1 if number > 0 else 0, 1)
        for i in range(own):
            put(out, place, np.int64(waiting[begin + i]), 1)
        begin, own = 0, 0
        zeros = 0
    if zeros or own:
        state[_RUN] += 1
        state[_BITS] = begin + own
        if state[_RUN] == _LONGEST_RUN or state[_BITS] > _GATHERED:
            return _end_run(out, place, table, state, waiting)
    return True


@jit
def _flush(
    out: Any, place: Any, table: Any, state: Any, waiting: Any, begin: int, own: int
) -> bool:
    """End the run that was before this block; its own bits, behind those, stay."""
    return _end_run(out, place, table, state, waiting) if state[_RUN] else True


@jit
def encode_scan(
    out: Any, places: Any, mcus: Any, restart: int, codes: Any, blocks: Any, pads: Any, first: int,
    last: int, high: int, low: int,
) -> int:  # fmt: skip
    """As ``huffman.encode_scan``; codes : one table for each component."""
    place, state = np.zeros(3, np.int64), np.zeros(2, np.int64)
    waiting = np.zeros(2048, np.uint8)
    before = np.zeros(4, np.int64)
    done = 0
    interval = 0
    for row in range(mcus[0]):
        for column in range(mcus[1]):
            if place[2] + 10 * MOST_BYTES > len(out):
                return NO_ROOM
            if restart and done == restart:
                if not _end_run(out, place, codes[0], state, waiting):
                    return NO_CODE
                write_restart(out, place, pads[interval], interval)
                before[:] = 0
                done = 0
                interval += 1
            for c in range(len(places)):
                one = places[c]
                for v in range(one[V]):
                    for h in range(one[H]):
                        at = one[FIRST] + (row * one[V] + v) * one[STRIDE] + column * one[H] + h
                        block, table = blocks[at], codes[c]
                        fits = True
                        if first == 0 and high:
                            put(out, place, (np.int64(block[0]) >> low) & 1, 1)
                        elif first == 0:
                            mean = np.int64(block[0]) >> low
                            difference = mean - before[c]
                            before[c] = mean
                            size = size_of(difference)
                            fits = size < 16 and table[size] != 0
                            if fits:
                                put(out, place, table[size] >> 5, table[size] & 31)
                                if size:
                                    top = (np.int64(1) << size) - 1
                                    put(out, place, difference + (top if difference < 0 else 0),
                                        size)  # fmt: skip
                        elif high:
                            fits = _encode_next(
                                out, place, table, block, state, waiting, first, last, low
                            )
                        else:
                            fits = _encode_first(
                                out, place, table, block, state, waiting, first, last, low
                            )
                        if not fits:
                            return NO_CODE
            done += 1
    if not _end_run(out, place, codes[0], state, waiting):
        return NO_CODE
    fill_byte(out, place, pads[interval])
    return place[2]
