"""One chunk of samples to one record and back: planes by TileCodec, chunks of any axes over it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import coder_numbered
from tilepress.codecs.budget import Budget, allowed_memory
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.limits import MAX_RECORD_SAMPLES, MAX_SIDE
from tilepress.codecs.loss import Difference, Loss, Lossless, Lossy, Quality, present_samples
from tilepress.codecs.numbers import shown
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
from tilepress.codecs.reduce import Method, reduced
from tilepress.codecs.registry import (
    BASE,
    ChunkCoder,
    Coded,
    DecoderCoder,
    EstimatingCoder,
    ExactCoder,
    LevelCoder,
    RivalledCoder,
    ScaledCoder,
    coder_class,
    kept_decoder,
    named,
    numbers_beside,
)
from tilepress.codecs.search import Together, Trial, find_level
from tilepress.codecs.weights import Weights
from tilepress.errors import (
    ChecksumMismatch,
    InvalidRecord,
    TooMuchMemory,
    UnsupportedArray,
    UnsupportedFormat,
    UsageError,
)

__all__ = [
    "CODEC_NAME",
    "SCALES",
    "Levelled",
    "TileCodec",
    "check_chunk",
    "codec_of",
    "decode_chunk",
    "decode_planes",
    "encode_chunk",
    "encode_chunk_at",
    "estimate_chunk",
    "smaller_chunk",
]

CODEC_NAME = "tilepress.tile"
"""What metadata call the codec of chunks."""

Array = npt.NDArray[Any]
Expected = tuple[tuple[int, ...], np.dtype[Any]]
Device = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Result = TypeVar("Result")

SCALES = (2, 4, 8)
"""Rows and columns that one sample may stand for where a record is decoded at a scale."""

_DEVICES = ("auto", "cpu", "cuda")
_SMALL_BYTES = 2**23
"""What decoding takes beside arrays of samples: checksums work on copies of parts."""


class Levelled(NamedTuple):
    """A record that was coded at a level."""

    record: bytes
    level: float
    difference: Difference


class _Boxed(NamedTuple):
    """An array as it is coded."""

    samples: Array
    """(planes, y, x) of the coded box, little-endian."""
    absent: Array | None
    """One sample that marks absent ones."""
    fill: Array
    """One sample, of which all is that lies outside of the box."""
    shape: tuple[int, int, int]
    two_d: bool


class TileCodec:
    """Codes chunks of samples, losslessly or within ``max_error``. Thread-safe.

    Parameters
    ----------
    codec : "wave", the learned lossless and near-lossless codec (FORMAT.md), or another one of
        registry.py.
    max_error : largest absolute error of any present sample: an integer in stored units for
        integers, a number in physical units for floats. 0 means lossless.
    quality, psnr, bits_per_sample : at most one of them, and no max_error: lossy, by codecs that
        can be. 1 to 100, of the codec's own scale; a PSNR in dB that present samples have at least;
        bits that samples take at most, the record's overhead and absent samples counted. Each
        record holds the target by itself. Absent samples, NaN and infinities stay exact.
    peak : the range that the PSNR is over, in units of the samples; None: 255 for samples of 8
        bits, else the range of each array's own.
    nodata : the value that marks absent samples; it is kept exactly, and no present sample ever
        decodes to it, nor the reverse.
    tier : "fast" (the fitted linear path alone), "standard", or "max" (a larger network): which
        bundled model "auto" means, and how long the encoder looks for what pays.
    model : "auto" (bundled), a model's name, or the path of a weights file, which then travels
        inside the configuration.
    max_memory : bytes, or "512MiB", that decoding a record may take (for each that is decoded at
        the same time); what a record wants is known before it is decoded, and one that wants more
        is refused with TooMuchMemory. None: what TILEPRESS_MAX_MEMORY says, or 4 GiB, which
        suffices for every record that this codec makes. It is no part of the configuration.
    device : "cpu", "cuda" (an NVIDIA GPU; refused where there is none), or "auto", which means
        the CPU: the GPU's speed has not been measured yet. Bytes are the same on both. The GPU
        is for ``encode_many`` and ``decode_many``: a plane alone fills a small part of it.
    decoder : "base", or another way to decode that the codec has; it is no part of the
        configuration, and of nothing that a record promises. Of ``ntc``: "net", a residual network
        that comes closer to the original, "view", noise where values are zero, "gan", a network
        that makes up texture, or a weights file of one's own (README.md).
    """

    def __init__(
        self,
        codec: str = "wave",
        max_error: float = 0,
        nodata: float | int | None = None,
        tier: str = "standard",
        model: str = "auto",
        device: Device = "auto",
        max_memory: int | str | None = None,
        *,
        quality: float | None = None,
        psnr: float | None = None,
        bits_per_sample: float | None = None,
        peak: float | None = None,
        decoder: str = BASE,
    ) -> None:
        targets = {"quality": quality, "psnr": psnr, "bits_per_sample": bits_per_sample}
        config = CodecConfig.of(codec, max_error, nodata, tier, model, targets, peak)
        self._setup(config, device, max_memory, decoder=decoder)

    def _setup(
        self,
        config: CodecConfig,
        device: Device,
        max_memory: int | str | None = None,
        exact: frozenset[int] = frozenset(),
        decoder: str = BASE,
    ) -> None:
        if not isinstance(device, str) or device not in _DEVICES:
            raise UnsupportedFormat(
                f"making a codec: got device {shown(device)}, want one of {_DEVICES}"
            )
        self._config, self._device = config, device
        self._max_memory = None if max_memory is None else allowed_memory(max_memory)
        make = coder_class(config.codec)
        self._coder: ChunkCoder = make(config.loss, config.tier, config.weights.data, device)
        self._model_id = bytes.fromhex(config.weights.sha256)[:8]
        self._exact = exact
        if exact and not (isinstance(config.loss, Lossy) and self._coder.exact_beside):
            raise UnsupportedFormat(
                f"making a codec: {config.codec!r} keeps no bands exact beside others"
            )
        self._decoder = self._checked(decoder)

    @property
    def loss(self) -> Loss:
        """What coding may change of the samples."""
        return self._config.loss

    @property
    def max_error(self) -> float | None:
        """None where there is no bound."""
        return self._config.loss.max_error

    @property
    def nodata(self) -> float | int | None:
        return self._config.nodata

    @property
    def model(self) -> Weights:
        return self._config.weights

    @property
    def has_scales(self) -> bool:
        """Whether decoding at a scale takes less time than decoding all."""
        return self._decoder == BASE and isinstance(self._coder, ScaledCoder)

    def to_config(self) -> dict[str, Any]:
        """Return the closed, versioned configuration that a reader needs (FORMAT.md §1)."""
        return self._config.to_json()

    @property
    def decoder(self) -> str:
        """By what records are decoded where nobody says."""
        return self._decoder

    @property
    def makes_up(self) -> bool:
        """Whether the decoder shows detail that nothing in the records tells of."""
        if self._decoder == BASE or not isinstance(self._coder, DecoderCoder):
            return False
        return self._coder.makes_up(self._decoder)

    @property
    def decoder_note(self) -> str | None:
        """What to say of samples that the decoder made, wherever they go; None of the base's."""
        if self._decoder == BASE:
            return None
        name = PurePath(self._decoder).stem  # of a file, for a path is nobody's business
        if self.makes_up:
            return f"decoder {name}: texture in it is made up, and was not in the original"
        return f"decoder {name}: what is said of the loss holds for the decoder {BASE}"

    @classmethod
    def from_config(
        cls,
        config: object,
        *,
        device: Device = "auto",
        max_memory: int | str | None = None,
        exact: Iterable[int] = (),
        decoder: str = BASE,
    ) -> TileCodec:
        """Build a codec from ``to_config``'s dictionary; raises UnsupportedFormat or ModelError.

        ``exact`` are bands, from 0, of chunks (…, bands, y, x) that come back to the bit whatever
        the target: for codecs that can (``ntc``). Records say themselves what they are, so that no
        reader needs to be told.
        """
        codec = cls.__new__(cls)
        codec._setup(CodecConfig.parse(config), device, max_memory, frozenset(exact), decoder)
        return codec

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise UnsupportedArray unless arrays of ``dtype`` can be coded with these options."""
        if dtype.name not in DTYPES:
            raise UnsupportedArray(
                f"coding a tile: dtype {dtype} is not supported; one of {', '.join(DTYPES)} is"
            )
        if refusal := self.loss.refusal(dtype) or self._coder.refusal(dtype):
            raise UnsupportedArray(f"coding a tile: {refusal}")
        self._absent(dtype)

    def encode(self, array: Array, *, bands: int = 1) -> bytes:
        """Code an array, (planes, y, x) or (y, x), to a record.

        ``bands`` is how many planes belong together, band fastest (3 for RGB frames).
        """
        if self._device == "cuda":
            return self.encode_many([array], bands=bands)[0]
        return self._encode(array, bands)

    def encode_many(self, arrays: Sequence[Array], *, bands: int = 1) -> list[bytes]:
        """Code arrays to records, side by side, with ``encode``'s bytes.

        On the CPU they run in the process's pool (threads.py); on a GPU their planes do in batches.
        Raises the first error in the order of the arrays.
        """
        return self._coder.map(lambda array: self._encode(array, bands), arrays)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call ``function``, which codes a chunk by this codec, for every item, side by side: as
        many at a time as pays where it codes. Raises the first error in the order of the items."""
        return self._coder.map(function, items)

    def encode_at(
        self, array: Array, level: float, *, bands: int = 1, peak: float
    ) -> tuple[bytes, Difference]:
        """Code an array as ``encode`` does, at a level of levels.py instead of for a target.

        Returns the record, and how what it decodes to differs. ``peak`` is the range that errors
        are measured against. For those who look for a level of many arrays together; raises
        UnsupportedFormat for a codec that has no levels.
        """
        try:
            return self._encode_whole(array, bands, level, peak)
        except MemoryError as error:
            raise _no_memory(array) from error

    def peak_of(self, array: Array) -> float:
        """Return the range that errors of an array are measured against."""
        assert isinstance(self.loss, Lossy), "only lossy targets have a peak"
        return self.loss.peak_of(array[self.present(array)])

    def present(self, array: Array) -> npt.NDArray[np.bool_]:
        """Mark the samples that errors are measured of: neither nodata nor NaN, and of no band,
        of chunks (…, bands, y, x), that is exact."""
        marks = present_samples(array, self.nodata)
        for band in self._exact:
            marks[..., band, :, :] = False
        return marks

    def check_loss(self, given: Array, decoded: Array) -> Difference:
        """Return how decoded samples of a chunk differ; raises CodecError for what the loss, or an
        exact band, does not allow."""
        for band in self._exact:
            Lossless().check(given[..., band, :, :], decoded[..., band, :, :])
        return self.loss.check(given, decoded, self.nodata)

    def _encode(self, array: Array, bands: int) -> bytes:
        try:
            if isinstance(self.loss, Lossy):
                return self._encode_for_target(self.loss, array, bands)
            return self._encode_whole(array, bands, None, 1.0)[0]
        except MemoryError as error:
            raise _no_memory(array) from error

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
            told = self.estimate(array, bands=bands, peak=peak)
        estimate = None if told is None else lambda _, level: [told(level)]
        (found,) = find_level(loss, code, together, "coding a tile", estimate)
        squared = found.difference.squared
        other = self.smaller(
            array, found.record, found.level, bands=bands, peak=peak, squared=squared
        )
        return found.record if other is None else other[0]

    def estimate(
        self, array: Array, *, bands: int = 1, peak: float
    ) -> Callable[[float], Trial[None]] | None:
        """Return what tells about what ``encode_at`` gives at a level, in less time.

        None where the codec cannot tell. It holds some ten times the samples.
        """
        if not isinstance(self._coder, EstimatingCoder) or self._exact:
            return None
        boxed = self._boxed(array)
        found = None
        if boxed.samples.size:
            found = self._coder.estimate(boxed.samples, boxed.absent, bands, peak)
        if found is None:
            return None
        at = found

        def told(level: float) -> Trial[None]:
            size, squared = at(level)
            return Trial(None, round(size) + OVERHEAD_BYTES, squared)

        return told

    def smaller(
        self,
        array: Array,
        record: bytes,
        level: float,
        *,
        bands: int = 1,
        peak: float,
        squared: float,
    ) -> tuple[bytes, Difference] | None:
        """Return a record in fewer bytes than one that ``encode_at`` gave, at no more error.

        squared : the sum of the squared errors of that record. None where the codec knows no such
        way. Raises as ``encode_at`` does.
        """
        if not isinstance(self._coder, RivalledCoder) or self._exact:
            return None
        if unpack_record(record)[0].coder != self._coder.number:
            return None
        boxed = self._boxed(array)
        size = len(record) - OVERHEAD_BYTES
        found = self._coder.encode_smaller(
            boxed.samples, boxed.absent, bands, level, peak, (size, squared)
        )
        return None if found is None else self._recorded(boxed, found, level)

    def _encode_whole(
        self, array: Array, bands: int, level: float | None, peak: float
    ) -> tuple[bytes, Difference]:
        boxed = self._boxed(array)
        found = None
        if boxed.samples.size:
            found = self._coded(boxed.samples, boxed.absent, bands, level, peak)
        return self._recorded(boxed, found, level)

    def _boxed(self, array: Array) -> _Boxed:
        """Return the samples that are coded; raises UnsupportedArray."""
        self.check(array.dtype)
        if array.ndim not in (2, 3):
            raise UnsupportedArray(f"coding a tile: got {array.ndim} axes, want 2 or 3")
        planes = array if array.ndim == 3 else array[None]
        if max(planes.shape) > MAX_SIDE or planes.size > MAX_RECORD_SAMPLES:
            raise UnsupportedArray(f"coding a tile: shape {array.shape} is beyond the limits")
        little = np.ascontiguousarray(planes, dtype=planes.dtype.newbyteorder("<"))
        absent = self._absent(little.dtype)
        fill = np.zeros((), little.dtype) if absent is None else absent
        coded = _coded_box(little, fill)
        samples = np.ascontiguousarray(little[: coded[0], : coded[1], : coded[2]])
        if absent is None and samples.dtype.kind == "f" and np.isnan(samples).any():
            absent = samples[np.isnan(samples)][0].reshape(())
        return _Boxed(samples, absent, fill, little.shape, two_d=array.ndim == 2)

    def _recorded(
        self, boxed: _Boxed, found: Coded | None, level: float | None
    ) -> tuple[bytes, Difference]:
        """Return a record of samples, as they were coded or as they are if that is no smaller."""
        samples = decoded = boxed.samples
        kind, payload, irreversible, model_id = CODER_STORED, samples.tobytes(), False, NO_MODEL
        if found is not None and len(found.payload) < len(payload):
            payload, decoded, irreversible = found[:3]
            kind = self._coder.number if found.number is None else found.number
            model_id = self._model_id if found.model_id is None else found.model_id
        difference = Difference()
        if self.loss.is_lossless or level is not None:  # whatever the coder says of itself
            difference = self.loss.check(samples, decoded, self.nodata)
        told = difference.worst if level is not None else self.max_error
        assert told is not None, "without a bound there is a level"
        header = RecordHeader(
            coder=kind,
            dtype=samples.dtype,
            shape=boxed.shape,
            coded=(samples.shape[0], samples.shape[1], samples.shape[2]),
            fill=boxed.fill.tobytes(),
            two_d=boxed.two_d,
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
        if level is not None and self._exact and isinstance(self._coder, ExactCoder):
            exact = self._exact
            return self._coder.encode_beside(samples, absent, bands, level, peak, exact)
        if level is not None and isinstance(self._coder, LevelCoder):
            return self._coder.encode_at(samples, absent, bands, level, peak)
        if level is not None:
            raise UnsupportedFormat(f"making a codec: {self._config.codec!r} has no levels")
        found = self._coder.encode(samples, absent, bands)
        return None if found is None else Coded(*found, False)

    def decode(
        self,
        data: bytes | memoryview,
        *,
        expect: Expected | None = None,
        planes: Sequence[int] | None = None,
        max_memory: int | str | None = None,
        scale: int = 1,
        decoder: str | None = None,
    ) -> Array:
        """Decode a record to an array of the shape and dtype that were coded.

        With a ``scale`` of 2, 4 or 8, so many rows and columns become one sample, at the ends of
        the record fewer: of ``ntc`` about their mean, from low frequencies alone, which takes a
        sixth of the time at a quarter; of parts that are exact, the one in the middle; of other
        codecs their mean. The same on every machine. ``expect`` is what the record holds at full
        resolution. Raises UsageError for other scales.

        With ``planes``, only these of a (planes, y, x) record, in their order, and those that they
        refer to are decoded: each has a checksum of its own. Raises IndexError for one beyond it.

        ``expect`` is the shape, (planes, y, x) or (y, x), and dtype that the record must have: who
        knows them should say so, for a record that claims others is then refused unread.
        ``max_memory`` and ``decoder`` are the constructor's, for this record.
        Raises InvalidRecord, ChecksumMismatch, UnsupportedFormat, ModelError or TooMuchMemory;
        never returns samples that are not those coded, unless another decoder than "base" was asked
        for: what this one decodes to is checked then, too.
        """
        if scale not in (1, *SCALES):
            raise UsageError(f"decoding a record: got scale {scale}, want 1, 2, 4 or 8")
        allowed = self._allowed(max_memory)
        by = self._decoder if decoder is None else self._checked(decoder)
        if scale > 1:
            if by != BASE:
                raise UsageError(
                    f"decoding a record: got scale {scale} with decoder {by!r}; only the decoder "
                    f"{BASE!r} decodes at a scale"
                )
            return self._decode(data, expect, allowed, planes, scale)
        if self._device == "cuda":
            decode = functools.partial(
                self._decode, expect=expect, allowed=allowed, planes=planes, decoder=by
            )
            return self._coder.map(decode, [data])[0]
        return self._decode(data, expect, allowed, planes, decoder=by)

    def decode_many(
        self, records: Sequence[bytes | memoryview], *, expect: Expected | None = None
    ) -> list[Array]:
        """Decode records, side by side, as ``decode`` does; ``expect`` holds for each.

        Raises the first error in the order of the records: who wants the others, too, decodes one
        by one. A damaged record disturbs no other call.
        """
        allowed = self._allowed(None)
        return self._coder.map(lambda record: self._decode(record, expect, allowed), records)

    def _checked(self, decoder: str) -> str:
        """Return a decoder that this codec has; raises UnsupportedFormat or ModelError."""
        if decoder == BASE:
            return decoder
        if not isinstance(decoder, str) or not isinstance(self._coder, DecoderCoder):
            raise UnsupportedFormat(
                f"choosing a decoder: got {shown(decoder)}, "
                f"codec {self._config.codec!r} has {BASE!r} only"
            )
        if self._config.loss.max_error is not None:
            raise UnsupportedFormat(
                f"choosing a decoder: got {decoder!r}, but samples are within a bound of the "
                f"original, which holds for {BASE!r} alone"
            )
        self._coder.check_decoder(decoder)
        return decoder

    def _allowed(self, max_memory: int | str | None) -> int:
        return allowed_memory(self._max_memory if max_memory is None else max_memory)

    def _decode(
        self,
        data: bytes | memoryview,
        expect: Expected | None,
        allowed: int,
        planes: Sequence[int] | None = None,
        scale: int = 1,
        decoder: str | None = None,
    ) -> Array:
        header, payload = unpack_record(data)
        budget = Budget(
            f"decoding a record of {_spelt(header)}, crc32c {header.symbols_crc:08x}", allowed
        )
        try:
            if scale > 1 and self._can_scale(header):
                return self._decode_scaled(header, payload, expect, planes, budget, scale)
            by = self._decoder if decoder is None else decoder
            whole = self._decode_within(header, payload, expect, planes, budget, by)
            return whole if scale == 1 else self._averaged(whole, scale)
        except MemoryError as error:
            raise budget.exhausted() from error

    def _decode_within(
        self,
        header: RecordHeader,
        payload: memoryview,
        expect: Expected | None,
        planes: Sequence[int] | None,
        budget: Budget,
        decoder: str,
    ) -> Array:
        remade = False
        if planes is not None:
            _check_planes(planes, 0 if header.two_d else header.shape[0])
        _check_expected(header, expect)
        if header.coder == CODER_STORED or header.coded != header.shape:
            budget = budget.less(header.dtype.itemsize * math.prod(header.shape) + _SMALL_BYTES)
        if planes is not None:
            budget = budget.less(header.dtype.itemsize * len(planes) * math.prod(header.shape[1:]))
        if header.coder == CODER_STORED:
            budget.check()
            want = int(np.prod(header.coded)) * header.dtype.itemsize
            if len(payload) != want:
                raise InvalidRecord(
                    f"decoding a record: got {len(payload)} bytes of samples, want {want}"
                )
            samples = np.frombuffer(payload, header.dtype).reshape(header.coded)
            if header.dtype.kind == "b" and np.any(samples.view(np.uint8) > 1):
                raise InvalidRecord("decoding a record: bool samples other than 0 and 1")
        elif kept := kept_decoder(header.coder):
            samples = kept(payload, header, budget)
        else:
            registered, coder = named(self._config.codec), self._coder
            if header.coder in numbers_beside(self._config.codec):
                coder = coder_numbered(header.coder, header.model_id)
            elif header.coder not in registered.numbers:
                raise UnsupportedFormat(
                    f"decoding a record: its coder is {header.coder}, "
                    f"not that of codec {self._config.codec!r}"
                )
            elif header.model_id != self._model_id:
                raise self._other_model(header)
            if 0 in header.coded:
                raise InvalidRecord("decoding a record: an empty box has a payload")
            wanted = None if planes is None else frozenset(p for p in planes if p < header.coded[0])
            remade = decoder != BASE and coder is self._coder
            if remade and isinstance(coder, DecoderCoder):
                samples = coder.decode_by(
                    decoder, payload, header.coded, header.dtype, wanted, budget, header.coder
                )
            else:
                samples = coder.decode(
                    payload, header.coded, header.dtype, wanted, budget, header.coder
                )
        own = header.irreversible and not kept_decoder(header.coder)
        if own and crc32c(payload) != header.symbols_crc:
            raise ChecksumMismatch("decoding a record: its payload does not match its crc32c")
        own_sums = (*named(self._config.codec).numbers, *numbers_beside(self._config.codec))
        whole = planes is None or header.coder not in own_sums
        whole = whole and not header.irreversible and not remade
        if whole and samples_crc(samples) != header.symbols_crc:
            raise ChecksumMismatch("decoding a record: samples do not match their crc32c")
        restored = _restore(header, samples)
        return restored if planes is None else restored[list(planes)]

    def _averaged(self, whole: Array, scale: int) -> Array:
        """Return the means of blocks of decoded samples, of those that are present."""
        absent = ~present_samples(whole, self.nodata)
        method: Method = "average" if whole.dtype.kind in "iuf" else "nearest"
        taken = None if self.nodata is None else (self.nodata, self.nodata)
        return reduced(whole, scale, method, absent if absent.any() else None, taken)

    def _can_scale(self, header: RecordHeader) -> bool:
        """Whether the coder decodes at a scale by itself."""
        numbers = named(self._config.codec).numbers
        return header.coder in numbers and isinstance(self._coder, ScaledCoder)

    def _decode_scaled(
        self,
        header: RecordHeader,
        payload: memoryview,
        expect: Expected | None,
        planes: Sequence[int] | None,
        budget: Budget,
        scale: int,
    ) -> Array:
        coder = self._coder
        assert isinstance(coder, ScaledCoder), "asked only where it is one"
        if planes is not None:
            _check_planes(planes, 0 if header.two_d else header.shape[0])
        _check_expected(header, expect)
        if header.model_id != self._model_id:
            raise self._other_model(header)
        if 0 in header.coded:
            raise InvalidRecord("decoding a record: an empty box has a payload")
        budget = budget.less(header.dtype.itemsize * math.prod(header.shape))
        wanted = None if planes is None else frozenset(p for p in planes if p < header.coded[0])
        samples = coder.decode_scaled(
            payload, header.coded, header.dtype, wanted, budget, header.coder, scale
        )
        shape, coded = _scaled(header.shape, scale), _scaled(header.coded, scale)
        restored = _restore(replace(header, shape=shape, coded=coded), samples)
        return restored if planes is None else restored[list(planes)]

    def _other_model(self, header: RecordHeader) -> UnsupportedFormat:
        return UnsupportedFormat(
            f"decoding a record: it needs model {header.model_id.hex()}…, this codec has "
            f"{self._model_id.hex()}… ({self.model.name})"
        )

    def _absent(self, dtype: np.dtype[Any]) -> Array | None:
        """Return nodata as one sample of ``dtype``, or None; refuses what the dtype cannot hold."""
        nodata = self.nodata
        if nodata is None:
            return None
        if dtype.kind in "uib":
            low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if (
                (isinstance(nodata, float) and not math.isfinite(nodata))
                or nodata != int(nodata)
                or not low <= nodata <= high
            ):
                raise UnsupportedArray(f"coding a tile: nodata {nodata} is no value of {dtype}")
            return np.array(int(nodata), dtype)
        try:
            with np.errstate(over="ignore"):  # float64's lowest as nodata of float32 means −inf
                return np.array(nodata, dtype)
        except OverflowError as error:
            raise UnsupportedArray(f"coding a tile: nodata is no value of {dtype}") from error


def _no_memory(array: Array) -> TooMuchMemory:
    shape = " × ".join(map(str, array.shape))
    return TooMuchMemory(
        f"coding a tile of {shape} {array.dtype}: the machine has no memory left for it; "
        "use fewer threads or smaller chunks"
    )


@lru_cache(maxsize=64)
def codec_of(configuration: str, decoder: str = BASE) -> TileCodec:
    """Return the codec of a configuration (FORMAT.md) as JSON; one per process, text and decoder.

    Zarr's codecs hold the text alone, so that a pickled array stays small.
    """
    return TileCodec.from_config(json.loads(configuration), decoder=decoder)


def encode_chunk(codec: TileCodec, chunk: Array) -> bytes:
    """Encode a chunk of ≥ 2 axes, (…, y, x), as one record.

    Leading axes are flattened to planes in C order; the last of them is told to the codec as the
    number of bands that go together.
    """
    check_chunk(chunk.shape, chunk.dtype)
    if chunk.ndim == 2:
        return codec.encode(np.ascontiguousarray(chunk))
    planes = np.ascontiguousarray(chunk).reshape(-1, *chunk.shape[-2:])
    return codec.encode(planes, bands=chunk.shape[-3])


def encode_chunk_at(
    codec: TileCodec, chunk: Array, level: float, peak: float, *, bands: int | None = None
) -> tuple[bytes, Difference]:
    """Encode a chunk as ``encode_chunk`` does, at a level, as ``TileCodec.encode_at``.

    ``bands`` says how many planes go together, 1 for the slices of a volume; None: as many as the
    last of the leading axes has.
    """
    check_chunk(chunk.shape, chunk.dtype)
    planes, bands = _as_planes(chunk, bands)
    return codec.encode_at(planes, level, bands=bands, peak=peak)


def estimate_chunk(
    codec: TileCodec, chunk: Array, peak: float, *, bands: int | None = None
) -> Callable[[float], Trial[None]] | None:
    """Return what tells about what ``encode_chunk_at`` gives, as ``TileCodec.estimate``."""
    planes, bands = _as_planes(chunk, bands)
    return codec.estimate(planes, bands=bands, peak=peak)


def _as_planes(chunk: Array, bands: int | None) -> tuple[Array, int]:
    """Return (planes, y, x) or (y, x) of a chunk, and how many planes go together."""
    planes = np.ascontiguousarray(chunk)
    if chunk.ndim == 2:
        return planes, 1
    bands = chunk.shape[-3] if bands is None else bands
    return planes.reshape(-1, *chunk.shape[-2:]), bands


def smaller_chunk(
    codec: TileCodec, chunk: Array, found: Levelled, peak: float, *, bands: int | None = None
) -> Levelled:
    """Return a record of a chunk in fewer bytes at no more error, or the one that there is."""
    planes, bands = _as_planes(chunk, bands)
    squared = found.difference.squared
    other = codec.smaller(
        planes, found.record, found.level, bands=bands, peak=peak, squared=squared
    )
    return found if other is None else Levelled(other[0], found.level, other[1])


def decode_chunk(
    codec: TileCodec, record: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """Decode a record that must hold a chunk of this shape and dtype."""
    check_chunk(shape, dtype)
    wanted = shape if len(shape) == 2 else (math.prod(shape[:-2]), *shape[-2:])
    return codec.decode(record, expect=(wanted, dtype)).reshape(shape)


def decode_planes(
    codec: TileCodec,
    record: bytes | memoryview,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    planes: Sequence[int],
) -> Array:
    """Decode these planes of a record, and what they refer to, at their places in a chunk.

    Numbers are those of the chunk's leading axes, flattened in C order. The other planes of the
    chunk are 0.
    """
    check_chunk(shape, dtype)
    wanted = (math.prod(shape[:-2]), *shape[-2:])
    chunk = np.zeros(wanted, dtype)
    chunk[list(planes)] = codec.decode(record, expect=(wanted, dtype), planes=planes)
    return chunk.reshape(shape)


def check_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise UnsupportedArray for a chunk that no record can hold."""
    if len(shape) < 2:
        raise UnsupportedArray(
            f"coding with {CODEC_NAME}: the array has {len(shape)} axes, want at least (y, x)"
        )
    if dtype.name not in DTYPES:
        raise UnsupportedArray(
            f"coding with {CODEC_NAME}: dtype {dtype} is not supported; "
            f"supported are {', '.join(DTYPES)}"
        )


def _spelt(header: RecordHeader) -> str:
    shape = header.shape[1:] if header.two_d else header.shape
    return f"{' × '.join(map(str, shape))} {header.dtype.name}"


def _check_planes(planes: Sequence[int], count: int) -> None:
    for plane in planes:
        if not 0 <= plane < count:
            raise IndexError(f"decoding a record: plane {plane} of {count}")


def _scaled(sides: tuple[int, int, int], scale: int) -> tuple[int, int, int]:
    return sides[0], -(-sides[1] // scale), -(-sides[2] // scale)


def _check_expected(header: RecordHeader, expect: Expected | None) -> None:
    if expect is None:
        return
    found = header.shape[1:] if header.two_d else header.shape
    if found != tuple(expect[0]) or header.dtype.name != expect[1].name:
        raise InvalidRecord(
            f"decoding a record: it holds {found} of {header.dtype.name}, "
            f"not {tuple(expect[0])} of {expect[1].name}"
        )


def _coded_box(samples: Array, fill: Array) -> tuple[int, int, int]:
    """Return the box that remains when trailing planes, rows and columns of fill are cut."""
    raw = f"u{samples.dtype.itemsize}"
    other = samples.view(raw) != fill.view(raw)
    if not other.any():
        return (0, 0, 0)
    sizes = []
    for axis in range(3):
        used = other.any(axis=tuple(a for a in range(3) if a != axis))
        sizes.append(int(np.flatnonzero(used)[-1]) + 1)
    return (sizes[0], sizes[1], sizes[2])


def _restore(header: RecordHeader, samples: Array) -> Array:
    """Put the coded box back into its fill."""
    native = header.dtype.newbyteorder("=")
    if header.coded == header.shape:
        out = samples.astype(native, copy=not samples.flags.writeable)
    else:
        fill = np.frombuffer(header.fill, header.dtype)[0]
        out = np.full(header.shape, fill, native)
        planes, rows, columns = header.coded
        out[:planes, :rows, :columns] = samples
    return out[0] if header.two_d else out
