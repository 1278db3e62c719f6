"""What is serial in decoding a plane: one value after another, each under the table that those
before it say. Scalar code, which numba compiles for a GPU and for the CPU alike (``cells.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilepress.codecs.ntc.device.cells import Cells
from tilepress.codecs.ntc.device.places import MARGIN
from tilepress.codecs.ntc.layout import ESCAPE_BITS, MOST_MAGNITUDE, TABLES, TOKENS

__all__ = ["FAULT_LEFT", "FAULT_NONE", "Reading", "Source", "make_reading"]

FAULT_NONE, FAULT_WORDS, FAULT_RAW, FAULT_TOKEN, FAULT_LEFT = range(5)
_LOW_STATE = 1 << 16


class Source(NamedTuple):
    """What the streams of planes are read from."""

    states: Any
    """(planes, 32, threads) int64: each thread has its own."""
    cursors: Any
    """(planes, 4) int64: symbols, words and raw bits that are read, and the fault."""
    limits: Any
    """(planes, 5) int64: lanes, first word, end of words, first raw byte, end of those."""
    words: Any
    """int16, of all planes."""
    raw: Any
    """uint8"""


class Reading(NamedTuple):
    """The serial loops over one stream, compiled."""

    decode_low: Any
    decode_rows: Any


def make_reading(  # one scope of compiled functions
    compiled: Callable[[Any], Any], barrier: Any, cells_of: Cells
) -> Reading:
    """Return the loops, compiled; see ``make_cells``."""
    log16, reconstructed, table_of = cells_of.log16, cells_of.reconstructed, cells_of.table_of
    near_features, after_row = cells_of.near_features, cells_of.after_row
    map_of, halves_of = cells_of.map_of, cells_of.halves_of
    quantiser_of, next_state = cells_of.quantiser_of, cells_of.next_state

    @compiled
    def raw_bits(bit: int, limits: Any, raw: Any, count: int) -> int:
        """Return raw bits from a place on; −1 where they end before."""
        if bit + count > 8 * (limits[4] - limits[3]):
            return -1
        value = 0
        byte = limits[3] + (bit >> 3)
        for k in range((count + (bit & 7) + 7) >> 3):
            value |= np.int64(raw[byte + k]) << (8 * k)
        return (value >> (bit & 7)) & ((1 << count) - 1)

    @compiled
    def read_value(states: Any, cursor: Any, limits: Any, words: Any, raw: Any, tables: Any,
                   table: int) -> Any:  # fmt: skip
        """Return the next value, and the cursor behind it: four numbers, which stay in registers.

        Where words or bits are missing it goes on as native code does, which looks for faults after
        a band, so that both come to the same one.
        """
        symbol, word, bit, fault = cursor
        lane = symbol & (limits[0] - 1)
        symbol += 1
        state = states[lane]
        slot = state & 32767
        cumulative = tables.cumulative[table]
        token = 0
        if slot >= cumulative[1]:
            token = np.int64(tables.lookup[table, slot >> 7])
            while slot >= cumulative[token + 1]:
                token += 1
        start = np.int64(cumulative[token])
        state = (np.int64(cumulative[token + 1]) - start) * (state >> 15) + slot - start
        if state < _LOW_STATE:
            if limits[1] + word >= limits[2]:
                return 0, (symbol, word, bit, FAULT_WORDS)
            state = state << 16 | (np.int64(words[limits[1] + word]) & 0xFFFF)
            word += 1
        states[lane] = state
        if token == 0:
            return 0, (symbol, word, bit, fault)
        used = np.int64(tables.used[table])
        if token == used:
            token = raw_bits(bit, limits, raw, ESCAPE_BITS)
            if token < 0:
                return 0, (symbol, word, bit, FAULT_RAW)
            bit += ESCAPE_BITS
            if token < used or token >= TOKENS:
                return 0, (symbol, word, bit, FAULT_TOKEN if fault == FAULT_NONE else fault)
        magnitude = token
        if token >= 16:
            count = ((token - 16) >> 2) + 2
            low = raw_bits(bit, limits, raw, count)
            magnitude = (4 + (token & 3)) << count
            if low < 0:
                fault = FAULT_RAW
            else:
                bit += count
                magnitude += low
        if magnitude == 0:
            return 0, (symbol, word, bit, fault)
        sign = raw_bits(bit, limits, raw, 1)
        if sign < 0:
            return magnitude, (symbol, word, bit, FAULT_RAW)
        return -magnitude if sign else magnitude, (symbol, word, bit + 1, fault)

    @compiled
    def decode_low(
        plane: int, thread: int, source: Any, tables: Any, table: int, cells: Any
    ) -> None:
        """Decode the lowest band, (height, width) int32, of one plane."""
        states, cursors = source.states[plane, :, thread], source.cursors[plane]
        limits, words, raw = source.limits[plane], source.words, source.raw
        height, width = cells.shape
        cursor = (cursors[0], cursors[1], cursors[2], cursors[3])
        for y in range(height):
            left = 0
            for x in range(width):
                prediction = left
                if y > 0:
                    above = np.int64(cells[y - 1, x])
                    prediction = above if x == 0 else (left + above + 1) >> 1
                value, cursor = read_value(states, cursor, limits, words, raw, tables, table)
                value += prediction
                if value > MOST_MAGNITUDE or value < -MOST_MAGNITUDE:
                    value = 0
                    if cursor[3] == FAULT_NONE:
                        cursor = (cursor[0], cursor[1], cursor[2], FAULT_TOKEN)
                left = value
                if thread == 0:
                    cells[y, x] = value
            barrier()
        if thread == 0:
            for k in range(4):
                cursors[k] = cursor[k]

    @compiled
    def decode_rows(
        plane: int, thread: int, threads: int, shared: Any, place: Any, net: Any, tables: Any,
        source: Any,
    ) -> None:  # fmt: skip
        """Decode rows of a band of one plane."""
        own, cells, running = place.own[plane], place.cells[plane], place.running[plane]
        states, cursors = source.states[plane, :, thread], source.cursors[plane]
        limits, words, raw = source.limits[plane], source.words, source.raw
        rows, width = place.sums.shape[1], place.sums.shape[2]
        mean, state = running[0], running[3]
        cursor = (cursors[0], cursors[1], cursors[2], cursors[3])
        barrier()
        for row in range(rows):
            y = place.row + row
            left, left2, in_row, log_mean = 0, 0, 0, log16(mean)
            for x in range(width):
                near = near_features(own, y + MARGIN, x + MARGIN, left, left2, log_mean)
                table = table_of(shared, thread, threads, place.sums[plane, row, x], net, near)
                table += TABLES * quantiser_of(state)
                value, cursor = read_value(states, cursor, limits, words, raw, tables, table)
                magnitude = -value if value < 0 else value
                halves = halves_of(table, magnitude)
                if tables.dependent:
                    state = next_state(state, magnitude)
                left2 = left
                left = map_of(halves)
                in_row += halves
                if thread == 0 and magnitude > 0:
                    own[y + MARGIN, x + MARGIN] = left
                    made = reconstructed(tables, table, magnitude)
                    cells[y, x] = -made if value < 0 else made
            mean = after_row(running, thread, in_row, 0, state, width)
        if thread == 0:
            for k in range(4):
                cursors[k] = cursor[k]

    return Reading(decode_low, decode_rows)
