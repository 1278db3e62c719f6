"""Chunks of any axes as the planes of a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference
from tilepress.codecs.record import DTYPES
from tilepress.codecs.record_encode import Levelled
from tilepress.codecs.search import Trial
from tilepress.errors import UnsupportedArray

if TYPE_CHECKING:
    from tilepress.codecs.tile import TileCodec

__all__ = [
    "CODEC_NAME",
    "check_chunk",
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


def encode_chunk(codec: TileCodec, chunk: Array) -> bytes:
    """Encode a chunk of ≥ 2 axes, (…, y, x), as one record.

    Leading axes are flattened to planes in C order; the last of them is told to the codec as the
    number of bands that go together.
    """
    check_chunk(chunk.shape, chunk.dtype)
    planes, bands = _as_planes(chunk, None)
    return codec.encode(planes, bands=bands)


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
