"""How this package compiles its loops: to machine code, kept on disk, without the GIL."""

from __future__ import annotations

import os
from pathlib import Path

import numba as nb

__all__ = ["is_first_use", "jit", "jit_fma", "jit_inline"]


def _probe() -> None:
    """Stands for any compiled function."""


def _can_cache() -> bool:
    """Whether numba finds a folder for compiled code: beside the package, or the user's.

    Where it finds none (read-only installation, no home), it would refuse to import anything
    marked for caching; then each process compiles anew, which takes half a minute.
    """
    try:
        nb.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


_CACHE = _can_cache()


def is_first_use() -> bool:
    """Whether nothing is compiled yet beside the package, where it can be kept."""
    folder = Path(__file__).parent
    return os.access(folder, os.W_OK) and next(folder.glob("__pycache__/*.nbi"), None) is None


jit = nb.njit(cache=_CACHE, nogil=True)
jit_inline = nb.njit(cache=_CACHE, nogil=True, forceinline=True)
"""For what is called for every bit: a call with many arrays costs as much as its work."""
jit_fma = nb.njit(cache=_CACHE, nogil=True, fastmath={"contract", "reassoc", "nsz"})
"""For sums that are exact in any order only: products of small integers in float32."""
