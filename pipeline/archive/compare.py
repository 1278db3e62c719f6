"""Hold the samples of a source against those of the store that was made of it, shard by shard."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt

from tilepress.codecs.tile import TileCodec
from tilepress.errors import (
    CodecError,
    DamagedStore,
    InvalidRecord,
    ModelError,
    UnsupportedFormat,
)
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import place
from tilepress.pipeline.storage.retry import patiently
from tilepress.pipeline.store.keys import shard_key
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard import ShardBytes, compare_shard, samples_sha256
from tilepress.pipeline.store.writer import StoreWriter

__all__ = ["Samples", "misfit"]


@dataclass(frozen=True)
class Samples:
    """What an open source gives for each shard of a plan."""

    plan: ImagePlan
    source: TileSource

    @cached_property
    def writer(self) -> StoreWriter:
        """The writer of the plan's store, which knows how its arrays are coded."""
        grids = {"image": self.plan.grid}
        if self.plan.mask_grid is not None:
            grids["mask"] = self.plan.mask_grid
        return StoreWriter(place(self.plan.store), self.plan.info, grids, self.plan.codec_config)

    def read(self, ref: ShardRef) -> npt.NDArray[Any]:
        """Return the samples of a shard. Raises SourceError."""
        box = self.plan.grid_of(ref).box(ref.index)
        return self.source.read(box) if ref.array == "image" else self.source.read_mask(box)

    def are_lossy(self, array: str) -> bool:
        """Whether the store need not have the very samples of the source."""
        return not self.writer.loss(array).is_lossless

    def are_those_of(self, listed: ShardEntry) -> bool:
        """Whether a lossless shard was made of them, by what the manifest says of it."""
        return samples_sha256(self.read(ShardRef(listed.array, listed.index))) == (
            listed.samples_sha256
        )

    def codec(self, array: str) -> TileCodec:
        return _codec(json.dumps(self.writer.codec_config(array), sort_keys=True))

    def compare(self, ref: ShardRef, samples: npt.NDArray[Any]) -> ShardBytes:
        """Decode a shard that is stored, and hold it against ``samples``, within its bound.

        Raises as ``compare_shard`` does, and OSError where the shard cannot be read.
        """
        return compare_shard(
            self.codec(ref.array),
            patiently((place(self.plan.store) / shard_key(ref.array, ref.index)).read),
            samples,
            self.plan.grid_of(ref),
            ref.index,
            self.writer.fill(ref.array),
        )


def misfit(plan: ImagePlan, source: TileSource) -> str | None:
    """Tell where the sealed store of a plan has other samples than its source; None: nowhere.

    Reads the whole source, one shard at a time. Lossless shards are held against the digests in
    the manifest and are not decoded; others are, and may be off by their bound. Raises DamagedStore
    where the store is not sound enough to tell, SourceError where the source cannot be read.
    """
    manifest = StoreReader.open(plan.store).manifest
    samples = Samples(plan, source)
    for ref in plan.shards():
        if samples.are_lossy(ref.array):
            same = _is_within_bound(samples, ref)
        else:
            same = samples.are_those_of(manifest.arrays[ref.array].get(ref.array, ref.index))
        if not same:
            return f"they differ in {ref.name}"
    return None


def _is_within_bound(samples: Samples, ref: ShardRef) -> bool:
    try:
        samples.compare(ref, samples.read(ref))
    except (FileNotFoundError, DamagedStore, InvalidRecord) as error:
        raise DamagedStore(
            f"comparing {samples.plan.store} with its source: {ref.name} is damaged; "
            "run tilepress repair"
        ) from error
    except (ModelError, UnsupportedFormat):
        raise
    except CodecError:
        return False
    return True


@functools.lru_cache(maxsize=2)
def _codec(config: str) -> TileCodec:
    return TileCodec.from_config(json.loads(config))
