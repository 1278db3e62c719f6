"""The structures of kernel.h, and how planes fill them."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import LinearPath, PlaneToDecode, PlaneToEncode
from tilepress.codecs.wave.layout import MAX_SETS

__all__ = [
    "EquationsStructure",
    "ExaminedStructure",
    "FoundStructure",
    "Holder",
    "PlaneStructure",
    "PredictedStructure",
    "Sheared",
    "StreamStructure",
    "described",
    "described_with_model",
    "weights",
]

_int, _long, _at = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class PlaneStructure(ctypes.Structure):
    """``Plane`` of kernel.h."""

    _fields_ = (
        ("height", _long),
        ("width", _long),
        ("top", _int),
        ("references", _int),
        ("reference_stride", _long),
        ("reference", _at),
        ("reference_error", _at),
        ("mask", _at),
        ("sets", _int),
        ("thresholds", _at),
        ("set_of_cell", _at),
        ("weights", _at),
        ("memory", _int),
        ("far", _int),
        ("up", _int),
        ("blended", _int),
        ("least_mode", _int),
        ("hidden", _int),
        ("hidden_weight", _at),
        ("hidden_bias", _at),
        ("hidden_shift", _at),
        ("output_weight", _at),
        ("output_bias", _at),
        ("output_shift", _at),
    )


class StreamStructure(ctypes.Structure):
    """``Stream`` of kernel.h."""

    _fields_ = (
        ("states", _at),
        ("lanes", _long),
        ("words", _at),
        ("word_count", _long),
        ("raw", _at),
        ("raw_bytes", _long),
        ("gain", _int),
        ("flags", _at),
        ("table_map", _at),
        ("table_count", _long),
        ("cumulative", _at),
        ("used", _at),
        ("lookup", _at),
        ("nodes", _at),
        ("node_count", _long),
        ("leaf_tables", _at),
    )


class FoundStructure(ctypes.Structure):
    """``Found`` of kernel.h."""

    _fields_ = (
        ("linears", _at),
        ("corrections", _at),
        ("contexts", _at),
        ("patterns", _at),
        ("sample", _at),
        ("west", _at),
        ("north", _at),
        ("begins", _at),
        ("count", _long),
        ("looked_at", _long),
        ("matching", _long),
    )


class PredictedStructure(ctypes.Structure):
    """``Predicted`` of kernel.h."""

    _fields_ = (("contexts", _at), ("means", _at), ("begins", _at))


class ExaminedStructure(ctypes.Structure):
    """``Examined`` of kernel.h."""

    _fields_ = (
        ("edges", _at),
        ("edge_counts", _at),
        ("tables", _at),
        ("folded", _at),
        ("candidates", _at),
        ("samples", _long),
        ("costs", _at),
    )


class EquationsStructure(ctypes.Structure):
    """``Equations`` of kernel.h."""

    _fields_ = (
        ("stride", _long),
        ("thresholds", _at),
        ("up", _int),
        ("gram", _at),
        ("counts", _at),
        ("masses", _at),
        ("errors", _at),
    )


class Holder:
    """Addresses of arrays, which live as long as it does."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []

    def at(self, array: npt.NDArray[Any], dtype: npt.DTypeLike) -> int:
        """Return where the values of ``array`` lie, as ``dtype``, contiguous."""
        whole = np.ascontiguousarray(array, dtype)
        self._arrays.append(whole)
        return int(whole.ctypes.data)


class Sheared(NamedTuple):
    """A plane whose samples are known, sheared, and what it may be predicted from."""

    own: npt.NDArray[np.int32]
    """(L,)."""
    refs: npt.NDArray[np.int32]
    """(2, L) samples of earlier planes."""
    ref_errors: npt.NDArray[np.int32]
    """(2, L) residuals of their linear paths, in whole steps."""
    n_refs: int
    mask: npt.NDArray[np.uint8]
    """(L,), not 0 where a sample is absent; or (0,)."""
    height: int
    width: int

    @classmethod
    def of(cls, plane: PlaneToEncode) -> Sheared:
        """Return what is known of a plane without a model."""
        where = (plane.own, plane.refs, plane.ref_errors, plane.n_refs, plane.mask)
        return cls(*where, plane.height, plane.width)


def described(
    plane: Sheared | PlaneToDecode | PlaneToEncode, hold: Holder, **more: Any
) -> PlaneStructure:
    """Return a plane and its references; ``more`` are fields of their own."""
    refs = np.ascontiguousarray(plane.refs, np.int32)
    return PlaneStructure(
        height=plane.height,
        width=plane.width,
        references=plane.n_refs,
        reference_stride=refs.shape[1] if plane.n_refs else 0,
        reference=hold.at(refs, np.int32),
        reference_error=hold.at(plane.ref_errors, np.int32),
        mask=hold.at(plane.mask, np.uint8) if len(plane.mask) else None,
        **more,
    )


def described_with_model(
    plane: PlaneToDecode | PlaneToEncode, hold: Holder, least_mode: int = 0
) -> PlaneStructure:
    """Return a plane with its linear weights and network; ``least_mode`` is of kernel.h."""
    hidden, hidden_bias, hidden_shift, output, output_bias, output_shift = plane.net
    return described(
        plane,
        hold,
        top=plane.top,
        **weights(plane.linear, hold),
        least_mode=least_mode,
        hidden=len(hidden_bias),
        hidden_weight=hold.at(hidden[: len(hidden_bias)], np.int8),
        hidden_bias=hold.at(hidden_bias, np.int32),
        hidden_shift=hold.at(hidden_shift, np.int32),
        output_weight=hold.at(output[:3], np.int8),
        output_bias=hold.at(output_bias, np.int32),
        output_shift=hold.at(output_shift, np.int32),
    )


def weights(linear: LinearPath, hold: Holder) -> dict[str, Any]:
    """Return the fields of a plane that are its linear path."""
    sets, regressors = linear.weights.shape
    by_regressor = np.zeros((regressors, MAX_SETS), np.int32)
    by_regressor[:, :sets] = linear.weights.T
    return {
        "sets": sets,
        "thresholds": hold.at(linear.thresholds, np.int32),
        "set_of_cell": hold.at(linear.set_of_cell, np.int32),
        "weights": hold.at(by_regressor, np.int32),
        "memory": linear.memory,
        "far": linear.far,
        "up": linear.up,
        "blended": linear.blended,
    }
