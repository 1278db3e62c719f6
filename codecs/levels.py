"""How finely a lossy codec codes, as one number, whatever its own parameter is."""

from __future__ import annotations

import math

from tilepress.errors import UnsupportedArray

__all__ = [
    "COARSEST",
    "EXACT",
    "FINEST",
    "LARGEST_PEAK",
    "NOMINAL_DB",
    "nominal_error",
    "nominal_step",
]

COARSEST, FINEST = 1.0, 140.0
"""Levels that are looked at for a target. Users say 1 to 100; beyond lies what only a target of
PSNR asks for."""

NOMINAL_DB = 20.0
"""PSNR of level 0, to a codec without a scale of its own."""

LARGEST_PEAK = 1e150
"""Ranges whose squares, and sums of them, are no numbers of float64 begin here."""

EXACT = math.inf
"""The level at which nothing is lost."""


def nominal_error(level: float, peak: float) -> float:
    """Return the mean squared error that a level means to a codec without a scale of its own.

    It lies 20 + level / 2 dB below ``peak``, in units of the samples: at 50 that is 45 dB.
    """
    if not peak < LARGEST_PEAK:
        raise UnsupportedArray(
            f"coding for a target: values span {peak:g}, of which no square can be told; "
            "code them losslessly, or scale them"
        )
    return peak**2 * math.exp(-(NOMINAL_DB + level / 2.0) / 10.0 * math.log(10.0))


def nominal_step(level: float, peak: float) -> float:
    """Return the step of a uniform quantiser of that error: its square is twelve times it."""
    return math.sqrt(12.0 * nominal_error(level, peak))
