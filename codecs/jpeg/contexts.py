"""Where the slots of each context lie, and the classes that numbers fall in (FORMAT.md §12.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import ZIGZAG

__all__ = [
    "COARSE",
    "COUNT",
    "COUNT_AT",
    "COUNT_SET",
    "COUNT_SLOTS",
    "EDGE_AT",
    "EDGE_SET",
    "FINE",
    "INNER",
    "INNER_AT",
    "INNER_SET",
    "MEAN_AT",
    "MEAN_SET",
    "MEAN_SIGN_AT",
    "MEAN_SLOTS",
    "REST",
    "REST_AT",
    "SIDE_AT",
    "SIDE_SET",
    "SIDE_SLOTS",
    "SIGN_AT",
    "SIGN_SET",
    "SLOTS",
    "VALUE_SLOTS",
    "WEIGHT_SETS",
]  # fmt: skip

INNER = np.array([k for k in ZIGZAG if k % 8 and k // 8], np.int64)
"""Places of the 49 coefficients beyond first row and column."""


def _classes(limits: tuple[int, ...], size: int) -> npt.NDArray[np.uint8]:
    return np.searchsorted(np.array(limits), np.arange(size), side="right").astype(np.uint8)


FINE = _classes((1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 32, 48, 72, 112, 192), 256)
"""Sixteen classes of four times a magnitude."""
COARSE = _classes((1, 2, 3, 4, 6, 9, 14), 64)
"""Eight classes of a magnitude."""
COUNT = _classes((1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34), 64)
"""Twelve classes of a number of coefficients."""

COUNT_SLOTS, SIDE_SLOTS, VALUE_SLOTS, MEAN_SLOTS = 40, 8, 8, 16
"""Slots of one context: of a number of coefficients, of one along a side, of a value's length, of
the mean's."""


def _lay(sizes: tuple[int, ...], slots: int, first: int) -> tuple[Any, int]:
    """Return where the contexts of six inputs begin, and where they end."""
    ends = first + slots * np.cumsum([0, *sizes])
    return tuple(int(n) for n in ends[:-1]), int(ends[-1])


COUNT_AT, _n = _lay((50, 144, 50, 50, 144, 144), COUNT_SLOTS, 0)
SIDE_AT, _n = _lay((128, 100, 360, 128, 128, 2), SIDE_SLOTS, _n)
INNER_AT, _n = _lay((2304, 49 * 128, 49 * 64, 49 * 16, 1536, 3072), VALUE_SLOTS, _n)
EDGE_AT, _n = _lay((14 * 256, 14 * 96, 14 * 64, 14 * 72, 16 * 192, 14 * 128), VALUE_SLOTS, _n)
MEAN_AT, _n = _lay((64, 128, 64, 192, 12, 8), MEAN_SLOTS, _n)
SIGN_AT, _n = _lay((1024, 2048, 27, 576, 1024, 576), 1, _n)
MEAN_SIGN_AT, _n = _lay((16, 16, 9, 16, 8, 27), 1, _n)
REST_AT = _n
REST = 17 * 16 * 8
"""Slots of lower bits, of each of three kinds: length × bit × what is expected."""
SLOTS = REST_AT + 3 * REST

COUNT_SET = 0
SIDE_SET = COUNT_SET + COUNT_SLOTS
INNER_SET = SIDE_SET + 2 * SIDE_SLOTS
EDGE_SET = INNER_SET + 49 * VALUE_SLOTS
SIGN_SET = EDGE_SET + 14 * VALUE_SLOTS
MEAN_SET = SIGN_SET + 64
WEIGHT_SETS = MEAN_SET + MEAN_SLOTS + 1
"""Sets of six weights: one for each slot of a kind and place, one for each place's sign."""
