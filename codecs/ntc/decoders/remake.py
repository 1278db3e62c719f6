"""What another decoder than the base does: it makes better or livelier planes of the base's.

It comes between the inverse transform and what turns components into bands. Rounding, the range of
samples, absent ones and everything else that a record holds exactly stay the base's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.model import NtcModel

__all__ = ["BasePlanes", "Remake"]

Floats = npt.NDArray[np.float32]


class BasePlanes(NamedTuple):
    """What the base made of the values of a chunk."""

    kind: int
    """The transform."""
    planes: Floats
    """(planes, padded y, padded x) in steps, bands still turned apart."""
    bands: int
    """How many planes belong together."""
    seeds: Sequence[int]
    """A number of each plane that no other is likely to have: the checksum of its samples."""
    model: NtcModel


class Remake(Protocol):
    """Makes planes anew."""

    def memory(self, cells: int) -> int:
        """Return the bytes that it takes beside planes, of ``cells`` samples each."""
        ...

    def __call__(self, base: BasePlanes) -> Floats:
        """Return planes of the same shape; ``base.planes`` may be overwritten."""
        ...
