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

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import (
    CELLS,
    MAX_SETS,
    OWN_TAPS,
    REFERENCE_TAPS,
    REGRESSORS,
    WEIGHT_BITS,
)
from tilepress.codecs.wave.predictor import (
    activities,
    cell_of,
    own_inputs,
    patterns,
    reference_inputs,
    regressor_count,
    workspace,
)
from tilepress.codecs.wave.wavefront import active_rows, pitch_of, position_of, steps

__all__ = ["Classes", "fit_classes", "plain_classes"]

_RIDGE = 1e-4
_MIN_CELL_SAMPLES = 200
"""Samples below which a cell takes the weights of the others."""
_WEIGHT_COST_BITS = 11.0
"""What a weight costs in the record, about."""
_COST_FACTOR = 6.0
"""How many times its cost a set must seem to save: squares promise more than tokens keep."""
_WEIGHT_LIMIT = 1 << 17
_BATCH = 64
"""Samples whose products are summed at once, in 32 bits."""
_BATCH_LIMIT = 2047


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
        """Return what ``predict_linear`` takes."""
        return self.thresholds, self.set_of_cell, self.weights


def plain_classes(weights: npt.NDArray[np.int32]) -> Classes:
    """Return classes of one set for every sample; ``weights`` is (REGRESSORS,)."""
    return Classes(
        np.zeros(3, np.int32), np.zeros(CELLS, np.int32), weights.astype(np.int64)[None].copy()
    )


@jit
def _activity_histogram(own: Any, mask: Any, height: int, width: int, stride: int) -> Any:
    """Count logarithms of activity over every ``stride``-th step."""
    counts = np.zeros(256, np.int64)
    work, pitch = workspace(height, width), pitch_of(height, width)
    taps, base, act_log = work.taps, work.base, work.activity_log
    masked = mask.shape[0] > 0
    for t in range(0, steps(height, width), stride):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        own_inputs(own, at, pitch, n, taps, base)
        activities(taps, n, work.near, work.activity, act_log)
        for i in range(n):
            if not (masked and mask[at + i]):
                counts[act_log[i]] += 1
    return counts


@jit
def _normal_equations(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    mask: Any,
    height: int,
    width: int,
    stride: int,
    thresholds: Any,
    up: int,
) -> Any:
    """Accumulate (CELLS, n + 1, n + 1) weighted normal equations over every ``stride``-th step.

    Row and column n are the target's; the upper triangle is filled. All sums are of integers, so
    that every machine finds the same. A sample weighs 4^up / its activity, by powers of four: a
    compromise between least squares, which serves only the edges, and least absolute deviations,
    which costs iterations. Also returns how many samples each cell has and what they weigh.
    """
    n_taps = regressor_count(n_refs)
    gram = np.zeros((CELLS, n_taps + 1, n_taps + 1), np.int64)
    counts = np.zeros(CELLS, np.int64)
    masses = np.zeros(CELLS, np.float64)
    batch = np.zeros((CELLS, n_taps + 1, _BATCH), np.int32)
    filled = np.zeros(CELLS, np.int64)
    work, pitch = workspace(height, width), pitch_of(height, width)
    taps, base, pattern, act_log = work.taps, work.base, work.pattern, work.activity_log
    masked = mask.shape[0] > 0
    for t in range(0, steps(height, width), stride):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        own_inputs(own, at, pitch, n, taps, base)
        for r in range(n_refs):
            first = len(OWN_TAPS) + 1 + r * (len(REFERENCE_TAPS) + 2)
            reference_inputs(refs[r], ref_errors[r], at, pitch, n, first, taps)
        patterns(taps, n_refs, n, pattern)
        activities(taps, n, work.near, work.activity, act_log)
        for i in range(n):
            if masked and mask[at + i]:
                continue
            cell = cell_of(act_log[i], pattern[i], thresholds)
            down = act_log[i] >> 4  # eight times the logarithm to eight times half of it
            counts[cell] += 1
            masses[cell] += 4.0 ** (up - down)
            rows, slot = batch[cell], filled[cell]
            for k in range(n_taps):
                scaled = (np.int64(taps[k, i]) << up) >> down
                rows[k, slot] = min(max(scaled, -_BATCH_LIMIT), _BATCH_LIMIT)
            scaled = (np.int64(own[at + i] - base[i]) << up) >> down
            rows[n_taps, slot] = min(max(scaled, -_BATCH_LIMIT), _BATCH_LIMIT)
            filled[cell] += 1
            if filled[cell] == _BATCH:
                _add_products(rows, gram[cell])
                filled[cell] = 0
    for cell in range(CELLS):
        if filled[cell] > 0:
            batch[cell, :, filled[cell] :] = 0
            _add_products(batch[cell], gram[cell])
    return gram.astype(np.float64), counts, masses


@jit
def _add_products(rows: Any, gram: Any) -> None:
    """Add Σ rows[a]·rows[b] to the upper triangle of ``gram``."""
    for a in range(len(rows)):
        left = rows[a]
        for b in range(a, len(rows)):
            right = rows[b]
            total = np.int32(0)
            for i in range(_BATCH):
                total += left[i] * right[i]
            gram[a, b] += total


@jit
def _solve(gram: Any, start: Any, ridge_share: float) -> Any:
    """Return the weights of one system and the weighted squares that they leave.

    gram : (n + 1, n + 1), upper triangle. Written out so that no library decides a bit.
    """
    n = len(gram) - 1
    trace = 0.0
    for i in range(n):
        trace += gram[i, i]
    lower = np.zeros((n, n))
    right = np.zeros(n)
    for i in range(n):
        ridge = ridge_share * gram[i, i] + 1e-6 * trace / n + 1e-6
        right[i] = gram[i, n] + ridge * start[i]
        for j in range(i + 1):
            total = gram[j, i]
            if i == j:
                total += ridge
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                lower[i, i] = np.sqrt(max(total, 1e-9))
            else:
                lower[i, j] = total / lower[j, j]
    y = np.zeros(n)
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * y[k]
        y[i] = total / lower[i, i]
    x = np.zeros(n)
    for i in range(n - 1, -1, -1):
        total = y[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * x[k]
        x[i] = total / lower[i, i]
    return x, _squares(gram, x)


@jit
def _squares(gram: Any, x: Any) -> float:
    """Weighted squares that weights ``x`` leave in the system ``gram``."""
    n = len(gram) - 1
    squares = gram[n, n]
    for i in range(n):
        squares += x[i] * (x[i] * gram[i, i] - 2.0 * gram[i, n])
        for j in range(i + 1, n):
            squares += 2.0 * x[i] * x[j] * gram[i, j]
    return max(squares, 0.0)


@jit
def _bits(squares: float, count: float, mass: float) -> float:
    """Estimate the bits that ``count`` residuals cost; what is below a step's rounding is free."""
    return 0.5 * count * np.log2((squares + 0.08 * mass) / count)


@jit
def _merge(
    gram: Any, counts: Any, masses: Any, start: Any, max_sets: int, cost: float, scale: float
) -> Any:
    """Merge cells into sets, best pair first, while a set does not pay its ``cost`` in bits.

    Returns (cells,) set numbers; the first three arguments are those of the sets afterwards.
    ``scale`` is how many samples one counted sample stands for.
    """
    n = len(counts)
    owner = np.arange(n)
    alive = counts > 0
    bits = np.zeros(n)
    for i in range(n):
        if alive[i]:
            bits[i] = _bits(_solve(gram[i], start, _RIDGE)[1], counts[i], masses[i])
    loss = np.full((n, n), np.inf)
    joint = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            if alive[i] and alive[j]:
                joint[i, j] = _bits(
                    _solve(gram[i] + gram[j], start, _RIDGE)[1],
                    counts[i] + counts[j],
                    masses[i] + masses[j],
                )
                loss[i, j] = joint[i, j] - bits[i] - bits[j]
    while True:
        sets = alive.sum()
        if sets < 2:
            break
        best, at_i, at_j = np.inf, 0, 0
        for i in range(n):
            for j in range(i + 1, n):
                if alive[i] and alive[j] and loss[i, j] < best:
                    best, at_i, at_j = loss[i, j], i, j
        if best * scale > cost and sets <= max_sets:
            break
        gram[at_i] += gram[at_j]
        counts[at_i] += counts[at_j]
        masses[at_i] += masses[at_j]
        alive[at_j] = False
        bits[at_i] = joint[at_i, at_j]
        for i in range(n):
            if owner[i] == at_j:
                owner[i] = at_i
            if alive[i] and i != at_i:
                low, high = min(i, at_i), max(i, at_i)
                joint[low, high] = _bits(
                    _solve(gram[low] + gram[high], start, _RIDGE)[1],
                    counts[low] + counts[high],
                    masses[low] + masses[high],
                )
                loss[low, high] = joint[low, high] - bits[low] - bits[high]
    return owner


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
    counts = _activity_histogram(own, mask, height, width, stride)
    total = max(int(counts.sum()), 1)
    quarters = np.searchsorted(np.cumsum(counts), [total // 4, total // 2, 3 * total // 4]) + 1
    thresholds = quarters.astype(np.int32)
    up = 11 - (int(thresholds[1]) >> 4)
    gram, cell_counts, masses = _normal_equations(
        own, refs, ref_errors, n_refs, mask, height, width, stride, thresholds, up
    )
    start = prior[:n_taps] / float(1 << WEIGHT_BITS)
    whole, _ = _solve(gram.sum(axis=0), start, _RIDGE)
    least = max(_MIN_CELL_SAMPLES // stride, total // 100)
    cells = np.flatnonzero(cell_counts >= least)
    set_of_cell = np.zeros(CELLS, np.int32)
    fitted = [whole]
    if len(cells) > 1 and not quick:
        rest = np.flatnonzero((cell_counts > 0) & (cell_counts < least))
        grams, sizes = gram[cells].copy(), cell_counts[cells].astype(np.float64)
        weighed = masses[cells].copy()
        for cell in rest:  # a rare pattern goes with the commonest cell of its activity
            same = np.flatnonzero(cells >> 4 == cell >> 4)
            near = same if len(same) else np.arange(len(cells))
            to = near[np.argmax(cell_counts[cells[near]])]
            grams[to] += gram[cell]
            sizes[to] += cell_counts[cell]
            weighed[to] += masses[cell]
            set_of_cell[cell] = to
        cost = _COST_FACTOR * (24 + n_taps * _WEIGHT_COST_BITS)
        owner = _merge(grams, sizes, weighed, whole, MAX_SETS, cost, float(stride))
        kept = np.unique(owner)
        number = np.searchsorted(kept, owner).astype(np.int32)
        set_of_cell[rest] = number[set_of_cell[rest]]
        set_of_cell[cells] = number
        fitted = [_solve(grams[k], whole, _RIDGE)[0] for k in kept]
    unit = 1 << (WEIGHT_BITS - step_bits)
    limit = _WEIGHT_LIMIT // unit - 1
    weights = np.zeros((len(fitted), REGRESSORS), np.int64)
    for row, solution in zip(weights, fitted, strict=True):
        row[:n_taps] = np.clip(np.rint(solution * (1 << step_bits)), -limit, limit)
        row *= unit
    if len(fitted) == 1:
        set_of_cell[:] = 0
    return Classes(thresholds, set_of_cell, weights)
