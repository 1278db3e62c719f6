"""Names of files: what several have in common."""

from __future__ import annotations

__all__ = ["scene_of"]


def scene_of(name: str) -> str:
    """Return what the names of files have in common that belong together: a_B1.tif, a_MTL.txt."""
    stem = name.partition(".")[0]
    return stem.rpartition("_")[0] or stem
