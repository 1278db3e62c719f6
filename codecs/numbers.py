"""A number as strict JSON and back: NaN and the infinities, which JSON lacks, are texts."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["json_number", "number_of", "shown"]

_SHOWN = 80
"""Characters of a value that a message quotes at most."""

_TEXTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_number(value: float | int | np.generic | None) -> float | int | str | None:
    """Return a number, Python's or NumPy's, as JSON can have it; None stays None."""
    if value is None:
        return None
    number: float | int = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float) and not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return number


def shown(value: object) -> str:
    """Return a value of any kind as a message quotes it: one line, short, whatever it is."""
    if isinstance(value, int) and value.bit_length() > 200:  # Python spells no more than so many
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}… ({len(value)} characters)"
    if isinstance(value, dict | list | tuple) and len(value) > 12:
        return f"a {type(value).__name__} of {len(value)} items"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a long integer, or too much nested, somewhere within
        return f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def number_of(value: float | int | str) -> float | int:
    """Return the number that ``json_number`` was given; raises ValueError for any other text."""
    if not isinstance(value, str):
        return value
    if value not in _TEXTS:
        raise ValueError(f"reading a number: got {value!r}, want one of {sorted(_TEXTS)}")
    return _TEXTS[value]
