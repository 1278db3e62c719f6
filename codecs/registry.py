"""Codecs by name: what each of them offers, and the module that codes, imported at first use.

A codec is a folder ``codecs/NAME/`` whose ``codec.py`` has a ``ChunkCoder``, one line in
``CODECS``, and what it writes in FORMAT.md. Stores, checks and exports know none of them by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.loss import Loss, Lossless
from tilepress.codecs.threads import map_chunks
from tilepress.errors import ModelError, UnsupportedFormat

__all__ = [
    "BASE",
    "CODECS",
    "DEFAULT_CODEC",
    "KEPT",
    "LOSSY_CODEC",
    "ChunkCoder",
    "Coded",
    "DecoderCoder",
    "EstimatingCoder",
    "ExactCoder",
    "LevelCoder",
    "ParameterCoder",
    "Registered",
    "RivalledCoder",
    "ScaledCoder",
    "canonical",
    "check_weights",
    "coder_class",
    "has_decoders",
    "kept_decoder",
    "kept_streams",
    "known_coders",
    "may_be_irreversible",
    "named",
    "numbers_beside",
]

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


class ChunkCoder(Protocol):
    """Codes the planes of one chunk, (planes, y, x), to the payload of a record and back.

    Thread-safe and small when pickled. It is made for one configuration, and says before that what
    it can do: nothing is taken for granted, least of all that samples come back.
    """

    losses: ClassVar[frozenset[type[Loss]]]
    """What it can promise of samples. With ``Lossless`` among them it may be asked to lose nothing,
    else it never is. What it gives back is compared with this promise at every chunk."""
    models: ClassVar[Mapping[str, str | None]]
    """Its tiers, each with the bundled model that it has; None where it needs no weights."""
    former_models: ClassVar[Mapping[str, Sequence[str]]]
    """By tier, the bundled models that earlier versions had: a store that was written with one of
    them is what its line asks for."""
    on_device: ClassVar[bool] = False
    """Whether it can code on a GPU, too."""
    exact_beside: ClassVar[bool] = False
    """Whether it is an ``ExactCoder``: bands that must be exact need no chunks of their own."""
    bounds_lossy: ClassVar[bool] = False
    """Whether it holds a target of lossy coding within a bound on each sample, too."""
    number: int
    """What the headers of its records call it, one of those of its ``Registered``."""

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        """Make ready to code. Raises ModelError for weights, UnsupportedFormat for a device."""
        ...

    @staticmethod
    def check_weights(data: bytes) -> None:
        """Raise ModelError unless these are weights of this codec."""
        ...

    @staticmethod
    def why_no_device() -> str | None:
        """Tell why it cannot code on a GPU of this process; None where it can."""
        return "this codec knows no device"

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        """Tell why it takes no samples of ``dtype``, one that records know; None where it does."""
        return None

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        """Return the payload of samples and what it decodes to; None where it cannot code them.

        absent : one sample of their dtype that marks absent ones, compared bit by bit, or None.
        bands : how many planes belong together, band fastest. A hint: it never changes samples.
        """
        ...

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        """Decode a payload, not trusted, to samples; with ``planes`` only these need be right.

        number : what the record's header calls its coder, one of those of its ``Registered``.

        What that takes, the samples counted, is checked with ``budget`` before it is allocated.
        Whoever asks compares all samples with a checksum, but not some of them: their own checksums
        are the coder's business. Raises InvalidRecord or another CodecError, and nothing else.
        """
        ...

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call ``function``, which codes a chunk, for every item: as many at a time as pays."""
        return map_chunks(function, items)


class Coded(NamedTuple):
    """A chunk that was coded at a level."""

    payload: bytes
    decoded: Array
    """What it decodes to here."""
    irreversible: bool
    """Whether another decoder may give other samples, within what its standard allows."""
    number: int | None = None
    """Which of the coders of its ``Registered`` the payload is of; None: its own."""
    model_id: bytes | None = None
    """First bytes of the SHA-256 of the weights that it needs; None: those of its own."""


@runtime_checkable
class LevelCoder(ChunkCoder, Protocol):
    """A coder that can be lossy: one number says how finely it codes.

    It has ``Quality``, ``AtLeast`` and ``AtMost`` among its losses. Which level holds a target is
    looked for by search.py; ``encode`` is asked for nothing lossy.
    """

    def encode(
        self, samples: Array, absent: Array | None, bands: int
    ) -> tuple[bytes, Array] | None:
        """Return None: nothing is coded without loss, unless a coder can."""
        return None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code samples at a level, 1 to 140 (levels.py), or as they are at ``EXACT``.

        peak : the range that errors are measured against, in units of the samples.
        What ``absent`` marks, NaN and infinities come back to the bit, and nothing becomes them.
        Returns None where it cannot code such samples: they are stored as they are then.
        """
        ...


@runtime_checkable
class ExactCoder(LevelCoder, Protocol):
    """A lossy coder that keeps some bands of a chunk to the bit."""

    def encode_beside(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        exact: frozenset[int],
    ) -> Coded | None:
        """Code as ``encode_at`` does, and these of the bands, from 0, without any loss."""
        ...


@runtime_checkable
class RivalledCoder(LevelCoder, Protocol):
    """A lossy coder that knows of others that are better at times."""

    def encode_smaller(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        found: tuple[int, float],
    ) -> Coded | None:
        """Return samples in fewer bytes at no more error than ``encode_at`` found at a level.

        found : bytes of its payload, and the sum of its squared errors. None where there is no
        such way, or none that is worth to look for.
        """
        ...


@runtime_checkable
class EstimatingCoder(LevelCoder, Protocol):
    """A lossy coder that tells about what a level would give, in less time than coding takes."""

    def estimate(
        self, samples: Array, absent: Array | None, bands: int, peak: float
    ) -> Callable[[float], tuple[float, float]] | None:
        """Return a function of the level, to bytes of a payload and the sum of squared errors.

        None where it cannot tell. What the function holds may be large.
        """
        ...


@runtime_checkable
class ScaledCoder(ChunkCoder, Protocol):
    """A coder that decodes at a lower resolution in less time."""

    def decode_scaled(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
        scale: int,
    ) -> Array:
        """Return about the mean of ``scale`` × ``scale`` samples, 2, 4 or 8, for each of these.

        The same on every machine, though no checksum tells of it. As ``decode`` in all else.
        """
        ...


BASE = "base"
"""The decoder that every codec has, which checksums and promises of loss are of."""


@runtime_checkable
class DecoderCoder(ChunkCoder, Protocol):
    """A coder whose records may be decoded in other ways, by the reader's choice."""

    def check_decoder(self, decoder: str) -> None:
        """Raise UnsupportedFormat or ModelError unless it can decode so, here."""
        ...

    @staticmethod
    def makes_up(decoder: str) -> bool:
        """Whether a decoder shows detail that nothing in the record tells of."""
        ...

    def decode_by(
        self,
        decoder: str,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        """Decode as ``decode`` does, but to the samples of another decoder than ``BASE``.

        What the base decodes to is compared with its checksums before. Samples that records keep
        exactly stay so.
        """
        ...


class ParameterCoder(LevelCoder):
    """A coder of which there are many: parameters after a codec's name say which.

    They are what an encoder is asked for; a reader needs none of them.
    """

    name: ClassVar[str]
    """What stands before the parameters."""
    parameters: ClassVar[str]
    """In their one spelling; "" where none differs from its default."""

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        self._made_of = (loss, tier, weights, device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as name and parameters: a class that ``of`` makes is in no module."""
        return _made, (f"{self.name}:{self.parameters}", self._made_of)

    @classmethod
    @abstractmethod
    def of(cls, parameters: str) -> type[ParameterCoder]:
        """Return the coder with parameters; raises UnsupportedFormat where it has none such."""
        ...


@dataclass(frozen=True, slots=True)
class Registered:
    """A codec of ``CODECS``."""

    number: int
    """What the header of a record calls it, from 1 on (FORMAT.md §2). Append only."""
    coder: str
    """module:class of its ``ChunkCoder``."""
    later: tuple[int, ...] = ()
    """Numbers of formats that came after the first."""
    irreversible: bool = False
    """Whether its records may say that other decoders give other samples."""
    beside: tuple[int, ...] = ()
    """Numbers of other codecs whose records may stand among its own (``numbers_beside``)."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """All that it reads."""
        return (self.number, *self.later)


_CLASSICAL = {
    "jpegxl": "JpegXlCoder",
    "jpeg2000": "Jpeg2000Coder",
    "htj2k": "Htj2kCoder",
    "jpegls": "JpegLsCoder",
    "lerc": "LercCoder",
    "webp": "WebPCoder",
    "avif": "AvifCoder",
    "zstd": "ZstdCoder",
}

CODECS = {
    "wave": Registered(1, "tilepress.codecs.wave.codec:WaveCoder", later=(4,)),
    **{
        name: Registered(5, f"tilepress.codecs.classical.codec:{coder}", irreversible=True)
        for name, coder in _CLASSICAL.items()
    },
    "ntc": Registered(6, "tilepress.codecs.ntc.codec:NtcCoder", later=(7,), beside=(1, 4, 5)),
    "mlp": Registered(8, "tilepress.codecs.mlp.codec:MlpCoder"),
    "compressai": Registered(9, "tilepress.codecs.compressai.codec:CompressaiCoder"),
}
"""Established codecs share a number: their payloads say which of them they are (FORMAT.md §14)."""

KEPT = {
    "jpeg": Registered(2, "tilepress.codecs.jpeg.codec:decode_payload"),
    "passed": Registered(3, "tilepress.codecs.passed.codec:decode_payload"),
}
"""Coders that keep compressed streams as they came, and decode them to samples. Records of theirs
may stand among those of any configuration: no reader needs to be told of them before. ``coder`` is
a function of a payload, the record's header and a budget, which returns the coded box's samples;
beside it lies ``streams``, a function of a record."""

DEFAULT_CODEC = "wave"

LOSSY_CODEC = "ntc"
"""What a target means where no codec is named."""


def named(codec: str) -> Registered:
    """Return the codec of a name; raises KeyError where there is none.

    What stands after a colon are its parameters.
    """
    return CODECS[codec.partition(":")[0]]


def coder_class(codec: str) -> type[ChunkCoder]:
    """Import the coder of a codec; raises KeyError, or UnsupportedFormat for its parameters."""
    module, _, name = named(codec).coder.partition(":")
    found: type[ChunkCoder] = getattr(import_module(module), name)
    if issubclass(found, ParameterCoder):
        return found.of(codec.partition(":")[2])
    if ":" in codec:
        raise UnsupportedFormat(
            f"making a codec: got {codec!r}, but {codec.partition(':')[0]!r} has no parameters"
        )
    return found


def _made(codec: str, made_of: tuple[Loss, str, bytes, str]) -> ChunkCoder:
    return coder_class(codec)(*made_of)


def canonical(codec: object) -> str | None:
    """Return a codec's name with its parameters in their one spelling; None: there is no such.

    Raises UnsupportedFormat for parameters that it does not have.
    """
    if not isinstance(codec, str) or codec.partition(":")[0] not in CODECS:
        return None
    found = coder_class(codec)
    plain = codec.partition(":")[0]
    told = found.parameters if issubclass(found, ParameterCoder) else ""
    return f"{plain}:{told}" if told else plain


def has_decoders(codec: object) -> bool:
    """Whether a codec of that name can decode by others than ``BASE``."""
    plain = codec.partition(":")[0] if isinstance(codec, str) else None
    return plain in CODECS and hasattr(coder_class(plain), "decode_by")


@cache
def numbers_beside(codec: str) -> tuple[int, ...]:
    """Return the numbers of other codecs whose records may stand among those of a codec.

    Where it is never lossless, the default one keeps its exact bands (``lossless_config``).
    """
    is_lossless = Lossless in coder_class(codec).losses
    return named(codec).beside + (() if is_lossless else CODECS[DEFAULT_CODEC].numbers)


def known_coders() -> frozenset[int]:
    """Return the numbers of all coders, as headers of records have them."""
    return frozenset(n for one in (*CODECS.values(), *KEPT.values()) for n in one.numbers)


def may_be_irreversible(number: int) -> bool:
    """Whether records of a coder may have streams that decoders make other samples of."""
    kept = any(number in one.numbers for one in KEPT.values())
    return kept or any(one.irreversible and number in one.numbers for one in CODECS.values())


def kept_decoder(number: int) -> Callable[..., Array] | None:
    """Import what decodes payloads of a coder of ``KEPT``; None for other numbers."""
    return _of_kept(number, None)


def kept_streams(number: int) -> Callable[..., list[bytes | None]] | None:
    """Import what takes the streams out of records of a coder of ``KEPT``, as they came."""
    return _of_kept(number, "streams")


def _of_kept(number: int, what: str | None) -> Callable[..., Any] | None:
    for registered in KEPT.values():
        if registered.number == number:
            module, _, name = registered.coder.partition(":")
            found: Callable[..., Any] = getattr(import_module(module), what or name)
            return found
    return None


def check_weights(data: bytes) -> None:
    """Raise ModelError unless some codec has such weights; the default one's if none has."""
    errors = []
    for codec in sorted(CODECS, key=lambda name: name != DEFAULT_CODEC):
        try:
            return coder_class(codec).check_weights(data)
        except ModelError as error:
            errors.append(error)
    raise errors[0]
