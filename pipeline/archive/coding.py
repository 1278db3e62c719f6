"""Code and check the shards of a planned image: grids, codecs, fill values, slabs in one place.

Whoever writes, repairs or compares a shard does it as it is done here, and so gets the same bytes.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Lossy
from tilepress.codecs.registry import coder_class
from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError
from tilepress.pipeline.archive.hidden import hidden_of
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.source import TileSource, read_level, streams_of
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.keys import is_image, level_of
from tilepress.pipeline.store.shard_check import ShardBytes, compare_shard
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.writer import StoreWriter

__all__ = ["ImageCoding"]

SLICE_AXES = ("z", "t")
"""Leading axes of which a source reads one plane after another; bands are read together."""


class ImageCoding:
    """How the arrays of one planned image are read, coded and compared."""

    def __init__(self, plan: ImagePlan) -> None:
        self.plan = plan

    @cached_property
    def writer(self) -> StoreWriter:
        """The writer of the plan's store, which knows how each array is coded."""
        plan = self.plan
        return StoreWriter(
            storage_path(plan.store),
            plan.info,
            plan.grids,
            plan.codec_config,
            plan.separator,
            None if plan.replaced is None else plan.replaced.root,
            wordy=plan.wordy,
            newest=plan.newest,
        )

    def read(self, source: TileSource, ref: ShardRef) -> npt.NDArray[Any]:
        """Return the samples of a shard. Raises SourceError."""
        return _reader_of(source, ref)(self.plan.grid_of(ref).box(ref.index))

    def encode(
        self, source: TileSource, ref: ShardRef, where: Literal["auto", "cpu", "cuda"] = "auto"
    ) -> ShardBytes:
        """Read a shard, code it and check every record; with "cuda" one of them on the CPU, too.

        Codecs that know no device code on the CPU wherever they are.
        """
        plan, grid = self.plan, self.plan.grid_of(ref)
        if not coder_class(plan.codec_config["codec"]).on_device:
            where = "cpu"
        level = level_of(ref.array)
        is_image = level is not None
        return encode_shard(
            self.codec(ref, where),
            _reader_of(source, ref),
            grid.box(ref.index),
            grid,
            ref.index,
            self.writer.fill(ref.array),
            dtype=plan.info.dtype if is_image else np.dtype(np.uint8),
            slab_axis=0 if is_image and plan.info.axes[0] in SLICE_AXES else -2,
            witness=self.codec(ref, "cpu") if where == "cuda" else None,
            streams=self.streams(source, ref),
            band_axis=self._band_axis(ref),
            hidden=hidden_of(source, self.plan.loss, level),
        )

    def _band_axis(self, ref: ShardRef) -> int | None:
        axes = self.plan.info.axes
        return axes.index("band") if is_image(ref.array) and "band" in axes else None

    def streams(self, source: TileSource, ref: ShardRef) -> Callable[[Box], Streams | None] | None:
        """Return what gives the streams that chunks of a shard consist of; None where of none."""
        level = level_of(ref.array)
        return None if level is None else _streams_of(source, level, self.plan.grid_of(ref))

    def compare(
        self,
        ref: ShardRef,
        data: bytes,
        samples: npt.NDArray[Any],
        source: TileSource | None = None,
        worst: float = math.inf,
    ) -> ShardBytes:
        """Decode a shard that is stored and compare it with ``samples``, within its bound, or of
        lossy coding within ``worst``, the largest error that was measured.

        Lossy streams that ``source`` has, too, are right whatever they decode to by now. Raises as
        ``compare_shard`` does.
        """
        grid, fill = self.plan.grid_of(ref), self.writer.fill(ref.array)
        level = level_of(ref.array)
        streams = None if source is None or level is None else streams_of(source, level)
        codec, axis = self.codec(ref), self._band_axis(ref)
        hidden = None if source is None else hidden_of(source, self.plan.loss, level)
        found = compare_shard(
            codec, data, samples, grid, ref.index, fill, streams, axis, hidden=hidden
        )
        if isinstance(codec.loss, Lossy) and found.difference.worst > worst:
            raise CodecError(
                f"checking a shard: decoding is off by {found.difference.worst:g}, more than the "
                f"{worst:g} that was measured"
            )
        return found

    def is_lossy(self, ref: ShardRef) -> bool:
        """Whether a shard need not have the very samples of the source."""
        return not self.codec(ref).loss.is_lossless

    def codec(self, ref: ShardRef, where: Literal["auto", "cpu", "cuda"] = "auto") -> TileCodec:
        """Return the codec of a shard: that of its array, or of its band where bands differ."""
        config = self.writer.shard_config(ref.array, ref.index)
        exact = self.writer.exact_beside(ref.array)
        return _codec(json.dumps(config, sort_keys=True), where, exact)


def _reader_of(source: TileSource, ref: ShardRef) -> Callable[[Box], npt.NDArray[Any]]:
    """Return what reads the samples of a shard's array."""
    level = level_of(ref.array)
    return source.read_mask if level is None else partial(read_level, source, level)


def _streams_of(
    source: TileSource, level: int, grid: ShardGrid
) -> Callable[[Box], Streams | None] | None:
    """Return what gives the streams of chunks; None where chunks do not consist of them."""
    streams = streams_of(source, level)
    if streams is None or (block := source.info.at_level(level).stream_block) is None:
        return None
    sides = zip(block, grid.chunk, grid.shape, strict=True)
    if not all(chunk % side == 0 or chunk == size for side, chunk, size in sides):
        return None
    return streams


@functools.lru_cache(maxsize=8)
def _codec(config: str, where: Literal["auto", "cpu", "cuda"], exact: frozenset[int]) -> TileCodec:
    return TileCodec.from_config(json.loads(config), device=where, exact=exact)
