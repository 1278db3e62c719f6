"""Code the planes of one chunk with ``ntc``, and decode them.

samples ─► less their means ─► bands turned apart ─► lapped 8 × 8 or CDF 9/7 ─► values ─► rANS
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.native.library import bind
from tilepress.codecs.ntc.backend import CPU, AnyMaps, Backend
from tilepress.codecs.ntc.decoders.remake import BasePlanes, Remake
from tilepress.codecs.ntc.fill import fill_absent
from tilepress.codecs.ntc.klt import MATRIX_UNIT
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.payload import (
    LARGEST_STEP,
    MOST_BANDS,
    MOST_SPAN,
    SMALLEST_STEP,
    Payload,
    PlaneHead,
    pack,
    unpack,
)
from tilepress.codecs.ntc.plane import (
    CodedPlane,
    Stream,
    decode_plane,
    maps_size,
    padded_sides,
)
from tilepress.codecs.ntc.reduced import bands_for, can_reduce, reduce_plane
from tilepress.codecs.ntc.turned import Trial, Turned, before
from tilepress.codecs.record import samples_crc
from tilepress.codecs.reduce import all_of, reduced
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.rans import lanes_for, pack_raw, rans_encode
from tilepress.errors import ChecksumMismatch, InvalidRecord

__all__ = ["PRICE", "Analysis", "Probe", "decode_chunk", "encode_chunk", "price_of"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

PRICE = 8.0
"""Bits that a squared step of error counts as when values are chosen: about what it takes to remove
one. From 7 to 10 makes no difference of a third of a per cent."""
DEPENDENT_PRICE = 10.0
"""The same where quantisation is dependent: errors are a fifth smaller at the same step."""

_PLANE_BYTES = 4096
_CELLS_OF_A_BAND = 64
"""Samples of a plane for each that is turned: its matrix takes a quarter of a bit a sample."""
_turn_bands = bind("tp_turn_bands", "snnws")
_to_samples = bind("tp_to_samples", "snnnFFwwi")
_value_symbols = bind("tp_value_symbols", "iBniiHHIB", "n")


def price_of(model: NtcModel) -> float:
    """Return the bits that a squared step of error counts as with a model."""
    return DEPENDENT_PRICE if model.is_dependent else PRICE


class Probe(NamedTuple):
    """What coding at a step would give."""

    bits: float
    """Of the payload, by what values cost; the coder's words are some tenths of a per cent more."""
    squared: float
    """Sum of squared errors of present samples, before they are rounded to integers."""


def encode_chunk(
    samples: Array,
    absent: Array | None,
    bands: int,
    step: float,
    model: NtcModel,
    price: float | None = None,
    backend: Backend = CPU,
) -> tuple[bytes, Array] | None:
    """Return the payload of samples, (planes, y, x), and what it decodes to.

    None where ``ntc`` cannot code them: floats and bool, integers of more than 32 bits, a plane
    whose largest present sample is 2^16 or more above its smallest.

    absent : one sample of their dtype that marks absent ones, or None.
    bands : how many planes belong together, band fastest.
    step : of the quantiser, in units of samples, for all planes.
    price : what a squared step of error counts as in bits; None: as suits the model.
    """
    analysis = Analysis.of(samples, absent, bands, backend)
    return None if analysis is None else analysis.encode(step, model, price)


@dataclass(slots=True)
class Analysis:
    """A chunk as far as it does not depend on the step: for many of them to be tried."""

    samples: Array
    absent: Array | None
    masks: list[npt.NDArray[np.bool_] | None]
    heads: list[PlaneHead]
    """Without their checksums."""
    ways: list[Turned]
    """Bands that belong together turned apart; then all planes together, if they are not too many:
    thin slices, or dates, are often as alike as bands."""
    kinds: tuple[int, ...] = (LAPPED, WAVELET)
    """Of the transforms that are tried."""
    _last: tuple[tuple[float, float, int], Trial] | None = None

    @classmethod
    def of(
        cls, samples: Array, absent: Array | None, bands: int, backend: Backend = CPU
    ) -> Analysis | None:
        """Return the analysis of a chunk; None where ``ntc`` cannot code it."""
        if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 4 or samples.size == 0:
            return None
        count = len(samples)
        group = bands if bands >= 1 and count % bands == 0 else 1
        masks: list[npt.NDArray[np.bool_] | None] = []
        heads = []
        planes = np.empty(samples.shape, np.float32)
        for index, plane in enumerate(samples):
            mask = plane == absent if absent is not None else None
            if mask is not None and (not mask.any() or mask.all()):
                mask = None if not mask.any() else mask
            present = plane if mask is None else plane[~mask]
            low, high = (int(present.min()), int(present.max())) if present.size else (0, 0)
            if high - low > MOST_SPAN:
                return None
            above = plane.astype(np.int64) - low
            total = int(present.astype(np.int64).sum()) - low * present.size
            mean = (2 * total + present.size) // (2 * present.size) if present.size else 0
            floats = (above - mean).astype(np.float32)
            if mask is not None:
                floats = fill_absent(floats, mask) if present.size else np.zeros_like(floats)
            planes[index] = floats
            masks.append(mask)
            coded = None if mask is None else encode_bitmap(mask)
            heads.append(PlaneHead(low, high - low, mean, 0, coded))
        ways = [Turned.of(planes, group, backend)]
        if group < count <= MOST_BANDS and planes[0].size >= _CELLS_OF_A_BAND * count:
            ways.append(Turned.of(planes, count, backend))
        return cls(samples, absent, masks, heads, ways)

    def probe(self, step: float, model: NtcModel, price: float | None = None) -> Probe:
        """Return about what coding at a step would give."""
        step = _step(step)
        trial = self._best(step, model, price)
        bits = trial.bits + 8 * (8 + sum(16 for _ in self.heads))
        bits += 8 * sum(len(head.mask) for head in self.heads if head.mask is not None)
        return Probe(bits, trial.squared * step**2)

    def encode(
        self, step: float, model: NtcModel, price: float | None = None
    ) -> tuple[bytes, Array]:
        """Return the payload at a step, and what it decodes to."""
        step = _step(step)
        trial = self._best(step, model, price)
        made = trial.made.copy()
        head_of = list(self.heads)
        way = trial.way
        draft = Payload(trial.kind, step, way.bands, way.matrix, self.absent, head_of, ())
        decoded = np.empty_like(self.samples)
        _finish(draft, made, self.masks, decoded, range(len(decoded)))
        heads = [
            PlaneHead(h.low, h.span, h.mean, samples_crc(plane), h.mask)
            for h, plane in zip(self.heads, decoded, strict=True)
        ]
        streams = [_stream(coded, model) for coded in trial.coded]
        payload = replace(draft, heads=heads, streams=streams, dependent=model.is_dependent)
        return pack(payload), decoded

    def _best(self, step: float, model: NtcModel, price: float | None) -> Trial:
        """Return the way and the transform that cost least; the last answer is kept.

        Where quantisation is dependent plain values, which are cheap, tell which these are.
        """
        price = price_of(model) if price is None else price
        key = (step, price, id(model))
        if self._last is None or self._last[0] != key:
            first, *others = self.ways
            best = min((first.trial(k, step, model.plain, price) for k in self.kinds), key=_cost)
            trials = (way.trial(best.kind, step, model.plain, price) for way in others)
            best = min([best, *trials], key=_cost)
            if model.is_dependent:
                best = best.way.trial(best.kind, step, model, price)
            self._last = key, best
        return self._last[1]


def decode_chunk(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    model: NtcModel,
    budget: Budget,
    planes: frozenset[int] | None = None,
    scale: int = 1,
    remake: Remake | None = None,
    backend: Backend = CPU,
) -> Array:
    """Decode a payload, not trusted; with ``planes`` only these are right, the others zeros.

    scale : 1, or 2, 4 or 8: of so many rows and columns about the mean becomes one sample, from low
    frequencies alone; checksums of planes then tell nothing.
    remake : of scale 1, what makes samples of the base's planes; None: the base itself, which alone
    is compared with the checksums, with it, too.
    backend : what decodes whole planes; at a scale the CPU does.

    Raises InvalidRecord, UnsupportedFormat, ChecksumMismatch or TooMuchMemory.
    """
    count, height, width = shape
    lapped_sides = padded_sides(LAPPED, height, width)
    cells = lapped_sides[0] * lapped_sides[1]
    taken = dtype.itemsize * count * height * width + 4 * count * cells + _PLANE_BYTES * count
    budget = budget.less(taken + 4 * maps_size(LAPPED, *lapped_sides) + 32 * cells + len(payload))
    if remake is not None:
        budget = budget.less(4 * count * cells + remake.memory(cells))
    budget.check()
    read = unpack(payload, shape, dtype)
    if read.dependent != model.is_dependent:
        raise InvalidRecord(
            "decoding a payload of ntc: its quantisation is dependent, or its model's, not both's"
        )
    sides = padded_sides(read.kind, height, width)
    last = count if planes is None else max(planes, default=-1) + 1
    last = -(-last // read.bands) * read.bands
    if scale > 1 and not _pays(read, count, sides, scale):
        whole = decode_chunk(payload, shape, dtype, model, budget, planes, backend=backend)
        if read.absent is None:
            return reduced(whole, scale, "average")
        absent = int(read.absent)
        return reduced(whole, scale, "average", whole == read.absent, (absent, absent))
    small = (height, width) if scale == 1 else (-(-height // scale), -(-width // scale))
    made = np.zeros((last, *(sides if scale == 1 else small)), np.float32)
    full = None if scale == 1 else np.empty(sides, np.float32)
    planes_by = backend if scale == 1 else CPU
    maps: dict[int, AnyMaps] = {}
    for index in range(last):
        stream, context = read.streams[index], before(index, read.bands)
        previous = None if context is None else maps[context]
        if stream is None:
            maps[index] = planes_by.blank(read.kind, sides)
        elif full is None:
            maps[index] = planes_by.decode(read.kind, made[index], previous, model, stream)
        else:
            maps[index] = _decode_scaled(
                read, (index, last), (height, width), made[index], full, previous, model, scale
            )
        for old in [k for k in maps if k < index and k != index // read.bands * read.bands]:
            del maps[old]
    masks = [
        None if head.mask is None else decode_bitmap(head.mask, height, width)
        for head in read.heads[:last]
    ]
    if scale > 1:
        masks = [None if mask is None else all_of(mask, scale) for mask in masks]
    out = np.zeros((count, *small), dtype)
    wanted = range(last) if planes is None else sorted(planes)
    kept = None if remake is None else made.copy()
    _finish(read, made, masks, out, wanted)
    for index in wanted if scale == 1 else ():
        if samples_crc(out[index]) != read.heads[index].crc:
            raise ChecksumMismatch(f"decoding a record: plane {index} does not match its crc32c")
    if remake is not None and kept is not None:
        seeds = [head.crc for head in read.heads[:last]]
        remade = remake(BasePlanes(read.kind, kept, read.bands, seeds, model))
        _finish(read, remade, masks, out, wanted)
    return out


def _decode_scaled(
    read: Payload,
    place: tuple[int, int],
    sides: tuple[int, int],
    made: Floats,
    full: Floats,
    previous: AnyMaps,
    model: NtcModel,
    scale: int,
) -> AnyMaps:
    """Decode a plane at a scale, in steps, in place: the first number of ``place``, of so many.

    sides : rows and columns of the record.
    full : room for all coefficients.
    """
    index, count = place
    stream = read.streams[index]
    assert stream is not None, "a plane of zeros has none"
    full[...] = 0
    bands = _bands_at(read, index, count, (full.shape[0], full.shape[1]), scale)
    maps = decode_plane(read.kind, full, previous, model, stream, bands)
    made[...] = reduce_plane(read.kind, full, *sides, scale)
    return maps


def _bands_at(read: Payload, index: int, count: int, sides: tuple[int, int], scale: int) -> int:
    """Return the bands of a plane, of so many that are decoded, that a scale needs."""
    band = index % read.bands
    followers = read.bands - 1 - band + (0 if band else (count - 1 - index) // read.bands)
    return bands_for(read.kind, *sides, scale, followers)


def _pays(read: Payload, count: int, sides: tuple[int, int], scale: int) -> bool:
    """Whether low frequencies are few enough to be decoded alone: means of all are exact.

    The finest level of CDF 9/7 has three quarters of the values; frequencies of blocks as many
    each, and planes whose contexts many others are need nearly all of them.
    """
    if not can_reduce(read.kind, *sides, scale):
        return False
    if read.kind != LAPPED:
        return True
    coded = [(i, s.bands) for i, s in enumerate(read.streams[:count]) if s is not None]
    needed = sum(min(n, _bands_at(read, i, count, sides, scale)) for i, n in coded)
    return 4 * needed <= 3 * sum(n for _, n in coded) or not coded


def _finish(
    payload: Payload,
    made: Floats,
    masks: list[npt.NDArray[np.bool_] | None],
    out: Array,
    wanted: range | list[int],
) -> None:
    """Turn decoded planes, in steps, into samples; ``made`` is overwritten."""
    _, height, width = out.shape
    sides = made.shape[1:]
    if payload.matrix is not None:
        matrix = payload.matrix.astype(np.float32) / np.float32(MATRIX_UNIT)
        for first in range(0, len(made), payload.bands):
            cells = sides[0] * sides[1]
            _turn_bands(made[first : first + payload.bands], cells, cells, payload.bands, matrix)
    above = np.empty((height, width), np.int32)
    for index in wanted:
        head, hole = payload.heads[index], -1
        if payload.absent is not None:
            hole = int(payload.absent) - head.low
            hole = hole if 0 <= hole <= head.span and head.span else -1
        _to_samples(
            made[index], sides[1], height, width, payload.step, head.mean, head.span, hole, above
        )
        np.add(above, head.low, out=out[index], casting="unsafe", dtype=np.int64)
        mask = masks[index]
        if mask is not None:
            assert payload.absent is not None
            out[index][mask] = payload.absent


def _cost(trial: Trial) -> float:
    return trial.cost


def _step(step: float) -> float:
    """Return a step as records hold it."""
    return float(np.float32(min(max(step, SMALLEST_STEP), LARGEST_STEP)))


def _stream(coded: CodedPlane, model: NtcModel) -> Stream | None:
    if not coded.values.any():
        return None
    count = len(coded.values)
    starts, sizes = np.empty(count, np.uint16), np.empty(count, np.uint16)
    bits, counts = np.empty(count, np.uint32), np.empty(count, np.uint8)
    used = _value_symbols(
        coded.values, coded.tables, count, model.cumulative, model.used, starts, sizes, bits, counts
    )
    lanes = lanes_for(int(coded.bits / 16), count)
    states, words = rans_encode(starts, sizes, lanes)
    raw = pack_raw(bits[:used], counts[:used])
    return Stream(coded.bands, coded.low_table, states, words, raw)
