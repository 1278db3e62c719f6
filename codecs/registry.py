"""Codecs by name: what each of them offers, and the module that codes, imported at first use.

A codec is a folder ``codecs/NAME/`` whose ``codec.py`` has a ``ChunkCoder``, one line in
``CODECS``, and what it writes in FORMAT.md. Stores, checks and exports know none of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.loss import Loss
from tilepress.errors import ModelError

__all__ = [
    "BASE",
    "CODECS",
    "DEFAULT_CODEC",
    "KEPT",
    "ChunkCoder",
    "Coded",
    "DecoderCoder",
    "LevelCoder",
    "Registered",
    "check_weights",
    "coder_class",
    "has_decoders",
    "kept_decoder",
    "kept_streams",
    "known_coders",
    "may_be_irreversible",
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
    number: int
    """What the headers of its records call it, one of those of its ``Registered``."""

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        """Make ready to code. Raises ModelError for weights, UnsupportedFormat for a device."""
        ...

    @staticmethod
    def check_weights(data: bytes) -> None:
        """Raise ModelError unless these are weights of this codec."""
        ...

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

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call ``function``, which codes a chunk, for every item: as many at a time as pays."""
        ...


class Coded(NamedTuple):
    """A chunk that was coded at a level."""

    payload: bytes
    decoded: Array
    """What it decodes to here."""
    irreversible: bool
    """Whether another decoder may give other samples, within what its standard allows."""


@runtime_checkable
class LevelCoder(ChunkCoder, Protocol):
    """A coder that can be lossy: one number says how finely it codes.

    It has ``Quality``, ``AtLeast`` and ``AtMost`` among its losses. Which level holds a target is
    looked for by search.py; ``encode`` is asked for nothing lossy.
    """

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code samples at a level, 1 to 140 (levels.py), or as they are at ``EXACT``.

        peak : the range that errors are measured against, in units of the samples.
        What ``absent`` marks, NaN and infinities come back to the bit, and nothing becomes them.
        Returns None where it cannot code such samples: they are stored as they are then.
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
    ) -> Array:
        """Decode as ``decode`` does, but to the samples of another decoder than ``BASE``.

        What the base decodes to is compared with its checksums before. Samples that records keep
        exactly stay so.
        """
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
    "ntc": Registered(6, "tilepress.codecs.ntc.codec:NtcCoder"),
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


def coder_class(codec: str) -> type[ChunkCoder]:
    """Import the coder of a codec."""
    module, _, name = CODECS[codec].coder.partition(":")
    found: type[ChunkCoder] = getattr(import_module(module), name)
    return found


def has_decoders(codec: object) -> bool:
    """Whether a codec of that name can decode by others than ``BASE``."""
    return isinstance(codec, str) and codec in CODECS and hasattr(coder_class(codec), "decode_by")


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
