"""The contract of what codes planes of ``ntc``: the CPU, or a GPU that has planes of many chunks.

    samples ─► transform ─► coefficients ─► encode ─► values, tables ─► the coder's words
    words   ─► decode    ─► planes in steps

Bytes and samples are the same on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import (
    CodedPlane,
    Stream,
    decode_plane,
    encode_plane,
    forward,
    inverse,
    maps_size,
)
from tilepress.codecs.threads import map_chunks

__all__ = ["CPU", "AnyMaps", "Backend"]

Floats = npt.NDArray[np.float32]
AnyMaps = Any
"""What a plane leaves for the next one's contexts: of each backend its own."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Backend(Protocol):
    """Where planes are transformed and coded."""

    def transform(self, kind: int, planes: Floats) -> None:
        """Turn planes of samples, (n, y, x) of padded sides, into coefficients, in place."""
        ...

    def encode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, price: float
    ) -> CodedPlane:
        """Choose values for coefficients, in steps, which become the samples, in steps, that they
        decode to; see ``encode_plane``."""
        ...

    def decode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, stream: Stream
    ) -> AnyMaps:
        """Decode a plane's samples, in steps, in place; returns maps, raises InvalidRecord."""
        ...

    def blank(self, kind: int, sides: tuple[int, int]) -> AnyMaps:
        """Return the maps of a plane of zeros."""
        ...

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Run ``function``, which codes a chunk, on each: as many at a time as pays."""
        ...


class _Cpu:
    """Native code, a plane at a time."""

    def transform(self, kind: int, planes: Floats) -> None:
        for plane in planes:
            forward(kind, plane)

    def encode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, price: float
    ) -> CodedPlane:
        coded = encode_plane(kind, plane, previous, model, price)
        inverse(kind, plane)
        return coded

    def decode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, stream: Stream
    ) -> AnyMaps:
        maps = decode_plane(kind, plane, previous, model, stream)
        inverse(kind, plane)
        return maps

    def blank(self, kind: int, sides: tuple[int, int]) -> AnyMaps:
        return np.zeros(maps_size(kind, *sides), np.uint16)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return map_chunks(function, items)


CPU: Backend = _Cpu()
