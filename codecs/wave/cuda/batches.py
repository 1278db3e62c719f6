"""Which planes run in one launch: of one size and model, as many as the device's memory takes.

    planes ─► grouped by size, references and model ─► one launch a group, a block a plane ─► planes

Nothing of CUDA is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.owner import DEVICE_BYTES, batches
from tilepress.codecs.wave.backend import PlaneToDecode, PlaneToEncode
from tilepress.codecs.wave.tree import NO_TREE, TreeArrays
from tilepress.codecs.wave.wavefront import sheared_size

__all__ = [
    "DEVICE_BYTES",
    "MAX_ROWS",
    "Decisions",
    "EncodedPlane",
    "batches_of",
    "decoding_bytes",
    "encoding_bytes",
    "fits",
    "rows_of_step",
]

MAX_ROWS = 6112
"""Rows that a step may have: records (2^26 samples at most) have 5793 at most."""

Array = npt.NDArray[Any]
Plane = TypeVar("Plane", PlaneToDecode, PlaneToEncode)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the encoder chooses once it knows a plane's predictions."""

    gain: int
    flags: Array
    """(2, MATCH_CONTEXTS) int32, probability of 2^15 of each match flag, 0 where not coded."""
    table_map: Array
    """(tables,) int32, the table that stands in for each."""
    lanes: int | None = None
    """Lanes of the coder; None: ``lanes_for`` samples and the words that the most lanes give."""
    tree: TreeArrays = NO_TREE
    """Of a context tree; then flags are by leaf."""
    leaves: Array | None = None
    """(N,) int32, the leaf of every sample in coding order; None without a tree."""


@dataclass(frozen=True, slots=True)
class EncodedPlane:
    """A plane's stream and the errors that later planes refer to, as the CPU gives them."""

    decisions: Decisions
    states: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint16]
    raw: npt.NDArray[np.uint8]
    errors: npt.NDArray[np.int32]


def fits(height: int, width: int) -> bool:
    """Whether a plane of this size can run on the device: every plane of a record can."""
    return rows_of_step(height, width) <= MAX_ROWS


def rows_of_step(height: int, width: int) -> int:
    """Rows that a step has at most."""
    return max(1, min(height, (width + 1) // 2 + 1))


def decoding_bytes(plane: PlaneToDecode) -> int:
    """Device memory of one plane: four bytes of every sheared sample, error and reference.

    512 × 512 samples with two references take 10 MB, so that DEVICE_BYTES hold some 850 planes.
    """
    cells = int(sheared_size(plane.height, plane.width))
    arrays = 2 + 2 * plane.n_refs + (len(plane.mask) > 0)
    stream = plane.words.nbytes + plane.raw.nbytes
    return 4 * arrays * cells + stream + 64 * rows_of_step(plane.height, plane.width) + 2**15


def encoding_bytes(plane: PlaneToEncode) -> int:
    """Device memory of one plane: as for decoding, and 70 bytes a sample for what lies between."""
    cells = int(sheared_size(plane.height, plane.width))
    arrays = 2 + 2 * plane.n_refs + (len(plane.mask) > 0)
    return 4 * arrays * cells + 70 * plane.height * plane.width + 2**15


def batches_of(
    planes: Sequence[Plane], device_bytes: int, need: Callable[[Plane], int]
) -> Iterator[list[int]]:
    """Yield numbers of planes that run in one launch: same size, references, mask and model."""

    def alike(plane: Plane) -> Hashable:
        if not fits(plane.height, plane.width):
            size = f"{plane.height} × {plane.width}"
            raise ValueError(f"coding planes on the device: {size} has too many rows a step")
        model = (id(plane.net), id(plane.cumulative), id(plane.used))
        return plane.height, plane.width, plane.n_refs, len(plane.mask) > 0, model

    return batches(planes, alike, need, device_bytes)
