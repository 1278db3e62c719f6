"""What is serial in choosing dependent values: the path through a row that costs least, by its
squared errors and bits. Scalar code, which numba compiles for a GPU and for the CPU alike.

    survivors of each state ─► tables (all threads) ─► two branches each ─► the best into each state

A row is decided before the next begins, so that paths differ in the two cells at the left alone. On
a GPU a block of threads is a plane: each has some of the hidden units of all survivors, then some
of the states. ``native/trellis.inc.h`` is the same in C. Costs are integers, so that no product in
singles comes before a sum, which GPUs would fuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilepress.codecs.ntc.device.cells import Cells
from tilepress.codecs.ntc.device.places import MARGIN
from tilepress.codecs.ntc.layout import HIDDEN, MOST_MAGNITUDE, NEXT_STATE, STATES, TABLES
from tilepress.codecs.ntc.model import COST_UNIT

__all__ = ["Survivors", "make_trellis"]

_MOST = np.float32(MOST_MAGNITUDE - 1)
_HALF = np.float32(0.5)
_BEAM = 7 * COST_UNIT
"""Survivors that cost so much more than the best are followed no more."""
_MOST_ERROR = np.float32(1 << 29)
_NEVER = 1 << 60
_INTO = [
    [(s, odd) for s in range(STATES) for odd in (0, 1) if NEXT_STATE[s][odd] == t]
    for t in range(STATES)
]
"""The two branches that lead into each state."""
_FIRST = sum((2 * s + odd) << (4 * t) for t, ((s, odd), _) in enumerate(_INTO))
_SECOND = sum((2 * s + odd) << (4 * t) for t, (_, (s, odd)) in enumerate(_INTO))


class Survivors(NamedTuple):
    """What a block knows of the best path into each state; of two columns in turns."""

    cost: Any
    """(2, STATES) int64: of the row so far, by 1/256 bits"""
    left: Any
    """(2, STATES) int32: logarithms at the left …"""
    left2: Any
    """… and left of that."""
    parts: Any
    """(STATES, threads) int32: the nets' output, in parts."""
    table: Any
    """(STATES,) int32"""
    branch_cost: Any
    """(STATES, 2) int64: of the best even and the best odd magnitude …"""
    branch: Any
    """… (STATES, 2) int32"""


def make_trellis(compiled: Callable[[Any], Any], barrier: Any, cells_of: Cells) -> Any:
    """Return the loop over one plane, compiled; see ``make_cells``."""
    log16, token_of, reconstructed = cells_of.log16, cells_of.token_of, cells_of.reconstructed
    map_of, halves_of, quantiser_of = cells_of.map_of, cells_of.halves_of, cells_of.quantiser_of
    unit_out, table_from, others = cells_of.unit_out, cells_of.table_from, cells_of.others
    near_features, after_row = cells_of.near_features, cells_of.after_row

    @compiled
    def cost_of(tables: Any, table: int, size: Any, price: Any, magnitude: int) -> int:
        """Return bits and distortion by 1/256 bits; ``price`` of a squared step, too."""
        off = np.float32(size - reconstructed(tables, table, magnitude))
        error = np.float32(price * np.float32(off * off))
        error = error if error < _MOST_ERROR else _MOST_ERROR
        return np.int64(tables.costs[table, token_of(magnitude)]) + np.int64(error)

    @compiled
    def branch_out(room: Any, state: int, tables: Any, table: int, size: Any, price: Any) -> None:
        """Note the best even and the best odd magnitude for a survivor: of the two around the size,
        and of 0."""
        half = _HALF if table >= TABLES else np.float32(0)
        below = np.int64(np.float32(size + half))
        for magnitude in range(below, below + 2):
            cost = cost_of(tables, table, size, price, magnitude)
            odd, best = magnitude & 1, magnitude
            if odd == 0 and magnitude > 0:
                zero = cost_of(tables, table, size, price, 0)
                if zero < cost:
                    cost, best = zero, 0
            room.branch_cost[state, odd] = cost
            room.branch[state, odd] = best

    @compiled
    def begin(room: Any, thread: int, threads: int, state: int) -> None:
        for s in range(thread, STATES, threads):
            room.cost[0, s] = 0 if s == state else _NEVER
            room.left[0, s] = 0
            room.left2[0, s] = 0
        barrier()

    @compiled
    def most_of(room: Any, now: int) -> int:
        """Return what a survivor may cost to be followed."""
        least = _NEVER
        for s in range(STATES):
            if room.cost[now, s] < least:
                least = room.cost[now, s]
        return least + _BEAM

    @compiled
    def tables_of(
        room: Any, now: int, most: int, thread: int, threads: int, sums: Any, net: Any, near: Any
    ) -> None:
        """Sum up the nets of all survivors, a part a thread."""
        for s in range(STATES):
            room.parts[s, thread] = 0
        for j in range(thread, HIDDEN, threads):
            above = others(sums, net, near, j)
            for s in range(STATES):
                if room.cost[now, s] <= most:
                    at_left = (
                        room.left[now, s] * net.first[0, j] + room.left2[now, s] * net.first[1, j]
                    )
                    room.parts[s, thread] += unit_out(net, j, np.int32(above + at_left))
        barrier()

    @compiled
    def branches(
        room: Any, now: int, most: int, thread: int, threads: int, net: Any, tables: Any,
        size: Any, price: Any,
    ) -> None:  # fmt: skip
        for s in range(thread, STATES, threads):
            if room.cost[now, s] <= most:
                out = np.int32(0)
                for k in range(threads):
                    out = np.int32(out + room.parts[s, k])
                table = table_from(net, out) + TABLES * quantiser_of(s)
                room.table[s] = table
                branch_out(room, s, tables, table, size, price)
        barrier()

    @compiled
    def advance(room: Any, now: int, most: int, thread: int, threads: int, steps: Any) -> None:
        """Take the best branch into each state, and note it."""
        for s in range(thread, STATES, threads):
            best, least = 0, _NEVER
            for number in range(2):
                into = ((_SECOND if number else _FIRST) >> (4 * s)) & 15
                before, odd = into >> 1, into & 1
                if room.cost[now, before] <= most:
                    cost = room.cost[now, before] + room.branch_cost[before, odd]
                    if cost < least:
                        least, best = cost, into
            room.cost[1 - now, s] = least
            if least == _NEVER:
                continue  # nothing leads here yet; what is noted of dead states is no number
            before, odd = best >> 1, best & 1
            magnitude, table = room.branch[before, odd], room.table[before]
            room.left2[1 - now, s] = room.left[now, before]
            room.left[1 - now, s] = map_of(halves_of(table, magnitude))
            steps[s] = np.int64(magnitude) << 12 | np.int64(table) << 4 | before
        barrier()

    @compiled
    def encode_rows(
        plane: int, thread: int, threads: int, room: Any, place: Any, net: Any, tables: Any,
        price: Any, steps: Any, values: Any, used: Any,
    ) -> None:  # fmt: skip
        """Choose the values of rows of a band of one plane: values int32 and tables uint8, each
        (planes, height, width).

        steps : (planes, width, STATES) int64, room for the best branch into each state.
        """
        own, cells, running = place.own[plane], place.cells[plane], place.running[plane]
        rows, width = place.sums.shape[1], place.sums.shape[2]
        mean, state = running[0], running[3]
        barrier()
        for row in range(rows):
            y, log_mean = place.row + row, log16(mean)
            begin(room, thread, threads, state)
            for x in range(width):
                now = x & 1
                most = most_of(room, now)
                near = near_features(own, y + MARGIN, x + MARGIN, 0, 0, log_mean)
                tables_of(room, now, most, thread, threads, place.sums[plane, row, x], net, near)
                given = cells[y, x]
                size = -given if given < 0 else given
                size = size if size < _MOST else _MOST
                branches(room, now, most, thread, threads, net, tables, size, price)
                advance(room, now, most, thread, threads, steps[plane, x])
            state = 0
            for s in range(1, STATES):
                if room.cost[width & 1, s] < room.cost[width & 1, state]:
                    state = s
            in_row, bits = 0, 0
            if thread == 0:
                s = state
                for back in range(width):
                    x = width - 1 - back
                    step = steps[plane, x, s]
                    s, table, magnitude = step & 15, (step >> 4) & 255, step >> 12
                    given = cells[y, x]
                    halves = halves_of(table, magnitude)
                    in_row += halves
                    bits += np.int64(tables.costs[table, token_of(magnitude)])
                    made = (
                        reconstructed(tables, table, magnitude) if magnitude > 0 else np.float32(0)
                    )
                    own[y + MARGIN, x + MARGIN] = map_of(halves)
                    cells[y, x] = -made if given < 0 and magnitude > 0 else made
                    values[plane, y, x] = -magnitude if given < 0 else magnitude
                    used[plane, y, x] = table
            mean = after_row(running, thread, in_row, bits, state, width)

    return encode_rows
