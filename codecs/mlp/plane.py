"""Code the hidden units of one plane: the function of ``native/`` with its arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.mlp.layout import FEATURES
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.native.library import bind
from tilepress.codecs.wave.rans import lanes_for, pack_raw, rans_encode
from tilepress.errors import InvalidRecord

__all__ = ["Maps", "Stream", "decode_units", "encode_units", "examine_units", "map_cells"]

Values = npt.NDArray[np.int32]
Maps = npt.NDArray[np.uint16]
"""Magnitudes of a plane's values, with zeros around: what the next plane's are looked up by."""

_ENCODE, _DECODE, _EXAMINE = range(3)
_FAULTS = {
    1: "its words end too early",
    2: "its raw bits end too early",
    3: "it has a token that no encoder writes",
    4: "it has bytes left over",
}
_code = bind("tp_code_units", "winnnHHhhBiBiiiIwHnBn", "w")
_value_symbols = bind("tp_value_symbols", "iBniiHHIB", "n")


@dataclass(frozen=True, slots=True)
class Stream:
    """The entropy-coded values of a plane, not trusted, with sizes that were bounded."""

    units: int
    """How many are coded, 1 or more; those behind are zeros."""
    states: npt.NDArray[np.uint32]
    """(lanes,), a power of two of them up to 32."""
    words: npt.NDArray[np.uint16]
    raw: npt.NDArray[np.uint8]


def map_cells(units: int, rows: int, columns: int) -> int:
    """Return the cells of a plane's maps."""
    return units * (rows + 3) * (columns + 4)


def encode_units(
    values: Values, previous: Maps | None, model: MlpModel
) -> tuple[Stream | None, Maps]:
    """Return the stream of values (units, rows, columns), None where all are zeros, and maps.

    previous : the maps of the plane before, of as many units, rows and columns.
    """
    units, rows, columns = values.shape
    maps = np.zeros(map_cells(*values.shape), np.uint16)
    some = np.flatnonzero(values.reshape(units, -1).any(axis=1))
    if not some.size:
        return None, maps
    count = int(some[-1]) + 1
    coded, tables = (
        np.empty(count * rows * columns, np.int32),
        np.empty(count * rows * columns, np.uint8),
    )
    follows = int(previous is not None)
    arrays = (model.weights[follows], model.parents, model.classes[follows])
    _code(
        _ENCODE, np.ascontiguousarray(values), count, rows, columns, maps, previous, *arrays,
        coded, tables, None, model.cumulative, model.used, None, 1, None, 0, None, 0,
    )  # fmt: skip
    size = len(coded)
    starts, sizes = np.empty(size, np.uint16), np.empty(size, np.uint16)
    bits, counts = np.empty(2 * size, np.uint32), np.empty(2 * size, np.uint8)
    used = _value_symbols(
        coded, tables, size, model.cumulative, model.used, starts, sizes, bits, counts
    )
    about = float(15 * size - np.log2(sizes).sum()) / 16
    states, words = rans_encode(starts, sizes, lanes_for(int(about), size))
    return Stream(count, states, words, pack_raw(bits[:used], counts[:used])), maps


def decode_units(
    stream: Stream | None,
    shape: tuple[int, int, int],
    previous: Maps | None,
    model: MlpModel,
) -> tuple[Values, Maps]:
    """Return values (units, rows, columns) of a stream, and maps; raises InvalidRecord."""
    values = np.zeros(shape, np.int32)
    maps = np.zeros(map_cells(*shape), np.uint16)
    if stream is None:
        return values, maps
    follows = int(previous is not None)
    arrays = (model.weights[follows], model.parents, model.classes[follows])
    fault = _code(
        _DECODE, values, stream.units, shape[1], shape[2], maps, previous, *arrays,
        None, None, None, model.cumulative, model.used, stream.states, len(stream.states),
        stream.words, len(stream.words), stream.raw, len(stream.raw),
    )  # fmt: skip
    if fault:
        raise InvalidRecord(f"decoding a plane of mlp: {_FAULTS[fault]}")
    return values, maps


def examine_units(
    values: Values, previous: Maps | None, parents: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.int32], Values, Maps]:
    """Return features (n, FEATURES), what is coded (n,), and maps; for training."""
    units, rows, columns = values.shape
    maps = np.zeros(map_cells(*values.shape), np.uint16)
    features, coded = np.empty((values.size, FEATURES), np.int32), np.empty(values.size, np.int32)
    _code(
        _EXAMINE, np.ascontiguousarray(values), units, rows, columns, maps, previous, None,
        parents, None, coded, None, features, None, None, None, 1, None, 0, None, 0,
    )  # fmt: skip
    return features, coded, maps
