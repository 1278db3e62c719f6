"""What a sample's context is: taps, regressors and features, in the order that weights assume.

Every constant here is part of the format (FORMAT.md §5): weights trained for one layout mean
nothing for another.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "CELLS",
    "FAR_CHOICES",
    "FAR_TAPS",
    "FEATURES",
    "FORM",
    "FRACTION_BITS",
    "GAIN_BITS",
    "HALF",
    "LEFT",
    "LOOK_STRIDE",
    "MATCH_CONTEXTS",
    "MATCH_LEVELS",
    "MAX_FOLLOWED_ROWS",
    "MAX_HIDDEN",
    "MAX_RANGE",
    "MAX_SETS",
    "MAX_UP",
    "ONE",
    "OWN_FEATURES",
    "OWN_TAPS",
    "PROPERTIES",
    "REFERENCE_PROPERTIES",
    "REFERENCE_TAPS",
    "REGRESSORS",
    "RIGHT",
    "SHEAR",
    "TIME_PAD",
    "TOP_PAD",
    "WEIGHT_BITS",
    "regressor_count",
]

FORM = 4
"""The format that the encoder writes, "wave 4"; 2 and 3 are read for ever."""

SHEAR = 2
"""Sample (y, x) is coded at step t = x + SHEAR·y; all samples of one step are independent."""

OWN_TAPS = np.array(
    [
        (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-2, -1),
        (-2, 1), (-2, -2), (-2, 2), (0, -3), (-3, 0), (-2, 3), (-1, -3), (-3, -1),
    ],
    np.int64,
)  # fmt: skip
"""(dy, dx) of the causal neighbours: W, N, NW, NE, WW, NN, …"""

FAR_TAPS = np.array(
    [
        (-3, 1), (-3, -2), (-3, 2), (-2, -3), (-4, 0), (0, -4), (-1, -4), (-4, -1),
        (-4, 1), (-3, -3), (-3, 3), (-4, -2), (-4, 2), (-2, -4), (-5, 0), (-4, -3),
        (-4, 3), (-3, -4), (-3, 4), (0, -5), (-5, -1), (-5, 1), (-1, -5), (-5, -2),
        (-5, 2), (-2, -5), (-4, -4), (-4, 4),
    ],
    np.int64,
)  # fmt: skip
"""(dy, dx) of further neighbours, of which weights that follow a plane may have the first few."""

FAR_CHOICES = (0, 8, 14, 28)
"""How many of FAR_TAPS there may be."""

MAX_FOLLOWED_ROWS = 1 << 13
"""Rows of a plane whose weights follow it, at most: what they take is by rows."""
MAX_UP = 11
"""Weighing of its samples, at most either way."""

REFERENCE_TAPS = np.array(
    [(0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)], np.int64
)
"""(dy, dx) in an earlier plane, which is complete: all around the sample."""

TOP_PAD = 5
TIME_PAD = 12
"""Margins of a sheared plane: rows above, and steps before the first."""
LEFT, RIGHT = 5, 5
"""Columns that are held to either side of it."""

REGRESSORS = len(OWN_TAPS) + 1 + 2 * (len(REFERENCE_TAPS) + 2)
"""Inputs of the linear path: own taps, median edge; per reference 9 taps, its edge, its error."""


def regressor_count(n_refs: int) -> int:
    """Return how many of REGRESSORS a plane with ``n_refs`` references has."""
    return len(OWN_TAPS) + 1 + n_refs * (len(REFERENCE_TAPS) + 2)


CELLS = 64
"""Cells of the class map: four levels of activity times sixteen patterns of equality."""

MAX_SETS = 16
"""Sets of linear weights that a plane may have; the class map gives each cell one of them."""

OWN_FEATURES = 48
FEATURES = 72
"""Inputs of the network: of the plane itself, and with those of its references."""

MAX_HIDDEN = 64
"""Hidden units that a network may have, a multiple of 8; none leaves the linear path alone."""

GAIN_BITS = 3
"""A plane scales the network's correction by a gain of 0 … 15 in units of 2^-GAIN_BITS."""

FRACTION_BITS = 6
"""Predictions are integers in units of 1/64 of a sample step."""
ONE = 1 << FRACTION_BITS
HALF = ONE // 2

LOOK_STRIDE = 4
"""The encoder looks at every such step where some of the samples are enough to choose by."""

WEIGHT_BITS = 14
"""Linear weights are integers in units of 2^-14."""

MAX_RANGE = 2**17
"""Samples of a plane lie in 0 … MAX_RANGE − 1 when they reach the predictor."""

MATCH_CONTEXTS = 1024
"""Patterns of equality around a sample: six among its neighbours, two in each reference."""

MATCH_LEVELS = np.array(
    [
        589, 737, 921, 1150, 1432, 1780, 2206, 2725, 3354, 4107, 5001, 6048,
        7257, 8630, 10159, 11826, 13603, 15449, 17319, 19165, 20942, 22609, 24138, 25511,
        26720, 27767, 28661, 29414, 30043, 30562, 30988, 31336, 31618, 31847, 32031, 32179,
        32297, 32392, 32468, 32529, 32578, 32616, 32647, 32672, 32691, 32707, 32720, 32729,
        32737, 32744, 32749, 32753, 32756, 32758, 32760, 32762, 32763, 32764, 32765, 32766,
        32766, 32766, 32767, 32767,
    ],
    np.int32,
)  # fmt: skip
"""Probabilities (of 2^15) that a match flag may have: 1 / (1 + e^-(14.4 q / 63 - 4))."""

OWN_PROPERTIES, REFERENCE_PROPERTIES = 15, 6
PROPERTIES = OWN_PROPERTIES + 2 * REFERENCE_PROPERTIES
"""What a node of a context tree may ask of a sample: 15 of the plane, 6 of each reference."""
