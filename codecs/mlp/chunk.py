"""Code the planes of one chunk with ``mlp``, and decode them.

samples ─► absent and odd ones apart ─► bands turned apart ─► blocks ─► units ─► values ─► rANS
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.classical.exact import Kept, absent_samples, filled, odd_samples
from tilepress.codecs.classical.numbers import of_real
from tilepress.codecs.mlp.layout import MATRIX_UNIT
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.mlp.network import analysis, blocks_of, padded, plane_of, synthesis
from tilepress.codecs.mlp.payload import MOST_BANDS, MOST_SHIFT, Payload, PlaneHead, pack, unpack
from tilepress.codecs.mlp.plane import Maps, Stream, decode_units, encode_units, map_cells
from tilepress.codecs.ntc import klt
from tilepress.codecs.record import samples_crc
from tilepress.errors import ChecksumMismatch, InvalidRecord

__all__ = ["Asked", "decode_chunk", "encode_chunk", "quantised_units"]

Array = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

_LARGEST = 2**21 - 1
"""Of a value: the difference of two has a token."""
_LARGEST_INTEGER = 2**53
"""Of samples: beyond it float64 has none of the odd ones."""
_LARGEST_SHIFTED = 2**22
"""What a value may be once it is in steps."""
_ZERO, _OTHER = 0.62, 0.58
"""A unit below the first, in steps, becomes 0; others are rounded up from the second on: what an
error costs here, a shorter code pays."""
_FIT_BITS = 14
_PLANE_BYTES = 4096


class Asked(NamedTuple):
    """What a user chose of the network."""

    hidden: int
    """Hidden units that are coded; more than the network has mean all."""
    bits: int
    """Of a hidden unit at most: a finer step than that allows is not taken."""


def encode_chunk(
    samples: Array, absent: Array | None, bands: int, step: float, model: MlpModel, asked: Asked
) -> tuple[bytes, Array] | None:
    """Return the payload of samples, (planes, y, x), and what it decodes to.

    None where ``mlp`` cannot code them: values beyond what float64 tells apart, or a step so fine
    that no value has a token.
    absent : one sample of their dtype that marks absent ones, or None.
    bands : how many planes belong together, band fastest.
    step : of the quantiser, in units of samples, for all planes.
    """
    where_absent = absent_samples(samples, absent)
    missing = where_absent | odd_samples(samples)
    heads, planes = [], np.empty(samples.shape, np.float64)
    for index, plane in enumerate(samples):
        present = plane[~missing[index]]
        zero = plane.dtype.type(0)
        low, high = (present.min(), present.max()) if present.size else (zero, zero)
        if plane.dtype.kind in "iu" and max(-int(low), int(high)) > _LARGEST_INTEGER:
            return None
        middle = float(low) + (float(high) - float(low)) / 2
        if not math.isfinite(float(high) - float(low)):
            return None
        wide = np.where(missing[index], 0, plane).astype(np.float64)
        planes[index] = filled(wide, missing[index]) - (middle if present.size else 0.0)
        heads.append(PlaneHead(middle, low, high, 0))
    group = bands if bands >= 1 and len(samples) % bands == 0 else 1
    matrix = _turned_apart(planes, group)
    values = quantised_units(planes, step, model, min(asked.hidden, model.units))
    if values is None:
        return None
    shifts = _shifts(values, asked.bits, model.units)
    if shifts is not None:
        wide = values / np.ldexp(1.0, shifts[: values.shape[1]])[None, :, None, None]
        values = np.rint(wide)
    whole = values.astype(np.int32)
    streams: list[Stream | None] = []
    maps: dict[int, Maps] = {}
    for index, plane in enumerate(whole):
        before = _before(index, group)
        stream, maps[index] = encode_units(plane, None if before is None else maps[before], model)
        streams.append(stream)
    nothing = Kept(None, None, None, samples[:0].reshape(-1))
    draft = Payload(step, group, matrix, shifts, nothing, heads, streams)
    decoded = np.empty_like(samples)
    _finish(
        draft, [plane.reshape(len(plane), -1) for plane in whole], model, decoded, range(len(whole))
    )
    kept = _kept(samples, decoded, absent, where_absent, missing)
    kept.put_back(decoded)
    proved = [replace(h, crc=samples_crc(p)) for h, p in zip(heads, decoded, strict=True)]
    return pack(Payload(step, group, matrix, shifts, kept, proved, streams)), decoded


def decode_chunk(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    model: MlpModel,
    budget: Budget,
    planes: frozenset[int] | None = None,
) -> Array:
    """Decode a payload, not trusted; with ``planes`` only these are right, the others zeros.

    Raises InvalidRecord, UnsupportedFormat, ChecksumMismatch or TooMuchMemory.
    """
    count, block = shape[0], model.block
    rows, columns = (-(-n // block) for n in shape[1:])
    samples = rows * columns * block * block
    cells = model.units * rows * columns
    taken = count * (shape[1] * shape[2] * (dtype.itemsize + 2) + 4 * cells + _PLANE_BYTES)
    budget.check(
        taken + count * 2 * map_cells(model.units, rows, columns) + 64 * samples + 16 * cells
    )
    read = unpack(payload, shape, dtype, model.units, rows * columns)
    last = count if planes is None else max(planes, default=-1) + 1
    last = -(-last // read.bands) * read.bands
    if read.matrix is not None:
        budget.check(taken + read.bands * 24 * samples)
    values: list[npt.NDArray[np.int32]] = []
    maps: dict[int, Maps] = {}
    for index in range(last):
        before = _before(index, read.bands)
        previous = None if before is None else maps[before]
        stream, sides = read.streams[index], (model.units, rows, columns)
        found, maps[index] = decode_units(stream, sides, previous, model)
        values.append(found.reshape(model.units, -1))
        for old in [k for k in maps if k < index and k != index // read.bands * read.bands]:
            del maps[old]
    out = np.zeros(shape, dtype)
    wanted = range(last) if planes is None else sorted(planes)
    with np.errstate(over="ignore", invalid="ignore"):  # a forged step
        _finish(read, values, model, out, wanted)
    read.kept.put_back(out)
    for index in wanted:
        if samples_crc(out[index]) != read.heads[index].crc:
            raise ChecksumMismatch(f"decoding a record: plane {index} does not match its crc32c")
    return out


def _finish(
    payload: Payload,
    values: list[npt.NDArray[np.int32]],
    model: MlpModel,
    out: Array,
    wanted: range | list[int],
) -> None:
    """Turn values of planes, (units, blocks) each, into samples."""
    height, width = out.shape[1:]
    columns = -(-width // model.block)
    for first in sorted({index // payload.bands * payload.bands for index in wanted}):
        members = range(first, first + payload.bands)
        made = []
        for index in members:
            wide = values[index].astype(np.float64)
            if payload.shifts is not None:
                wide = np.ldexp(wide, payload.shifts[: len(wide), None].astype(np.int32))
            if np.abs(wide).max(initial=0.0) > _LARGEST_SHIFTED:
                raise InvalidRecord("decoding a payload of mlp: it has a value out of range")
            blocks = synthesis(wide, model) * (payload.step / MATRIX_UNIT)
            made.append(plane_of(blocks, model.block, columns)[:height, :width])
        if payload.matrix is not None:
            made = _turned(made, payload.matrix / klt.MATRIX_UNIT)
        for index, plane in zip(members, made, strict=True):
            head = payload.heads[index]
            if index in wanted:
                out[index] = of_real(plane + head.middle, out.dtype, (head.low, head.high))


def _turned(planes: list[Doubles], matrix: Doubles) -> list[Doubles]:
    """Return a matrix times planes, one product after another: each sum is in one order."""
    out = []
    for row in matrix:
        total = row[0] * planes[0]
        for factor, plane in zip(row[1:], planes[1:], strict=True):
            total = total + factor * plane
        out.append(total)
    return out


def _turned_apart(planes: Doubles, bands: int) -> npt.NDArray[np.int16] | None:
    """Turn bands into components, in place; returns the decoder's matrix, or None for one band."""
    if not 2 <= bands <= MOST_BANDS:
        return None
    together = planes.reshape(-1, bands, *planes.shape[1:])
    top = float(np.abs(planes).max(initial=0.0))
    shift = _FIT_BITS - int(np.frexp(top)[1]) if top else 0
    scaled = np.ldexp(together.swapaxes(0, 1), shift).astype(np.float32)
    matrix = klt.fit(np.ascontiguousarray(scaled).reshape(bands, -1, planes.shape[2]))
    turn = klt.analysis_matrix(matrix)
    for frame in together:
        frame[:] = np.stack(_turned(list(frame), turn))
    return matrix


def quantised_units(planes: Doubles, step: float, model: MlpModel, units: int) -> Doubles | None:
    """Return quantised units, (planes, units, rows, columns), None where one is too large."""
    rows, columns = (-(-n // model.block) for n in planes.shape[1:])
    out = np.empty((len(planes), units, rows, columns))
    for index, plane in enumerate(planes):
        blocks = blocks_of(padded(plane, model.block), model.block)
        wide = analysis(blocks, model, units) / step
        sizes = np.abs(wide)
        if not sizes.max(initial=0.0) < _LARGEST:
            return None
        whole = np.floor(sizes + (1 - _OTHER))
        whole[sizes < _ZERO] = 0
        whole[0] = np.rint(sizes[0])  # its difference from what is around is coded
        out[index] = np.copysign(whole, wide).reshape(units, rows, columns)
    return out


def _shifts(values: Doubles, bits: int, units: int) -> npt.NDArray[np.uint8] | None:
    """Return by how many powers of two steps of units are coarser, so that ``bits`` suffice."""
    top = np.abs(values).max(axis=(0, 2, 3))
    most = 2.0 ** (bits - 1) - 0.5 if bits > 1 else 1.0
    found = np.zeros(units, np.uint8)
    found[: len(top)] = np.clip(np.ceil(np.log2(np.maximum(top, 1) / most)), 0, MOST_SHIFT)
    return found if found.any() else None


def _kept(
    samples: Array, decoded: Array, absent: Array | None, where_absent: Marks, missing: Marks
) -> Kept:
    """Return what must be exact beside the units."""
    single = missing & ~where_absent
    if absent is not None:
        single |= (absent_samples(decoded, absent) | (decoded == absent)) & ~where_absent
    return Kept(
        absent,
        where_absent if where_absent.any() else None,
        single if single.any() else None,
        samples[single],
    )


def _before(index: int, bands: int) -> int | None:
    """Return the plane whose values are a plane's context: the band before, or the frame before."""
    if index % bands:
        return index - 1
    return index - bands if index >= bands else None
