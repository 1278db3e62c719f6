"""Turn the planes of several bands into planes that vary apart: a Karhunen–Loève transform.

Fitted to the chunk. What the record holds is the decoder's matrix, in 1/2^14; the encoder
multiplies with the inverse of just that one, so that rounding it loses nothing. Sums are of
integers, and the solves are written out, number by number: no library decides a bit, so that a
chunk coded again, elsewhere, has the same bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MATRIX_UNIT", "analysis_matrix", "eigenvectors", "fit", "ordered"]

MATRIX_UNIT = 1 << 14
_LOOKED_AT = 1 << 14
"""Samples of a plane that are enough to tell how planes go together, about."""
_SWEEPS = 12
"""Rounds of rotations at most: they converge quadratically, 6 or 7 do."""

Doubles = npt.NDArray[np.float64]


def fit(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return the decoder's matrix, (bands, components), of planes (bands, y, x) of mean about 0.

    Components are those of the largest variance first, each of length 1 in MATRIX_UNIT.
    """
    bands = len(planes)
    flat = planes.reshape(bands, -1)
    flat = np.rint(flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)]).astype(np.int64)
    count, totals = flat.shape[1], flat.sum(axis=1)
    gram = count * (flat @ flat.T) - np.outer(totals, totals)
    values, vectors = eigenvectors(gram.astype(np.float64))
    return ordered(vectors, values)


def ordered(vectors: Doubles, values: Doubles) -> npt.NDArray[np.int16]:
    """Return unit vectors, in columns, as a decoder's matrix: those of the largest values first."""
    vectors = vectors[:, np.argsort(-values, kind="stable")]
    # one of two signs, the same each time
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(len(vectors))] < 0, -1, 1)
    return np.ascontiguousarray(np.rint(vectors * (MATRIX_UNIT - 1)).astype(np.int16))


def eigenvectors(gram: Doubles) -> tuple[Doubles, Doubles]:
    """Return eigenvalues and eigenvectors (in columns) of a symmetric matrix: Jacobi's method."""
    a, vectors = gram.copy(), np.eye(len(gram))
    limit = 1e-12 * float(np.abs(np.diag(a)).max(initial=0.0))
    for _ in range(_SWEEPS):
        if np.abs(a - np.diag(np.diag(a))).max(initial=0.0) <= limit:
            break
        for p in range(len(a)):
            for q in range(p + 1, len(a)):
                if abs(a[p, q]) > limit * 1e-3:
                    cosine, sine = _rotation(float(a[p, p]), float(a[q, q]), float(a[p, q]))
                    for matrix in (a, vectors):
                        first, second = matrix[:, p].copy(), matrix[:, q].copy()
                        matrix[:, p] = first * cosine - second * sine
                        matrix[:, q] = first * sine + second * cosine
                    first, second = a[p].copy(), a[q].copy()
                    a[p] = first * cosine - second * sine
                    a[q] = first * sine + second * cosine
    return np.diag(a).copy(), vectors


def _rotation(first: float, second: float, between: float) -> tuple[float, float]:
    """Return cosine and sine of the rotation that makes what is between two components zero."""
    half = (second - first) / (2.0 * between)
    root = float(np.sqrt(half * half + 1.0))
    tangent = 1.0 / (half + root) if half >= 0 else 1.0 / (half - root)
    cosine = 1.0 / float(np.sqrt(tangent * tangent + 1.0))
    return cosine, tangent * cosine


def analysis_matrix(matrix: npt.NDArray[np.int16]) -> Doubles:
    """Return the encoder's matrix, (components, bands): the inverse, by Gauss and Jordan."""
    size = len(matrix)
    rows = np.hstack([matrix.astype(np.float64) / MATRIX_UNIT, np.eye(size)])
    for column in range(size):
        pivot = column + int(np.abs(rows[column:, column]).argmax())
        rows[[column, pivot]] = rows[[pivot, column]]
        rows[column] = rows[column] / rows[column, column]
        for other in range(size):
            if other != column:
                rows[other] = rows[other] - rows[column] * rows[other, column]
    return rows[:, size:].copy()
