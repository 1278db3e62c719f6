"""Fit the linear path's weights to one plane (encoder only; the weights travel in the record)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.kernel import (
    active_rows,
    linear_inputs,
    regressor_count,
    steps,
    workspace,
)
from tilepress.codecs.wave.layout import (
    REGRESSORS,
    TIME_PAD,
    TOP_PAD,
    WEIGHT_BITS,
)

__all__ = ["fit_weights"]

_RIDGE = 1e-3


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
    n_taps: int,
) -> Any:
    """Accumulate weighted normal equations over every ``stride``-th step.

    A sample weighs 1 / (its activity + 1): a compromise between least squares, which serves only
    the edges, and least absolute deviations, which costs iterations.
    """
    gram = np.zeros((n_taps + 1, n_taps + 1), np.float64)
    taps_i, base = workspace(height, width)[0], workspace(height, width)[1]
    n_max = taps_i.shape[1]
    rows = np.zeros((n_taps + 1, n_max), np.float64)
    weighted = np.zeros((n_taps + 1, n_max), np.float64)
    masked = mask.shape[0] > 0
    for t in range(0, steps(height, width), stride):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        linear_inputs(own, refs, ref_errors, n_refs, t, y0, n, taps_i, base)
        x = own[t + TIME_PAD]
        for i in range(n):
            activity = 0
            for k in range(6):
                activity += abs(taps_i[k, i])
            weight = 1.0 / (activity * 0.25 + 1.0) ** 1.5
            if masked and mask[t + TIME_PAD, y0 + i + TOP_PAD]:
                weight = 0.0
            rows[n_taps, i] = x[y0 + i + TOP_PAD] - base[i]
            weighted[n_taps, i] = weight * rows[n_taps, i]
            for k in range(n_taps):
                rows[k, i] = taps_i[k, i]
                weighted[k, i] = weight * rows[k, i]
        for a in range(n_taps + 1):
            for b in range(a + 1):
                total = 0.0
                ra, wb = rows[a], weighted[b]
                for i in range(n):
                    total += ra[i] * wb[i]
                gram[a, b] += total
    return gram


@jit
def _cholesky_solve(matrix: Any, right: Any) -> Any:
    """Solve a symmetric positive definite system; written out so that no BLAS decides a bit."""
    n = len(right)
    lower = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
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
    return x


def fit_weights(
    own: npt.NDArray[np.int32],
    refs: npt.NDArray[np.int32],
    ref_errors: npt.NDArray[np.int32],
    n_refs: int,
    mask: npt.NDArray[np.uint8],
    height: int,
    width: int,
    prior: npt.NDArray[np.int32],
    step_bits: int,
    stride: int = 4,
) -> npt.NDArray[np.int32]:
    """Return (REGRESSORS,) int32 weights in units of 2^-WEIGHT_BITS, multiples of 2^-step_bits.

    ``prior`` has the same form; the fit is drawn to it where the plane says nothing.
    """
    n_taps = regressor_count(n_refs)
    gram = _normal_equations(own, refs, ref_errors, n_refs, mask, height, width, stride, n_taps)
    matrix, right = gram[:n_taps, :n_taps], gram[n_taps, :n_taps]
    matrix = np.tril(matrix) + np.tril(matrix, -1).T
    ridge = _RIDGE * np.diag(matrix) + 1e-3 * np.trace(matrix) / n_taps + 1e-6
    start = prior[:n_taps] / float(1 << WEIGHT_BITS)
    solution = _cholesky_solve(matrix + np.diag(ridge), right + ridge * start)
    unit = 1 << (WEIGHT_BITS - step_bits)
    limit = (1 << 17) // unit - 1
    scaled = np.clip(np.rint(solution * (1 << step_bits)), -limit, limit)
    weights = np.zeros(REGRESSORS, np.int32)
    weights[:n_taps] = scaled.astype(np.int32) * unit
    return weights
