"""What a codec offers: ``ChunkCoder``, and what some do beyond it.

Whoever codes asks by ``isinstance`` what a coder can do. Which codecs there are is in registry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.loss import Loss
from tilepress.codecs.threads import map_chunks

__all__ = [
    "BASE",
    "ChunkCoder",
    "Coded",
    "DecoderCoder",
    "EstimatingCoder",
    "ExactCoder",
    "LevelCoder",
    "RivalledCoder",
    "ScaledCoder",
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

    @property
    def tries_every(self) -> bool:
        """Whether ``encode_smaller`` is worth to be asked for every chunk, whatever it looks like.

        Else it is for a few of those that are coded together, and where it found something for one
        of these, or where others look like chunks that it is for.
        """
        ...

    def looks_special(self, samples: Array) -> bool:
        """Tell in little time, by samples alone, whether ``encode_smaller`` may find something."""
        ...

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
