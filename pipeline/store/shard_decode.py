"""What one shard decodes to: samples, their digest, and whether others may decode it so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import is_irreversible
from tilepress.codecs.tile import TileCodec, decode_chunk
from tilepress.errors import CodecError, DamagedStore
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.shard import Chunk, split_shard
from tilepress.pipeline.store.shard_chunks import chunks_inside

__all__ = ["decode_shard", "has_irreversible", "samples_sha256"]


def decode_shard(
    codec: TileCodec,
    data: bytes | memoryview,
    grid: ShardGrid,
    index: tuple[int, ...],
    dtype: np.dtype[Any],
) -> tuple[npt.NDArray[Any], dict[Chunk, Exception]]:
    """Decode every record of a shard.

    Returns the samples, clipped to the image, and what went wrong by chunk, in C order: a record
    that does not decode, is missing, or has no business there. Raises DamagedStore where the index
    is damaged.
    """
    records = split_shard(data, grid.chunks_per_shard)
    samples = np.zeros(grid.box(index).shape, dtype)

    def decode(item: tuple[Chunk, Box]) -> Exception | None:
        chunk, place = item
        if chunk not in records:
            return DamagedStore("its record is missing")
        try:
            decoded = decode_chunk(codec, records[chunk], grid.chunk, dtype)
        except CodecError as error:
            return error
        target = samples[place.slices]
        target[...] = decoded[tuple(slice(0, n) for n in target.shape)]
        return None

    inside = chunks_inside(grid, index)
    results = zip(inside, codec.map(decode, inside), strict=True)
    wrong: dict[Chunk, Exception] = {
        chunk: error for (chunk, _), error in results if error is not None
    }
    for chunk in records.keys() - {chunk for chunk, _ in inside}:
        wrong[chunk] = DamagedStore("a record lies outside the image")
    return samples, dict(sorted(wrong.items()))


def has_irreversible(data: bytes, grid: ShardGrid) -> bool:
    """Whether another decoder may give other samples of some of a shard's records.

    Raises DamagedStore where the index is damaged, InvalidRecord where a record is.
    """
    return any(map(is_irreversible, split_shard(data, grid.chunks_per_shard).values()))


def samples_sha256(samples: npt.NDArray[Any]) -> str:
    """sha256 of samples in C order, little-endian; hexadecimal."""
    little = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<"))
    return sha256_hex(little.reshape(-1).view(np.uint8).data)
