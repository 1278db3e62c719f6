"""A chunk of planes to the payload of a record and back (FORMAT.md §3)."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import samples_crc
from tilepress.codecs.wave.backend import Backend, TreeEffort
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.plane_format import DecodedPlane
from tilepress.codecs.wave.structure import choose_references
from tilepress.codecs.wave.values import ValueMap, choose_map
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import ChecksumMismatch, InvalidRecord

__all__ = ["decode_chunk", "encode_chunk"]

Planes = npt.NDArray[np.int64]
_COPY = 3
"""Number of references that marks a plane as a copy of its one reference."""
_TRIAL_ROWS = 64
_COLOUR_BANDS = (3, 4)
"""Numbers of bands whose first three may be red, green and blue."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One plane of the index."""

    refs: tuple[int, ...]
    copy: bool
    clamp: tuple[int, int] | None
    patch: bytes
    crc: int
    body: bytes | memoryview


def encode_chunk(
    samples: npt.NDArray[Any],
    absent: npt.NDArray[Any] | None,
    max_error: float,
    coder: Coder,
    bands: int,
) -> tuple[bytes, npt.NDArray[Any]] | None:
    """Code (planes, y, x) samples; return the payload and what it decodes to, or None if unfit.

    absent : one sample of the same dtype that marks absent samples (compared bit by bit), or None.
    bands : planes that belong together, band fastest; of 3 or 4 the first three are tried as red,
    green, blue. A hint: it changes sizes, never samples.
    """
    mask = None
    if absent is not None:
        raw = f"u{samples.dtype.itemsize}" if samples.dtype.kind != "b" else "u1"
        mask = samples.view(raw) == absent.view(raw)
        if not mask.any():
            mask = None
    mapped = choose_map(samples, mask, max_error, absent)
    if mapped is None:
        return None
    value_map, integers = mapped
    step = 2 * int(max_error) + 1 if samples.dtype.kind != "f" else 1
    clamps: list[tuple[int, int] | None] = [None] * len(integers)
    levels = integers
    if step > 1:
        clamps = [_span(p, None if mask is None else mask[i]) for i, p in enumerate(integers)]
        levels = (integers + step // 2) // step
    groups = _colour_groups(levels, mask, bands, coder) if samples.dtype.itemsize <= 2 else []
    coded = levels.copy() if groups else levels
    for first in groups:
        coded[first : first + 3] = _to_luma(levels[first : first + 3])
    entries, rebuilt = [], integers
    bodies = _encode_planes(coded, mask, bands, coder)
    if step > 1:
        rebuilt = np.stack(
            [np.clip(p * step, *c) if c else p * step for p, c in zip(levels, clamps, strict=True)]
        )
    patches = [b""] * len(integers)
    if step > 1 and absent is not None:
        patches = [
            _patch(rebuilt[i], integers[i], None if mask is None else mask[i], int(absent))
            for i in range(len(integers))
        ]
    decoded = value_map.to_samples(rebuilt, samples.dtype)
    if mask is not None:
        assert absent is not None
        decoded = np.where(mask, absent, decoded)
    for i, (refs, copy, body) in enumerate(bodies):
        entries.append(_Entry(refs, copy, clamps[i], patches[i], samples_crc(decoded[i]), body))
    payload = value_map.pack() + _pack_index(
        entries, groups, step, absent if mask is not None or any(patches) else None
    )
    return payload + b"".join(bytes(e.body) for e in entries), decoded


def decode_chunk(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    model: WaveModel,
    wanted: frozenset[int] | None = None,
    backend: Backend = CPU,
) -> npt.NDArray[Any]:
    """Decode a payload to (planes, y, x) samples; with ``wanted`` only those are."""
    reader = Reader(payload)
    value_map = ValueMap.read(reader, dtype)
    step, absent, groups, entries = _read_index(reader, shape[0], dtype)
    group_of = {first + k: first for first in groups for k in range(3)}
    planes = sorted(range(shape[0]) if wanted is None else wanted)
    memo: dict[int, tuple[Planes, DecodedPlane]] = {}
    left = _uses(planes, entries, group_of)
    out = np.zeros(shape, dtype)
    for index in planes:
        levels = _levels_of(index, entries, group_of, memo, left, shape[1:], model, backend)
        entry = entries[index]
        integers = levels * step
        if entry.clamp is not None:
            integers = np.clip(integers, *entry.clamp)
        mask = memo[index][1].mask
        if entry.patch:
            if absent is None:
                raise InvalidRecord("decoding a payload: a patch without a nodata value")
            integers = _apply_patch(integers, mask, int(absent), entry.patch)
        plane = value_map.to_samples(integers, dtype)
        if mask is not None:
            if absent is None:
                raise InvalidRecord("decoding a payload: a mask without a nodata value")
            plane = np.where(mask, absent, plane)
        if samples_crc(plane) != entry.crc:
            raise ChecksumMismatch(f"decoding plane {index}: samples do not match their crc32c")
        out[index] = plane
        for part in _parts(index, group_of):
            left[part] -= 1
        for done in [p for p in memo if left[p] == 0]:
            del memo[done]
    return out


def _parts(index: int, group_of: dict[int, int]) -> range:
    """Return the coded planes that a plane's samples are made of."""
    first = group_of.get(index)
    return range(index, index + 1) if first is None else range(first, first + 3)


def _uses(planes: list[int], entries: list[_Entry], group_of: dict[int, int]) -> Counter[int]:
    """Return how often each coded plane is still to be used: by planes, and as a reference."""
    uses = Counter(part for index in planes for part in _parts(index, group_of))
    uses.update(r for entry in entries for r in entry.refs)
    return uses


def _span(plane: Planes, mask: npt.NDArray[np.bool_] | None) -> tuple[int, int] | None:
    present = plane if mask is None else plane[~mask]
    return (int(present.min()), int(present.max())) if present.size else None


def _to_luma(rgb: Planes) -> Planes:
    """Reversible YCoCg-R (Malvar & Sullivan, 2003): red, green, blue → Co, Y, Cg."""
    red, green, blue = rgb
    co = red - blue
    base = blue + (co >> 1)
    cg = green - base
    return np.stack([co, base + (cg >> 1), cg])


def _from_luma(coded: Planes) -> Planes:
    co, luma, cg = coded
    base = luma - (cg >> 1)
    blue = base - (co >> 1)
    return np.stack([blue + co, cg + base, blue])


def _coding_order(planes: int, bands: int) -> list[int]:
    """Planes in the order in which they may refer to one another: green before red before blue."""
    if bands not in _COLOUR_BANDS:
        return list(range(planes))
    order: list[int] = []
    for first in range(0, planes, bands):
        group = list(range(first, min(first + bands, planes)))
        order += [*group[1:2], *group[0:1], *group[2:]]
    return order


def _encode_planes(
    planes: Planes, mask: npt.NDArray[np.bool_] | None, bands: int, coder: Coder
) -> list[tuple[tuple[int, ...], bool, bytes]]:
    """Return (references, is a copy, body) of every plane, in plane order."""
    order = _coding_order(len(planes), bands)
    rank = {index: place for place, index in enumerate(order)}
    previews = [_preview(planes[i], None if mask is None else mask[i]) for i in order]
    chosen = choose_references(
        previews, [list(range(max(0, p - 16), p)) for p in range(len(order))]
    )
    out: dict[int, tuple[tuple[int, ...], bool, bytes]] = {}
    done: dict[int, DecodedPlane] = {}
    for index in order:
        plane_mask = None if mask is None else mask[index]
        refs = tuple(order[r] for r in chosen[rank[index]])
        if refs and _equal(planes, mask, index, refs[0]):
            out[index], done[index] = (refs[:1], True, b""), done[refs[0]]
            continue
        body, done[index] = encode_body(planes[index], plane_mask, [done[r] for r in refs], coder)
        out[index] = (refs, False, body)
    return [out[i] for i in range(len(planes))]


def _equal(planes: Planes, mask: npt.NDArray[np.bool_] | None, a: int, b: int) -> bool:
    same_mask = mask is None or np.array_equal(mask[a], mask[b])
    return same_mask and np.array_equal(planes[a], planes[b])


def _preview(plane: Planes, mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int32]:
    """The plane with absent samples at its middle, in a range that suits int32."""
    low, high = _span(plane, mask) or (0, 0)
    shift = max(0, (high - low).bit_length() - 20)
    centred = plane - low if mask is None else np.where(mask, (high - low) // 2, plane - low)
    return (centred >> shift).astype(np.int32)


def _colour_groups(
    levels: Planes, mask: npt.NDArray[np.bool_] | None, bands: int, coder: Coder
) -> list[int]:
    """Return the first planes of the groups that the colour transform makes smaller."""
    if bands not in _COLOUR_BANDS or len(levels) % bands:
        return []
    top = max(0, levels.shape[1] // 2 - _TRIAL_ROWS // 2)
    groups = []
    trial = replace(coder, trees=TreeEffort(0, 0))
    for first in range(0, len(levels), bands):
        if mask is not None and mask[first : first + 3].any():
            continue
        strip = np.ascontiguousarray(levels[first : first + 3, top : top + _TRIAL_ROWS])
        sizes = [
            sum(len(body) for _, _, body in _encode_planes(p, None, 3, trial))
            for p in (strip, _to_luma(strip))
        ]
        if sizes[1] < sizes[0]:
            groups.append(first)
    return groups


def _patch(
    rebuilt: Planes, exact: Planes, mask: npt.NDArray[np.bool_] | None, absent: int
) -> bytes:
    """Move samples that would decode to the nodata value one step towards where they were.

    Changes ``rebuilt`` in place; the bits tell, for each such sample in raster order, whether up.
    """
    hit = rebuilt == absent
    if mask is not None:
        hit &= ~mask
    if not hit.any():
        return b""
    up = exact[hit] > absent
    rebuilt[hit] = np.where(up, absent + 1, absent - 1)
    return b"\1" + encode_bitmap(up[None])


def _apply_patch(
    rebuilt: Planes, mask: npt.NDArray[np.bool_] | None, absent: int, patch: bytes
) -> Planes:
    hit = rebuilt == absent
    if mask is not None:
        hit &= ~mask
    count = int(np.count_nonzero(hit))
    if count == 0:
        raise InvalidRecord("decoding a payload: a patch that touches no sample")
    up = decode_bitmap(patch[1:], 1, count)[0]
    out = rebuilt.copy()
    out[hit] = np.where(up, absent + 1, absent - 1)
    return out


def _levels_of(
    index: int,
    entries: list[_Entry],
    group_of: dict[int, int],
    memo: dict[int, tuple[Planes, DecodedPlane]],
    left: Counter[int],
    shape: tuple[int, ...],
    model: WaveModel,
    backend: Backend,
) -> Planes:
    """Return the integers of a plane, its colour transform undone."""
    parts = _parts(index, group_of)
    coded = [_decode_entry(p, entries, memo, left, shape, model, backend)[0] for p in parts]
    if len(coded) == 1:
        return coded[0]
    colour: Planes = _from_luma(np.stack(coded))[index - parts.start]
    return colour


def _decode_entry(
    index: int,
    entries: list[_Entry],
    memo: dict[int, tuple[Planes, DecodedPlane]],
    left: Counter[int],
    shape: tuple[int, ...],
    model: WaveModel,
    backend: Backend = CPU,
) -> tuple[Planes, DecodedPlane]:
    """Decode a plane and, before it, the planes it refers to; each once.

    ``left`` counts down the uses of the planes referred to.
    """
    pending, waiting = [index], set[int]()
    while pending:
        current = pending[-1]
        if current in memo:
            pending.pop()
            continue
        entry = entries[current]
        missing = [r for r in entry.refs if r not in memo]
        if missing:
            waiting.add(current)
            if not waiting.isdisjoint(missing):
                raise InvalidRecord("decoding a payload: planes refer to one another in a circle")
            pending += missing
            continue
        if entry.copy:
            memo[current] = memo[entry.refs[0]]
        else:
            reader = Reader(memoryview(entry.body))
            memo[current] = decode_body(
                reader, (shape[0], shape[1]), [memo[r][1] for r in entry.refs], model, backend
            )
            reader.finish()
        left.subtract(entry.refs)
        pending.pop()
    return memo[index]


def _pack_index(
    entries: list[_Entry], groups: list[int], step: int, absent: npt.NDArray[Any] | None
) -> bytes:
    out = varint(step // 2)
    out += b"\0" if absent is None else b"\1" + absent.tobytes()
    out += varint(len(groups)) + b"".join(varint(g) for g in groups)
    for entry in entries:
        out += bytes([_COPY if entry.copy else len(entry.refs)])
        out += b"".join(varint(r) for r in entry.refs)
        if step > 1:
            out += (
                b"\0"
                if entry.clamp is None
                else b"\1" + b"".join(signed_varint(c) for c in entry.clamp)
            )
            out += varint(len(entry.patch)) + entry.patch
        out += entry.crc.to_bytes(4, "little") + varint(len(entry.body))
    return out


def _read_index(
    reader: Reader, planes: int, dtype: np.dtype[Any]
) -> tuple[int, npt.NDArray[Any] | None, list[int], list[_Entry]]:
    step = 2 * reader.varint(2**32) + 1
    if step > 1 and dtype.kind not in "ui":
        raise InvalidRecord(f"decoding a payload: a grid of {step} for {dtype.name}")
    absent = None
    if reader.flag():
        absent = np.frombuffer(reader.take(dtype.itemsize), dtype)[0].reshape(())
    groups = [reader.varint(planes) for _ in range(reader.varint(planes))]
    if any(b - a < 3 for a, b in itertools.pairwise([*groups, planes])):
        raise InvalidRecord("decoding a payload: colour groups overlap or exceed the planes")
    heads = []
    for _ in range(planes):
        count = reader.byte()
        if count > _COPY:
            raise InvalidRecord(f"decoding a payload: {count} references")
        refs = tuple(reader.varint(planes - 1) for _ in range(1 if count == _COPY else count))
        clamp, patch = None, b""
        if step > 1:
            if reader.flag():
                clamp = (reader.signed_varint(), reader.signed_varint())
                if clamp[0] > clamp[1]:
                    raise InvalidRecord(f"decoding a payload: clamp {clamp[0]} … {clamp[1]}")
            patch = bytes(reader.take(reader.varint(2**30)))
            if patch and patch[0] != 1:
                raise InvalidRecord(f"decoding a payload: patch of kind {patch[0]}")
        heads.append((refs, count == _COPY, clamp, patch, reader.fixed(4), reader.varint(2**31)))
    if any(copy and length for _, copy, *_, length in heads):
        raise InvalidRecord("decoding a payload: a copied plane has a body")
    entries = [_Entry(*head[:5], reader.take(head[5])) for head in heads]
    reader.finish()
    return step, absent, groups, entries
