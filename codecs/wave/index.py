"""The index of a payload: what it says of every plane, and in which order planes are decoded.

entries ─► schedule: for each plane that is wanted, which are decoded before it
        └► uses: how long each stays in memory
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.colour import KINDS, YCBCR, YCOCG, Group
from tilepress.codecs.wave.layout import FORM
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import InvalidRecord

__all__ = ["Entry", "Schedule", "pack_index", "parts_of", "read_index", "release", "scheduled"]

_COPY = 3
"""Number of references that marks a plane as a copy of its one reference."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One plane of the index."""

    refs: tuple[int, ...]
    copy: bool
    clamp: tuple[int, int] | None
    patch: bytes
    crc: int
    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which bodies are decoded, and when."""

    steps: list[tuple[int, list[int]]]
    """For each wanted plane, ascending: the planes whose bodies are decoded for it, in order."""
    uses: Counter[int]
    """How often each decoded plane is used: by wanted planes, and as a reference."""

    def most_held(self, entries: Sequence[Entry], group_of: Mapping[int, Group]) -> int:
        """Return how many decoded planes are held at one time, at most."""
        left, held, most = self.uses.copy(), 0, 0
        for index, decoded in self.steps:
            for plane in decoded:
                held += 1
                most = max(most, held)
                held -= len(release(left, entries[plane].refs))
            held -= len(release(left, parts_of(index, group_of)))
        return most


def pack_index(
    entries: list[Entry],
    groups: list[Group],
    step: int,
    absent: npt.NDArray[Any] | None,
    form: int = FORM,
) -> bytes:
    """Pack grid, nodata, colour groups and entries."""
    out = [varint(step // 2), b"\0" if absent is None else b"\1" + absent.tobytes()]
    out.append(varint(len(groups)))
    for group in groups:
        out += [varint(group.first), bytes([group.kind] if form > 2 else [])]
    for entry in entries:
        out.append(bytes([_COPY if entry.copy else len(entry.refs)]))
        out += [varint(r) for r in entry.refs]
        if step > 1:
            clamp = entry.clamp
            out.append(
                b"\0" if clamp is None else b"\1" + b"".join(signed_varint(c) for c in clamp)
            )
            out += [varint(len(entry.patch)), entry.patch]
        out += [entry.crc.to_bytes(4, "little"), varint(len(entry.body))]
    return b"".join(out)


def read_index(
    reader: Reader, planes: int, dtype: np.dtype[Any], form: int = FORM
) -> tuple[int, npt.NDArray[Any] | None, list[Group], list[Entry]]:
    """Return step of the grid, nodata, colour groups, and entries."""
    step = 2 * reader.varint(2**32) + 1
    if step > 1 and dtype.kind not in "ui":
        raise InvalidRecord(f"decoding a payload: a grid of {step} for {dtype.name}")
    absent = None
    if reader.flag():
        sample = reader.take(dtype.itemsize)
        if dtype.kind == "b" and sample[0] > 1:
            raise InvalidRecord(f"decoding a payload: got nodata {sample[0]} of bool, want 0 or 1")
        absent = np.frombuffer(sample, dtype)[0].reshape(())
    groups = _read_groups(reader, planes, form)
    if any(g.kind == YCBCR for g in groups) and (step > 1 or dtype != np.uint8):
        raise InvalidRecord(f"decoding a payload: Y, Cb, Cr of {dtype.name} on a grid of {step}")
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
    entries = [Entry(*head[:5], reader.take(head[5])) for head in heads]
    reader.finish()
    return step, absent, groups, entries


def _read_groups(reader: Reader, planes: int, form: int) -> list[Group]:
    groups = []
    for _ in range(reader.varint(planes)):
        group = Group(reader.varint(planes), reader.byte() if form > 2 else YCOCG)
        if group.kind not in KINDS[form]:
            raise InvalidRecord(f"decoding a payload: colours of kind {group.kind}")
        groups.append(group)
    if any(b - a < 3 for a, b in itertools.pairwise([*(g.first for g in groups), planes])):
        raise InvalidRecord("decoding a payload: colour groups overlap or exceed the planes")
    return groups


def parts_of(index: int, group_of: Mapping[int, Group]) -> tuple[int, ...]:
    """Return the coded planes that a plane's samples are made of."""
    group = group_of.get(index)
    return (index,) if group is None else group.parts(index)


def scheduled(
    wanted: Sequence[int], entries: Sequence[Entry], group_of: Mapping[int, Group]
) -> Schedule:
    """Order the bodies that ``wanted`` planes, ascending, need: each is decoded once.

    Raises InvalidRecord where planes refer to one another in a circle. Takes time by the number of
    planes.
    """
    decoded: set[int] = set()
    steps = []
    uses: Counter[int] = Counter()
    for index in wanted:
        parts = parts_of(index, group_of)
        new = [plane for part in parts for plane in _needed(part, entries, decoded)]
        steps.append((index, new))
        uses.update(parts)
        for plane in new:
            uses.update(entries[plane].refs)
    return Schedule(steps, uses)


def _needed(index: int, entries: Sequence[Entry], decoded: set[int]) -> Iterator[int]:
    """Yield a plane, unless it is decoded, after those that it refers to; they count as decoded."""
    pending, waiting = [index], set[int]()
    while pending:
        current = pending[-1]
        if current in decoded:
            pending.pop()
            continue
        missing = [r for r in entries[current].refs if r not in decoded]
        if missing:
            waiting.add(current)
            if not waiting.isdisjoint(missing):
                raise InvalidRecord("decoding a payload: planes refer to one another in a circle")
            pending += missing
            continue
        decoded.add(current)
        pending.pop()
        yield current


def release(left: Counter[int], planes: Sequence[int]) -> list[int]:
    """Count a use of each plane; return those that nothing needs any more."""
    done = []
    for plane in planes:
        left[plane] -= 1
        if not left[plane]:
            done.append(plane)
    return done
