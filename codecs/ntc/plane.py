"""Transform and code one plane: the functions of ``native/`` with their structures filled."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory, instruction_set
from tilepress.codecs.ntc.layout import FEATURES, LAPPED, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.errors import InvalidRecord

__all__ = [
    "FAULTS",
    "CodedPlane",
    "Stream",
    "band_count",
    "decode_plane",
    "encode_plane",
    "examine_plane",
    "forward",
    "inverse",
    "inverse_but",
    "maps_size",
    "padded_sides",
    "wavelet_levels",
]

Floats = npt.NDArray[np.float32]
Maps = npt.NDArray[np.uint16]

_int, _long, _at = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
_ENCODE, _DECODE, _EXAMINE = range(3)
_LEFT = 4
FAULTS = {
    1: "its words end too early",
    2: "its raw bits end too early",
    3: "it has a token that no encoder writes",
    _LEFT: "it has bytes left over",
}


class _Coding(ctypes.Structure):
    """``Coding`` of tile.h."""

    _fields_ = (
        ("mode", _int),
        ("kind", _int),
        ("set", _int),
        ("dependent", _int),
        ("height", _long),
        ("width", _long),
        ("coefficients", _at),
        ("previous", _at),
        ("maps", _at),
        ("band_count", _int),
        ("low_table", _int),
        ("lambda_", ctypes.c_float),
        ("values", _at),
        ("tables", _at),
        ("count", _long),
        ("bits", ctypes.c_double),
        ("given", _at),
        ("states", _at),
        ("lanes", _int),
        ("words", _at),
        ("word_count", _long),
        ("raw", _at),
        ("raw_bytes", _long),
        ("features", _at),
        ("bands", _at),
        ("known", _at),
        ("known_count", _long),
    )


_code_plane = bind("tp_code_plane", "pp", "w")
_maps_size = bind("tp_maps_size", "wnn", "n")
_band_count = bind("tp_band_count", "wnn", "w")
_wavelet_levels = bind("tp_wavelet_levels", "nn", "w")
_lapped = bind("tp_lapped", "snn", "w")
_lapped_inverse = bind("tp_lapped_inverse", "snn", "w")
_wavelet = bind("tp_wavelet", "snnw", "w")
_wavelet_inverse = bind("tp_wavelet_inverse", "snnww", "w")


def padded_sides(kind: int, height: int, width: int) -> tuple[int, int]:
    """Return the sides of a plane's coefficients: the lapped transform has whole blocks only."""
    return (height, width) if kind == WAVELET else (-(-height // 8) * 8, -(-width // 8) * 8)


def forward(kind: int, plane: Floats) -> None:
    """Turn a plane of samples, of padded sides, into its coefficients, in place."""
    if kind == LAPPED:
        check_memory(_lapped(plane, *plane.shape))
    else:
        check_memory(_wavelet(plane, *plane.shape, _wavelet_levels(*plane.shape)))


def inverse(kind: int, plane: Floats) -> None:
    """Turn coefficients into samples, in place."""
    if kind == LAPPED:
        check_memory(_lapped_inverse(plane, *plane.shape))
    else:
        check_memory(_wavelet_inverse(plane, *plane.shape, _wavelet_levels(*plane.shape), 0))


def inverse_but(plane: Floats, skipped: int) -> None:
    """Turn coefficients of CDF 9/7 back but for the finest levels, in place: what is left is the
    lowest band of these, at the top left."""
    levels = _wavelet_levels(*plane.shape)
    check_memory(_wavelet_inverse(plane, *plane.shape, levels, skipped))


def wavelet_levels(height: int, width: int) -> int:
    """Return the levels of CDF 9/7 that a plane has."""
    return _wavelet_levels(height, width)


def band_count(kind: int, height: int, width: int) -> int:
    """Return how many bands a plane of coefficients has behind its lowest."""
    return _band_count(kind, height, width)


def maps_size(kind: int, height: int, width: int) -> int:
    """Return the cells of the maps of a plane of coefficients."""
    return _maps_size(kind, height, width)


def _coding(
    mode: int, kind: int, coefficients: Floats, previous: Maps | None, dependent: bool
) -> tuple[Any, Maps]:
    height, width = coefficients.shape
    if coefficients.dtype != np.float32 or not coefficients.flags.c_contiguous:
        raise TypeError("coding a plane: coefficients must be contiguous float32")
    maps = np.zeros(_maps_size(kind, height, width), np.uint16)
    coding = _Coding(
        mode=mode,
        kind=kind,
        set=instruction_set(),
        dependent=dependent,
        height=height,
        width=width,
        coefficients=coefficients.ctypes.data,
        previous=None if previous is None else previous.ctypes.data,
        maps=maps.ctypes.data,
    )
    return coding, maps


@dataclass(frozen=True, slots=True)
class CodedPlane:
    """What coding chose for a plane."""

    values: npt.NDArray[np.int32]
    """Quantised coefficients in coding order …"""
    tables: npt.NDArray[np.uint8]
    """… each with the table that it is coded under."""
    bands: int
    """Bands that are coded; those behind are zeros."""
    low_table: int
    bits: float
    """What the values cost by the model's tables."""
    maps: Any
    """What the next plane's contexts are made of: here, and on every backend in its own way."""


def encode_plane(
    kind: int,
    coefficients: Floats,
    previous: Maps | None,
    model: NtcModel,
    price: float,
    given: Floats | None = None,
) -> CodedPlane:
    """Choose values for coefficients, in steps, which become what the decoder will have.

    price : what a squared step of error counts as in bits. ``previous`` : the maps of the plane
    before, of the same kind and sides, or None. ``given``, as large as the plane, gets the
    magnitudes that were given in coding order, behind those of the lowest band; for training.
    """
    coding, maps = _coding(_ENCODE, kind, coefficients, previous, model.is_dependent)
    values = np.empty(coefficients.size, np.int32)
    tables = np.empty(coefficients.size, np.uint8)
    coding.lambda_, coding.values, coding.tables = price, values.ctypes.data, tables.ctypes.data
    coding.given = None if given is None else given.ctypes.data
    check_memory(_code_plane(ctypes.byref(coding), model.structure()))
    count = coding.count
    return CodedPlane(
        values[:count], tables[:count], coding.band_count, coding.low_table, coding.bits, maps
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """The entropy-coded values of a plane, not trusted, with sizes that were bounded."""

    bands: int
    low_table: int
    states: npt.NDArray[np.uint32]
    """(lanes,), a power of two of them up to 32."""
    words: npt.NDArray[np.uint16]
    raw: npt.NDArray[np.uint8]


def decode_plane(
    kind: int,
    coefficients: Floats,
    previous: Maps | None,
    model: NtcModel,
    stream: Stream,
    bands: int | None = None,
) -> Maps:
    """Decode a plane's coefficients, in steps, in place; returns its maps, raises InvalidRecord.

    bands : how many of those behind the lowest are wanted; the others are zeros. None: all.
    """
    coding, maps = _coding(_DECODE, kind, coefficients, previous, model.is_dependent)
    is_whole = bands is None or bands >= stream.bands
    coding.band_count = stream.bands if bands is None else min(bands, stream.bands)
    coding.low_table = stream.low_table
    coding.states, coding.lanes = stream.states.ctypes.data, len(stream.states)
    coding.words, coding.word_count = stream.words.ctypes.data, len(stream.words)
    coding.raw, coding.raw_bytes = stream.raw.ctypes.data, len(stream.raw)
    fault = check_memory(_code_plane(ctypes.byref(coding), model.structure()))
    if fault and (is_whole or fault != _LEFT):
        raise InvalidRecord(f"decoding a plane of ntc: {FAULTS[fault]}")
    return maps


def examine_plane(
    kind: int,
    coefficients: Floats,
    previous: Maps | None,
    rounding: float,
    known: npt.NDArray[np.int32] | None = None,
    *,
    dependent: bool = False,
    quantisers: npt.NDArray[np.uint8] | None = None,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], npt.NDArray[np.int32], Maps]:
    """Return features (n, FEATURES), bands (n,), and values (n,), in coding order; for training.

    Magnitudes are rounded down after ``rounding`` was added. The lowest band is left out.
    dependent : what ``encode_plane`` made of coefficients by dependent quantisation is given, and
    ``rounding`` is a half.
    quantisers : as large as the plane, gets 0 or 1 for each value.
    known : values of dependent quantisation as ``encode_plane`` returns them, those of the lowest
    band included: then coefficients tell nothing but sides.
    """
    coding, maps = _coding(_EXAMINE, kind, coefficients, previous, dependent or known is not None)
    size = coefficients.size
    features, bands = np.empty((size, FEATURES), np.int16), np.empty(size, np.uint8)
    values = np.empty(size, np.int32)
    coding.lambda_, coding.values = rounding, values.ctypes.data
    coding.features, coding.bands = features.ctypes.data, bands.ctypes.data
    coding.tables = None if quantisers is None else quantisers.ctypes.data
    if known is not None:
        if known.dtype != np.int32 or not known.flags.c_contiguous:
            raise TypeError("examining a plane: known values must be contiguous int32")
        coding.known, coding.known_count = known.ctypes.data, len(known)
    check_memory(_code_plane(ctypes.byref(coding), None))
    count = coding.count
    return features[:count], bands[:count], values[:count], maps
