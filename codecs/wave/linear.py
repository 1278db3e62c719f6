"""Fit the linear path's weights to one plane (encoder only; the weights travel in the record).

Samples fall into cells by how busy and how equal their neighbours are. Each cell gets the normal
equations of its own weighted least squares; cells are then merged into sets while what two sets
save over one is less than what their weights cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.wave.layout import (
    CELLS,
    MAX_SETS,
    REGRESSORS,
    WEIGHT_BITS,
    regressor_count,
)
from tilepress.codecs.wave.native.fitting import plane_activities, plane_equations
from tilepress.codecs.wave.native.structures import Sheared

__all__ = ["Classes", "fit_classes", "plain_classes"]

_MIN_CELL_SAMPLES = 200
"""Samples below which a cell takes the weights of the others."""
_WEIGHT_COST_BITS = 11.0
"""What a weight costs in the record, about."""
_COST_FACTOR = 6.0
"""How many times its cost a set must seem to save: squares promise more than tokens keep."""
_WEIGHT_LIMIT = 1 << 17


@dataclass(frozen=True, slots=True)
class Classes:
    """The linear path of a plane: which weights a sample takes."""

    thresholds: npt.NDArray[np.int32]
    """(3,) logarithms of activity that part the four levels."""
    set_of_cell: npt.NDArray[np.int32]
    """(CELLS,) the set of each cell."""
    weights: npt.NDArray[np.int64]
    """(sets, REGRESSORS) in units of 2^-WEIGHT_BITS."""

    def arrays(self) -> tuple[Any, Any, Any]:
        """Return what a backend takes."""
        return self.thresholds, self.set_of_cell, self.weights


def plain_classes(weights: npt.NDArray[np.int32]) -> Classes:
    """Return classes of one set for every sample; ``weights`` is (REGRESSORS,)."""
    return Classes(
        np.zeros(3, np.int32), np.zeros(CELLS, np.int32), weights.astype(np.int64)[None].copy()
    )


_solve_system = bind("tp_solve", "dwdd")
_merge_cells = bind("tp_merge_cells", "ddddwwwffl", "w")


def _solve(
    gram: npt.NDArray[np.float64], start: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the weights, (n,), of a system, (n + 1, n + 1), drawn to ``start``."""
    weights = np.empty(len(gram) - 1)
    _solve_system(np.ascontiguousarray(gram), len(weights), start, weights)
    return weights


def fit_classes(
    own: npt.NDArray[np.int32],
    refs: npt.NDArray[np.int32],
    ref_errors: npt.NDArray[np.int32],
    n_refs: int,
    mask: npt.NDArray[np.uint8],
    height: int,
    width: int,
    prior: npt.NDArray[np.int32],
    step_bits: int,
    *,
    quick: bool = False,
) -> Classes:
    """Return the classes of one plane; weights are multiples of 2^-step_bits.

    ``prior`` has the form of one set of weights; fits are drawn to it where the plane says nothing.
    ``quick`` fits one set to fewer samples.
    """
    n_taps = regressor_count(n_refs)
    stride = 1 if height * width < 1 << 14 else 16 if quick else 4
    plane = Sheared(own, refs, ref_errors, n_refs, mask, height, width)
    counts = plane_activities(plane, stride)
    total = max(int(counts.sum()), 1)
    quarters = np.searchsorted(np.cumsum(counts), [total // 4, total // 2, 3 * total // 4]) + 1
    thresholds = quarters.astype(np.int32)
    up = 11 - (int(thresholds[1]) >> 4)
    gram, cell_counts, masses = plane_equations(plane, stride, thresholds, up)
    start = prior[:n_taps] / float(1 << WEIGHT_BITS)
    whole = _solve(gram.sum(axis=0), start)
    least = max(_MIN_CELL_SAMPLES // stride, total // 100)
    cells = np.flatnonzero(cell_counts >= least)
    set_of_cell = np.zeros(CELLS, np.int32)
    fitted = [whole]
    if len(cells) > 1 and not quick:
        rest = np.flatnonzero((cell_counts > 0) & (cell_counts < least))
        grams, sizes = gram[cells], cell_counts[cells].astype(np.float64)
        weighed = masses[cells]
        level_of, count_of = cells >> 4, cell_counts[cells]
        for level in np.unique(rest >> 4):  # rare patterns go with the commonest of their activity
            same = level_of == level
            to = int(np.argmax(np.where(same, count_of, 0) if same.any() else count_of))
            for cell in rest[rest >> 4 == level]:
                grams[to] += gram[cell]
                sizes[to] += cell_counts[cell]
                weighed[to] += masses[cell]
                set_of_cell[cell] = to
        cost = _COST_FACTOR * (24 + n_taps * _WEIGHT_COST_BITS)
        owner = np.zeros(len(cells), np.int64)
        limits = (len(cells), n_taps, MAX_SETS, cost, float(stride))
        check_memory(_merge_cells(grams, sizes, weighed, whole, *limits, owner))
        kept = np.unique(owner)
        number = np.searchsorted(kept, owner).astype(np.int32)
        set_of_cell[rest] = number[set_of_cell[rest]]
        set_of_cell[cells] = number
        fitted = [_solve(grams[k], whole) for k in kept]
    unit = 1 << (WEIGHT_BITS - step_bits)
    limit = _WEIGHT_LIMIT // unit - 1
    weights = np.zeros((len(fitted), REGRESSORS), np.int64)
    for row, solution in zip(weights, fitted, strict=True):
        row[:n_taps] = np.clip(np.rint(solution * (1 << step_bits)), -limit, limit)
        row *= unit
    if len(fitted) == 1:
        set_of_cell[:] = 0
    return Classes(thresholds, set_of_cell, weights)
