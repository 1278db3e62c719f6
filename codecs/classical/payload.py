"""The payload of a chunk whose planes are streams of established codecs (FORMAT.md §14)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.classical import FALLBACK, STREAMS, numbered_stream, stream_of
from tilepress.codecs.classical.exact import (
    Kept,
    absent_samples,
    filled,
    odd_samples,
    pack_kept,
    read_kept,
)
from tilepress.codecs.classical.mixing import Mixing, fitted
from tilepress.codecs.classical.numbers import (
    PART_BITS,
    REAL,
    Numbers,
    are_reals,
    as_it_is,
    of_bits,
    of_real,
    on_grid,
    on_integer_grid,
    rounded,
)
from tilepress.codecs.classical.stream import Samples, Setting, Stream
from tilepress.codecs.coder import Coded
from tilepress.codecs.levels import EXACT, nominal_error, nominal_step
from tilepress.codecs.loss import bounded
from tilepress.codecs.passed.head import Refused
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord

__all__ = ["decode_payload", "encode_bounded", "encode_payload"]

Array = npt.NDArray[Any]
Planes = npt.NDArray[np.float64]
Wide = npt.NDArray[np.uint64]

COLOURS, MIXED, CLAMPED = 1, 2, 4
_KNOWN = COLOURS | MIXED | CLAMPED

_FINE = 16
"""Integers of components to a step of what quantises them: what they round is lost in its noise."""
_MOST_PARTS = 4
_SHRINK = 1.0 - 2.0**-20
"""A grid of twice a bound is a little finer, so that rounding to a dtype stays within it."""


def encode_payload(
    name: str, samples: Array, absent: Array | None, bands: int, level: float, peak: float
) -> Coded | None:
    """Code (planes, y, x) samples at a level; None where they have no integers."""
    if level == EXACT:
        return _Encoder(name, samples, absent, bands, None).coded(
            lambda plane: as_it_is(plane), Setting(0, EXACT, 1.0)
        )
    step = nominal_step(level, peak)
    encoder = _Encoder(name, samples, absent, bands, (level, peak))
    is_real = are_reals(samples[~encoder.missing])
    if encoder.mixed and is_real:
        return encoder.coded_mixed(level, step)
    is_integer = samples.dtype.kind in "iu"
    if not is_real and not stream_of(name).loses:
        return encoder.coded(as_it_is, Setting(0, EXACT, 1.0))
    if not stream_of(name).loses and not (is_integer and step <= 1):
        return encoder.coded(
            lambda plane: of_bits(plane.astype(np.float64), step), Setting(0, EXACT, 1.0)
        )
    if samples.dtype == np.uint8:
        return encoder.coded(
            lambda plane: (Numbers(0, 0, 1), plane.astype(np.uint64)), Setting(8, level, step)
        )

    bits = stream_of(name).lossy_bits

    def narrow(plane: Array) -> tuple[Numbers, Wide] | None:
        whole = on_integer_grid(plane, 0) if is_integer else None
        if not is_real or (whole is not None and int(whole[1].max()) < 2**bits):
            return whole
        return of_bits(plane.astype(np.float64), step / _FINE, bits)

    return encoder.coded(narrow, Setting(0, level, step))


def encode_bounded(
    name: str, samples: Array, absent: Array | None, bands: int, max_error: float
) -> Coded | None:
    """Code samples so that none that is present is off by more than ``max_error``."""
    encoder = _Encoder(name, samples, absent, bands, None, max_error)
    if samples.dtype.kind == "f":
        unit = 2.0 * max_error * _SHRINK
        return encoder.coded(
            lambda plane: on_grid(plane.astype(np.float64), unit), Setting(0, EXACT, 1.0)
        )
    near = int(max_error)

    def grid(plane: Array) -> tuple[Numbers, Wide] | None:
        whole = on_integer_grid(plane, 0)
        if stream_of(name).bounded and whole is not None and int(whole[1].max()) < 2**PART_BITS:
            return whole
        return on_integer_grid(plane, near)

    return encoder.coded(grid, Setting(0, EXACT, 1.0, near))


@dataclass(slots=True)
class _Encoder:
    """One chunk on its way to a payload."""

    name: str
    samples: Array
    absent: Array | None
    bands: int
    at: tuple[float, float] | None
    """Level and peak of what is lossy."""
    max_error: float | None = None
    missing: npt.NDArray[np.bool_] = field(init=False)
    """Samples that no stream has."""
    parts: list[bytes] = field(init=False, default_factory=list)
    irreversible: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.missing = absent_samples(self.samples, self.absent)
        if self.at is not None or self.max_error is not None:
            self.missing = self.missing | odd_samples(self.samples)

    @property
    def mixed(self) -> bool:
        """Whether planes are mixed: all that belong together, of which there are several."""
        return stream_of(self.name).mixed and self.at is not None and self.group > 1

    @property
    def group(self) -> int:
        """Planes that belong together."""
        return self.bands if self.bands > 1 and len(self.samples) % self.bands == 0 else 1

    def coded(
        self, integers: Callable[[Array], tuple[Numbers, Wide] | None], setting: Setting
    ) -> Coded | None:
        """Code plane by plane, or three as colours."""
        clamps = self._clamps()
        decoded = np.empty_like(self.samples)
        colours = (
            stream_of(self.name).colours and self.group == 3 and self.samples.dtype.itemsize <= 2
        )
        colours = colours and self.samples.dtype.kind in "ui"
        size = 3 if colours else 1
        for first in range(0, len(self.samples), size):
            members = range(first, first + size)
            block = np.stack([self._filled(at) for at in members])
            found = integers(block)
            if found is None:
                return None
            numbers, wide = found
            self.parts.append(numbers.pack())
            back = self._streams(wide if colours else wide[0], setting, numbers.unit)
            for at, plane in zip(members, back if colours else back[None], strict=True):
                clamp = None if clamps is None else clamps[at]
                decoded[at] = numbers.to_samples(plane, self.samples.dtype, clamp)
        return self._finish(decoded, clamps, COLOURS if colours else 0, b"")

    def coded_mixed(self, level: float, step: float) -> Coded:
        """Code components of the planes that belong together."""
        assert self.at is not None, "only what is lossy is mixed"
        clamps = self._clamps()
        decoded = np.empty_like(self.samples)
        least, bits = nominal_error(level, self.at[1]), stream_of(self.name).lossy_bits
        for first in range(0, len(self.samples), self.group):
            members = range(first, first + self.group)
            block = np.stack([self._filled(at).astype(np.float64) for at in members])
            mixing = fitted(block)
            self.parts.append(mixing.pack())
            components = mixing.forward(block)
            for component in components:
                if component.var() <= least:  # its mean is as good, and costs nothing
                    component[...] = component.mean()
                numbers, wide = of_bits(component, step / _FINE, bits)
                self.parts.append(numbers.pack())
                back = self._streams(wide, Setting(0, level, step), numbers.unit)
                component[...] = numbers.to_real(back)
            for at, plane in zip(members, mixing.inverse(components), strict=True):
                decoded[at] = of_real(plane, self.samples.dtype, clamps[at] if clamps else None)
        return self._finish(decoded, clamps, MIXED, varint(self.group))

    def _clamps(self) -> list[tuple[Any, Any]] | None:
        """Return least and largest of the samples of each plane that streams have."""
        if self.at is None and self.max_error is None:
            return None
        clamps = []
        for plane, missing in zip(self.samples, self.missing, strict=True):
            present = plane[~missing]
            zero = plane.dtype.type(0)
            clamps.append((present.min(), present.max()) if present.size else (zero, zero))
        return clamps

    def _filled(self, at: int) -> Array:
        plane, missing = self.samples[at], self.missing[at]
        if not missing.any():
            given: Array = plane
            return given
        if self.at is None and self.max_error is None and plane.dtype.kind == "f":
            present = plane[~missing]
            around: Array = np.broadcast_to(present[:1] if present.size else 0, plane.shape)
        else:
            around = filled(np.where(missing, 0, plane).astype(np.float64), missing)
            around = around if plane.dtype.kind == "f" else rounded(around, plane.dtype)
        out: Array = np.where(missing, around.astype(plane.dtype), plane)
        return out

    def _streams(self, wide: Wide, setting: Setting, unit: float) -> Wide:
        """Code integers, (y, x) or (3, y, x), as streams; return what they decode to."""
        top = int(wide.max())
        if not top:
            self.parts.append(varint(0))
            return np.zeros_like(wide)
        count = -(-top.bit_length() // PART_BITS)
        if count > 1:
            setting = Setting(0, EXACT, 1.0)
        if setting.near and unit != 1:
            setting = setting._replace(near=None)  # the grid is the bound
        bits = max(8, top.bit_length())
        if setting.level != EXACT:
            assert self.at is not None, "a level has a peak"
            bits = max(bits, math.ceil(self.at[1] / unit).bit_length())
            setting = setting._replace(step=setting.step / unit)
        bits = min(bits, PART_BITS)
        self.parts.append(varint(count))
        total = np.zeros_like(wide)
        for part in reversed(range(count)):
            shift = np.uint64(PART_BITS * part)
            low = (wide >> shift) & np.uint64(2**PART_BITS - 1)
            narrow = low.astype(np.uint8 if bits == 8 else np.uint16)
            if narrow.ndim == 3:
                narrow = np.ascontiguousarray(np.moveaxis(narrow, 0, -1))
            back = self._stream(narrow, setting._replace(bits=bits))
            if back.ndim == 3:
                back = np.moveaxis(back, -1, 0)
            total |= back.astype(np.uint64) << shift
        return total

    def _stream(self, narrow: Samples, setting: Setting) -> Samples:
        """Code integers as one stream, by another codec where this one refuses them."""
        for name in (self.name, FALLBACK):
            stream = stream_of(name)
            try:
                data = stream.encode(narrow, setting)
                back = _decoded(stream, data, narrow)
            except (RuntimeError, ValueError, OverflowError):  # the libraries' own ways to refuse
                continue
            if setting.is_exact and not np.array_equal(back, narrow):
                continue
            self.parts += [bytes([STREAMS[name][0], setting.bits]), varint(len(data)), data]
            self.irreversible |= stream.irreversible and not setting.is_exact
            return back
        raise AssertionError("what stands in takes everything")

    def _finish(
        self, decoded: Array, clamps: list[tuple[Any, Any]] | None, flags: int, group: bytes
    ) -> Coded:
        """Put what must be exact beside the streams, and all together."""
        samples, where_absent = self.samples, absent_samples(self.samples, self.absent)
        single = self.missing & ~where_absent
        if self.absent is not None:
            single |= absent_samples(decoded, self.absent) & ~where_absent
            single |= (decoded == self.absent) & ~where_absent  # as zeros of both signs are
        if self.max_error is not None:
            wrong = bounded(self.max_error).forbidden(samples, decoded)
            single |= wrong & ~where_absent
        kept = Kept(
            self.absent,
            where_absent if where_absent.any() else None,
            single if single.any() else None,
            samples[single],
        )
        kept.put_back(decoded)
        head = [bytes([flags | (CLAMPED if clamps else 0)]), group, pack_kept(kept)]
        for low, high in clamps or ():
            head += [
                np.asarray(low, samples.dtype).tobytes(),
                np.asarray(high, samples.dtype).tobytes(),
            ]
        return Coded(b"".join([*head, *self.parts]), decoded, self.irreversible)


def decode_payload(
    payload: memoryview,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    budget: Budget,
    planes: frozenset[int] | None,
) -> Array:
    """Decode a payload, not trusted, to (planes, y, x) samples; raises CodecError alone.

    With ``planes``, streams of others are left alone.
    """
    reader = Reader(payload)
    flags = reader.byte()
    if flags & ~_KNOWN or (flags & COLOURS and (flags & MIXED or shape[0] % 3)):
        raise InvalidRecord(f"decoding a payload of streams: got flags {flags}")
    group = reader.varint(shape[0]) if flags & MIXED else 3 if flags & COLOURS else 1
    if not group or shape[0] % group:
        raise InvalidRecord(f"decoding a payload of streams: {shape[0]} planes by {group}")
    area = shape[1] * shape[2]
    budget.check(math.prod(shape) * (2 * dtype.itemsize + 2) + area * group * 32)
    kept = read_kept(reader, shape, dtype)
    clamps: list[tuple[Any, Any]] | None = None
    if flags & CLAMPED:
        limits = np.frombuffer(bytes(reader.take(2 * shape[0] * dtype.itemsize)), dtype)
        clamps = [(low, high) for low, high in limits.reshape(-1, 2)]
    out = np.zeros(shape, dtype)
    for first in range(0, shape[0], group):
        members = range(first, first + group)
        wanted = planes is None or not planes.isdisjoint(members)
        if flags & MIXED:
            mixing = Mixing.read(reader, group)
            components = np.zeros((group, *shape[1:]), np.float64)
            for component in components:
                numbers = Numbers.read(reader, np.dtype("<f8"))
                if numbers.kind != REAL:
                    raise InvalidRecord("decoding a payload of streams: components are no reals")
                back = _read_streams(reader, shape[1:], budget, wanted=wanted)
                component[...] = numbers.to_real(back)
            if wanted:
                for at, plane in zip(members, mixing.inverse(components), strict=True):
                    out[at] = of_real(plane, dtype, clamps[at] if clamps else None)
            continue
        numbers = Numbers.read(reader, dtype)
        sides = (3, *shape[1:]) if flags & COLOURS else shape[1:]
        back = _read_streams(reader, sides, budget, wanted=wanted)
        for at, plane in zip(members, back if flags & COLOURS else back[None], strict=True):
            out[at] = numbers.to_samples(plane, dtype, clamps[at] if clamps else None)
    reader.finish()
    kept.put_back(out)
    return out


def _read_streams(reader: Reader, shape: tuple[int, ...], budget: Budget, *, wanted: bool) -> Wide:
    total = np.zeros(shape, np.uint64)
    for _ in range(count := reader.varint(_MOST_PARTS)):
        stream, bits = numbered_stream(reader.byte()), reader.byte()
        if not 8 <= bits <= PART_BITS:
            raise InvalidRecord(f"decoding a payload of streams: got integers of {bits} bits")
        data = bytes(reader.take(reader.varint(2**32)))
        if not wanted:
            continue
        sides = shape if len(shape) == 2 else (*shape[1:], 3)
        budget.check(stream.memory * math.prod(shape))
        like = np.empty(sides, np.uint8 if bits == 8 else np.uint16)
        try:
            back = _decoded(stream, data, like)
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise InvalidRecord("decoding a payload of streams: its decoder refuses one") from error
        if back.ndim == 3:
            back = np.moveaxis(back, -1, 0)
        if count > 1:
            total <<= np.uint64(PART_BITS)
        total |= back.astype(np.uint64)
    return total


def _decoded(stream: Stream, data: bytes, like: Samples) -> Samples:
    """Return the samples of a stream; raises ValueError where they are no such ones.

    The library sees a stream only after its head was read.
    """
    try:
        if stream.size is not None and stream.size(data) != like.shape[:2]:
            raise ValueError("it has another size")
    except Refused as error:
        raise ValueError("its head is refused") from error
    found = stream.decode(data, like)
    if found.shape != like.shape or found.dtype != like.dtype:
        raise ValueError(f"got {found.shape} samples of {found.dtype}, want {like.shape}")
    return found
