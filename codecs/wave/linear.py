"""Fit the linear path's weights to one plane (encoder only; the weights travel in the record).

Samples fall into cells by how busy and how equal their neighbours are. Each cell gets the normal
equations of its own weighted least squares; cells are then merged into sets while what two sets
save over one is less than what their weights cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.wave.backend import LinearPath
from tilepress.codecs.wave.layout import (
    CELLS,
    MAX_SETS,
    REGRESSORS,
    WEIGHT_BITS,
    regressor_count,
)
from tilepress.codecs.wave.native.fitting import plane_activities, plane_equations
from tilepress.codecs.wave.native.structures import Sheared

__all__ = ["fit_linear", "plain_linear", "refit_linear", "up_of"]

_MIN_CELL_SAMPLES = 200
"""Samples below which a cell takes the weights of the others."""
_WEIGHT_COST_BITS = 11.0
"""What a weight costs in the record, about."""
_COST_FACTOR = 6.0
"""How many times its cost a set must seem to save: squares promise more than tokens keep."""
_WEIGHT_LIMIT = 1 << 17


def plain_linear(weights: npt.NDArray[np.int32]) -> LinearPath:
    """Return a linear path of one set for every sample; ``weights`` is (REGRESSORS,)."""
    return LinearPath(
        np.zeros(3, np.int32), np.zeros(CELLS, np.int32), weights.astype(np.int64)[None].copy()
    )


_solve_system = bind("tp_solve", "dwdd")
_merge_cells = bind("tp_merge_cells", "ddddwwwffl", "w")


@dataclass(frozen=True, slots=True)
class _Systems:
    """Normal equations, of cells or of sets."""

    gram: npt.NDArray[np.float64]
    """(N, n + 1, n + 1), of which the upper triangle counts; the last row is the target's."""
    counts: npt.NDArray[np.float64]
    """(N,) samples."""
    masses: npt.NDArray[np.float64]
    """(N,) what they weigh."""

    def of(self, picked: npt.NDArray[np.int64]) -> _Systems:
        """Return copies of some."""
        return _Systems(self.gram[picked], self.counts[picked], self.masses[picked])

    def joined(self, owner: npt.NDArray[np.int64], n: int) -> _Systems:
        """Return the sums of those with the same owner, 0 … n − 1."""
        out = _Systems(np.zeros((n, *self.gram.shape[1:])), np.zeros(n), np.zeros(n))
        np.add.at(out.gram, owner, self.gram)
        np.add.at(out.counts, owner, self.counts)
        np.add.at(out.masses, owner, self.masses)
        return out

    def solved(self, start: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weights, (N, n), drawn to ``start``."""
        weights = np.empty((len(self.gram), len(start)))
        for gram, row in zip(self.gram, weights, strict=True):
            _solve_system(gram, len(row), start, row)
        return weights


def up_of(thresholds: npt.NDArray[np.int32]) -> int:
    """Return how much samples weigh: as they lie best in 12 bits at the middle of activities."""
    return 11 - (int(thresholds[1]) >> 4)


def fit_linear(
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
    most: int = MAX_SETS,
    every: bool = False,
) -> LinearPath:
    """Return the linear path of one plane; weights are multiples of 2^-step_bits.

    ``prior`` has the form of one set of weights; fits are drawn to it where the plane says nothing.
    ``quick`` fits one set to fewer samples. ``most`` : sets at most. ``every`` : fit to all
    samples, not to those of every fourth step of the wavefront, or sixteenth.
    """
    size = height * width
    stride = 1 if every or size < 1 << 14 else 16 if quick else 4
    plane = Sheared(own, refs, ref_errors, n_refs, mask, height, width)
    counts = plane_activities(plane, stride)
    total = max(int(counts.sum()), 1)
    quarters = np.searchsorted(np.cumsum(counts), [total // 4, total // 2, 3 * total // 4]) + 1
    thresholds = quarters.astype(np.int32)
    n_taps = regressor_count(n_refs)
    gram, cell_counts, masses = plane_equations(plane, stride, thresholds, up_of(thresholds))
    cells = _Systems(gram, cell_counts.astype(np.float64), masses)
    start = prior[:n_taps] / float(1 << WEIGHT_BITS)
    sets, set_of_cell = cells.joined(np.zeros(CELLS, np.int64), 1), np.zeros(CELLS, np.int64)
    least = max(_MIN_CELL_SAMPLES // stride, total // 100)
    if not quick and np.count_nonzero(cells.counts >= least) > 1:
        (start,) = sets.solved(start)
        set_of_cell = _merged(cells, start, least, float(stride), most)
        sets = cells.joined(set_of_cell, int(set_of_cell.max()) + 1)
    weights = _rounded(sets.solved(start), step_bits)
    return LinearPath(thresholds, set_of_cell.astype(np.int32), weights)


def refit_linear(
    plane: Sheared,
    fitted: LinearPath,
    errors: npt.NDArray[np.int32],
    prior: npt.NDArray[np.int32],
    step_bits: int,
) -> LinearPath:
    """Return a path of the same sets, fitted anew to samples weighed by the errors that it left.

    errors : (L,) sheared, in 1/64 steps; prior, step_bits : as ``fit_linear`` takes them. A step of
    iteratively reweighted least squares, which serves what errors cost better than squares do where
    most are small and some are large.
    """
    up = up_of(fitted.thresholds)
    gram, counts, masses = plane_equations(plane, 1, fitted.thresholds, up, errors)
    cells = _Systems(gram, counts.astype(np.float64), masses)
    start = prior[: regressor_count(plane.n_refs)] / float(1 << WEIGHT_BITS)
    (whole,) = cells.joined(np.zeros(CELLS, np.int64), 1).solved(start)
    sets = cells.joined(fitted.set_of_cell.astype(np.int64), len(fitted.weights))
    return replace(fitted, weights=_rounded(sets.solved(whole), step_bits))


def _rounded(fitted: npt.NDArray[np.float64], step_bits: int) -> npt.NDArray[np.int64]:
    """Return (sets, n) weights as multiples of 2^-step_bits, (sets, REGRESSORS) in 2^-14."""
    unit = 1 << (WEIGHT_BITS - step_bits)
    limit = _WEIGHT_LIMIT // unit - 1
    weights = np.zeros((len(fitted), REGRESSORS), np.int64)
    weights[:, : fitted.shape[1]] = np.clip(np.rint(fitted * (1 << step_bits)), -limit, limit)
    return weights * unit


def _merged(
    cells: _Systems, whole: npt.NDArray[np.float64], least: int, stride: float, most: int
) -> npt.NDArray[np.int64]:
    """Return the set of each cell, (CELLS,): cells with few samples go with others."""
    set_of_cell = np.zeros(CELLS, np.int64)
    kept = np.flatnonzero(cells.counts >= least)
    rest = np.flatnonzero((cells.counts > 0) & (cells.counts < least))
    merged = cells.of(kept)
    level_of, count_of = kept >> 4, cells.counts[kept]
    for level in np.unique(rest >> 4):  # rare patterns go with the commonest of their activity
        same = level_of == level
        to = int(np.argmax(np.where(same, count_of, 0) if same.any() else count_of))
        for cell in rest[rest >> 4 == level]:
            merged.gram[to] += cells.gram[cell]
            merged.counts[to] += cells.counts[cell]
            merged.masses[to] += cells.masses[cell]
            set_of_cell[cell] = to
    n_taps = len(whole)
    cost = _COST_FACTOR * (24 + n_taps * _WEIGHT_COST_BITS)
    owner = np.zeros(len(kept), np.int64)
    limits = (len(kept), n_taps, most, cost, stride)
    systems = (merged.gram, merged.counts, merged.masses)
    check_memory(_merge_cells(*systems, whole, *limits, owner))
    number = np.searchsorted(np.unique(owner), owner)
    set_of_cell[rest] = number[set_of_cell[rest]]
    set_of_cell[kept] = number
    return set_of_cell
