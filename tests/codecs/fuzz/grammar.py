"""Records that no encoder of ours would make, but that FORMAT.md allows, with what they hold.

A plane's integers are drawn first, then a way to write them down: bodies within bodies at any bit,
blocks of one sample, levels that do not occur, masks in masks, references to later planes, copies
of copies. What a record must decode to is known from the integers, not from the decoder; only the
planes that others refer to are asked of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import CODER_STORED, DTYPES, RecordHeader, pack_record, samples_crc
from tilepress.codecs.registry import CODECS
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_encode
from tilepress.codecs.wave.bitmap import encode_bitmap
from tilepress.codecs.wave.codec import parse_model
from tilepress.codecs.wave.colour import KINDS, YCBCR, Group, transformed, undone
from tilepress.codecs.wave.index import Entry, pack_index
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import (
    CONSTANT,
    MASKED,
    PACKED,
    RAW,
    REPLICATED,
    SPLIT,
    DecodedPlane,
    pack_bits,
)
from tilepress.codecs.wave.values import ValueMap
from tilepress.codecs.wave.wire import Reader, signed_varint, varint

__all__ = ["Written", "record"]

FORMS = tuple(KINDS)
"""The formats of payloads, in the order of the numbers that their records have."""

_TOP = 2**17
_SIDES = [1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31]


@dataclass(frozen=True)
class Written:
    """A record, what decodes it, and what it must decode to."""

    data: bytes
    codec: TileCodec
    samples: npt.NDArray[Any]


def record(rng: np.random.Generator, codecs: list[TileCodec]) -> Written:
    """Write a record down at random."""
    codec = codecs[int(rng.integers(0, len(codecs)))]
    coder = Coder(parse_model(codec.model.data))
    dtype = np.dtype(DTYPES[int(rng.integers(0, 9))]).newbyteorder("<")
    count = int(rng.choice([1, 1, 2, 3, 4, 6]))
    height, width = (_SIDES[int(rng.integers(0, len(_SIDES)))] for _ in range(2))
    step = int(rng.choice([1, 1, 1, 3, 5])) if dtype.kind in "ui" else 1
    levels = [_plane(rng, (height, width), dtype, step) for _ in range(count)]
    form = int(rng.choice(FORMS))
    groups = []
    if count >= 3 and step == 1 and dtype.itemsize <= 2 and dtype.kind != "b":
        groups = [Group(0, int(rng.choice(KINDS[form])))] if rng.random() < 0.4 else []
    coded = list(levels)
    for group in groups:
        if group.kind == YCBCR:
            if dtype != np.uint8:
                groups = []
                break
            levels[:3] = _made_of_ycbcr(levels[:3])
        planes = transformed(np.stack(levels[:3]), group.kind)
        assert planes is not None
        coded[:3] = planes
    entries, masks = _bodies(rng, coded, coder, masked=not groups)  # one colour would lack another
    absent = np.asarray(rng.integers(0, 2, dtype=np.int64)).astype(dtype)
    samples = np.stack([(p * step).astype(dtype) for p in levels])
    clamps = [_clamp(rng, p * step) if step > 1 else None for p in levels]
    for i, mask in enumerate(masks):
        if mask is not None:
            samples[i][mask] = absent
    whole = [
        Entry(e.refs, e.copy, clamps[i], b"", samples_crc(samples[i]), e.body)
        for i, e in enumerate(entries)
    ]
    has_absent = any(m is not None for m in masks) or bool(rng.random() < 0.2)
    told = absent if has_absent else None
    payload = ValueMap(0).pack() + pack_index(whole, groups, step, told, form)
    payload += b"".join(bytes(e.body) for e in whole)
    shape = (count, height, width)
    outer = tuple(n + int(rng.choice([0, 0, 0, 1, 5])) for n in shape)
    fill = np.asarray(rng.integers(0, 2)).astype(dtype)
    out = np.full(outer, fill, dtype)
    out[:count, :height, :width] = samples
    header = RecordHeader(
        coder=CODECS["wave"].numbers[form > 2],
        dtype=dtype,
        shape=outer,
        coded=shape,
        fill=fill.tobytes(),
        two_d=False,
        max_error=0.0,
        model_id=bytes.fromhex(codec.model.sha256)[:8],
        symbols_crc=samples_crc(samples),
    )
    assert header.coder != CODER_STORED
    return Written(pack_record(header, payload), codec, out)


def _plane(
    rng: np.random.Generator, shape: tuple[int, int], dtype: np.dtype[Any], step: int
) -> npt.NDArray[np.int64]:
    """Draw a plane's levels, which times ``step`` the dtype can hold."""
    if dtype.kind == "b":
        low, high = 0, 1
    else:
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -(2**46)) // step + 1, min(limits.max, 2**46) // step
    spread = min(high - low, int(rng.choice([0, 1, 2, 9, 200, 4000, 2**17 - 2, 2**30, 2**46])))
    start = int(rng.integers(low, high - spread + 1))
    way = int(rng.integers(0, 4))
    noise = rng.integers(0, spread + 1, shape)
    if way == 0:
        return start + noise
    if way == 1:  # few levels
        some = rng.integers(0, spread + 1, int(rng.integers(1, 9)))
        return start + some[rng.integers(0, len(some), shape)]
    if way == 2:  # smooth
        return start + np.sort(noise.ravel()).reshape(shape)
    factors = rng.integers(1, 4, 2)
    small = rng.integers(
        0, spread + 1, tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
    )
    blocks = small.repeat(factors[0], 0).repeat(factors[1], 1)
    return start + blocks[: shape[0], : shape[1]]


def _made_of_ycbcr(planes: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """Return colours that planes of 0 … 255 make as Cr, Y, Cb."""
    coded = dict(enumerate(planes))
    return [undone(Group(0, YCBCR), place, coded) for place in range(3)]


def _clamp(rng: np.random.Generator, values: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    if rng.random() < 0.5:
        return None
    return int(values.min()) - int(rng.integers(0, 9)), int(values.max()) + int(rng.integers(0, 9))


def _bodies(
    rng: np.random.Generator, planes: list[npt.NDArray[np.int64]], coder: Coder, *, masked: bool
) -> tuple[list[Entry], list[npt.NDArray[np.bool_] | None]]:
    """Write planes in any order, so that references may point to later ones."""
    count, shape = len(planes), (int(planes[0].shape[0]), int(planes[0].shape[1]))
    order = rng.permutation(count).tolist()
    entries: dict[int, Entry] = {}
    decoded: dict[int, DecodedPlane] = {}
    for place, index in enumerate(order):
        known = order[:place]
        refs = tuple(int(r) for r in rng.choice(known, int(rng.integers(0, 3)))) if known else ()
        same = [r for r in known if np.array_equal(planes[r], planes[index])]
        if same and rng.random() < 0.7:
            entries[index] = Entry((same[0],), True, None, b"", 0, b"")
            decoded[index] = decoded[same[0]]
            continue
        mask = None
        if masked and rng.random() < 0.25:
            mask = rng.random(shape) < rng.choice([0.1, 0.5, 1.0])
        body = _body(rng, planes[index], [decoded[r] for r in refs], coder, 4, mask)
        entries[index] = Entry(refs, False, None, b"", 0, body)
        seen = decode_body(Reader(memoryview(body)), shape, [decoded[r] for r in refs], coder.model)
        decoded[index] = seen[1]
    masks = [decoded[i].mask for i in range(count)]
    return [entries[i] for i in range(count)], masks


def _body(
    rng: np.random.Generator,
    values: npt.NDArray[np.int64],
    refs: list[DecodedPlane],
    coder: Coder,
    splits: int,
    mask: npt.NDArray[np.bool_] | None = None,
) -> bytes:
    """Write a plane in one of the ways that suit it."""
    flags, fields = 0, b""
    if rng.random() < 0.1 and mask is None:  # blocks of one sample
        flags, fields = REPLICATED, bytes([1, 0, 1, 0])
        refs = [DecodedPlane(r.samples, r.errors, None) for r in refs]
    if mask is not None:
        coded = encode_bitmap(mask)
        flags, fields = flags | MASKED, fields + varint(len(coded)) + coded
    low = int(values.min())
    top = int(values.max()) - low
    begun = plane_encode._Begun(coder, refs, mask, flags, fields + signed_varint(low))
    if top == 0 and (not splits or rng.random() < 0.9):
        return begun.ended(flags=CONSTANT)
    levels = values - low
    if splits and (top >= _TOP or top == 0 or rng.random() < 0.3):
        if 1 < top < _TOP and rng.random() < 0.5:
            return _clusters(rng, levels, top, begun, splits)
        least = top.bit_length() - 17 - 16 * (splits - 1)  # so that a leaf takes what is left
        bits = int(rng.integers(max(1, least), 17))
        high = _body(rng, levels >> bits, refs, coder, splits - 1)
        rest = _body(rng, levels & ((1 << bits) - 1), [], coder, splits - 1)
        return begun.ended(bytes([bits]) + varint(len(high)) + high + rest, SPLIT)
    return _leaf(rng, levels, begun)


def _leaf(
    rng: np.random.Generator, levels: npt.NDArray[np.int64], begun: plane_encode._Begun
) -> bytes:
    """Write levels 0 … top by prediction, raw or packed; constant ones as such."""
    top = int(levels.max())
    if top == 0:
        return begun.ended(flags=CONSTANT)
    samples = levels.astype(np.int32)
    way = int(rng.integers(0, 4))
    if way == 0 and top >= 2 and np.unique(samples).size >= 2:
        seen = np.zeros(top + 1, bool)
        seen[np.unique(samples)] = True
        seen |= rng.random(top + 1) < 0.1
        rare = seen & (rng.random(top + 1) < rng.choice([0, 0.1, 0.9]))
        by_rank = np.concatenate([np.flatnonzero(seen & ~rare), np.flatnonzero(rare)])
        ranks = np.zeros(top + 1, np.int32)
        ranks[by_rank] = np.arange(len(by_rank))
        marks = _bitmap(seen) + _bitmap(rare[seen])
        begun = begun.then(varint(top) + marks, PACKED)
        samples, top = ranks[samples], len(by_rank) - 1
    else:
        top = min(top + int(rng.choice([0, 0, 1, 100])), _TOP - 1)
        begun = begun.then(varint(top))
    if rng.random() < 0.3 or (begun.mask is not None and begun.mask.all()):
        return begun.ended(pack_bits(samples, top.bit_length()), RAW)
    return plane_encode._encode_samples(samples, top, begun)[0]


def _clusters(
    rng: np.random.Generator,
    levels: npt.NDArray[np.int64],
    top: int,
    begun: plane_encode._Begun,
    splits: int,
) -> bytes:
    seen = np.zeros(top + 1, bool)
    seen[np.unique(levels)] = True
    starts = rng.random(int(seen.sum())) < 0.3
    starts[0] = starts[-1] = True
    ranks = (np.cumsum(seen) - 1)[levels]
    numbers = (np.cumsum(starts) - 1)[ranks]
    within = ranks - np.flatnonzero(starts)[numbers]
    shape = (int(levels.shape[0]), int(levels.shape[1]))
    high = _body(rng, numbers, begun.refs, begun.coder, splits - 1)
    coded = decode_body(
        Reader(memoryview(high)), shape, begun.refs, begun.coder.model, splits=splits - 1
    )[1]
    rest = _body(rng, within, [coded], begun.coder, splits - 1)
    fields = varint(top) + _bitmap(seen) + _bitmap(starts) + varint(len(high)) + high + rest
    return begun.ended(fields, SPLIT | PACKED)


def _bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    coded = encode_bitmap(bits[None]) if bits.any() else b""
    return varint(len(coded)) + coded
