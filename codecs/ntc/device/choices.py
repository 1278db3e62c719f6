"""What is serial in choosing the values of a plane: one after another, each for itself, under the
table that those before it say. Scalar code, which numba compiles for a GPU and for the CPU alike
(``cells.py``).

GPUs would fuse the product by the price with the sum that follows, which ``times`` forbids. The one
of a cost is by a power of two, so that fusing it changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilepress.codecs.ntc.device.cells import Cells
from tilepress.codecs.ntc.device.places import MARGIN
from tilepress.codecs.ntc.layout import MOST_MAGNITUDE

__all__ = ["make_choices"]

_MOST = np.float32(MOST_MAGNITUDE)
_HALF = np.float32(0.5)
_UNIT = np.float32(1 / 256)


def make_choices(compiled: Callable[[Any], Any], barrier: Any, times: Any, cells_of: Cells) -> Any:
    """Return the loop over one plane, compiled; see ``make_cells``.

    times : (single, single) → their product, rounded.
    """
    log16, map_of, token_of = cells_of.log16, cells_of.map_of, cells_of.token_of
    reconstructed, table_of = cells_of.reconstructed, cells_of.table_of
    near_features, after_row = cells_of.near_features, cells_of.after_row

    @compiled
    def chosen(tables: Any, table: int, size: Any, price: Any) -> int:
        """Of the nearest magnitude, the one below, and 0, what costs least in bits and error."""
        nearest = MOST_MAGNITUDE
        if size < _MOST:
            nearest = np.int64(np.float32(size + _HALF))
        if nearest == 0:
            return 0
        costs = tables.costs[table]
        off = np.float32(size - reconstructed(tables, table, 0))
        square = np.float32(off * off)
        least = np.float32(times(price, square) + np.float32(costs[0]) * _UNIT)
        best = 0
        for down in range(2):
            k = nearest - down
            if k > 0:
                off = np.float32(size - reconstructed(tables, table, k))
                square = np.float32(off * off)
                bits = np.float32(costs[token_of(k)]) * _UNIT
                cost = np.float32(times(price, square) + bits)
                if cost < least:
                    least = cost
                    best = k
        return best

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
                left = map_of(2 * magnitude)
                in_row += 2 * magnitude
                barrier()  # all have read the cell
                if thread == 0:
                    made = (
                        reconstructed(tables, table, magnitude) if magnitude > 0 else np.float32(0)
                    )
                    own[y + MARGIN, x + MARGIN] = left
                    cells[y, x] = -made if given < 0 and magnitude > 0 else made
                    values[plane, y, x] = -magnitude if given < 0 else magnitude
                    used[plane, y, x] = table
            mean = after_row(running, thread, in_row, bits, 0, width)

    return encode_rows
