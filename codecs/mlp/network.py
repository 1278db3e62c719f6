"""From samples to hidden units and back, exactly the same on every machine.

Everything is of integers that float64 holds: sums of products below 2^53 are exact in whatever
order a library adds them, so a matrix product needs no care.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.mlp.layout import TANH_UNIT
from tilepress.codecs.mlp.model import ANALYSIS_BITS, MlpModel

__all__ = ["analysis", "blocks_of", "padded", "plane_of", "synthesis"]

Doubles = npt.NDArray[np.float64]

_GIVEN_BITS = 20
"""Bits that samples less their middle are rounded to before they are analysed."""


def padded(plane: Doubles, block: int) -> Doubles:
    """Return a plane (y, x) of whole blocks: its last row and column go on."""
    rows, columns = plane.shape
    return np.pad(plane, ((0, -rows % block), (0, -columns % block)), mode="edge")


def blocks_of(plane: Doubles, block: int) -> Doubles:
    """Return the blocks of a plane of whole ones: (b², blocks)."""
    rows, columns = (n // block for n in plane.shape)
    parts = plane.reshape(rows, block, columns, block).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(parts).reshape(block * block, rows * columns)


def plane_of(blocks: Doubles, block: int, columns: int) -> Doubles:
    """Return the plane of blocks (b², blocks), so many to a row."""
    rows = blocks.shape[1] // columns
    parts = blocks.reshape(block, block, rows, columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(parts).reshape(rows * block, columns * block)


def analysis(blocks: Doubles, model: MlpModel, units: int) -> Doubles:
    """Return hidden units (units, blocks), in units of the samples, of blocks (b², blocks)."""
    top = float(np.abs(blocks).max(initial=0.0))
    shift = _GIVEN_BITS - int(np.frexp(top)[1]) if top else 0
    whole = np.rint(np.ldexp(blocks, shift))
    found: Doubles = model.analysis[:units] @ whole
    return np.ldexp(found, -shift - ANALYSIS_BITS)


def synthesis(values: Doubles, model: MlpModel) -> Doubles:
    """Return blocks (b², blocks), in 1/MATRIX_UNIT steps, of quantised units (units, blocks).

    Values are integers of at most 22 bits, results below 2^47.
    """
    units = len(values)
    sums = model.first[:, :units].astype(np.float64) @ values
    hidden = np.clip(sums, -TANH_UNIT, TANH_UNIT)
    blocks: Doubles = model.dense[:, :units].astype(np.float64) @ values
    return blocks + model.second.astype(np.float64) @ hidden
