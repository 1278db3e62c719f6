"""NRRD files: physical values in the smallest type that holds them, as others read them."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest

import tilepress

from .conftest import ATTITUDES, Write, samples, series


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        (1, 0, "int16"),
        (1, -1024, "int16"),
        (2, 0, "int16"),
        (1, 1000, "uint16"),
        (100, 0, "int32"),
        (0.5, 0, "float64"),
        (1, 0.5, "float64"),
    ],
)
def test_values_are_rescaled_exactly(
    tmp_path: Path, stored: Write, slope: float, intercept: float, dtype: str
):
    elements = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    folder = series(tmp_path / "s", samples(), ATTITUDES["axial"], **elements)
    (out,) = tilepress.export(stored(folder), tmp_path / "x.nrrd")
    values, header = nrrd.read(str(out))
    if dtype != "uint16":
        assert values.dtype == dtype
    np.testing.assert_array_equal(values.T, samples() * float(slope) + intercept)
    assert header["space"] == "left-posterior-superior"
    assert header["kinds"] == ["domain"] * 3
    np.testing.assert_allclose(header["space origin"], [-40.5, 12.25, 7])
    np.testing.assert_allclose(header["space directions"], np.diag([0.5, 0.75, 2.5]))


def test_times_are_a_list(tmp_path: Path, stored: Write):
    given = samples((4, 3, 5, 6))
    np.save(tmp_path / "a.npy", given)
    (out,) = tilepress.export(stored(tmp_path / "a.npy"), tmp_path / "x.nrrd")
    values, header = nrrd.read(str(out))
    np.testing.assert_array_equal(values.T, given)
    assert header["kinds"] == ["domain", "domain", "domain", "list"]
