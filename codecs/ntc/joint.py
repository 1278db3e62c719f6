"""Turn the planes of several bands into planes that vary apart everywhere, not only in the mean.

A Karhunen–Loève transform diagonalises one covariance, that of samples, most of which is what low
frequencies and contrasts between fields say. Coders spend their bits on edges and texture, place by
place. So the covariances of details (of Haar's transform, two levels) in many small blocks are made
as diagonal as one orthogonal matrix can: least is the sum of the logarithms of the components'
energies in blocks, which is about the bits that they take. (Akam Bita, Barret, Pham: On optimal
transforms in lossy compression of multicomponent images with JPEG2000, Signal Processing 90, 2010,
have the same aim, of subbands; Flury and Gautschi's rotations find the matrix.)

As in klt.py no library decides a bit: sums are of integers, or of floats in an order that is told.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.klt import eigenvectors, fit, ordered

__all__ = ["fit_joint"]

_SIDE = 4
_CELLS = 1 << 12
"""Blocks that are looked at, times bands: fewer of more bands, for each pair of these is turned."""
_FEWEST = 1 << 7
_SWEEPS = 6
_NOISE = 1 / 12
"""Energy that a detail of integers has by their rounding alone; …"""
_SHARE = 1 / 1000
"""… and of that of the mean detail what no step of use tells apart."""
_STILL = 1 / 128
"""An angle that is none."""
_UNIT = float(1 << 16)

Doubles = npt.NDArray[np.float64]


def fit_joint(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return the decoder's matrix, (bands, components), of planes (bands, y, x) of mean about 0.

    Components are those of the largest details first, each of length 1 in ``MATRIX_UNIT``. It is
    that of ``fit`` where planes have no details.
    """
    levels = _details(planes)
    gram = np.zeros((len(planes), len(planes)))
    for level in levels:
        flat = level.reshape(len(planes), -1)
        gram += flat @ flat.T
    if not gram.any():
        return fit(planes)
    _, vectors = eigenvectors(gram)
    mean = float(np.trace(gram)) / sum(level[0].size for level in levels)
    turned = _Turned(levels, vectors, mean * _SHARE + _NOISE)
    for _ in range(_SWEEPS):
        angles = [turned.turn(p, q) for p in range(len(planes)) for q in range(p + 1, len(planes))]
        if max(angles) < _STILL:
            break
    apart = _product(turned.vectors, gram) * turned.vectors.T
    return ordered(turned.vectors, np.cumsum(apart, axis=1)[:, -1])


def _details(planes: npt.NDArray[np.float32]) -> list[Doubles]:
    """Return details of blocks, (bands, details, blocks), by levels, the finest first.

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
    while low.shape[1] > 1:
        a, b, c, d = (low[:, y::2, x::2] for y in range(2) for x in range(2))
        found = np.stack([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2
        levels.append(found.reshape(bands, 3 * found.shape[2] * found.shape[3], len(at)))
        low = (a + b + c + d) / 2
    return levels


class _Turned:
    """Details under a matrix that is turned, two components at a time."""

    def __init__(self, levels: list[Doubles], vectors: Doubles, floor: float) -> None:
        """floor : energy of a detail that costs nothing."""
        self.vectors = vectors.copy()
        self._levels = [_product(vectors, level) for level in levels]
        self._floor = floor
        self._sums = [[np.square(one).sum(axis=0) for one in level] for level in self._levels]

    def turn(self, p: int, q: int) -> float:
        """Turn two components to where the tangents of the logarithms are least; returns by what
        angle, about."""
        along = across = 0.0
        between = []
        for level, sums in zip(self._levels, self._sums, strict=True):
            cells = level.shape[1]
            floor = cells * self._floor
            both = (level[p] * level[q]).sum(axis=0)
            weights = cells / (sums[p] + floor) - cells / (sums[q] + floor)
            along += _exact(weights * (sums[q] - sums[p])) / 2
            across -= _exact(weights * both)
            between.append(both)
        length = math.sqrt(along * along + across * across)
        if length == 0:
            return 0.0
        cosine = math.sqrt(max(0.0, (1 + along / length) / 2))
        sine = math.sqrt(max(0.0, (1 - along / length) / 2))
        sine = -sine if across < 0 else sine
        angle = min(abs(sine), cosine)
        if angle < _STILL / 4:
            return angle
        for level, sums, both in zip(self._levels, self._sums, between, strict=True):
            _rotate(level, p, q, cosine, sine)
            more = 2 * cosine * sine * both
            first = cosine * cosine * sums[p] + sine * sine * sums[q] + more
            second = cosine * cosine * sums[q] + sine * sine * sums[p] - more
            sums[p], sums[q] = np.maximum(first, 0), np.maximum(second, 0)
        _rotate(self.vectors.T, p, q, cosine, sine)
        return angle


def _exact(terms: Doubles) -> float:
    """Return the sum of terms, as integers: in any order the same."""
    return float(np.rint(terms * _UNIT).astype(np.int64).sum())


def _rotate(rows: Doubles, p: int, q: int, cosine: float, sine: float) -> None:
    first, second = rows[p].copy(), rows[q].copy()
    rows[p] = first * cosine + second * sine
    rows[q] = second * cosine - first * sine


def _product(vectors: Doubles, level: Doubles) -> Doubles:
    """Return the transpose of ``vectors`` times details, each sum in one order."""
    out = np.zeros_like(level)
    for component, column in zip(out, vectors.T, strict=True):
        for factor, one in zip(column, level, strict=True):
            component += factor * one
    return out
