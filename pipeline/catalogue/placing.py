"""Find about where a raster lies that has control points or rational polynomials and no transform.

The affine that fits them best is good enough for an outline: to warp is for others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fitted_place"]

WGS84 = "OGC:CRS84"

_TERMS = 20
"""Coefficients of each polynomial of the RPC00B model."""

_STEPS = 5
"""Places along either axis at which polynomials are asked."""

Points = npt.NDArray[np.float64]


def fitted_place(spatial_ref: Mapping[str, Any]) -> tuple[str, list[float]] | None:
    """Return CRS and transform that fit what the attributes of ``spatial_ref`` say.

    None where they hold no points or polynomials that give any.
    """
    try:
        if "gcps" in spatial_ref and spatial_ref.get("crs_wkt"):
            pixels, ground = _control_points(json.loads(spatial_ref["gcps"]))
            transform = _affine(pixels, ground)
            return None if transform is None else (str(spatial_ref["crs_wkt"]), transform)
        if "rpcs" in spatial_ref:
            transform = _affine(*_polynomial_points(spatial_ref["rpcs"]))
            return None if transform is None else (WGS84, transform)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return None


def _control_points(collection: Mapping[str, Any]) -> tuple[Points, Points]:
    """Return (column, row) and (x, y) of the points of a GeoJSON collection."""
    features = collection["features"]
    pixels = [[one["properties"]["col"], one["properties"]["row"]] for one in features]
    ground = [one["geometry"]["coordinates"][:2] for one in features]
    return np.array(pixels, np.float64), np.array(ground, np.float64)


def _polynomial_points(rpcs: Mapping[str, str]) -> tuple[Points, Points]:
    """Return (column, row) and (longitude, latitude) of places, all at the mean height."""

    def number(name: str) -> float:
        return float(str(rpcs[name]).split()[0])

    def polynomial(name: str) -> Points:
        coefficients = np.array([float(text) for text in str(rpcs[name]).split()][:_TERMS])
        return np.asarray(terms @ coefficients)

    steps = np.linspace(-1, 1, _STEPS)
    east, north = (one.ravel() for one in np.meshgrid(steps, steps))
    terms = _cubic_terms(east, north)
    with np.errstate(all="ignore"):  # of a denominator that is 0 nothing finite comes: no place
        column = polynomial("SAMP_NUM_COEFF") / polynomial("SAMP_DEN_COEFF")
        row = polynomial("LINE_NUM_COEFF") / polynomial("LINE_DEN_COEFF")
    pixels = [
        column * number("SAMP_SCALE") + number("SAMP_OFF"),
        row * number("LINE_SCALE") + number("LINE_OFF"),
    ]
    ground = [
        east * number("LONG_SCALE") + number("LONG_OFF"),
        north * number("LAT_SCALE") + number("LAT_OFF"),
    ]
    return np.stack(pixels, axis=1), np.stack(ground, axis=1)


def _cubic_terms(east: Points, north: Points) -> Points:
    """Return the terms of RPC00B (STDI-0002 App. E) at the mean height, where H is 0."""
    zero = np.zeros_like(east)
    # fmt: off
    terms = [
        np.ones_like(east), east, north, zero, east * north, zero, zero, east**2, north**2, zero,
        zero, east**3, east * north**2, zero, east**2 * north, north**3, zero, zero, zero, zero,
    ]
    # fmt: on
    return np.stack(terms, axis=1)


def _affine(pixels: Points, ground: Points) -> list[float] | None:
    """Return (a, b, c, d, e, f) by least squares; None for points on one line."""
    matrix = np.column_stack([pixels, np.ones(len(pixels))])
    if not (np.isfinite(matrix).all() and np.isfinite(ground).all()):
        return None
    if len(matrix) < 3 or np.linalg.matrix_rank(matrix) < 3:
        return None
    solved = np.linalg.lstsq(matrix, ground, rcond=None)[0]
    return [float(n) for n in solved.T.ravel()]
