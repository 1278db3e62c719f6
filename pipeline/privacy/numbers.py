"""Tell numbers from a text that somebody has written in their place."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["seems_text"]

_RUN = re.compile(rb"[\x20-\x7e]{8}")
_PLAIN = (2.0**-15, 2.0**17)


def seems_text(data: bytes, *, floats: int = 0, order: str = "<") -> bool:
    """Whether the bytes of numbers hold a run of 8 printable ones.

    ``floats``: 4 or 8 where they are IEEE numbers of so many bytes. Those between 2^-15 and 2^17
    are numbers, whatever they look like: 9.6 is "333333#@", and such a text is nobody's.
    """
    if floats and len(data) % floats == 0:
        values = np.frombuffer(data, f"{order}f{floats}").copy()
        with np.errstate(invalid="ignore"):
            size = np.abs(values)
            values[(size >= _PLAIN[0]) & (size < _PLAIN[1])] = 0
        data = values.tobytes()
    return _RUN.search(data) is not None
