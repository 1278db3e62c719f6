"""How alike two pictures' textures are, whatever the place of each detail.

PSNR punishes texture that is made up and rewards none at all; these figures do the opposite. None
of them needs features that were learned: spectra, gradients, and energies of Haar bands.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["frechet", "gradient_distance", "gradient_ratio", "spectrum_distance_db"]

Planes = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

_PATCH = 64
_RINGS = 8
_SMALL = 32
_LEVELS = 3


def spectrum_distance_db(given: Planes, decoded: Planes) -> float:
    """Return by how many dB power is off in the mean of eight rings of frequencies, 0 if alike.

    given, decoded : (planes, y, x), of 64 × 64 or more. The lowest ring, brightness, is left out.
    """
    off = 10 * np.log10(_rings(decoded) / _rings(given))
    return float(np.abs(off).mean())


def _rings(planes: Planes) -> Doubles:
    window = np.outer(np.hanning(_PATCH), np.hanning(_PATCH))
    patches = _patches(planes, _PATCH)
    patches = patches - patches.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(patches * window)) ** 2).mean(axis=0)
    across = np.abs(np.fft.fftfreq(_PATCH))
    radius = np.hypot(across[:, None], across[None, :])
    edges = np.linspace(0.5 / _RINGS / 2, 0.5, _RINGS + 1)
    rings = itertools.pairwise(edges)
    found = [power[(radius >= low) & (radius < high)].mean() for low, high in rings]
    out: Doubles = np.maximum(np.array(found), 1e-9)
    return out


def gradient_ratio(given: Planes, decoded: Planes) -> float:
    """Return the mean size of decoded gradients over that of given ones: 1 if alike."""
    return float(_gradients(decoded).mean() / max(_gradients(given).mean(), 1e-9))


def gradient_distance(given: Planes, decoded: Planes) -> float:
    """Return how far apart the distributions of gradients' sizes are: Kolmogorov–Smirnov, 0 … 1."""
    a, b = np.sort(_gradients(given).ravel()), np.sort(_gradients(decoded).ravel())
    at = np.concatenate([a, b])
    below = [np.searchsorted(one, at, side="right") / one.size for one in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _gradients(planes: Planes) -> Doubles:
    floats = planes.astype(np.float64)
    down, across = np.diff(floats, axis=1)[:, :, :-1], np.diff(floats, axis=2)[:, :-1]
    return np.hypot(down, across)


def frechet(given: Planes, decoded: Planes, peak: float) -> float:
    """Return the Fréchet distance of Gaussians of the features of patches of 32 × 32.

    Features are binary logarithms of the mean energies of nine Haar bands, three of each of three
    levels, above a thousandth of ``peak``.
    """
    (mean_a, spread_a), (mean_b, spread_b) = (
        (f.mean(axis=0), np.cov(f, rowvar=False))
        for f in (_features(given, peak), _features(decoded, peak))
    )
    root = _root(spread_a)
    both = np.trace(_root(root @ spread_b @ root))
    apart = np.square(mean_a - mean_b).sum() + np.trace(spread_a) + np.trace(spread_b) - 2 * both
    return float(max(apart, 0.0))


def _features(planes: Planes, peak: float) -> Doubles:
    low = _patches(planes, _SMALL)
    least = (peak / 1000) ** 2
    found = []
    for _ in range(_LEVELS):
        a, b, c, d = (low[:, y::2, x::2] for y in (0, 1) for x in (0, 1))
        for band in (a - b + c - d, a + b - c - d, a - b - c + d):
            found.append(np.log2(np.square(band / 2).mean(axis=(1, 2)) + least))
        low = (a + b + c + d) / 2
    return np.stack(found, axis=1)


def _root(symmetric: Doubles) -> Doubles:
    values, vectors = np.linalg.eigh(symmetric)
    out: Doubles = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return out


def _patches(planes: Planes, side: int) -> Doubles:
    count, height, width = planes.shape
    down, across = height // side, width // side
    cut = planes[:, : down * side, : across * side].astype(np.float64)
    blocks = cut.reshape(count, down, side, across, side).swapaxes(2, 3)
    out: Doubles = blocks.reshape(-1, side, side)
    return out
