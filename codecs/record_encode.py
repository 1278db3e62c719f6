"""Code planes to a record: the box, the level that holds a target, what is smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.box import Boxed, absent_sample, boxed
from tilepress.codecs.coder import (
    ChunkCoder,
    Coded,
    EstimatingCoder,
    ExactCoder,
    LevelCoder,
    RivalledCoder,
)
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.difference import Difference, present_samples
from tilepress.codecs.loss import Loss, Lossy, Quality
from tilepress.codecs.record import (
    CODER_STORED,
    DTYPES,
    NO_MODEL,
    OVERHEAD_BYTES,
    RecordHeader,
    crc32c,
    pack_record,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.registry import named
from tilepress.codecs.search import Together, Trial, find_level
from tilepress.errors import TooMuchMemory, UnsupportedArray, UnsupportedFormat

__all__ = ["Levelled", "RecordEncoder"]

Array = npt.NDArray[Any]


class Levelled(NamedTuple):
    """A record that was coded at a level."""

    record: bytes
    level: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class RecordEncoder:
    """Codes arrays, (planes, y, x) or (y, x), as a configuration says."""

    config: CodecConfig
    coder: ChunkCoder
    """That of the configuration."""
    model_id: bytes
    """What records call its weights."""
    exact: frozenset[int] = frozenset()
    """Bands, from 0, of chunks (…, bands, y, x) that come back to the bit."""

    @property
    def _loss(self) -> Loss:
        return self.config.loss

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise UnsupportedArray unless arrays of ``dtype`` can be coded so."""
        if dtype.name not in DTYPES:
            raise UnsupportedArray(
                f"coding a tile: dtype {dtype} is not supported; one of {', '.join(DTYPES)} is"
            )
        if refusal := self._loss.refusal(dtype) or self.coder.refusal(dtype):
            raise UnsupportedArray(f"coding a tile: {refusal}")
        absent_sample(self.config.nodata, dtype)

    def encode(self, array: Array, bands: int) -> bytes:
        """Return a record with the configuration's loss."""
        try:
            if isinstance(self._loss, Lossy):
                return self._encode_for_target(self._loss, array, bands)
            return self._encode_whole(array, bands, None, 1.0)[0]
        except MemoryError as error:
            raise _no_memory(array) from error

    def encode_at(
        self, array: Array, bands: int, level: float, peak: float
    ) -> tuple[bytes, Difference]:
        """Return a record at a level of levels.py, and how what it decodes to differs."""
        try:
            return self._encode_whole(array, bands, level, peak)
        except MemoryError as error:
            raise _no_memory(array) from error

    def peak_of(self, array: Array) -> float:
        """Return the range that errors of an array are measured against."""
        assert isinstance(self._loss, Lossy), "only lossy targets have a peak"
        return self._loss.peak_of(array[self.present(array)])

    def present(self, array: Array) -> npt.NDArray[np.bool_]:
        """Mark the samples that errors are measured of: those that are neither nodata nor NaN, and
        of no exact band."""
        marks = present_samples(array, self.config.nodata)
        for band in self.exact:
            marks[..., band, :, :] = False
        return marks

    def estimate(
        self, array: Array, bands: int, peak: float
    ) -> Callable[[float], Trial[None]] | None:
        """Return what tells about what ``encode_at`` gives at a level, in less time."""
        if not isinstance(self.coder, EstimatingCoder) or self.exact:
            return None
        box = self._boxed(array)
        found = None
        if box.samples.size:
            found = self.coder.estimate(box.samples, box.absent, bands, peak)
        if found is None:
            return None
        at = found

        def told(level: float) -> Trial[None]:
            size, squared = at(level)
            return Trial(None, round(size) + OVERHEAD_BYTES, squared)

        return told

    def smaller(
        self, array: Array, record: bytes, level: float, bands: int, peak: float, squared: float
    ) -> tuple[bytes, Difference] | None:
        """Return a record in fewer bytes than one that ``encode_at`` gave, at no more error."""
        if not isinstance(self.coder, RivalledCoder) or self.exact:
            return None
        if unpack_record(record)[0].coder not in named(self.config.codec).numbers:
            return None
        box = self._boxed(array)
        size = len(record) - OVERHEAD_BYTES
        found = self.coder.encode_smaller(
            box.samples, box.absent, bands, level, peak, (size, squared)
        )
        return None if found is None else self._recorded(box, found, level)

    def tries_smaller(self, array: Array | None = None) -> bool:
        """Whether ``smaller`` is worth to be asked for an array by what it looks like, or, without
        one, for every array."""
        if not isinstance(self.coder, RivalledCoder) or self.exact:
            return False
        if self.coder.tries_every or array is None:
            return self.coder.tries_every
        return self.coder.looks_special(array.reshape(-1, *array.shape[-2:]))

    def _encode_for_target(self, loss: Lossy, array: Array, bands: int) -> bytes:
        """Code an array at the level at which it holds the target by itself."""
        self.check(array.dtype)
        present, peak = int(np.count_nonzero(self.present(array))), self.peak_of(array)

        def code(_: Sequence[int], level: float) -> list[Trial[Levelled]]:
            record, difference = self._encode_whole(array, bands, level, peak)
            return [Trial(Levelled(record, level, difference), len(record), difference.squared)]

        together = Together(samples=[array.size], present=[present], peak=peak, overhead=0)
        told = None
        if not isinstance(loss, Quality):
            told = self.estimate(array, bands, peak)
        estimate = None if told is None else lambda _, level: [told(level)]
        (found,) = find_level(loss, code, together, "coding a tile", estimate)
        squared = found.difference.squared
        other = self.smaller(array, found.record, found.level, bands, peak, squared)
        return found.record if other is None else other[0]

    def _encode_whole(
        self, array: Array, bands: int, level: float | None, peak: float
    ) -> tuple[bytes, Difference]:
        box = self._boxed(array)
        found = None
        if box.samples.size:
            found = self._coded(box.samples, box.absent, bands, level, peak)
        return self._recorded(box, found, level)

    def _boxed(self, array: Array) -> Boxed:
        self.check(array.dtype)
        return boxed(array, self.config.nodata)

    def _recorded(
        self, box: Boxed, found: Coded | None, level: float | None
    ) -> tuple[bytes, Difference]:
        """Return a record of samples, as they were coded or as they are if that is no smaller."""
        samples = decoded = box.samples
        kind, payload, irreversible, model_id = CODER_STORED, samples.tobytes(), False, NO_MODEL
        if found is not None and len(found.payload) < len(payload):
            payload, decoded, irreversible = found[:3]
            kind = self.coder.number if found.number is None else found.number
            model_id = self.model_id if found.model_id is None else found.model_id
        difference = Difference()
        if self._loss.is_lossless or level is not None:  # whatever the coder says of itself
            difference = self._loss.check(samples, decoded, self.config.nodata)
        told = difference.worst if level is not None else self._loss.max_error
        assert told is not None, "without a bound there is a level"
        header = RecordHeader(
            coder=kind,
            dtype=samples.dtype,
            shape=box.shape,
            coded=(samples.shape[0], samples.shape[1], samples.shape[2]),
            fill=box.fill.tobytes(),
            two_d=box.two_d,
            max_error=float(told),
            model_id=model_id,
            symbols_crc=crc32c(payload) if irreversible else samples_crc(decoded),
            irreversible=irreversible,
        )
        return pack_record(header, payload), difference

    def _coded(
        self, samples: Array, absent: Array | None, bands: int, level: float | None, peak: float
    ) -> Coded | None:
        """Return what the codec makes of samples, with its loss or at a level."""
        if level is not None and self.exact and isinstance(self.coder, ExactCoder):
            exact = self.exact
            return self.coder.encode_beside(samples, absent, bands, level, peak, exact)
        if level is not None and isinstance(self.coder, LevelCoder):
            return self.coder.encode_at(samples, absent, bands, level, peak)
        if level is not None:
            raise UnsupportedFormat(f"making a codec: {self.config.codec!r} has no levels")
        found = self.coder.encode(samples, absent, bands)
        return None if found is None else Coded(*found, False)


def _no_memory(array: Array) -> TooMuchMemory:
    shape = " × ".join(map(str, array.shape))
    return TooMuchMemory(
        f"coding a tile of {shape} {array.dtype}: the machine has no memory left for it; "
        "use fewer threads or smaller chunks"
    )
