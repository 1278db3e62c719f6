"""Payloads of several coders: planes of one chunk, each in the way that suits it (FORMAT.md §16).

Bands that must not lose anything stand beside those that are lossy; what is missing to a bound is
added to what ``ntc`` gives; samples that span more than it takes are coded without their low bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import ID_BYTES, coder_numbered
from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import BASE, DecoderCoder, ScaledCoder
from tilepress.codecs.reduce import reduced
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import InvalidRecord, UnsupportedFormat

__all__ = ["HOLE", "NUMBER", "Added", "Part", "Shift", "decode_parts", "pack_parts"]

Array = npt.NDArray[Any]

NUMBER = 7
"""What records call such payloads."""
_VERSION = 1
_ADDED, _SHIFTED = 1, 2
_MOST_PARTS = 8
MOST_SHIFT = 16
_INNER = frozenset({1, 4, 5, 6})
"""Coders that a part may have."""
HOLE = np.array(2**32 - 1, np.uint32)
"""What stands for absent samples without their low bits."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How samples become less wide: (sample − least) >> bits, uint32; ``HOLE`` where absent."""

    bits: int
    lows: tuple[int, ...]
    """The least present sample of each plane …"""
    spans: tuple[int, ...]
    """… and how much larger the largest is."""
    absent: Array | None

    @classmethod
    def of(cls, samples: Array, absent: Array | None, most_span: int) -> Shift:
        """Return the least one after which samples, of at most 32 bits, span no more."""
        lows, spans = [], []
        for plane in samples:
            present = plane if absent is None else plane[plane != absent]
            low, high = (int(present.min()), int(present.max())) if present.size else (0, 0)
            lows.append(low)
            spans.append(high - low)
        bits = max(0, max(spans).bit_length() - most_span.bit_length())
        return cls(bits, tuple(lows), tuple(spans), absent)

    def forward(self, samples: Array) -> Array:
        """Return samples (planes, y, x) without their low bits."""
        lows = np.array(self.lows, np.int64)[:, None, None]
        out: Array = ((samples.astype(np.int64) - lows) >> self.bits).astype("<u4")
        if self.absent is not None:
            out[samples == self.absent] = HOLE
        return out

    def inverse(self, at: int, shifted: Array, dtype: np.dtype[Any]) -> Array:
        """Return the samples of plane ``at``: each lies in the middle of what became it."""
        low, span = self.lows[at], self.spans[at]
        above = (shifted.astype(np.int64) << self.bits) + ((1 << self.bits) >> 1)
        np.minimum(above, span, out=above)
        if self.absent is None:
            return (above + low).astype(dtype)
        hole = int(self.absent) - low
        if span and 0 <= hole <= span:
            above[above == hole] = hole - 1 if hole == span else hole + 1
        out: Array = (above + low).astype(dtype)
        out[shifted == HOLE] = self.absent
        return out

    def pack(self) -> bytes:
        out = [bytes([self.bits, self.absent is not None])]
        if self.absent is not None:
            out.append(self.absent.tobytes())
        for low, span in zip(self.lows, self.spans, strict=True):
            out += [signed_varint(low), varint(span)]
        return b"".join(out)

    @classmethod
    def read(cls, reader: Reader, count: int, dtype: np.dtype[Any]) -> Shift:
        """Read what ``pack`` gave for ``count`` planes, not trusted; raises InvalidRecord."""
        bits = reader.byte()
        absent = _read_sample(reader, dtype) if reader.flag() else None
        pairs = [(reader.signed_varint(), reader.varint(2**32)) for _ in range(count)]
        info = np.iinfo(dtype)
        held = all(info.min <= low <= low + span <= info.max for low, span in pairs)
        if bits > MOST_SHIFT or not held:
            raise _damaged(f"samples without {bits} bits, of ranges that {dtype.name} has not")
        return cls(bits, tuple(low for low, _ in pairs), tuple(span for _, span in pairs), absent)


@dataclass(frozen=True, slots=True)
class Added:
    """What is added to planes of parts before, so that they are within a bound."""

    absent: Array | None
    """Samples that are this one before stay …"""
    ups: tuple[bytes | None, ...] = ()
    """… and those that would become it are one off, up or down by the bits of each plane."""

    @staticmethod
    def dtype(samples: np.dtype[Any]) -> np.dtype[Any]:
        """Return that of what is added to samples."""
        return np.dtype("<i2" if samples.itemsize == 1 else "<i4")

    def of(self, given: Array, before: Array, residual: Array) -> Added:
        """Return it with the bits that bring sums back to where ``given`` samples are."""
        if self.absent is None:
            return self
        ups: list[bytes | None] = []
        for plane, was, more in zip(given, before, residual, strict=True):
            hits = self._hits(was, _sums(was, more))
            up = plane[hits].astype(np.int64) > int(self.absent)
            ups.append(encode_bitmap(up[None]) if up.size else None)
        return Added(self.absent, tuple(ups))

    def samples(self, at: int, before: Array, residual: Array) -> Array:
        """Return what plane ``at`` becomes; raises InvalidRecord."""
        total = _sums(before, residual)
        if self.absent is not None:
            hits, up = self._hits(before, total), self.ups[at]
            count = int(np.count_nonzero(hits))
            if (count == 0) != (up is None):
                raise _damaged("sums that become the absent sample, or bits of none")
            if up is not None:
                total[hits] += np.where(decode_bitmap(up, 1, count)[0], 1, -1)
            total[before == self.absent] = int(self.absent)
        return total.astype(before.dtype)

    def _hits(self, before: Array, total: Array) -> npt.NDArray[np.bool_]:
        """Mark the sums that would be taken for absent."""
        assert self.absent is not None, "asked only where something is absent"
        return np.asarray((total == int(self.absent)) & (before != self.absent))

    def pack(self) -> bytes:
        if self.absent is None:
            return bytes([0])
        out = [bytes([1]), self.absent.tobytes()]
        out += [varint(0) if up is None else varint(len(up) + 1) + up for up in self.ups]
        return b"".join(out)

    @classmethod
    def read(cls, reader: Reader, count: int, dtype: np.dtype[Any]) -> Added:
        """Read what ``pack`` gave for ``count`` planes, not trusted; raises InvalidRecord."""
        if not reader.flag():
            return cls(None)
        absent, ups = _read_sample(reader, dtype), []
        for _ in range(count):
            length = reader.varint(2**32)
            ups.append(bytes(reader.take(length - 1)) if length else None)
        return cls(absent, tuple(ups))


@dataclass(frozen=True, slots=True)
class Part:
    """Some planes, coded by one coder."""

    planes: tuple[int, ...]
    coder: int
    model_id: bytes
    """Names its weights."""
    payload: bytes | memoryview
    how: Shift | Added | None = None


def pack_parts(count: int, parts: Sequence[Part]) -> bytes:
    """Return the payload of ``count`` planes."""
    out = [bytes([_VERSION]), varint(len(parts))]
    for part in parts:
        flags = 0 if part.how is None else _ADDED if isinstance(part.how, Added) else _SHIFTED
        told = np.zeros(count, bool)
        told[list(part.planes)] = True
        out += [bytes([flags, part.coder]), part.model_id]
        out.append(np.packbits(told, bitorder="little").tobytes())
        if part.how is not None:
            out.append(part.how.pack())
        out += [varint(len(part.payload)), bytes(part.payload)]
    return b"".join(out)


def read_parts(payload: memoryview, count: int, dtype: np.dtype[Any]) -> list[Part]:
    """Take a payload, not trusted, apart; raises InvalidRecord or UnsupportedFormat."""
    reader = Reader(payload)
    version = reader.byte()
    if version != _VERSION:
        raise UnsupportedFormat(
            f"decoding a record: its payload of parts is of version {version}, this tilepress "
            f"reads {_VERSION}; a newer one may be needed"
        )
    parts: list[Part] = []
    seen: set[int] = set()
    for _ in range(reader.varint(_MOST_PARTS)):
        flags, coder = reader.byte(), reader.byte()
        if flags not in (0, _ADDED, _SHIFTED) or coder not in _INNER:
            raise UnsupportedFormat(
                f"decoding a record: a part has flags {flags:#04x}, coder {coder}; "
                "a newer tilepress may be needed"
            )
        model_id = bytes(reader.take(ID_BYTES))
        bits = np.frombuffer(reader.take(-(-count // 8)), np.uint8)
        told = np.unpackbits(bits, bitorder="little")
        planes = tuple(np.flatnonzero(told).tolist())
        if not planes or planes[-1] >= count:
            raise _damaged("a part of no planes, or of some that are not there")
        if flags and (dtype.kind not in "iu" or dtype.itemsize > 4):
            raise _damaged(f"a part of integers, the samples are {dtype.name}")
        if (flags == _ADDED) != seen.issuperset(planes) or (
            flags != _ADDED and not seen.isdisjoint(planes)
        ):
            raise _damaged("planes twice, or something that is added to none")
        seen.update(planes)
        how: Shift | Added | None = None
        if flags == _ADDED:
            how = Added.read(reader, len(planes), dtype)
        elif flags == _SHIFTED:
            how = Shift.read(reader, len(planes), dtype)
        parts.append(Part(planes, coder, model_id, reader.take(reader.varint(2**32)), how))
    reader.finish()
    if len(seen) != count:
        raise _damaged(f"{len(seen)} of {count} planes")
    return parts


class Own(ScaledCoder, DecoderCoder, Protocol):
    """What decodes payloads of coder 6."""


def decode_parts(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    own: tuple[Own, bytes],
    budget: Budget,
    planes: frozenset[int] | None,
    scale: int = 1,
    decoder: str = BASE,
) -> Array:
    """Decode a payload, not trusted; with ``planes`` only these are right.

    own : what decodes parts of coder 6, and the name of its weights.
    decoder : of scale 1, by which planes of coder 6 are made; nothing may be added to them then.
    scale : with 2, 4 or 8 planes of coder 6 are decoded so, without what is added to them, and of
    the others, which are exact, the samples in the middle are taken. Raises CodecError alone.
    """
    area = shape[1] * shape[2]
    budget = budget.less(dtype.itemsize * shape[0] * area)
    budget.check()
    parts = read_parts(payload, shape[0], dtype)
    if decoder != BASE and any(isinstance(part.how, Added) for part in parts):
        raise UnsupportedFormat(
            f"decoding a record: what is added to its samples is added to those of {BASE!r}, not "
            f"of decoder {decoder!r}"
        )
    out = np.zeros((shape[0], *(-(-n // scale) for n in shape[1:])), dtype)
    for part in parts:
        wanted = [at for at, p in enumerate(part.planes) if planes is None or p in planes]
        if not wanted or (scale > 1 and isinstance(part.how, Added)):
            continue
        samples = _decoded(part, wanted, shape, dtype, own, budget, scale, decoder)
        for at in wanted:
            plane, number = samples[at], part.planes[at]
            if isinstance(part.how, Shift):
                plane = part.how.inverse(at, plane, dtype)
            elif part.how is not None:
                plane = part.how.samples(at, out[number], plane)
            out[number] = plane
    return out


def _decoded(
    part: Part,
    wanted: list[int],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    own: tuple[Own, bytes],
    budget: Budget,
    scale: int,
    decoder: str,
) -> Array:
    """Return what the coder of a part makes of it, of which some planes are wanted."""
    area = shape[1] * shape[2]
    inner, sides = _inner_dtype(part, dtype), (len(part.planes), *shape[1:])
    some = None if len(wanted) == len(part.planes) else frozenset(wanted)
    within = budget.less(32 * len(wanted) * area if part.how is not None else 0)
    data = memoryview(part.payload)
    if (part.coder, part.model_id) == (own[0].number, own[1]):
        if decoder != BASE:
            return own[0].decode_by(decoder, data, sides, inner, some, within, part.coder)
        return own[0].decode_scaled(data, sides, inner, some, within, part.coder, scale)
    coder = coder_numbered(part.coder, part.model_id)
    samples: Array = coder.decode(data, sides, inner, some, within, part.coder)
    return samples if scale == 1 else reduced(samples, scale, "nearest")


def _inner_dtype(part: Part, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of what a part's coder codes."""
    if isinstance(part.how, Added):
        return Added.dtype(dtype)
    return dtype if part.how is None else np.dtype("<u4")


def _sums(before: Array, residual: Array) -> Array:
    """Return samples with what is added to them, as integers that their dtype has."""
    info = np.iinfo(before.dtype)
    total: Array = np.clip(before.astype(np.int64) + residual, info.min, info.max)
    return total


def _read_sample(reader: Reader, dtype: np.dtype[Any]) -> Array:
    sample: Array = np.frombuffer(bytes(reader.take(dtype.itemsize)), dtype).reshape(())
    return sample


def _damaged(found: str) -> InvalidRecord:
    return InvalidRecord(f"decoding a payload of parts: it has {found}")
