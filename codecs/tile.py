"""The door of codecs: one chunk of samples to one record and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import weights_id
from tilepress.codecs.budget import allowed_memory
from tilepress.codecs.chunk import (
    CODEC_NAME,
    check_chunk,
    decode_chunk,
    decode_planes,
    encode_chunk,
    encode_chunk_at,
    estimate_chunk,
    smaller_chunk,
)
from tilepress.codecs.coder import BASE, ChunkCoder, DecoderCoder, ScaledCoder
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.difference import Difference
from tilepress.codecs.loss import Loss, Lossless, Lossy
from tilepress.codecs.numbers import shown
from tilepress.codecs.record_decode import SCALES, Asked, RecordDecoder
from tilepress.codecs.record_encode import Levelled, RecordEncoder
from tilepress.codecs.registry import DEFAULT_CODEC, LOSSY_CODEC, coder_class
from tilepress.codecs.search import Trial
from tilepress.codecs.weights import Weights
from tilepress.errors import UnsupportedFormat, UsageError

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

Array = npt.NDArray[Any]
Expected = tuple[tuple[int, ...], np.dtype[Any]]
Device = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Result = TypeVar("Result")

_DEVICES = ("auto", "cpu", "cuda")


class TileCodec:
    """Codes chunks of samples, losslessly or within ``max_error``. Thread-safe.

    Parameters
    ----------
    codec : "wave", the learned lossless and near-lossless codec (FORMAT.md), "ntc", the learned
        lossy one, "mlp", "compressai:ARCH", or a classical one: "jpegxl", "jpeg2000", "htj2k",
        "jpegls", "lerc", "zstd" and, of 8 bits, "webp" and "avif". None: "ntc" where a target of
        lossy coding is given, else "wave", as the command line has it.
    max_error : largest absolute error of any present sample: an integer in stored units for
        integers, a number in physical units for floats. 0 means lossless.
    quality, psnr, bits_per_sample : at most one of them: lossy, by codecs that can be; "ntc" holds
        it within a max_error, too, others refuse both. 1 to 100, of the codec's own scale; a PSNR
        in dB that present samples have at least; bits that samples take at most, the record's
        overhead and absent samples counted. Each record holds the target by itself. Absent samples,
        NaN and infinities stay exact.
    peak : the range that the PSNR is over, in units of the samples; None: 255 for samples of 8
        bits, else the range of each array's own.
    nodata : the value that marks absent samples; it is kept exactly, and no present sample ever
        decodes to it, nor the reverse.
    tier : "fast" (the fitted linear path alone), "standard", or "max" (a larger network): which
        bundled model "auto" means, and how long the encoder looks for what pays. Of "ntc", whether
        established codecs are not tried, where they may win, or always.
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
        codec: str | None = None,
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
        if codec is None:
            is_lossy = any(one is not None for one in (quality, psnr, bits_per_sample))
            codec = LOSSY_CODEC if is_lossy else DEFAULT_CODEC
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
        if exact and not (isinstance(config.loss, Lossy) and self._coder.exact_beside):
            raise UnsupportedFormat(
                f"making a codec: {config.codec!r} keeps no bands exact beside others"
            )
        self._writer = RecordEncoder(config, self._coder, weights_id(config.weights), exact)
        self._reader = RecordDecoder(config, self._coder, weights_id(config.weights))
        self._decoder = self._checked(decoder)

    def __repr__(self) -> str:
        return f"<TileCodec {self._config.codec}: {self._config.loss}>"

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
        self._writer.check(dtype)

    def encode(self, array: Array, *, bands: int = 1) -> bytes:
        """Code an array, (planes, y, x) or (y, x), to a record.

        ``bands`` is how many planes belong together, band fastest (3 for RGB frames).
        """
        if self._device == "cuda":
            return self.encode_many([array], bands=bands)[0]
        return self._writer.encode(array, bands)

    def encode_many(self, arrays: Sequence[Array], *, bands: int = 1) -> list[bytes]:
        """Code arrays to records, side by side, with ``encode``'s bytes.

        On the CPU they run in the process's pool (threads.py); on a GPU their planes do in batches.
        Raises the first error in the order of the arrays.
        """
        return self._coder.map(lambda array: self._writer.encode(array, bands), arrays)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
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
        return self._writer.encode_at(array, bands, level, peak)

    def peak_of(self, array: Array) -> float:
        """Return the range that errors of an array are measured against."""
        return self._writer.peak_of(array)

    def present(self, array: Array) -> npt.NDArray[np.bool_]:
        """Mark the samples that errors are measured of: neither nodata nor NaN, and of no band,
        of chunks (…, bands, y, x), that is exact."""
        return self._writer.present(array)

    def check_loss(self, given: Array, decoded: Array) -> Difference:
        """Return how decoded samples of a chunk differ; raises CodecError for what the loss, or an
        exact band, does not allow."""
        for band in self._writer.exact:
            Lossless().check(given[..., band, :, :], decoded[..., band, :, :])
        return self.loss.check(given, decoded, self.nodata)

    def estimate(
        self, array: Array, *, bands: int = 1, peak: float
    ) -> Callable[[float], Trial[None]] | None:
        """Return what tells about what ``encode_at`` gives at a level, in less time.

        None where the codec cannot tell. It holds some ten times the samples.
        """
        return self._writer.estimate(array, bands, peak)

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
        return self._writer.smaller(array, record, level, bands, peak, squared)

    def tries_smaller(self, array: Array | None = None) -> bool:
        """Whether ``smaller`` is worth to be asked for an array, (…, y, x), by what it looks like;
        without one: whether it is for every array. Takes little time."""
        return self._writer.tries_smaller(array)

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
        if scale > 1 and by != BASE:
            raise UsageError(
                f"decoding a record: got scale {scale} with decoder {by!r}; only the decoder "
                f"{BASE!r} decodes at a scale"
            )
        asked = Asked(expect=expect, planes=planes, scale=scale, decoder=by)
        if self._device == "cuda" and scale == 1:
            return self._coder.map(lambda one: self._reader.decode(one, asked, allowed), [data])[0]
        return self._reader.decode(data, asked, allowed)

    def decode_many(
        self, records: Sequence[bytes | memoryview], *, expect: Expected | None = None
    ) -> list[Array]:
        """Decode records, side by side, as ``decode`` does; ``expect`` holds for each.

        Raises the first error in the order of the records: who wants the others, too, decodes one
        by one. A damaged record disturbs no other call.
        """
        allowed, asked = self._allowed(None), Asked(expect=expect, decoder=self._decoder)
        return self._coder.map(lambda one: self._reader.decode(one, asked, allowed), records)

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


@lru_cache(maxsize=64)
def codec_of(configuration: str, decoder: str = BASE) -> TileCodec:
    """Return the codec of a configuration (FORMAT.md) as JSON; one per process, text and decoder.

    Zarr's codecs hold the text alone, so that a pickled array stays small.
    """
    return TileCodec.from_config(json.loads(configuration), decoder=decoder)
