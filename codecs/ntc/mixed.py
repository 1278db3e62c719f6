"""Code the planes of a chunk in whatever way suits each: lossy, to the bit, or without low bits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import bounded_coder
from tilepress.codecs.levels import EXACT, nominal_step
from tilepress.codecs.ntc.chunk import encode_chunk
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.parts import HOLE, NUMBER, Part, Shift, pack_parts
from tilepress.codecs.ntc.payload import MOST_SPAN
from tilepress.codecs.recent import Recent
from tilepress.codecs.registry import Coded

__all__ = ["Chunk", "encode_mixed"]

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

    @property
    def exact_planes(self) -> tuple[int, ...]:
        return tuple(p for p in range(len(self.samples)) if p % self.bands in self.exact)

    def of(self, planes: tuple[int, ...], bands: int) -> Chunk:
        """Return some of its planes, of which so many belong together: those at the end, which are
        not coded where they are all fill, may be missing."""
        some = np.ascontiguousarray(self.samples[list(planes)])
        return Chunk(some, self.absent, bands if len(planes) % bands == 0 else 1)


def encode_mixed(
    chunk: Chunk, level: float, peak: float, own: tuple[int, bytes, NtcModel]
) -> Coded | None:
    """Return what planes become at a level; None where no coder takes them.

    own : number, name of the weights and model of ``ntc``.
    """
    exact = chunk.exact_planes
    lossy = tuple(p for p in range(len(chunk.samples)) if p not in set(exact))
    if level == EXACT or not lossy:
        return _single(_exact_part(chunk, tuple(range(len(chunk.samples)))), chunk)
    decoded = np.empty_like(chunk.samples)
    some = chunk.of(lossy, chunk.bands - len(chunk.exact)) if exact else chunk
    part = _lossy_part(some, lossy, nominal_step(level, peak), own, decoded)
    if part is None:
        part = _exact_part(some, lossy)
        decoded[list(lossy)] = chunk.samples[list(lossy)]
    if part is None:
        return None
    parts = [part]
    if exact:
        kept = _exact_part(chunk.of(exact, len(chunk.exact)), exact)
        if kept is None:
            return None
        parts.append(kept)
        decoded[list(exact)] = chunk.samples[list(exact)]
    if len(parts) == 1 and part.how is None:
        return Coded(bytes(part.payload), decoded, False, part.coder, part.model_id)
    return Coded(pack_parts(len(decoded), parts), decoded, False, NUMBER, own[1])


def _single(part: Part | None, chunk: Chunk) -> Coded | None:
    if part is None:
        return None
    return Coded(bytes(part.payload), chunk.samples, False, part.coder, part.model_id)


def _lossy_part(
    chunk: Chunk,
    planes: tuple[int, ...],
    step: float,
    own: tuple[int, bytes, NtcModel],
    decoded: Array,
) -> Part | None:
    """Return planes by ``ntc``, at once or without their low bits; None where it cannot."""
    number, model_id, model = own
    found = encode_chunk(chunk.samples, chunk.absent, chunk.bands, step, model)
    if found is not None:
        decoded[list(planes)] = found[1]
        return Part(planes, number, model_id, found[0])
    if chunk.samples.dtype.kind not in "iu" or chunk.samples.dtype.itemsize > 4:
        return None
    shift = Shift.of(chunk.samples, chunk.absent, MOST_SPAN)
    unit = 1 << shift.bits
    if step < _COARSE_ENOUGH * unit:
        return None
    hole = None if chunk.absent is None else HOLE
    found = encode_chunk(shift.forward(chunk.samples), hole, chunk.bands, step / unit, model)
    assert found is not None, "the shift is as wide as it must be"
    for at, plane in enumerate(planes):
        decoded[plane] = shift.inverse(at, found[1][at], chunk.samples.dtype)
    return Part(planes, number, model_id, found[0], shift)


_kept: Recent[bytes, bytes] = Recent(2**26, len)
"""Payloads of planes that lose nothing, which are the same at each level."""


def _exact_part(chunk: Chunk, planes: tuple[int, ...]) -> Part | None:
    """Return planes by the lossless codec; None where it cannot code them."""
    coder, model_id = bounded_coder(EXACT_MODEL)
    absent = b"" if chunk.absent is None else chunk.absent.tobytes()
    told = repr((chunk.samples.dtype.str, chunk.samples.shape, chunk.bands, absent))
    key = hashlib.sha256(told.encode() + chunk.samples.tobytes()).digest()
    payload = _kept.get(key)
    if payload is None:
        found = coder.encode(chunk.samples, chunk.absent, chunk.bands)
        if found is None:
            return None
        payload = found[0]
        _kept.put(key, payload)
    return Part(planes, coder.number, model_id, payload)
