"""What a context tree may ask of a sample: properties known before it (FORMAT.md §6.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import FRACTION_BITS, OWN_PROPERTIES
from tilepress.codecs.wave.predictor import HALF, ONE
from tilepress.codecs.wave.wavefront import tap

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
    at: int,
    pitch: int,
    n: int,
    context: Any,
    means: Any,
    wanted: Any,
    out: Any,
) -> None:
    """Fill rows of ``out``, (PROPERTIES, rows) int32, for n samples of a step from cell ``at`` on.

    own, errors : (L,) int32 sheared, complete up to this step; refs, ref_errors : (n_refs, L).
    context, means : (rows,) int32 of the step's samples. wanted : (PROPERTIES,) bool.
    """
    west, two_west = tap(own, at, pitch, 0, -1, n), tap(own, at, pitch, 0, -2, n)
    north = tap(own, at, pitch, -1, 0, n)
    north_west = tap(own, at, pitch, -1, -1, n)
    north_east = tap(own, at, pitch, -1, 1, n)
    two_north = tap(own, at, pitch, -2, 0, n)
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
        out[13, :n] = tap(errors, at, pitch, 0, -1, n)
    if wanted[14]:
        out[14, :n] = tap(errors, at, pitch, -1, 0, n)
    for r in range(n_refs):
        f = OWN_PROPERTIES + 6 * r
        plane = refs[r]
        here = tap(plane, at, pitch, 0, 0, n)
        if wanted[f]:
            out[f, :n] = here
        if wanted[f + 1]:
            _subtract(here, tap(plane, at, pitch, 0, -1, n), n, out[f + 1])
        if wanted[f + 2]:
            _subtract(here, tap(plane, at, pitch, -1, 0, n), n, out[f + 2])
        if wanted[f + 3]:
            _subtract(here, tap(plane, at, pitch, 0, 1, n), n, out[f + 3])
        if wanted[f + 4]:
            _subtract(here, tap(plane, at, pitch, 1, 0, n), n, out[f + 4])
        if wanted[f + 5]:
            out[f + 5, :n] = tap(ref_errors[r], at, pitch, 0, 0, n)


@jit
def step_leaves(nodes: Any, properties: Any, n: int, leaves: Any) -> None:
    """Fill the leaf, (rows,) int32, of n samples with ``properties`` (PROPERTIES, rows)."""
    for i in range(n):
        node = 0
        while node >= 0:
            above = properties[nodes[node, 0], i] > nodes[node, 1]
            node = nodes[node, 3] if above else nodes[node, 2]
        leaves[i] = ~node
