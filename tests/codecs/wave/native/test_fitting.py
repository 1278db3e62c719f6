"""What weights are fitted to: sums over a plane as NumPy gives them, cell by cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tilepress.codecs.wave import wavefront
from tilepress.codecs.wave.layout import CELLS, SHEAR
from tilepress.codecs.wave.native.fitting import plane_activities, plane_equations
from tilepress.codecs.wave.native.structures import Sheared

from .test_planes import Made, inputs_of, logarithm, made, neighbours

THRESHOLDS = np.array([30, 44, 52], np.int32)
ERRORS_AROUND = [(2, 0, -1), (2, -1, 0)] + [
    (1, dy, dx)
    for dy, dx in [
        *((-1, -1), (-1, 1), (0, -2), (-2, 0)),
        *((-1, -2), (-2, -1), (-2, 1), (0, -3), (-3, 0)),
    ]
]
"""How often an error counts, and where it stands."""


def told(case: Made) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Regressors and target of each sample, (n, y, x), its activity's logarithm and its cell."""
    first = int(case.plane[0, 0])
    base, inputs, pattern, activity = inputs_of(case.plane, case.refs, case.errors, first)
    level = sum((activity >= t).astype(np.int64) for t in THRESHOLDS)
    cell = 16 * level + (pattern & 3) + (pattern >> 4 & 12)
    return np.stack([*inputs, case.plane - base]), activity, cell, pattern


def looked_at(shape: tuple[int, int], stride: int) -> np.ndarray:
    y, x = np.indices(shape)
    return (x + SHEAR * y) % stride == 0


class TestActivities:
    @pytest.mark.parametrize("stride", [1, 4, 16])
    @pytest.mark.parametrize("masked", [False, True])
    def test_are_counted(self, stride: int, masked: bool) -> None:
        case = made(2, 1, 300)
        where, here = Sheared.of(case.asked), looked_at(case.plane.shape, stride)
        if masked:
            absent = np.random.default_rng(1).random(case.plane.shape) < 0.4
            mask = wavefront.shear(absent.astype(np.int32), 0).astype(np.uint8)
            where, here = where._replace(mask=mask), here & ~absent
        _, activity, *_ = told(case)
        wanted = np.bincount(activity[here], minlength=256)
        assert np.array_equal(plane_activities(where, stride), wanted)


class TestEquations:
    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("stride", [1, 4])
    @pytest.mark.parametrize(("top", "up"), [(9, 8), (4000, 5), (2**17 - 1, 0), (2**17 - 1, -2)])
    def test_are_those_of_each_cell(self, n_refs: int, stride: int, top: int, up: int) -> None:
        """Cells are four levels of activity times four equalities, whatever else is equal."""
        case = made(n_refs, 1, top)
        gram, counts, masses = plane_equations(Sheared.of(case.asked), stride, THRESHOLDS, up)
        values, activity, cell, _ = told(case)
        here = looked_at(case.plane.shape, stride)
        check(Told(values, cell, here, activity >> 4, up), gram, counts, masses)

    @pytest.mark.parametrize("n_refs", [0, 2])
    @pytest.mark.parametrize(("top", "up"), [(9, 8), (4000, 5), (2**17 - 1, 0)])
    def test_weighed_by_errors(self, n_refs: int, top: int, up: int) -> None:
        """By s(s + |e|), s the errors around as FORMAT.md §5.3 counts them, e as 13 of them."""
        case = made(n_refs, 1, top)
        rng = np.random.default_rng(top)
        left = rng.integers(-64 * top, 64 * top + 1, case.plane.shape).astype(np.int32)
        left[rng.random(left.shape) < 0.3] = 0
        errors = wavefront.shear(left, 0)
        found = plane_equations(Sheared.of(case.asked), 1, THRESHOLDS, up, errors)
        size = sum(times * np.abs(neighbours(left, 0, dy, dx)) for times, dy, dx in ERRORS_AROUND)
        total = logarithm(size) + logarithm(13 * np.abs(left.astype(np.int64)) + size)
        values, _, cell, _ = told(case)
        down = np.clip((total - 80) >> 4, 0, 15)
        check(Told(values, cell, looked_at(case.plane.shape, 1), down, up), *found)
        assert len(np.unique(down)) > 1


class Told(NamedTuple):
    """Regressors and target, (n, y, x), cell, whether it counts, half the logarithm of weights."""

    values: np.ndarray
    cell: np.ndarray
    here: np.ndarray
    down: np.ndarray
    up: int


def check(known: Told, gram: np.ndarray, counts: np.ndarray, masses: np.ndarray) -> None:
    values, cell, here, down, up = known
    scaled = (values << up if up >= 0 else values >> -up) >> down
    scaled = np.clip(scaled, -2047, 2047).astype(np.float64)
    for number in range(CELLS):
        chosen = here & (cell == number)
        rows = scaled[:, chosen]
        assert counts[number] == chosen.sum()
        assert masses[number] == (4.0 ** (up - down[chosen])).sum()
        assert np.array_equal(np.triu(gram[number]), np.triu(rows @ rows.T))
    assert np.count_nonzero(counts) > 1
