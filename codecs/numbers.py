"""A number as strict JSON and back: NaN and the infinities, which JSON lacks, are texts."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["json_number", "number_of"]

_TEXTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_number(value: float | int | np.generic | None) -> float | int | str | None:
    """Return a number, Python's or NumPy's, as JSON can have it; None stays None."""
    if value is None:
        return None
    number: float | int = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float) and not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return number


def number_of(value: float | int | str) -> float | int:
    """Return the number that ``json_number`` was given; raises ValueError for any other text."""
    if not isinstance(value, str):
        return value
    if value not in _TEXTS:
        raise ValueError(f"reading a number: got {value!r}, want one of {sorted(_TEXTS)}")
    return _TEXTS[value]
