"""Curves of rate and distortion as lists of points, compared by the Bjøntegaard delta rate.

The number itself is that of ``codecs/metrics.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilepress.codecs import metrics

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
    curves = []
    for points in (reference, tested):
        kept = rising(points)
        curves += [[p.rate for p in kept], [p.psnr for p in kept]]
    return metrics.bd_rate(*curves, rates=(least, most), least_db=1.0)
