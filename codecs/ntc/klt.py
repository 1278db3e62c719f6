"""Turn the planes of several bands into planes that vary apart: a Karhunen–Loève transform.

Fitted to the chunk. What the record holds is the decoder's matrix, in 1/2^14; the encoder
multiplies with the inverse of just that one, so that rounding it loses nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MATRIX_UNIT", "analysis_matrix", "fit"]

MATRIX_UNIT = 1 << 14
_LOOKED_AT = 1 << 16
"""Samples of a plane that are enough to tell how planes go together, about."""


def fit(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return the decoder's matrix, (bands, components), of planes (bands, y, x) of mean about 0.

    Components are those of the largest variance first, each of length 1 in MATRIX_UNIT.
    """
    bands = len(planes)
    flat = planes.reshape(bands, -1)
    flat = flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)].astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    vectors = vectors[:, ::-1]
    # one of two signs, the same whatever the library's
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(bands)] < 0, -1, 1)
    matrix: npt.NDArray[np.int16] = np.rint(vectors * (MATRIX_UNIT - 1)).astype(np.int16)
    return matrix


def analysis_matrix(matrix: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Return the encoder's matrix, (components, bands)."""
    return np.asarray(np.linalg.inv(matrix.astype(np.float64) / MATRIX_UNIT), np.float64)
