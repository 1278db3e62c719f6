"""A chunk of planes to the payload of a record and back (FORMAT.md §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.native.memory import keep_large_arrays
from tilepress.codecs.record import samples_crc
from tilepress.codecs.wave.backend import Backend
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.bodies import choose_colours, encode_planes, span
from tilepress.codecs.wave.colour import group_of_each, undone
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.demand import allowed_work, chunk_demand
from tilepress.codecs.wave.index import (
    Entry,
    Schedule,
    pack_index,
    parts_of,
    read_index,
    release,
    scheduled,
)
from tilepress.codecs.wave.layout import FORM
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import DecodedPlane
from tilepress.codecs.wave.values import ValueMap, choose_map
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import ChecksumMismatch, InvalidRecord

__all__ = ["decode_chunk", "encode_chunk"]

Planes = npt.NDArray[np.int64]


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
    keep_large_arrays()
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
        clamps = [span(p, None if mask is None else mask[i]) for i, p in enumerate(integers)]
        levels = (integers + step // 2) // step
    coloured = choose_colours(levels, mask, bands, coder, samples.dtype, step)
    mask = coloured.mask
    entries, rebuilt = [], integers
    bodies = encode_planes(coloured.planes, mask, bands, coder)
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
        entries.append(Entry(refs, copy, clamps[i], patches[i], samples_crc(decoded[i]), body))
    told = absent if mask is not None or any(patches) else None
    payload = value_map.pack() + pack_index(entries, coloured.groups, step, told, coder.model.form)
    return payload + b"".join(bytes(e.body) for e in entries), decoded


def decode_chunk(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    model: WaveModel,
    wanted: frozenset[int] | None = None,
    backend: Backend = CPU,
    budget: Budget | None = None,
    *,
    form: int = FORM,
) -> npt.NDArray[Any]:
    """Decode a payload to (planes, y, x) samples; with ``wanted`` only those are.

    form : of the payload, 2 … 4.

    Raises TooMuchMemory before anything is decoded where that is more than the budget has, the
    result counted.
    """
    reader = Reader(payload)
    value_map = ValueMap.read(reader, dtype)
    step, absent, groups, entries = read_index(reader, shape[0], dtype, form)
    group_of = group_of_each(groups)
    planes = sorted(range(shape[0]) if wanted is None else wanted)
    schedule = scheduled(planes, entries, group_of)
    after = _bytes_after(dtype, step, colour=bool(groups))
    demand = chunk_demand(entries, schedule, group_of, shape[1:], after)
    if demand.work > allowed_work(shape[0], int(np.prod(shape))):
        raise InvalidRecord("decoding a payload: its bodies take more work than their samples are")
    if budget is not None:
        budget.check(demand.memory + dtype.itemsize * int(np.prod(shape)))
    held = _Held(entries, schedule, shape[1:], model, backend, form)
    out = np.zeros(shape, dtype)
    for index, decoded in schedule.steps:
        for plane in decoded:
            held.decode(plane)
        parts = parts_of(index, group_of)
        entry = entries[index]
        integers = held.integers(index)
        if group := group_of.get(index):
            integers = undone(group, index, {part: held.integers(part) for part in parts})
        integers = _off_the_grid(integers, step, entry.clamp)
        mask = held.mask(index)
        if entry.patch:
            if absent is None:
                raise InvalidRecord("decoding a payload: a patch without a nodata value")
            integers = _apply_patch(integers, mask, int(absent), entry.patch)
        samples = value_map.to_samples(integers, dtype)
        del integers
        if mask is not None:
            if absent is None:
                raise InvalidRecord("decoding a payload: a mask without a nodata value")
            samples = np.where(mask, absent, samples)
        if samples_crc(samples) != entry.crc:
            raise ChecksumMismatch(f"decoding plane {index}: samples do not match their crc32c")
        out[index] = samples
        held.let_go(parts)
    return out


class _Held:
    """Planes that are decoded and still needed."""

    def __init__(
        self,
        entries: Sequence[Entry],
        schedule: Schedule,
        shape: tuple[int, int],
        model: WaveModel,
        backend: Backend,
        form: int,
    ) -> None:
        self._form = form
        self._entries, self._left = entries, schedule.uses.copy()
        self._shape, self._model, self._backend = shape, model, backend
        self._planes: dict[int, tuple[Planes, DecodedPlane]] = {}

    def decode(self, index: int) -> None:
        """Decode a plane whose references are held."""
        entry = self._entries[index]
        if entry.copy:
            self._planes[index] = self._planes[entry.refs[0]]
        else:
            reader = Reader(memoryview(entry.body))
            refs = [self._planes[r][1] for r in entry.refs]
            self._planes[index] = decode_body(
                reader, self._shape, refs, self._model, self._backend, form=self._form
            )
            reader.finish()
        self.let_go(entry.refs)

    def let_go(self, planes: Sequence[int]) -> None:
        """Count a use of each plane; forget those that nothing needs any more."""
        for plane in release(self._left, planes):
            del self._planes[plane]

    def integers(self, index: int) -> Planes:
        return self._planes[index][0]

    def mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        return self._planes[index][1].mask

    def __len__(self) -> int:
        return len(self._planes)


def _bytes_after(dtype: np.dtype[Any], step: int, *, colour: bool) -> int:
    """Return the bytes a sample that lie between a plane's integers and its samples."""
    grid, floats = 8 * (step > 1), (dtype.kind == "f") * (8 if dtype.itemsize == 8 else 16)
    return grid + floats + 8 * colour + 2 * dtype.itemsize + 2


def _off_the_grid(levels: Planes, step: int, clamp: tuple[int, int] | None) -> Planes:
    """Return the integers that levels stand for; a new array where there is a grid or a clamp."""
    if step == 1 and clamp is None:
        return levels
    integers: Planes = levels * step
    if clamp is not None:
        np.clip(integers, *clamp, out=integers)
    return integers


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
    """Undo ``_patch``, in place."""
    hit = rebuilt == absent
    if mask is not None:
        hit &= ~mask
    count = int(np.count_nonzero(hit))
    if count == 0:
        raise InvalidRecord("decoding a payload: a patch that touches no sample")
    up = decode_bitmap(patch[1:], 1, count)[0]
    rebuilt[hit] = np.where(up, absent + 1, absent - 1)
    return rebuilt
