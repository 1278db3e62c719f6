"""Planes and streams in, samples and predictions out.

    PlaneToDecode ─► decode_plane ─► samples, errors, fault
    PlaneToEncode ─► predict_plane ─► Prediction

The functions are those of plane.inc.h, compiled once for each instruction set.
"""

from __future__ import annotations

import ctypes

import numpy as np

from tilepress.codecs.native.library import bind, check_memory, instruction_set
from tilepress.codecs.wave.backend import DecodedStream, PlaneToDecode, PlaneToEncode, Prediction
from tilepress.codecs.wave.native.structures import (
    FoundStructure,
    Holder,
    StreamStructure,
    described_with_model,
)
from tilepress.codecs.wave.wavefront import sheared_size, steps

__all__ = ["decode_plane", "predict_plane"]

_decode = bind("tp_decode", "wppii", "w")


def decode_plane(plane: PlaneToDecode, least_mode: int = 0) -> DecodedStream:
    """Decode a plane: samples and errors of the linear path, sheared, and 0 or a fault.

    Faults: 1 words ran out, 2 raw bits ran out, 3 token out of range, 4 sample out of range,
    5 words, bits or states are left over. ``least_mode`` is of kernel.h, for tests.
    """
    hold, tree = Holder(), plane.tree
    cumulative, used, lookup = tree.after(plane.cumulative, plane.used, plane.lookup)
    stream = StreamStructure(
        states=hold.at(plane.states, np.uint32),
        lanes=len(plane.states),
        words=hold.at(plane.words, np.uint16),
        word_count=len(plane.words),
        raw=hold.at(plane.raw, np.uint8),
        raw_bytes=len(plane.raw),
        gain=plane.gain,
        flags=hold.at(plane.flags, np.int32),
        table_map=hold.at(plane.table_map, np.int32),
        table_count=len(plane.table_map),
        cumulative=hold.at(cumulative, np.int32),
        used=hold.at(used, np.int32),
        lookup=hold.at(lookup, np.uint8),
        nodes=hold.at(tree.nodes, np.int32),
        node_count=len(tree.nodes),
        leaf_tables=hold.at(tree.leaf_tables, np.int32),
    )
    size = sheared_size(plane.height, plane.width)
    own, errors = np.full(size, plane.first, np.int32), np.zeros(size, np.int32)
    asked = described_with_model(plane, hold, least_mode)
    fault = _decode(instruction_set(), ctypes.byref(asked), ctypes.byref(stream), own, errors)
    return own, errors, check_memory(fault)


_predict = bind("tp_predict", "wpiip", "w")


def predict_plane(plane: PlaneToEncode, least_mode: int = 0) -> Prediction:
    """Predict a plane whose samples are known."""
    hold = Holder()
    samples = plane.height * plane.width + 1  # one more is written where the last are absent
    four, three = np.empty((4, samples), np.int32), np.empty((3, samples), np.int32)
    begins = np.zeros(steps(plane.height, plane.width) + 1, np.int64)
    errors = np.zeros(sheared_size(plane.height, plane.width), np.int32)
    rows = (hold.at(row, np.int32) for row in (*four, *three))
    out = FoundStructure(*rows, begins=hold.at(begins, np.int64))
    asked = described_with_model(plane, hold, least_mode)
    check_memory(
        _predict(instruction_set(), ctypes.byref(asked), plane.own, errors, ctypes.byref(out))
    )
    count = int(out.count)
    linears, corrections, contexts, patterns = four[:, :count]
    return Prediction(
        linears=linears,
        corrections=corrections,
        contexts=contexts,
        patterns=patterns,
        samples=three[:, :count],
        begins=begins,
        errors=errors,
        looked_at=int(out.looked_at),
        matching=int(out.matching),
    )
