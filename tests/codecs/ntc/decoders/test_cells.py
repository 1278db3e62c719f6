"""Planes become cells of coefficients, and cells planes."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.ntc.decoders.cells import from_cells, to_cells
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.plane import forward

from ..pictures import image


@pytest.mark.parametrize("kind", [LAPPED, WAVELET])
class TestCells:
    @pytest.mark.parametrize("sides", [(64, 80), (37, 53), (8, 8), (1, 1), (3, 200)])
    def test_there_and_back(self, kind: int, sides: tuple[int, int]) -> None:
        plane = image(*sides)[0].astype(np.float32) / 50
        cells = to_cells(kind, plane)
        assert cells.shape == (64, -(-sides[0] // 8), -(-sides[1] // 8))
        assert np.abs(from_cells(kind, cells, *sides) - plane).max() < 1e-3

    def test_a_cell_is_where_its_samples_are(self, kind: int) -> None:
        plane = np.zeros((80, 80), np.float32)
        plane[3 * 8 + 3, 6 * 8 + 4] = 100
        energy = np.square(to_cells(kind, plane)).sum(axis=0)
        assert np.unravel_index(energy.argmax(), energy.shape) == (3, 6)

    def test_the_first_is_the_brightness(self, kind: int) -> None:
        cells = to_cells(kind, np.full((40, 40), 7, np.float32))
        assert np.all(cells[0] > 7 * 5)
        assert np.abs(cells[1:]).max() < 1e-3

    def test_the_plane_that_is_given_stays(self, kind: int) -> None:
        plane = np.ones((16, 16), np.float32)
        to_cells(kind, plane)
        assert np.all(plane == 1)


def test_lapped_cells_are_the_coefficients_of_blocks() -> None:
    plane = image(24, 32)[0].astype(np.float32)
    cells, coefficients = to_cells(LAPPED, plane), plane.copy()
    forward(LAPPED, coefficients)
    assert cells[8 * 3 + 5, 2, 1] == coefficients[8 * 2 + 3, 8 * 1 + 5]
