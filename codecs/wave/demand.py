"""What decoding a payload takes of memory and work, before anything is decoded.

The index says how many planes there are and which refer to which; the heads of bodies say how they
are made, and bodies within bodies have their lengths before them. That is enough: no sample, mask
or table is decoded to know it, and FORMAT.md §8 states the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tilepress.codecs.limits import MAX_SPLITS
from tilepress.codecs.wave.colour import Group
from tilepress.codecs.wave.index import Entry, Schedule
from tilepress.codecs.wave.layout import MAX_RANGE
from tilepress.codecs.wave.plane_format import (
    CONSTANT,
    FITTED,
    MASKED,
    PACKED,
    RAW,
    REPLICATED,
    SPLIT,
    blends,
    block_count,
    follows,
    read_factors,
)
from tilepress.codecs.wave.wavefront import most_rows, sheared_size
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

__all__ = ["Demand", "allowed_work", "body_demand", "chunk_demand"]

_HELD = 17
"""Bytes a sample of a decoded plane that is held: integers (8), R (4), E (4), mask (1)."""
_STEP_BYTES = 1300
"""Of a row of samples of one step: what the loop works in."""
_ROW_BYTES, _TURN_BYTES = 4800, 2**19
"""Of each row of a plane whose weights follow it, and besides: sums, samples and weights of strips.
"""
_FOLLOWED_WORK = 3
"""Work of a sample of such a plane, beyond its own."""
_TABLES = 2**24
"""Bytes of levels, trees and tables of all bodies within one another, and of what is small."""
_ENTRY = 1024
"""Bytes that a plane costs however small it is."""

_BODY = 256
"""Work of a body however small it is, in samples that are predicted."""
_BITS_OF_WORK = 8
"""Bits of a bitmap that cost as much as a sample that is predicted."""
_PLANE_WORK, _RECORD_WORK, _SAMPLE_WORK = 2**13, 2**22, 32
"""Work that a plane, a record and a sample may cost: several times what our encoders ask for."""


class Demand(NamedTuple):
    """What decoding takes."""

    memory: int
    """Bytes, at most, beside what was there before."""
    work: int
    """In samples that are predicted."""


def allowed_work(planes: int, samples: int) -> int:
    """Return the work that a record of so many planes and samples may cost.

    Bodies of few samples may list 2^17 levels each, which costs nothing to write: a reader that
    followed all of them would be busy for hours.
    """
    return _RECORD_WORK + _PLANE_WORK * planes + _SAMPLE_WORK * samples


def chunk_demand(
    entries: Sequence[Entry],
    schedule: Schedule,
    group_of: Mapping[int, Group],
    shape: tuple[int, int],
    after: int,
) -> Demand:
    """Return what decoding the planes of a schedule takes, their result not counted.

    shape : rows and columns of a plane; after : bytes a sample that turning a plane's integers into
    samples takes.
    """
    samples = shape[0] * shape[1]
    largest, work = after * samples, 0
    for _, decoded in schedule.steps:
        for plane in decoded:
            entry = entries[plane]
            if entry.copy:
                continue
            one = body_demand(Reader(memoryview(entry.body)), shape, len(entry.refs))
            largest, work = max(largest, one.memory), work + one.work
    held = _HELD * samples * schedule.most_held(entries, group_of)
    return Demand(_TABLES + _ENTRY * len(entries) + held + largest, work)


def body_demand(
    reader: Reader, shape: tuple[int, int], n_refs: int, splits: int = MAX_SPLITS
) -> Demand:
    """Return what decoding a body takes; raises InvalidRecord where it is none.

    The memory is all that is alive at one time but the planes that it refers to, its result
    included.
    """
    flags = reader.byte()
    if not flags & REPLICATED:
        return _demand_of_blocks(reader, flags, shape, n_refs, splits)
    factors = read_factors(reader, shape)
    height, width = block_count(shape[0], *factors[:2]), block_count(shape[1], *factors[2:])
    inner = _demand_of_blocks(reader, flags, (height, width), n_refs, splits)
    blocks = height * width
    # references by blocks and what averaging them takes; then all samples beside their blocks
    reduced = (8 * n_refs + 16 * (n_refs > 0)) * blocks
    expanded = _HELD * (blocks + shape[0] * shape[1])
    return Demand(
        max(reduced + inner.memory, expanded),
        inner.work + (n_refs + 1) * (shape[0] * shape[1] // _BITS_OF_WORK),
    )


def _demand_of_blocks(
    reader: Reader, flags: int, shape: tuple[int, int], n_refs: int, splits: int
) -> Demand:
    """Return what a body takes of which flags, and blocks if any, are read."""
    samples = shape[0] * shape[1]
    work = _BODY + samples // _BITS_OF_WORK
    if flags & MASKED:
        reader.take(reader.varint(2**30))
        work += samples // _BITS_OF_WORK
    reader.signed_varint()
    if flags & CONSTANT:
        return Demand(_HELD * samples, work)
    if flags & SPLIT:
        return _demand_of_two(reader, flags, shape, n_refs, splits, work)
    top = reader.varint(MAX_RANGE - 1)
    levels = 8 * samples if flags & PACKED else 0
    if flags & PACKED:
        work += 2 * (top + 1) // _BITS_OF_WORK
    if flags & RAW:
        return Demand((_HELD + 4) * samples + levels, work)
    places, left = sheared_size(*shape), reader.left
    # samples, errors, references and theirs, mask: four bytes each but for the mask, which has four
    # more while it is made
    loop = (8 + 8 * n_refs + 5) * places + _STEP_BYTES * (most_rows(*shape) + 1)
    kind = _kind_of_weights(reader, flags) if flags & FITTED else 0
    if follows(kind):
        loop += _ROW_BYTES * shape[0] + _TURN_BYTES
        loop += 8 * places if blends(kind) else 0  # errors of both predictions
        work += _FOLLOWED_WORK * samples
    done = _HELD * samples + levels
    return Demand(max(loop + 2 * samples, done + 4 * places) + left, work + samples)


def _kind_of_weights(reader: Reader, flags: int) -> int:
    """Read on from the highest level to the byte before fitted weights, and return that; 0 where
    that cannot be read, which decoding finds out as soon."""
    with contextlib.suppress(InvalidRecord):
        if flags & PACKED:
            reader.take(reader.varint(2**20))
            reader.take(reader.varint(2**20))
        reader.varint(MAX_RANGE - 1)
        return reader.byte()
    return 0


def _demand_of_two(
    reader: Reader, flags: int, shape: tuple[int, int], n_refs: int, splits: int, work: int
) -> Demand:
    """Return what a split or clusters take: the second body is decoded beside the first one's."""
    if not splits:
        raise InvalidRecord(f"decoding a plane: more than {MAX_SPLITS} splits within one another")
    samples = shape[0] * shape[1]
    beside, second_refs = 8, 0
    if flags & PACKED:
        work += 2 * (reader.varint(MAX_RANGE - 1) + 1) // _BITS_OF_WORK
        reader.take(reader.varint(2**20))
        reader.take(reader.varint(2**20))
        beside, second_refs = 16, 1
    else:
        reader.byte()
    first = Reader(reader.take(reader.varint(2**31)))
    high = body_demand(first, shape, n_refs, splits - 1)
    low = body_demand(reader, shape, second_refs, splits - 1)
    joined = (beside + 24) * samples
    mask = samples  # of the whole, beside all of it
    return Demand(
        mask + max(high.memory, beside * samples + low.memory, joined), work + high.work + low.work
    )
