"""Compare two curves of rate and distortion by one number: the Bjøntegaard delta rate.

G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001. Between
points the logarithm of the rate is taken as linear in the PSNR, so that no curve swings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Point", "bd_rate", "rising"]


class Point(NamedTuple):
    """One way to code an image."""

    rate: float
    """Bits per sample."""
    psnr: float
    """dB."""


def rising(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point is better than in both, by ascending rate."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.rate, -p.psnr)):
        if point.rate > 0 and (not kept or point.psnr > kept[-1].psnr):
            kept.append(point)
    return kept


def bd_rate(
    reference: Sequence[Point], tested: Sequence[Point], least: float = 0.08, most: float = 2.6
) -> float | None:
    """Return by how many per cent the tested curve needs more rate at equal PSNR, in the mean.

    Over the PSNR that both have while the reference's rate is from ``least`` to ``most`` bits per
    sample. None where that is less than 1 dB.
    """
    first, second = rising(reference), rising(tested)
    if len(first) < 2 or len(second) < 2:
        return None
    low, high = max(first[0].psnr, second[0].psnr), min(first[-1].psnr, second[-1].psnr)
    at = np.linspace(low, high, 1000)
    rates = [
        np.interp(at, [p.psnr for p in curve], [math.log(p.rate) for p in curve])
        for curve in (first, second)
    ]
    meant = (rates[0] >= math.log(least)) & (rates[0] <= math.log(most))
    if high - low <= 0 or meant.mean() * (high - low) < 1:
        return None
    return 100 * math.expm1(float((rates[1] - rates[0])[meant].mean()))
