"""Codecs by name, and by the number in headers of records; their modules are imported at first use.

A codec is a folder ``codecs/NAME/`` whose ``codec.py`` has a ``ChunkCoder``, one line in
``CODECS``, and what it writes in FORMAT.md. Stores, checks and exports know none of them by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy.typing as npt

from tilepress.codecs.coder import ChunkCoder, LevelCoder
from tilepress.codecs.loss import Loss, Lossless
from tilepress.errors import ModelError, UnsupportedFormat

__all__ = [
    "CODECS",
    "DEFAULT_CODEC",
    "KEPT",
    "LOSSY_CODEC",
    "ParameterCoder",
    "Registered",
    "canonical",
    "check_weights",
    "codec_of_weights",
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


def codec_of_weights(data: bytes) -> str | None:
    """Return the codec that has such weights; None where they are of none."""
    for codec in CODECS:
        try:
            coder_class(codec).check_weights(data)
        except ModelError:
            continue
        return codec
    return None


def check_weights(data: bytes) -> None:
    """Raise ModelError unless some codec has such weights; the default one's if none has."""
    if codec_of_weights(data) is None:
        coder_class(DEFAULT_CODEC).check_weights(data)
