"""The contract of every backend: what it is asked to code, and what it answers.

    encoder ─► PlaneToEncode ─► predict ─► Prediction ─► choose ─► Coding ─► code ─► PlaneStream
    decoder ─► PlaneToDecode ─► decode  ─► samples, errors, fault

A backend does the heavy half of a plane: it predicts, codes and decodes. What to code and how is
the encoder's to choose (``choices.py``). Bytes and samples are the same on every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.rans import LANES
from tilepress.codecs.wave.tree import ContextTree, TreeArrays

__all__ = [
    "Backend",
    "Choices",
    "Choose",
    "Coding",
    "DecodedStream",
    "LinearPath",
    "PlaneStream",
    "PlaneToDecode",
    "PlaneToEncode",
    "Prediction",
    "TreeEffort",
]

Array = npt.NDArray[Any]

DecodedStream = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], int]
"""Samples and errors of the linear path, (L,) sheared, and 0 or a fault of ``decode_plane``."""


class TreeEffort(NamedTuple):
    """How far the encoder goes for a context tree."""

    bits: float
    """A sample: a tree is tried up to that, for with more it saves a fraction of a percent."""
    samples: int
    """That it is grown on, at most."""
    share: float = 0.0
    """Of the plane's bits that it must save, for walking it takes time in decoding."""
    sharing: bool = False
    """Leaves are priced as those that will share tables, so that more of them pay, and choose
    among these anew."""


@dataclass(frozen=True, slots=True)
class LinearPath:
    """The linear path of a plane: which weights a sample takes."""

    thresholds: npt.NDArray[np.int32]
    """(3,) logarithms of activity that part the four levels."""
    set_of_cell: npt.NDArray[np.int32]
    """(CELLS,) the set of each cell."""
    weights: npt.NDArray[np.int64]
    """(sets, REGRESSORS) in units of 2^-WEIGHT_BITS."""
    memory: int = 0
    """Of further weights, which follow the plane (FORMAT.md §5.5), in sixteenths; 0: none do."""
    far: int = 0
    """How many of FAR_TAPS these have beside the regressors."""
    up: int = 0
    """Of these: a sample weighs 4^up / its activity, by powers of four."""
    blended: bool = False
    """Whether these add to the first set, and what that gives is blended with what the sets of
    the class map predict (FORMAT.md §5.6)."""


class PlaneToEncode(NamedTuple):
    """A plane as ``predict_plane`` takes it, and the model's tables."""

    own: Array
    refs: Array
    ref_errors: Array
    n_refs: int
    mask: Array
    height: int
    width: int
    top: int
    linear: LinearPath
    net: tuple[Array, ...]
    cumulative: Array
    used: Array
    lookup: Array
    trees: TreeEffort


class PlaneToDecode(NamedTuple):
    """A plane as ``decode_plane`` takes it."""

    states: Array
    words: Array
    raw: Array
    refs: Array
    ref_errors: Array
    n_refs: int
    mask: Array
    height: int
    width: int
    top: int
    first: int
    linear: LinearPath
    net: tuple[Array, ...]
    gain: int
    flags: Array
    table_map: Array
    cumulative: Array
    used: Array
    lookup: Array
    tree: TreeArrays


@dataclass(frozen=True, slots=True)
class Prediction:
    """What ``predict_plane`` finds of every sample, bit for bit; in coding order."""

    linears: npt.NDArray[np.int32]
    corrections: npt.NDArray[np.int32]
    contexts: npt.NDArray[np.int32]
    patterns: npt.NDArray[np.int32]
    samples: npt.NDArray[np.int32]
    """(3, N): samples, west and north neighbours."""
    begins: npt.NDArray[np.int64]
    """(steps + 1,) where each step begins."""
    errors: npt.NDArray[np.int32]
    """(L,), sheared, of the linear path in 1/64 steps."""
    looked_at: int
    """Samples of every LOOK_STRIDE-th step."""
    matching: int
    """How many of those equal their west or their north neighbour."""


class Choices(NamedTuple):
    """What the encoder decides about a plane once its predictions are known."""

    gain: int
    match_levels: npt.NDArray[np.int32]
    """(2, MATCH_CONTEXTS): 1 + index into MATCH_LEVELS of each match flag, 0 where not coded."""
    table_map: npt.NDArray[np.int32]
    """(TABLES,), the table that stands in for each."""
    tree: ContextTree | None = None
    """Where there is one, ``match_levels`` are by leaf, and no table is exchanged."""


class Coding(NamedTuple):
    """How to code a plane, and what follows for its samples, in coding order."""

    choices: Choices
    tables: npt.NDArray[np.int16]
    """(N,), the plane's own tables after the model's."""
    folded: npt.NDArray[np.int32]
    """(N,)."""
    candidates: npt.NDArray[np.int32]
    """(2, N) folded west and north, or (2, 0)."""
    matches: npt.NDArray[np.int32]
    """(N,) contexts of the match flags: patterns, or leaves of the tree."""
    lanes: int = LANES[-1]
    """Of the stream, at most."""


Choose = Callable[[Prediction], Coding]


class PlaneStream(NamedTuple):
    """A plane as the coder leaves it."""

    choices: Choices
    states: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint16]
    raw: npt.NDArray[np.uint8]
    errors: npt.NDArray[np.int32]
    """(L,), sheared, of the linear path in 1/64 steps."""


class Backend(Protocol):
    """Where the heavy half of a plane runs. Bytes and samples are the same everywhere."""

    def encode_stream(self, plane: PlaneToEncode, choose: Choose) -> PlaneStream:
        """Predict a plane's samples, let ``choose`` say how to code them, and code them."""
        ...

    def decode_stream(self, plane: PlaneToDecode) -> DecodedStream:
        """Return a plane's samples, errors and fault code, as ``decode_plane`` does."""
        ...
