"""What a context tree may ask of a sample: properties known before it (FORMAT.md §6.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import FRACTION_BITS, OWN_PROPERTIES, SHEAR, TIME_PAD, TOP_PAD
from tilepress.codecs.wave.predictor import HALF, ONE

__all__ = ["step_leaves", "step_properties"]


@jit
def _subtract(a: Any, b: Any, n: int, out: Any) -> None:
    for i in range(n):
        out[i] = a[i] - b[i]


@jit
def step_properties(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    errors: Any,
    t: int,
    y0: int,
    n: int,
    context: Any,
    means: Any,
    wanted: Any,
    out: Any,
) -> None:
    """Fill rows of ``out``, (PROPERTIES, rows) int32, for n samples of step ``t``.

    own, errors : (T, Y) int32 sheared, complete up to this step; refs, ref_errors : (2, T, Y).
    context, means : (rows,) int32 of the step's samples. wanted : (PROPERTIES,) bool.
    """
    t0, yp = t + TIME_PAD, y0 + TOP_PAD
    west, two_west = own[t0 - 1, yp : yp + n], own[t0 - 2, yp : yp + n]
    north = own[t0 - SHEAR, yp - 1 : yp - 1 + n]
    north_west = own[t0 - SHEAR - 1, yp - 1 : yp - 1 + n]
    north_east = own[t0 - SHEAR + 1, yp - 1 : yp - 1 + n]
    two_north = own[t0 - 2 * SHEAR, yp - 2 : yp - 2 + n]
    fraction = np.int32(FRACTION_BITS)
    half, one = np.int32(HALF), np.int32(ONE)
    if wanted[0]:
        out[0, :n] = context[:n]
    p = out[2]
    for i in range(n):
        p[i] = (means[i] + half) >> fraction
    if wanted[1]:
        for i in range(n):
            out[1, i] = means[i] - p[i] * one
    if wanted[3]:
        out[3, :n] = west
    if wanted[4]:
        out[4, :n] = north
    if wanted[5]:
        _subtract(west, north_west, n, out[5])
    if wanted[6]:
        _subtract(north, north_west, n, out[6])
    if wanted[7]:
        _subtract(north, north_east, n, out[7])
    if wanted[8]:
        _subtract(west, two_west, n, out[8])
    if wanted[9]:
        _subtract(north, two_north, n, out[9])
    if wanted[10]:
        _subtract(west, north, n, out[10])
    if wanted[11]:
        _subtract(west, p, n, out[11])
    if wanted[12]:
        _subtract(north, p, n, out[12])
    if wanted[13]:
        out[13, :n] = errors[t0 - 1, yp : yp + n]
    if wanted[14]:
        out[14, :n] = errors[t0 - SHEAR, yp - 1 : yp - 1 + n]
    for r in range(n_refs):
        f = OWN_PROPERTIES + 6 * r
        plane = refs[r]
        here = plane[t0, yp : yp + n]
        if wanted[f]:
            out[f, :n] = here
        if wanted[f + 1]:
            _subtract(here, plane[t0 - 1, yp : yp + n], n, out[f + 1])
        if wanted[f + 2]:
            _subtract(here, plane[t0 - SHEAR, yp - 1 : yp - 1 + n], n, out[f + 2])
        if wanted[f + 3]:
            _subtract(here, plane[t0 + 1, yp : yp + n], n, out[f + 3])
        if wanted[f + 4]:
            _subtract(here, plane[t0 + SHEAR, yp + 1 : yp + 1 + n], n, out[f + 4])
        if wanted[f + 5]:
            out[f + 5, :n] = ref_errors[r, t0, yp : yp + n]


@jit
def step_leaves(nodes: Any, properties: Any, n: int, leaves: Any) -> None:
    """Fill the leaf, (rows,) int32, of n samples with ``properties`` (PROPERTIES, rows)."""
    for i in range(n):
        node = 0
        while node >= 0:
            above = properties[nodes[node, 0], i] > nodes[node, 1]
            node = nodes[node, 3] if above else nodes[node, 2]
        leaves[i] = ~node
