"""Decode a record to planes: whose it is, what it may take, whether its checksums hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import coder_numbered
from tilepress.codecs.box import restored
from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import BASE, ChunkCoder, DecoderCoder, ScaledCoder
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.difference import present_samples
from tilepress.codecs.record import (
    CODER_STORED,
    RecordHeader,
    crc32c,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.reduce import Method, reduced
from tilepress.codecs.registry import kept_decoder, named, numbers_beside
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedFormat

__all__ = ["SCALES", "Asked", "RecordDecoder"]

Array = npt.NDArray[Any]

SCALES = (2, 4, 8)
"""Rows and columns that one sample may stand for where a record is decoded at a scale."""

_SMALL_BYTES = 2**23
"""What decoding takes beside arrays of samples: checksums work on copies of parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a record."""

    expect: tuple[tuple[int, ...], np.dtype[Any]] | None = None
    """Shape, (planes, y, x) or (y, x), and dtype that it must have."""
    planes: Sequence[int] | None = None
    """These alone; None: all."""
    scale: int = 1
    """1, or one of ``SCALES``."""
    decoder: str = BASE
    """One that the codec has; at a scale, the base."""


@dataclass(frozen=True, slots=True)
class RecordDecoder:
    """Decodes records that a configuration allows: its codec's, those that may stand beside them,
    kept streams and stored samples."""

    config: CodecConfig
    coder: ChunkCoder
    """That of the configuration."""
    model_id: bytes
    """What records call its weights."""

    def decode(self, data: bytes | memoryview, asked: Asked, allowed: int) -> Array:
        """Return the samples of a record; ``allowed`` are the bytes that this may take.

        Raises InvalidRecord, ChecksumMismatch, UnsupportedFormat, ModelError or TooMuchMemory, and
        IndexError for planes that the record does not have.
        """
        header, payload = unpack_record(data)
        budget = Budget(
            f"decoding a record of {_spelt(header)}, crc32c {header.symbols_crc:08x}", allowed
        )
        try:
            _check(header, asked)
            if asked.scale > 1 and isinstance(self.coder, ScaledCoder) and self._is_own(header):
                return self._scaled(header, payload, asked, budget)
            whole = self._full(header, payload, asked, budget)
            return whole if asked.scale == 1 else self._averaged(whole, asked.scale)
        except MemoryError as error:
            raise budget.exhausted() from error

    def _full(
        self, header: RecordHeader, payload: memoryview, asked: Asked, budget: Budget
    ) -> Array:
        """Decode at full resolution, and compare with the record's checksum what it holds for."""
        planes, size = asked.planes, header.dtype.itemsize
        if header.coder == CODER_STORED or header.coded != header.shape:
            budget = budget.less(size * math.prod(header.shape) + _SMALL_BYTES)
        if planes is not None:
            budget = budget.less(size * len(planes) * math.prod(header.shape[1:]))
        kept, remade = kept_decoder(header.coder), False
        if header.coder == CODER_STORED:
            samples = _stored(header, payload, budget)
        elif kept is not None:
            samples = kept(payload, header, budget)
        else:
            coder, wanted = self._coder_of(header), _wanted(header, planes)
            remade = asked.decoder != BASE and coder is self.coder
            rest = (payload, header.coded, header.dtype, wanted, budget, header.coder)
            if remade and isinstance(coder, DecoderCoder):
                samples = coder.decode_by(asked.decoder, *rest)
            else:
                samples = coder.decode(*rest)
        if header.irreversible and kept is None and crc32c(payload) != header.symbols_crc:
            raise ChecksumMismatch("decoding a record: its payload does not match its crc32c")
        is_whole = planes is None or not (self._is_own(header) or self._is_beside(header))
        is_whole = is_whole and not header.irreversible and not remade
        if is_whole and samples_crc(samples) != header.symbols_crc:
            raise ChecksumMismatch("decoding a record: samples do not match their crc32c")
        return _taken(restored(header, samples), planes)

    def _scaled(
        self, header: RecordHeader, payload: memoryview, asked: Asked, budget: Budget
    ) -> Array:
        """Decode at a scale as the coder does it by itself; no checksum tells of it."""
        coder = self._coder_of(header)
        assert isinstance(coder, ScaledCoder), "asked only where it is one"
        samples = coder.decode_scaled(
            payload,
            header.coded,
            header.dtype,
            _wanted(header, asked.planes),
            budget.less(header.dtype.itemsize * math.prod(header.shape)),
            header.coder,
            asked.scale,
        )
        shape, coded = (_at_scale(sides, asked.scale) for sides in (header.shape, header.coded))
        return _taken(restored(replace(header, shape=shape, coded=coded), samples), asked.planes)

    def _averaged(self, whole: Array, scale: int) -> Array:
        """Return the means of blocks of decoded samples, of those that are present."""
        nodata = self.config.nodata
        absent = ~present_samples(whole, nodata)
        method: Method = "average" if whole.dtype.kind in "iuf" else "nearest"
        taken = None if nodata is None else (nodata, nodata)
        return reduced(whole, scale, method, absent if absent.any() else None, taken)

    def _is_own(self, header: RecordHeader) -> bool:
        return header.coder in named(self.config.codec).numbers

    def _is_beside(self, header: RecordHeader) -> bool:
        return header.coder in numbers_beside(self.config.codec)

    def _coder_of(self, header: RecordHeader) -> ChunkCoder:
        """Return what decodes a record's payload; raises UnsupportedFormat or InvalidRecord."""
        coder = self.coder
        if self._is_beside(header):
            coder = coder_numbered(header.coder, header.model_id)
        elif not self._is_own(header):
            raise UnsupportedFormat(
                f"decoding a record: its coder is {header.coder}, "
                f"not that of codec {self.config.codec!r}"
            )
        elif header.model_id != self.model_id:
            raise UnsupportedFormat(
                f"decoding a record: it needs model {header.model_id.hex()}…, this codec has "
                f"{self.model_id.hex()}… ({self.config.weights.name})"
            )
        if 0 in header.coded:
            raise InvalidRecord("decoding a record: an empty box has a payload")
        return coder


def _stored(header: RecordHeader, payload: memoryview, budget: Budget) -> Array:
    """Return samples that lie in a record as they are."""
    budget.check()
    want = int(np.prod(header.coded)) * header.dtype.itemsize
    if len(payload) != want:
        raise InvalidRecord(f"decoding a record: got {len(payload)} bytes of samples, want {want}")
    samples = np.frombuffer(payload, header.dtype).reshape(header.coded)
    if header.dtype.kind == "b" and np.any(samples.view(np.uint8) > 1):
        raise InvalidRecord("decoding a record: bool samples other than 0 and 1")
    return samples


def _check(header: RecordHeader, asked: Asked) -> None:
    """Raise IndexError for planes, and InvalidRecord for a shape or dtype, that are not there."""
    count = 0 if header.two_d else header.shape[0]
    for plane in asked.planes or ():
        if not 0 <= plane < count:
            raise IndexError(f"decoding a record: plane {plane} of {count}")
    if asked.expect is None:
        return
    shape, dtype = asked.expect
    found = header.shape[1:] if header.two_d else header.shape
    if found != tuple(shape) or header.dtype.name != dtype.name:
        raise InvalidRecord(
            f"decoding a record: it holds {found} of {header.dtype.name}, "
            f"not {tuple(shape)} of {dtype.name}"
        )


def _wanted(header: RecordHeader, planes: Sequence[int] | None) -> frozenset[int] | None:
    """Return those of the planes that lie in the coded box."""
    return None if planes is None else frozenset(p for p in planes if p < header.coded[0])


def _taken(array: Array, planes: Sequence[int] | None) -> Array:
    return array if planes is None else array[list(planes)]


def _at_scale(sides: tuple[int, int, int], scale: int) -> tuple[int, int, int]:
    return sides[0], -(-sides[1] // scale), -(-sides[2] // scale)


def _spelt(header: RecordHeader) -> str:
    shape = header.shape[1:] if header.two_d else header.shape
    return f"{' × '.join(map(str, shape))} {header.dtype.name}"
