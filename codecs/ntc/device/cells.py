"""What both ways through a plane's symbols have in common: arrays, and what a cell's surroundings
and its table say. Scalar code, which numba compiles for a GPU and for the CPU alike.

On a GPU a block of threads is a plane: each thread has some of the hidden units, their sum is
shared, and all do the rest alike, so that they go the same way. On the CPU one thread has them all.
``native/code.inc.h`` is the same in C. All sums are of integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilepress.codecs.ntc.layout import HIDDEN, NEXT_STATE, OFFSETS, QUANTISER_OF, TABLES

__all__ = ["NEAR", "Cells", "Net", "Place", "Tables", "make_cells"]

NEAR = (0, 1, 2, 3, 4, 5, 19)
"""Features that the band's own cells decide: two at the left, four of the rows above, their mean.
All others are summed up before."""
_NEXT = sum(
    to << 3 * (2 * state + odd) for state, by in enumerate(NEXT_STATE) for odd, to in enumerate(by)
)
_QUANTISER = sum(quantiser << state for state, quantiser in enumerate(QUANTISER_OF))
"""Both tables as numbers, which stay in registers."""


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
    """(TABLES, OFFSETS + 1) float32, the half step of the second quantiser included."""
    dependent: int
    """Whether there are two quantisers: then TABLES are there twice."""


class Net(NamedTuple):
    """What a band's net does of the near features."""

    first: Any
    """(len(NEAR), HIDDEN) int32"""
    second: Any
    """(HIDDEN,) int32"""
    hidden_shift: int
    output_shift: int
    base: int


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
    """(planes, 4) int64: mean of the rows so far by 1/256; half steps; bits by 1/256; the state."""
    row: int
    """The first of ``sums``."""


class Cells(NamedTuple):
    """Functions of a cell, compiled."""

    log16: Any
    map_of: Any
    token_of: Any
    reconstructed: Any
    halves_of: Any
    quantiser_of: Any
    next_state: Any
    unit_out: Any
    table_from: Any
    others: Any
    table_of: Any
    near_features: Any
    after_row: Any


def make_cells(compiled: Callable[[Any], Any], total: Any, barrier: Any) -> Cells:
    """Return the functions, compiled.

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
    def map_of(halves: int) -> int:
        """Return what maps hold of a number of half steps: ``log16`` of as many whole ones."""
        return log16(halves + 1) - 16

    @compiled
    def token_of(magnitude: int) -> int:
        if magnitude < 16:
            return magnitude
        octave = 4
        while magnitude >> (octave + 1):
            octave += 1
        return 4 * octave + ((magnitude >> (octave - 2)) & 3)

    @compiled
    def reconstructed(tables: Any, table: int, magnitude: int) -> Any:
        at = magnitude if magnitude < OFFSETS else OFFSETS
        return np.float32(magnitude) - tables.taken_off[table, at]

    @compiled
    def halves_of(table: int, magnitude: int) -> int:
        """Return a magnitude in half steps, by the quantiser of its table."""
        return 2 * magnitude - 1 if table >= TABLES and magnitude > 0 else 2 * magnitude

    @compiled
    def quantiser_of(state: int) -> int:
        return (_QUANTISER >> state) & 1

    @compiled
    def next_state(state: int, magnitude: int) -> int:
        return (_NEXT >> (3 * (2 * state + (magnitude & 1)))) & 7

    @compiled
    def unit_out(net: Any, unit: int, hidden: int) -> int:
        """Return what a hidden unit adds to the output."""
        if hidden <= 0:
            return np.int32(0)
        hidden >>= net.hidden_shift
        if hidden > 32767:
            hidden = np.int32(32767)
        return np.int32(hidden * net.second[unit])

    @compiled
    def table_from(net: Any, total: int) -> int:
        table = (np.int64(total) + net.base) >> net.output_shift
        if table < 0:
            return 0
        return table if table < TABLES else TABLES - 1

    @compiled
    def others(sums: Any, net: Any, near: Any, unit: int) -> int:
        """Return what all but the two cells at the left add to a hidden unit."""
        _, _, above, beside, above2, farther, mean = near
        first = net.first
        return np.int32(
            sums[unit]
            + above * first[2, unit]
            + beside * first[3, unit]
            + above2 * first[4, unit]
            + farther * first[5, unit]
            + mean * first[6, unit]
        )

    @compiled
    def table_of(shared: Any, thread: int, threads: int, sums: Any, net: Any, near: Any) -> int:
        value = np.int32(0)
        left, left2 = near[0], near[1]
        for j in range(thread, HIDDEN, threads):
            at_left = left * net.first[0, j] + left2 * net.first[1, j]
            hidden = np.int32(others(sums, net, near, j) + at_left)
            value = np.int32(value + unit_out(net, j, hidden))
        return table_from(net, total(shared, thread, threads, value))

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
    def after_row(running: Any, thread: int, in_row: int, bits: int, state: int, width: int) -> int:
        """Note half steps and bits of a row, which thread 0 knows; returns the running mean."""
        if thread == 0:
            running[0] += ((128 * in_row) // width - running[0]) >> 3
            running[1] += in_row
            running[2] += bits
            running[3] = state
        barrier()
        return running[0]

    return Cells(
        log16,
        map_of,
        token_of,
        reconstructed,
        halves_of,
        quantiser_of,
        next_state,
        unit_out,
        table_from,
        others,
        table_of,
        near_features,
        after_row,
    )
