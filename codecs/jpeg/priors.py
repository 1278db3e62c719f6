"""What the coefficient coder knows before it has seen anything: slots and weights, learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.coefficients import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.mixing import FRESH_SLOT, INPUTS

__all__ = ["KINDS", "Priors", "default_priors", "fresh", "priors_of"]

KINDS = 4
"""Kinds of components: the first, two of colour, others that are alike the one before."""


@dataclass(frozen=True, slots=True)
class Priors:
    """Where the coder begins."""

    slots: npt.NDArray[np.uint32]
    """(KINDS, SLOTS)."""
    weights: npt.NDArray[np.int32]
    """(KINDS, WEIGHT_SETS, INPUTS), in units of 2^−16."""
    model_id: bytes = bytes(8)
    """First bytes of the SHA-256 of the file that they are from."""


def fresh() -> Priors:
    """Return the priors of who knows nothing."""
    return Priors(
        np.full((KINDS, SLOTS), FRESH_SLOT, np.uint32),
        np.full((KINDS, WEIGHT_SETS, INPUTS), 65536 * 3 // 10, np.int32),
    )


def default_priors() -> Priors:
    """Return the priors that records are coded with now."""
    return fresh()


def priors_of(model_id: bytes) -> Priors:
    """Return the priors that a record names; raises UnsupportedFormat where they are nowhere."""
    return fresh()
