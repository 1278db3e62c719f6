"""Compare the samples of a source with those of the store that was made of it, shard by shard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt

from tilepress.errors import (
    CodecError,
    DamagedStore,
    InvalidRecord,
    ModelError,
    UnsupportedFormat,
)
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import place
from tilepress.pipeline.storage.retry import patiently
from tilepress.pipeline.store.keys import shard_key
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard import ShardBytes, samples_sha256

__all__ = ["SourceSamples", "find_difference"]


@dataclass(frozen=True)
class SourceSamples:
    """What an open source gives for each shard of a plan."""

    plan: ImagePlan
    source: TileSource

    @cached_property
    def coding(self) -> ImageCoding:
        return ImageCoding(self.plan)

    def read(self, ref: ShardRef) -> npt.NDArray[Any]:
        """Return the samples of a shard. Raises SourceError."""
        return self.coding.read(self.source, ref)

    def encode(self, ref: ShardRef) -> ShardBytes:
        """Code a shard."""
        return self.coding.encode(self.source, ref)

    def are_lossy(self, array: str) -> bool:
        """Whether the store need not have the very samples of the source."""
        return self.coding.is_lossy(array)

    def are_those_of(self, listed: ShardEntry) -> bool:
        """Whether a lossless shard was made of them, by what the manifest says of it."""
        return samples_sha256(self.read(ShardRef(listed.array, listed.index))) == (
            listed.samples_sha256
        )

    def compare(self, ref: ShardRef, samples: npt.NDArray[Any]) -> ShardBytes:
        """Decode a shard that is stored, and compare it with ``samples``, within its bound.

        Raises as ``compare_shard`` does, and OSError where the shard cannot be read.
        """
        data = patiently((place(self.plan.store) / shard_key(ref.array, ref.index)).read)
        return self.coding.compare(ref, data, samples)


def find_difference(plan: ImagePlan, source: TileSource) -> str | None:
    """Tell where the sealed store of a plan has other samples than its source; None: nowhere.

    Reads the whole source, one shard at a time. Lossless shards are compared by the digests in the
    manifest and are not decoded; others are, and may be off by their bound. Raises DamagedStore
    where the store is not sound enough to tell, SourceError where the source cannot be read.
    """
    manifest = StoreReader.open(plan.store).manifest
    samples = SourceSamples(plan, source)
    for ref in plan.shards():
        if samples.are_lossy(ref.array):
            same = _is_within_bound(samples, ref)
        else:
            same = samples.are_those_of(manifest.arrays[ref.array].get(ref.array, ref.index))
        if not same:
            return f"they differ in {ref.name}"
    return None


def _is_within_bound(samples: SourceSamples, ref: ShardRef) -> bool:
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
