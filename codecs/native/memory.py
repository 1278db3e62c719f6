"""What large arrays that come and go with every plane cost."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["keep_large_arrays"]

_LARGEST = (32 << 20) - (1 << 16)
"""Bytes of the largest array of which glibc learns, about."""


@cache
def keep_large_arrays() -> None:
    """Let the C library keep what arrays took when they are gone, for the next ones.

    glibc gives the memory of a large array back to the system at once, and asks for it again page
    by page, which takes a third of the time of a plane that codes fast. What counts as large it
    learns from the arrays that it has seen go, up to 32 MB: here is one, of which nothing is used.
    Elsewhere this does nothing.
    """
    np.empty(_LARGEST, np.uint8)
