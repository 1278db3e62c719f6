"""How far decoded pictures are from those given: PSNR, MS-SSIM, GMSD, angles, seams, BD-rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["bd_rate", "gmsd", "ms_ssim", "psnr_db", "seam", "spectral_angle_deg"]

Array = npt.NDArray[Any]
Plane = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

_WINDOW = 11
_SIGMA = 1.5
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_GMSD_C = 170.0
"""For a peak of 255."""


def psnr_db(given: Array, decoded: Array, present: Marks, peak: float) -> float:
    """Return the peak signal-to-noise ratio of present samples; inf where none differs."""
    error = decoded[present].astype(np.float64) - given[present].astype(np.float64)
    mean = float(np.square(error).mean()) if error.size else 0.0
    return 10 * math.log10(peak**2 / mean) if mean else math.inf


def ms_ssim(given: Plane, decoded: Plane, peak: float) -> float:
    """Return the multi-scale structural similarity of two planes (y, x): 1 where they are the same.

    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality
    assessment", Asilomar 2003: Gaussian windows of 11, five scales with their weights. Planes too
    small for all have fewer scales, whose weights then add up to 1; one smaller than a window is
    compared as one window.
    """
    weights, found = [], []
    for level, weight in enumerate(_SCALES):
        structure, whole = _ssim(given, decoded, peak)
        weights.append(weight)
        is_last = level == len(_SCALES) - 1 or min(given.shape) < 4 * _WINDOW
        found.append(max(0.0, whole if is_last else structure))
        if is_last:
            break
        given, decoded = _halved(given), _halved(decoded)
    total = sum(weights)
    return float(np.prod([one ** (w / total) for one, w in zip(found, weights, strict=True)]))


def gmsd(given: Plane, decoded: Plane, peak: float) -> float:
    """Return the gradient magnitude similarity deviation of two planes: 0 where they are the same.

    W. Xue, L. Zhang, X. Mou, A. C. Bovik, IEEE Transactions on Image Processing 23(2), 2014:
    Prewitt gradients at half of the resolution; its constant is scaled by the peak.
    """
    one, other = (_gradient(_halved(plane)) for plane in (given, decoded))
    constant = _GMSD_C * (peak / 255.0) ** 2
    similar = (2 * one * other + constant) / (one**2 + other**2 + constant)
    return float(similar.std()) if similar.size else 0.0


def spectral_angle_deg(given: Array, decoded: Array, present: Marks) -> float:
    """Return the mean angle between the spectra of pixels, (bands, y, x), in degrees.

    Pixels count that are present in all bands and not black (F. A. Kruse et al., Remote Sensing of
    Environment 44, 1993). 0 where there are none.
    """
    there = present.all(axis=0)
    one, other = (array[:, there].astype(np.float64) for array in (given, decoded))
    norms = np.sqrt(np.square(one).sum(axis=0) * np.square(other).sum(axis=0))
    lit = norms > 0
    if not lit.any():
        return 0.0
    cosine = (one * other).sum(axis=0)[lit] / norms[lit]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def seam(given: Array, decoded: Array, present: Marks, tile: int, near: int = 8) -> float | None:
    """Return the root of the mean squared error near borders of tiles over that in their interior.

    Arrays are (…, y, x), tiles ``tile`` samples square from the first one on; near is less than
    ``near`` samples from a border between two tiles. None where there are none, or no error.
    """
    rows, columns = given.shape[-2:]
    border = np.zeros((rows, columns), bool)
    for start in range(tile, rows, tile):
        border[max(0, start - near) : start + near] = True
    for start in range(tile, columns, tile):
        border[:, max(0, start - near) : start + near] = True
    squares = np.square(decoded.astype(np.float64) - given.astype(np.float64))
    means = [squares[present & where] for where in (border, ~border)]
    if not means[0].size or not means[1].size or not means[1].mean():
        return None
    return math.sqrt(means[0].mean() / means[1].mean())


def bd_rate(
    anchor_rates: Sequence[float],
    anchor_psnr: Sequence[float],
    tested_rates: Sequence[float],
    psnr: Sequence[float],
    *,
    rates: tuple[float, float] | None = None,
    least_db: float = 0.0,
) -> float | None:
    """Return how many more bits than an anchor a codec takes for the same PSNR, in percent.

    G. Bjøntegaard, VCEG-M33, 2001: the mean distance of two curves of log rate over PSNR where both
    are; curves are monotone cubics through the points (F. N. Fritsch, R. E. Carlson, SIAM Journal
    on Numerical Analysis 17, 1980). None where they have nothing in common, or less than
    ``least_db``.

    rates : only where the anchor's rate is within these, its curve taken as straight in between.
    """
    curves = [_curve(anchor_rates, anchor_psnr), _curve(tested_rates, psnr)]
    if any(len(x) < 2 for x, _ in curves):
        return None
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if rates is not None:
        places, logs = curves[0]
        ends = np.interp(np.log(rates), np.maximum.accumulate(logs), places)
        low, high = max(low, float(ends[0])), min(high, float(ends[1]))
    if not low < high or high - low < least_db:
        return None
    means = [_integral(x, y, low, high) / (high - low) for x, y in curves]
    return 100 * (math.exp(means[1] - means[0]) - 1)


def _curve(rates: Sequence[float], psnr: Sequence[float]) -> tuple[Plane, Plane]:
    """Return points of log rate over PSNR in ascending order, each PSNR once, at its least rate."""
    least: dict[float, float] = {}
    for value, rate in zip(psnr, rates, strict=True):
        if math.isfinite(value) and rate > 0:
            least[value] = min(rate, least.get(value, math.inf))
    points = sorted(least.items())
    return np.array([x for x, _ in points]), np.log(np.array([y for _, y in points]))


def _integral(x: Plane, y: Plane, low: float, high: float) -> float:
    """Return the integral of a monotone cubic through points, exact by three points an interval."""
    step, slope = np.diff(x), np.diff(y) / np.diff(x)
    tangent = _tangents(step, slope)
    total = 0.0
    for at in range(len(step)):
        left, right = max(low, x[at]), min(high, x[at + 1])
        if left >= right:
            continue
        places = np.array([left, (left + right) / 2, right])  # Simpson's rule: exact for cubics
        t = (places - x[at]) / step[at]
        values = (
            y[at] * (1 + 2 * t) * (1 - t) ** 2
            + tangent[at] * step[at] * t * (1 - t) ** 2
            + y[at + 1] * t**2 * (3 - 2 * t)
            + tangent[at + 1] * step[at] * t**2 * (t - 1)
        )
        total += (right - left) / 6 * float(values @ np.array([1.0, 4.0, 1.0]))
    return total


def _tangents(step: Plane, slope: Plane) -> Plane:
    """Return the tangents of Fritsch and Carlson at all points, weighted harmonic means inside."""
    if len(slope) == 1:
        return np.array([slope[0], slope[0]])
    found = np.zeros(len(slope) + 1)
    for at in range(1, len(slope)):
        before, after = slope[at - 1], slope[at]
        if before * after > 0:
            w1, w2 = 2 * step[at] + step[at - 1], step[at] + 2 * step[at - 1]
            found[at] = (w1 + w2) / (w1 / before + w2 / after)
    found[0] = _end(step[0], step[1], slope[0], slope[1])
    found[-1] = _end(step[-1], step[-2], slope[-1], slope[-2])
    return found


def _end(step: float, next_step: float, slope: float, next_slope: float) -> float:
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    if tangent * slope <= 0:
        return 0.0
    if slope * next_slope <= 0 and abs(tangent) > 3 * abs(slope):
        return 3 * slope
    return tangent


def _ssim(given: Plane, decoded: Plane, peak: float) -> tuple[float, float]:
    """Return the mean of contrast and structure, and of the whole index."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    one, other = _blurred(given), _blurred(decoded)
    variance = _blurred(given**2) - one**2, _blurred(decoded**2) - other**2
    both = _blurred(given * decoded) - one * other
    structure = (2 * both + c2) / (variance[0] + variance[1] + c2)
    light = (2 * one * other + c1) / (one**2 + other**2 + c1)
    return float(structure.mean()), float((light * structure).mean())


def _blurred(plane: Plane) -> Plane:
    """Return the Gaussian means of windows that lie within a plane."""
    for axis in (0, 1):
        size = min(_WINDOW, plane.shape[axis])
        weights = np.exp(-np.square(np.arange(size) - (size - 1) / 2) / (2 * _SIGMA**2))
        count = plane.shape[axis] - size + 1
        parts = (
            weight * plane.take(range(at, at + count), axis=axis)
            for at, weight in enumerate(weights / weights.sum())
        )
        plane = sum(parts, np.zeros(()))
    return plane


def _halved(plane: Plane) -> Plane:
    """Return the means of two by two samples."""
    rows, columns = (max(2, n) // 2 * 2 for n in plane.shape)
    padded = np.pad(plane, [(0, max(0, 2 - n)) for n in plane.shape], "edge")
    quads = padded[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2)
    halved: Plane = quads.mean(axis=(1, 3))
    return halved


def _gradient(plane: Plane) -> Plane:
    """Return the magnitude of Prewitt gradients, at samples that have all neighbours."""
    if min(plane.shape) < 3:
        return np.zeros((0, 0))
    rows = plane[:-2] + plane[1:-1] + plane[2:]
    columns = plane[:, :-2] + plane[:, 1:-1] + plane[:, 2:]
    across, down = (rows[:, 2:] - rows[:, :-2]) / 3, (columns[2:] - columns[:-2]) / 3
    magnitude: Plane = np.sqrt(across**2 + down**2)
    return magnitude
