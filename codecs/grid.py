"""How the compressed streams of a record cover its samples."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_STREAMS", "Grid"]

MAX_STREAMS = 2**14
"""Streams of one record at most."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How streams cover a chunk, in the order frames, rows, columns."""

    frames: int
    rows: int
    columns: int
    height: int
    """Samples from one row of tiles to the next."""
    width: int

    @property
    def count(self) -> int:
        return self.frames * self.rows * self.columns
