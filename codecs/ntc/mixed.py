"""Code the planes of a chunk in whatever way suits each: lossy, to the bit, or without low bits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import bounded_coder
from tilepress.codecs.coder import Coded
from tilepress.codecs.levels import EXACT, nominal_step
from tilepress.codecs.ntc.backend import Backend
from tilepress.codecs.ntc.chunk import encode_chunk, price_of
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.parts import HOLE, NUMBER, Added, Part, Shift, pack_parts
from tilepress.codecs.ntc.payload import MOST_SPAN
from tilepress.codecs.recent import Recent

__all__ = ["Chunk", "Ours", "encode_mixed"]

Array = npt.NDArray[Any]

EXACT_MODEL = "wave-3"
"""The weights of planes that lose nothing."""

_COARSE_ENOUGH = 4
"""Units of samples without their low bits to a step: what they lose is lost in its noise."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is coded."""

    samples: Array
    """(planes, y, x)."""
    absent: Array | None
    bands: int
    """Planes that belong together, band fastest."""
    exact: frozenset[int] = frozenset()
    """Bands, from 0, that must not lose anything."""
    bound: float | None = None
    """What no other sample is off by more than; None: there is no bound."""

    @property
    def exact_planes(self) -> tuple[int, ...]:
        return tuple(p for p in range(len(self.samples)) if p % self.bands in self.exact)

    def of(self, planes: tuple[int, ...], bands: int) -> Chunk:
        """Return some of its planes, of which so many belong together: those at the end, which are
        not coded where they are all fill, may be missing."""
        some = np.ascontiguousarray(self.samples[list(planes)])
        group = bands if len(planes) % bands == 0 else 1
        return Chunk(some, self.absent, group, bound=self.bound)


class Ours(NamedTuple):
    """What codes by ``ntc`` itself."""

    number: int
    """Of its records."""
    model_id: bytes
    model: NtcModel
    backend: Backend


def encode_mixed(chunk: Chunk, level: float, peak: float, own: Ours) -> Coded | None:
    """Return what planes become at a level; None where no coder takes them.

    own : what codes by ``ntc`` itself.
    """
    exact = chunk.exact_planes
    lossy = tuple(p for p in range(len(chunk.samples)) if p not in set(exact))
    if level == EXACT or not lossy:
        return _single(_exact_part(chunk, tuple(range(len(chunk.samples)))), chunk)
    decoded = np.empty_like(chunk.samples)
    some = chunk.of(lossy, chunk.bands - len(chunk.exact)) if exact else chunk
    parts, decoded[list(lossy)] = _lossy_parts(some, lossy, nominal_step(level, peak), own)
    if exact and parts:
        kept = _exact_part(chunk.of(exact, len(chunk.exact)), exact)
        parts = [*parts, kept] if kept is not None else []
        decoded[list(exact)] = chunk.samples[list(exact)]
    if not parts:
        return None
    if len(parts) == 1 and parts[0].how is None:
        (part,) = parts
        return Coded(bytes(part.payload), decoded, False, part.coder, part.model_id)
    return Coded(pack_parts(len(decoded), parts), decoded, False, NUMBER, own.model_id)


def _single(part: Part | None, chunk: Chunk) -> Coded | None:
    if part is None:
        return None
    return Coded(bytes(part.payload), chunk.samples, False, part.coder, part.model_id)


def _lossy_parts(
    chunk: Chunk, planes: tuple[int, ...], step: float, own: Ours
) -> tuple[list[Part], Array]:
    """Return planes in the way that costs least, and what they become; no parts where none can."""
    ways = []
    found = _transformed(chunk, planes, step, own)
    if found is not None and chunk.bound is not None:
        found = _within(chunk, planes, chunk.bound, *found)
    if found is not None:
        ways.append(found)
    if found is None or chunk.bound is not None:
        ways += _apart(chunk, planes)
    if len(ways) < 2:
        return ways[0] if ways else ([], chunk.samples)

    def cost(way: tuple[list[Part], Array]) -> float:
        error = way[1].astype(np.float64) - chunk.samples
        bits = 8 * sum(len(part.payload) for part in way[0])
        return bits + price_of(own.model) * float(np.vdot(error, error)) / step**2

    return min(ways, key=cost)


def _transformed(
    chunk: Chunk, planes: tuple[int, ...], step: float, own: Ours
) -> tuple[list[Part], Array] | None:
    """Return planes by ``ntc``, at once or without their low bits; None where it cannot."""
    number, model_id, model, backend = own
    found = encode_chunk(chunk.samples, chunk.absent, chunk.bands, step, model, backend=backend)
    if found is not None:
        return [Part(planes, number, model_id, found[0])], found[1]
    if chunk.samples.dtype.kind not in "iu" or chunk.samples.dtype.itemsize > 4:
        return None
    shift = Shift.of(chunk.samples, chunk.absent, MOST_SPAN)
    unit = 1 << shift.bits
    if step < _COARSE_ENOUGH * unit:
        return None
    hole = None if chunk.absent is None else HOLE
    found = encode_chunk(
        shift.forward(chunk.samples), hole, chunk.bands, step / unit, model, backend=backend
    )
    assert found is not None, "the shift is as wide as it must be"
    dtype = chunk.samples.dtype
    back = [shift.inverse(at, plane, dtype) for at, plane in enumerate(found[1])]
    return [Part(planes, number, model_id, found[0], shift)], np.stack(back)


def _within(
    chunk: Chunk, planes: tuple[int, ...], bound: float, parts: list[Part], decoded: Array
) -> tuple[list[Part], Array] | None:
    """Return parts with what is missing to a bound; None where it cannot be told so."""
    residual = chunk.samples.astype(np.int64) - decoded
    far = [at for at, plane in enumerate(residual) if int(np.abs(plane).max()) > bound]
    if not far:
        return parts, decoded
    coder, model_id = bounded_coder(EXACT_MODEL, bound)
    missing = np.ascontiguousarray(residual[far].astype(Added.dtype(chunk.samples.dtype)))
    found = coder.encode(missing, None, chunk.bands if len(far) % chunk.bands == 0 else 1)
    if found is None:
        return None
    before = decoded[far]
    added = Added(chunk.absent).of(chunk.samples[far], before, found[1])
    for at, number in enumerate(far):
        decoded[number] = added.samples(at, before[at], found[1][at])
    if int(np.abs(chunk.samples.astype(np.int64) - decoded).max()) > bound:
        return None
    part = Part(tuple(planes[at] for at in far), coder.number, model_id, found[0], added)
    return [*parts, part], decoded


def _apart(chunk: Chunk, planes: tuple[int, ...]) -> list[tuple[list[Part], Array]]:
    """Return planes by the lossless codec alone, within the bound if there is one."""
    found = _kept_part(chunk, planes, chunk.bound or 0)
    return [] if found is None else [([found[0]], found[1])]


_kept: Recent[bytes, tuple[bytes, Array]] = Recent(2**27, lambda one: len(one[0]) + one[1].nbytes)
"""What the lossless codec made of planes: it is the same at each level."""


def _exact_part(chunk: Chunk, planes: tuple[int, ...]) -> Part | None:
    """Return planes by the lossless codec; None where it cannot code them."""
    found = _kept_part(chunk, planes, 0)
    return None if found is None else found[0]


def _kept_part(chunk: Chunk, planes: tuple[int, ...], bound: float) -> tuple[Part, Array] | None:
    """Return planes within a bound, 0 for none lost, and what they become."""
    coder, model_id = bounded_coder(EXACT_MODEL, bound)
    absent = b"" if chunk.absent is None else chunk.absent.tobytes()
    told = repr((chunk.samples.dtype.str, chunk.samples.shape, chunk.bands, absent, bound))
    key = hashlib.sha256(told.encode() + chunk.samples.tobytes()).digest()
    found = _kept.get(key)
    if found is None:
        found = coder.encode(chunk.samples, chunk.absent, chunk.bands)
        if found is None:
            return None
        _kept.put(key, found)
    return Part(planes, coder.number, model_id, found[0]), found[1]
