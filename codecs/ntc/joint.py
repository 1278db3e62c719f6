"""Turn the planes of several bands into planes that vary apart everywhere, not only in the mean.

A Karhunen–Loève transform diagonalises one covariance, that of samples, most of which is what low
frequencies and contrasts between fields say. Coders spend their bits on edges and texture, place by
place. So the covariances of details (of Haar's transform, two levels) in many small blocks are made
as diagonal as one orthogonal matrix can: least is the sum of the logarithms of the components'
energies in blocks, which is about the bits that they take. (Akam Bita, Barret, Pham: On optimal
transforms in lossy compression of multicomponent images with JPEG2000, Signal Processing 90, 2010,
have the same aim, of subbands; Flury and Gautschi's rotations find the matrix.)

As in klt.py no library decides a bit: sums are of integers, or written out in native/joint.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.ntc.klt import eigenvectors, fit, ordered

__all__ = ["fit_joint"]

_SIDE = 4
_LEVELS = (12, 3)
"""Details of a block of so many rows and columns, the finest first."""
_CELLS = 1 << 12
"""Blocks that are looked at, times bands: fewer of more bands, for each pair of these is turned."""
_FEWEST = 1 << 7
_SWEEPS = 12
_NOISE = 1 / 12
"""Energy that a detail of integers has by their rounding alone; …"""
_SHARE = 1 / 1000
"""… and of that of the mean detail what no step of use tells apart."""
_STILL = 1 / 256
"""An angle that is none."""
_turn_jointly = bind("tp_turn_jointly", "ddwnffw", "w")

Doubles = npt.NDArray[np.float64]


def fit_joint(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return the decoder's matrix, (bands, components), of planes (bands, y, x) of mean about 0.

    Components are those of the largest details first, each of length 1 in ``MATRIX_UNIT``. It is
    that of ``fit`` where planes have no details.
    """
    details = _details(planes)
    flat = details.reshape(len(planes), -1)
    gram = flat @ flat.T
    if not gram.any():
        return fit(planes)
    rows = np.ascontiguousarray(eigenvectors(gram)[1].T)
    floor = float(np.trace(gram)) / flat.shape[1] * _SHARE + _NOISE
    blocks = details.shape[2]
    check_memory(_turn_jointly(details, rows, len(rows), blocks, floor, _STILL, _SWEEPS))
    energies = [float(np.cumsum(np.outer(row, row) * gram)[-1]) for row in rows]
    return ordered(rows.T, np.array(energies))


def _details(planes: npt.NDArray[np.float32]) -> Doubles:
    """Return details of blocks, (bands, 12 fine ones and 3 coarse ones, blocks).

    They are those of integers, in halves and quarters: sums of their squares are exact.
    """
    bands, rows, columns = planes.shape
    down, across = rows // _SIDE, columns // _SIDE
    every = -(-down * across // max(_FEWEST, _CELLS // bands))
    at = np.arange(0, down * across, max(1, every | 1))  # odd: not all of them in a few columns
    cut = planes[:, : down * _SIDE, : across * _SIDE].reshape(bands, down, _SIDE, across, _SIDE)
    chosen = cut[:, at // max(1, across), :, at % max(1, across)].transpose(1, 2, 3, 0)
    low = np.rint(chosen.astype(np.float64))
    levels = []
    for cells in _LEVELS:
        a, b, c, d = (low[:, y::2, x::2] for y in range(2) for x in range(2))
        found = np.stack([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2
        levels.append(found.reshape(bands, cells, len(at)))
        low = (a + b + c + d) / 2
    return np.ascontiguousarray(np.concatenate(levels, axis=1))
