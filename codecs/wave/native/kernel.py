"""The compiled kernel, opened by ctypes: planes and streams in, samples and predictions out.

    PlaneToDecode ─► decode_plane ─► samples, errors, fault      plane.inc.h, once for each
    PlaneToEncode ─► predict_plane ─► Prediction                 instruction set
    symbols ─► rans_encode ─► states, words                      library.c

The library chooses the best instruction set that the machine has; every one gives the same bits.
No call holds the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import DecodedStream, PlaneToDecode, PlaneToEncode, Prediction
from tilepress.codecs.wave.layout import MAX_SETS, REGRESSORS
from tilepress.errors import CodecError

__all__ = [
    "VARIABLE",
    "cells",
    "decode_plane",
    "fill_reference",
    "instruction_sets",
    "predict_plane",
    "rans_encode",
    "shear",
    "unshear",
]

VARIABLE = "TILEPRESS_INSTRUCTIONS"
"""Names the instruction set to use, of ``instruction_sets``; for tests and comparisons."""

_FILE = Path(__file__).with_name("_kernel.so")
_X86 = ("sse2", "avx2", "avx512")
_NO_MEMORY = 100

_int, _long, _at = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class _Plane(ctypes.Structure):
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
        ("least_mode", _int),
        ("hidden", _int),
        ("hidden_weight", _at),
        ("hidden_bias", _at),
        ("hidden_shift", _at),
        ("output_weight", _at),
        ("output_bias", _at),
        ("output_shift", _at),
    )


class _Stream(ctypes.Structure):
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


class _Found(ctypes.Structure):
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


@cache
def _library() -> ctypes.CDLL:
    """Open the library; raises CodecError where it is missing or of another machine."""
    try:
        library = ctypes.CDLL(str(_FILE))
    except OSError as error:
        why = "is missing" if not _FILE.exists() else f"cannot be opened ({error})"
        raise CodecError(
            f"loading the native kernel: {_FILE.name} {why}; install tilepress again "
            "(pip install --force-reinstall tilepress), or, in a source tree, run make native"
        ) from None
    for name, result in (("tp_rans_encode", _long), ("tp_shear", None)):
        getattr(library, name).restype = result
    library.tp_fill_reference.restype = library.tp_unshear.restype = None
    return library


def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets that this machine can run, the best last."""
    count = int(_library().tp_kernels())
    return _X86[:count] if count > 1 or _is_x86() else ("neon",)


def _is_x86() -> bool:
    return os.uname().machine in ("x86_64", "amd64")


@cache
def _chosen() -> int:
    """Return the number of the instruction set in use; raises CodecError."""
    sets = instruction_sets()
    said = os.environ.get(VARIABLE)
    if not said:
        return len(sets) - 1
    if said not in sets:
        raise CodecError(f"reading {VARIABLE}: {said!r}, this machine has {', '.join(sets)}")
    return sets.index(said)


class _Holder:
    """Addresses of arrays, which live as long as it does."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []

    def at(self, array: npt.NDArray[Any], dtype: npt.DTypeLike) -> int:
        """Return where the values of ``array`` lie, as ``dtype``, contiguous."""
        whole = np.ascontiguousarray(array, dtype)
        self._arrays.append(whole)
        return int(whole.ctypes.data)


def _plane(plane: PlaneToDecode | PlaneToEncode, hold: _Holder, least_mode: int) -> _Plane:
    thresholds, set_of_cell, weights = plane.classes
    hidden, hidden_bias, hidden_shift, output, output_bias, output_shift = plane.net
    by_regressor = np.zeros((REGRESSORS, MAX_SETS), np.int32)
    by_regressor[:, : len(weights)] = weights.T
    refs = np.ascontiguousarray(plane.refs, np.int32)
    return _Plane(
        height=plane.height,
        width=plane.width,
        top=plane.top,
        references=plane.n_refs,
        reference_stride=refs.shape[1] if plane.n_refs else 0,
        reference=hold.at(refs, np.int32),
        reference_error=hold.at(plane.ref_errors, np.int32),
        mask=hold.at(plane.mask, np.uint8) if len(plane.mask) else None,
        sets=len(weights),
        thresholds=hold.at(thresholds, np.int32),
        set_of_cell=hold.at(set_of_cell, np.int32),
        weights=hold.at(by_regressor, np.int32),
        least_mode=least_mode,
        hidden=len(hidden_bias),
        hidden_weight=hold.at(hidden[: len(hidden_bias)], np.int8),
        hidden_bias=hold.at(hidden_bias, np.int32),
        hidden_shift=hold.at(hidden_shift, np.int32),
        output_weight=hold.at(output[:3], np.int8),
        output_bias=hold.at(output_bias, np.int32),
        output_shift=hold.at(output_shift, np.int32),
    )


def decode_plane(plane: PlaneToDecode, least_mode: int = 0) -> DecodedStream:
    """Decode a plane: samples and errors of the linear path, sheared, and 0 or a fault.

    Faults: 1 words ran out, 2 raw bits ran out, 3 token out of range, 4 sample out of range,
    5 words, bits or states are left over. ``least_mode`` is of kernel.h, for tests.
    """
    hold, library, tree = _Holder(), _library(), plane.tree
    cumulative, used, lookup = tree.after(plane.cumulative, plane.used, plane.lookup)
    stream = _Stream(
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
    size = cells(plane.height, plane.width)
    own = np.full(size, plane.first, np.int32)
    errors = np.zeros(size, np.int32)
    fault = library.tp_decode(
        _chosen(),
        ctypes.byref(_plane(plane, hold, least_mode)),
        ctypes.byref(stream),
        _address(own),
        _address(errors),
    )
    _check_memory(fault)
    return own, errors, fault


def predict_plane(plane: PlaneToEncode, least_mode: int = 0) -> Prediction:
    """Predict a plane whose samples are known."""
    hold, library = _Holder(), _library()
    samples = plane.height * plane.width + 1  # one more is written where the last are absent
    found = {name: np.empty(samples, np.int32) for name, _ in _Found._fields_[:4]}
    three = np.empty((3, samples), np.int32)
    begins = np.zeros(_steps(plane.height, plane.width) + 1, np.int64)
    errors = np.zeros(cells(plane.height, plane.width), np.int32)
    out = _Found(
        **{name: hold.at(array, np.int32) for name, array in found.items()},
        sample=hold.at(three[0], np.int32),
        west=hold.at(three[1], np.int32),
        north=hold.at(three[2], np.int32),
        begins=hold.at(begins, np.int64),
    )
    own = np.ascontiguousarray(plane.own, np.int32)
    described = _plane(plane, hold, least_mode)
    _check_memory(
        library.tp_predict(
            _chosen(), ctypes.byref(described), _address(own), _address(errors), ctypes.byref(out)
        )
    )
    count = int(out.count)
    return Prediction(
        *(array[:count] for array in found.values()),
        three[:, :count],
        begins,
        errors,
        int(out.looked_at),
        int(out.matching),
    )


def rans_encode(
    starts: npt.NDArray[np.uint16], sizes: npt.NDArray[np.uint16], lanes: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Return the lanes' states, (lanes,), and the words, (W,), of a symbol stream."""
    hold, count = _Holder(), len(starts)
    states, words = np.empty(lanes, np.uint32), np.empty(count + 1, np.uint16)
    written = _library().tp_rans_encode(
        _at(hold.at(starts, np.uint16)),
        _at(hold.at(sizes, np.uint16)),
        _long(count),
        lanes,
        _address(states),
        _address(words),
    )
    return states, words[count + 1 - written :]


# Sheared planes (wavefront.py) -------------------------------------------------------------------


def shear(plane: npt.NDArray[np.int32], first: int) -> npt.NDArray[np.int32]:
    """Shear a plane, (y, x), and its margins: above ``first``, left the row above."""
    height, width = plane.shape
    out = np.full(cells(height, width), first, np.int32)
    hold = _Holder()
    _library().tp_shear(
        _at(hold.at(plane, np.int32)), _long(height), _long(width), _int(first), _address(out)
    )
    return out


def fill_reference(plane: npt.NDArray[np.int32], out: npt.NDArray[np.int32]) -> None:
    """Shear an earlier plane, (y, x), its border repeated by one sample on every side, to zeros."""
    hold = _Holder()
    height, width = plane.shape
    _library().tp_fill_reference(
        _at(hold.at(plane, np.int32)), _long(height), _long(width), _address(out)
    )


def unshear(sheared: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the plane, (y, x), of a sheared one."""
    hold = _Holder()
    out = np.empty((height, width), np.int32)
    _library().tp_unshear(
        _at(hold.at(sheared, np.int32)), _long(height), _long(width), _address(out)
    )
    return out


def cells(height: int, width: int) -> int:
    """Cells of a sheared array."""
    return int(_sizes().tp_cells(_long(height), _long(width)))


def _steps(height: int, width: int) -> int:
    return int(_sizes().tp_steps_of(_long(height), _long(width)))


@cache
def _sizes() -> ctypes.CDLL:
    library = _library()
    library.tp_cells.restype = library.tp_steps_of.restype = _long
    return library


def _address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return _at(array.ctypes.data)


def _check_memory(fault: int) -> None:
    if fault == _NO_MEMORY:
        raise MemoryError("the native kernel found no memory for a step of a plane")
