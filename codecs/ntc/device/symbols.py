"""What is serial in a plane's stream: one value after another, each under the table that those
before it say. Scalar code, which numba compiles for a GPU and for the CPU alike.

On a GPU a block of threads is a stream: each thread has some of the hidden units, their sum is
shared, and all do the rest alike, so that they go the same way. On the CPU one thread has them all.
``native/code.inc.h`` is the same in C. All sums are of integers; what is chosen in singles is so
that fusing a product and a sum, as GPUs do, changes no bit: one factor is a power of two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilepress.codecs.ntc.device.places import MARGIN
from tilepress.codecs.ntc.layout import ESCAPE_BITS, HIDDEN, MOST_MAGNITUDE, OFFSETS, TABLES, TOKENS

__all__ = [
    "FAULT_LEFT",
    "FAULT_NONE",
    "NEAR",
    "Loops",
    "Net",
    "Place",
    "Source",
    "Tables",
    "make_loops",
]

FAULT_NONE, FAULT_WORDS, FAULT_RAW, FAULT_TOKEN, FAULT_LEFT = range(5)
NEAR = (0, 1, 2, 3, 4, 5, 19)
"""Features that the band's own cells decide: two at the left, four of the rows above, their mean.
All others are summed up before."""
_LOW_STATE = 1 << 16
_MOST = np.float32(MOST_MAGNITUDE)
_HALF = np.float32(0.5)
_UNIT = np.float32(1 / 256)


class Tables(NamedTuple):
    """The tables of a model."""

    cumulative: Any
    """(TABLES, TOKENS + 2) int32"""
    used: Any
    """(TABLES,) int32"""
    lookup: Any
    """(TABLES, 256) uint8"""
    costs: Any
    """(TABLES, TOKENS) int32"""
    taken_off: Any
    """(TABLES, OFFSETS + 1) float32"""


class Net(NamedTuple):
    """What a band's net does of the near features."""

    first: Any
    """(len(NEAR), HIDDEN) int32"""
    second: Any
    """(HIDDEN,) int32"""
    hidden_shift: int
    output_shift: int
    base: int


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


class Place(NamedTuple):
    """Rows of a band, of all planes."""

    sums: Any
    """(planes, rows, columns, HIDDEN) int32: what all but the near features add to hidden units."""
    own: Any
    """(planes, height + 2 · MARGIN, width + 2 · MARGIN) int16, made: logarithms of magnitudes."""
    cells: Any
    """(planes, height, width) float32: steps as given, where a band is coded; steps as decoded."""
    coded: Any
    """(planes,) int32, whether a plane has this band."""
    running: Any
    """(planes, 3) int64: mean of the rows so far, sum of magnitudes, bits, both by 1/256."""
    row: int
    """The first of ``sums``."""


class Loops(NamedTuple):
    """The serial loops over one stream, compiled."""

    decode_low: Any
    decode_rows: Any
    encode_rows: Any


def make_loops(
    compiled: Callable[[Any], Any], total: Any, barrier: Any
) -> Loops:  # one scope of compiled functions
    """Return the loops, compiled.

    compiled : numba's decorator. total : (shared, thread, threads, value) → the sum over threads.
    barrier : () → nothing, once all threads have come so far.
    """

    @compiled
    def log16(magnitude: int) -> int:
        value = magnitude + 1
        n = 0
        while value >> (n + 1):
            n += 1
        if n < 4:
            return 16 * n + ((value << (4 - n)) & 15)
        return 16 * n + ((value >> (n - 4)) & 15)

    @compiled
    def token_of(magnitude: int) -> int:
        if magnitude < 16:
            return magnitude
        octave = 4
        while magnitude >> (octave + 1):
            octave += 1
        return 4 * octave + ((magnitude >> (octave - 2)) & 3)

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

        Values are 0 where words or bits are missing.
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
            if low < 0:
                return 0, (symbol, word, bit, FAULT_RAW)
            bit += count
            magnitude = ((4 + (token & 3)) << count) + low
        if magnitude == 0:
            return 0, (symbol, word, bit, fault)
        sign = raw_bits(bit, limits, raw, 1)
        if sign < 0:
            return 0, (symbol, word, bit, FAULT_RAW)
        return -magnitude if sign else magnitude, (symbol, word, bit + 1, fault)

    @compiled
    def decoded(tables: Any, table: int, magnitude: int) -> Any:
        at = magnitude if magnitude < OFFSETS else OFFSETS
        return np.float32(magnitude) - tables.taken_off[table, at]

    @compiled
    def chosen(tables: Any, table: int, size: Any, price: Any) -> int:
        """Of the nearest magnitude, the one below, and 0: distortion and bits together are least.

        price : a power of two, so that its product is exact.
        """
        nearest = MOST_MAGNITUDE
        if size < _MOST:
            nearest = np.int64(np.float32(size + _HALF))
        if nearest == 0:
            return 0
        costs = tables.costs[table]
        off = np.float32(size - decoded(tables, table, 0))
        square = np.float32(off * off)
        least = np.float32(np.float32(price * square) + np.float32(costs[0]) * _UNIT)
        best = 0
        for down in range(2):
            k = nearest - down
            if k > 0:
                off = np.float32(size - decoded(tables, table, k))
                square = np.float32(off * off)
                bits = np.float32(costs[token_of(k)]) * _UNIT
                cost = np.float32(np.float32(price * square) + bits)
                if cost < least:
                    least = cost
                    best = k
        return best

    @compiled
    def table_of(shared: Any, thread: int, threads: int, sums: Any, net: Any, near: Any) -> int:
        value = np.int32(0)
        left, left2, above, beside, above2, farther, mean = near
        first = net.first
        for j in range(thread, HIDDEN, threads):
            hidden = np.int32(
                sums[j]
                + left * first[0, j]
                + left2 * first[1, j]
                + above * first[2, j]
                + beside * first[3, j]
                + above2 * first[4, j]
                + farther * first[5, j]
                + mean * first[6, j]
            )
            if hidden > 0:
                hidden >>= net.hidden_shift
                if hidden > 32767:
                    hidden = np.int32(32767)
                value = np.int32(value + hidden * net.second[j])
        table = (np.int64(total(shared, thread, threads, value)) + net.base) >> net.output_shift
        if table < 0:
            return 0
        return table if table < TABLES else TABLES - 1

    @compiled
    def near_features(own: Any, y: int, x: int, left: int, left2: int, mean: int) -> Any:
        """Return NEAR of a cell; ``y`` and ``x`` are of the map."""
        above, above2 = own[y - 1], own[y - 2]
        return (
            np.int32(left),
            np.int32(left2),
            np.int32(above[x]),
            np.int32((np.int32(above[x - 1]) + np.int32(above[x + 1])) >> 1),
            np.int32(above2[x]),
            np.int32(
                (
                    np.int32(above2[x - 1])
                    + np.int32(above2[x + 1])
                    + np.int32(above[x - 2])
                    + np.int32(above[x + 2])
                )
                >> 2
            ),
            np.int32(mean),
        )

    @compiled
    def after_row(running: Any, thread: int, mean: int, in_row: int, bits: int, width: int) -> int:
        """Note a row, and return the running mean behind it."""
        mean += ((256 * in_row) // width - mean) >> 3
        if thread == 0:
            running[0] = mean
            running[1] += in_row
            running[2] += bits
        barrier()
        return mean

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
        mean, cursor = running[0], (cursors[0], cursors[1], cursors[2], cursors[3])
        barrier()
        for row in range(rows):
            y = place.row + row
            left, left2, in_row, log_mean = 0, 0, 0, log16(mean)
            for x in range(width):
                near = near_features(own, y + MARGIN, x + MARGIN, left, left2, log_mean)
                table = table_of(shared, thread, threads, place.sums[plane, row, x], net, near)
                value, cursor = read_value(states, cursor, limits, words, raw, tables, table)
                magnitude = -value if value < 0 else value
                left2 = left
                left = log16(magnitude)
                in_row += magnitude
                if thread == 0 and magnitude > 0:
                    own[y + MARGIN, x + MARGIN] = left
                    made = decoded(tables, table, magnitude)
                    cells[y, x] = -made if value < 0 else made
            mean = after_row(running, thread, mean, in_row, 0, width)
        if thread == 0:
            for k in range(4):
                cursors[k] = cursor[k]

    @compiled
    def encode_rows(
        plane: int, thread: int, threads: int, shared: Any, place: Any, net: Any, tables: Any,
        price: Any, values: Any, used: Any,
    ) -> None:  # fmt: skip
        """Choose the values of rows of a band of one plane: values int32 and tables uint8, each
        (planes, height, width)."""
        own, cells, running = place.own[plane], place.cells[plane], place.running[plane]
        rows, width = place.sums.shape[1], place.sums.shape[2]
        mean = running[0]
        barrier()
        for row in range(rows):
            y = place.row + row
            left, left2, in_row, bits, log_mean = 0, 0, 0, 0, log16(mean)
            for x in range(width):
                near = near_features(own, y + MARGIN, x + MARGIN, left, left2, log_mean)
                table = table_of(shared, thread, threads, place.sums[plane, row, x], net, near)
                given = cells[y, x]
                size = -given if given < 0 else given
                magnitude = chosen(tables, table, size, price)
                bits += np.int64(tables.costs[table, token_of(magnitude)])
                left2 = left
                left = log16(magnitude)
                in_row += magnitude
                barrier()  # all have read the cell
                if thread == 0:
                    made = decoded(tables, table, magnitude) if magnitude > 0 else np.float32(0)
                    own[y + MARGIN, x + MARGIN] = left
                    cells[y, x] = -made if given < 0 and magnitude > 0 else made
                    values[plane, y, x] = -magnitude if given < 0 else magnitude
                    used[plane, y, x] = table
            mean = after_row(running, thread, mean, in_row, bits, width)

    return Loops(decode_low, decode_rows, encode_rows)
