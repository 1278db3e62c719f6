"""How much memory decoding one record may take, and how one that wants more is refused."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from tilepress.codecs.numbers import shown
from tilepress.errors import TooMuchMemory, UsageError

__all__ = [
    "DEFAULT_MAX_MEMORY",
    "VARIABLE",
    "Budget",
    "allowed_memory",
    "parse_bytes",
    "spelt_bytes",
]

DEFAULT_MAX_MEMORY = 4 * 2**30
"""Bytes. Of whatever dtype the 2^26 samples of a record are, what our encoder made takes less."""

VARIABLE = "TILEPRESS_MAX_MEMORY"
"""Says it for codecs that a store's metadata make, which have no argument: those of Zarr."""

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
          "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip
_SIZE = re.compile(
    r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kmgt]?i?b)?\s*", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be taken for a record."""

    doing: str
    """What is being done with which record: the beginning of a message."""
    allowed: int
    """Bytes."""
    taken: int = 0
    """Bytes of those that are spoken for."""

    def less(self, size: int) -> Budget:
        """Return the budget once ``size`` bytes are spoken for; ``check`` says if they may be."""
        return Budget(self.doing, self.allowed, self.taken + size)

    def check(self, size: int = 0) -> None:
        """Raise TooMuchMemory unless what is spoken for and ``size`` bytes more may be taken."""
        wanted = self.taken + size
        if wanted > self.allowed:
            raise TooMuchMemory(
                f"{self.doing}: it wants {spelt_bytes(wanted)} of memory, "
                f"{spelt_bytes(self.allowed)} are allowed; allow more with "
                f"max_memory={wanted} or {VARIABLE}={-(-wanted // 2**20)}MiB"
            )

    def exhausted(self) -> TooMuchMemory:
        """Return the error of a machine that has less memory than is allowed."""
        return TooMuchMemory(
            f"{self.doing}: the machine has no memory left for it, of which "
            f"{spelt_bytes(self.allowed)} were allowed; use fewer threads or smaller chunks, or "
            f"allow less with max_memory= or {VARIABLE}="
        )


def allowed_memory(max_memory: int | str | None) -> int:
    """Return the bytes that a caller, or else the environment, allows; raises UsageError."""
    if max_memory is not None:
        return parse_bytes(max_memory, "max_memory")
    said = os.environ.get(VARIABLE)
    return parse_bytes(said, VARIABLE) if said else DEFAULT_MAX_MEMORY


def parse_bytes(size: object, name: str) -> int:
    """Return the bytes of 1000, "1000", "512MiB" or "1.5 GB"; raises UsageError."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is not None:
        unit = _UNITS.get((found[2] or "").lower(), 0)
        whole = math.floor(float(found[1]) * unit)
        if whole > 0:
            return whole
    raise UsageError(
        f"reading {name}: got {shown(size)}, want bytes above 0, as 1000000 or '512MiB'"
    )


def spelt_bytes(size: int) -> str:
    """Return a number of bytes for people, as 1.5 GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
