"""What an encoder and training ask of a plane whose samples are known.

The functions are those of plane.inc.h, compiled once for each instruction set.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory, instruction_set
from tilepress.codecs.wave.backend import LinearPath
from tilepress.codecs.wave.layout import (
    CELLS,
    FEATURES,
    OWN_PROPERTIES,
    REFERENCE_PROPERTIES,
    regressor_count,
)
from tilepress.codecs.wave.native.structures import (
    EquationsStructure,
    ExaminedStructure,
    Holder,
    PredictedStructure,
    Sheared,
    described,
    weights,
)
from tilepress.codecs.wave.wavefront import sheared_size

__all__ = [
    "BINS",
    "plane_activities",
    "plane_equations",
    "plane_examples",
    "plane_features",
    "plane_leaves",
    "plane_properties",
]

BINS = 32
"""Values of a property that splits are tried between, at most."""
EXAMPLE = 32
"""Bytes of a sample as a tree that grows sees it."""


def _predicted(
    contexts: npt.NDArray[np.int32],
    means: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    hold: Holder,
) -> PredictedStructure:
    return PredictedStructure(
        hold.at(contexts, np.int32), hold.at(means, np.int32), hold.at(begins, np.int64)
    )


_properties = bind("tp_properties", "wpiipnnnil", "w")


def plane_properties(
    plane: Sheared,
    errors: npt.NDArray[np.int32],
    contexts: npt.NDArray[np.int32],
    means: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    stride: int,
    every: int = 1,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return properties, (P, M), of every ``every``-th sample of every ``stride``-th step.

    And which samples those are, (M,).
    errors : (L,) of the linear path; contexts, means : (N,) in coding order, the latter in 1/64
    steps; begins : (steps + 1,) where each step begins.
    """
    hold = Holder()
    count = -(-int(_step_sizes(begins, stride).sum()) // every)
    known = OWN_PROPERTIES + REFERENCE_PROPERTIES * plane.n_refs
    out, picked = np.empty((known, count), np.int32), np.empty(count, np.int64)
    asked = described(plane, hold)
    predicted = _predicted(contexts, means, begins, hold)
    check_memory(
        _properties(
            instruction_set(),
            ctypes.byref(asked),
            plane.own,
            errors,
            ctypes.byref(predicted),
            stride,
            every,
            count,
            out,
            picked,
        )
    )
    return out, picked


def _step_sizes(begins: npt.NDArray[np.int64], stride: int) -> npt.NDArray[np.int64]:
    return np.diff(begins)[::stride]


_examples = bind("tp_examples", "wpiipnpB", "w")


def plane_examples(
    plane: Sheared,
    errors: npt.NDArray[np.int32],
    contexts: npt.NDArray[np.int32],
    means: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    stride: int,
    edges: Sequence[npt.NDArray[np.int32]],
    coded: tuple[npt.NDArray[np.int16], npt.NDArray[np.int32], npt.NDArray[np.int32]],
    costs: npt.NDArray[np.int32],
) -> npt.NDArray[np.uint8]:
    """Return the samples of every ``stride``-th step as trees grow on them, (2, M, EXAMPLE).

    The second half is room to work in. An example is ``Example`` of kernel.h: bins, how many of
    each property's ``edges`` lie below it, and symbol and costs of a sample that is ``coded``:
    tables, folded, candidates as ``fold_plane`` gives them. costs : (tables, TOKENS), of WaveModel.
    """
    hold = Holder()
    tables, folded, candidates = coded
    padded = np.zeros((len(edges), BINS), np.int32)
    for row, own in zip(padded, edges, strict=True):
        row[: len(own)] = own
    examined = ExaminedStructure(
        hold.at(padded, np.int32),
        hold.at(np.array([len(own) for own in edges]), np.int32),
        hold.at(tables, np.int16),
        hold.at(folded, np.int32),
        hold.at(candidates, np.int32) if candidates.size else None,
        len(folded),
        hold.at(costs, np.int32),
    )
    out = np.empty((2, int(_step_sizes(begins, stride).sum()), EXAMPLE), np.uint8)
    asked = described(plane, hold)
    predicted = _predicted(contexts, means, begins, hold)
    check_memory(
        _examples(
            instruction_set(),
            ctypes.byref(asked),
            plane.own,
            errors,
            ctypes.byref(predicted),
            stride,
            ctypes.byref(examined),
            out,
        )
    )
    return out


_leaves = bind("tp_leaves", "wpiipini", "w")


def plane_leaves(
    plane: Sheared,
    errors: npt.NDArray[np.int32],
    contexts: npt.NDArray[np.int32],
    means: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Return the leaf of every sample, (N,) in coding order; ``nodes`` are of ``TreeArrays``."""
    hold = Holder()
    out = np.empty(len(contexts), np.int32)
    asked = described(plane, hold)
    predicted = _predicted(contexts, means, begins, hold)
    check_memory(
        _leaves(
            instruction_set(),
            ctypes.byref(asked),
            plane.own,
            errors,
            ctypes.byref(predicted),
            nodes,
            len(nodes),
            out,
        )
    )
    return out


# What weights are fitted to ----------------------------------------------------------------------


_activities = bind("tp_activities", "wpinl", "w")


def plane_activities(plane: Sheared, stride: int) -> npt.NDArray[np.int64]:
    """Return (256,) how often each logarithm of activity comes in every ``stride``-th step."""
    hold, counts = Holder(), np.zeros(256, np.int64)
    asked = described(plane, hold)
    _activities(instruction_set(), ctypes.byref(asked), plane.own, stride, counts)
    return counts


_equations = bind("tp_equations", "wpip", "w")


def plane_equations(
    plane: Sheared,
    stride: int,
    thresholds: npt.NDArray[np.int32],
    up: int,
    errors: npt.NDArray[np.int32] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the weighted normal equations of each cell over every ``stride``-th step.

    (CELLS, n + 1, n + 1), of which the upper triangle is filled and row and column n are the
    target's; how many samples a cell has, and what they weigh, (CELLS,) each. All sums are of
    integers, so that every machine finds the same. A sample weighs 4^up / its activity, by powers
    of four: a compromise between least squares, which serves only the edges, and least absolute
    deviations, which costs iterations. With the errors of an earlier fit, (L,) sheared, it weighs
    4^up / (s · (s + its error)), s the size of the errors around: one step of such an iteration.
    """
    hold = Holder()
    rows = regressor_count(plane.n_refs) + 1
    gram = np.zeros((CELLS, rows, rows), np.int64)
    counts, masses = np.zeros(CELLS, np.int64), np.zeros(CELLS)
    asked = described(plane, hold)
    equations = EquationsStructure(
        stride,
        hold.at(thresholds, np.int32),
        up,
        hold.at(gram, np.int64),
        hold.at(counts, np.int64),
        hold.at(masses, np.float64),
        None if errors is None else hold.at(errors, np.int32),
    )
    check_memory(
        _equations(instruction_set(), ctypes.byref(asked), plane.own, ctypes.byref(equations))
    )
    return gram.astype(np.float64), counts, masses


_features = bind("tp_features", "wpiibi", "w")


def plane_features(
    plane: Sheared, top: int, linear: LinearPath
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return the network's inputs, (N, FEATURES), and facts, (N, 3), of every sample; for training.

    Facts: the error of the linear path in 1/64 steps, exponent and logarithm of the errors around.
    No sample may be absent.
    """
    hold = Holder()
    samples = plane.height * plane.width
    out, facts = np.empty((samples, FEATURES), np.int8), np.empty((samples, 3), np.int32)
    errors = np.zeros(sheared_size(plane.height, plane.width), np.int32)
    asked = described(plane, hold, top=top, **weights(linear, hold))
    _features(instruction_set(), ctypes.byref(asked), plane.own, errors, out, facts)
    return out, facts
