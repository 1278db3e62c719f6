"""Tell whether a source is the one that a damaged store was made of, by all that is left of it.

The digest of the plan, where it is found in what is left of the root document, says so at once.
Where files were touched since, the samples say so: lossless shards by their digests in the
manifest, or else by decoding what is sound of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tilepress.codecs.loss import Lossy
from tilepress.errors import (
    CodecError,
    DamagedStore,
    InvalidRecord,
    ModelError,
    UnsupportedFormat,
)
from tilepress.pipeline.archive.compare import SourceSamples, differs_by_decoder, may_differ
from tilepress.pipeline.archive.plan import ShardRef, ledger_folder
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.documents import compose
from tilepress.pipeline.store.keys import FULL_RESOLUTION, document_key, is_document, is_image
from tilepress.pipeline.store.manifest import ShardEntry, ShardTable
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import Layout, Salvaged
from tilepress.pipeline.store.shard_decode import samples_sha256

__all__ = ["Evidence", "difference_of_shape"]

PROVED = "proved"
"""Object of a ledger that says that its plan's source was found to be that of the store."""

NO_PROOF = "nothing that is sound in the store shows that it is"


class Evidence:
    """What a store that is damaged tells of the source that it is to be repaired from."""

    def __init__(self, samples: SourceSamples, salvaged: Salvaged) -> None:
        self._samples, self._salvaged = samples, salvaged
        self._plan = samples.plan
        self._sound = self._foreign = 0
        self._image_digest = hashlib.sha256()

    @cached_property
    def same_plan(self) -> bool:
        """Whether the store, or a repair before, says that it was made of these very files."""
        if self._plan.digest in self._salvaged.digests:
            return True
        return self._proof.size() is not None

    @property
    def same_tools(self) -> bool:
        """Whether this version of tilepress sealed the store."""
        with contextlib.suppress(PackageNotFoundError):
            return self._salvaged.sealed_by == version("tilepress")
        return False

    def keep(self) -> None:
        """Note in the ledger that the source is the store's, before the root document goes."""
        retried(lambda: self._proof.write(b""))

    def difference_from_listed(self, refs: Sequence[ShardRef]) -> str | None:
        """Tell why these shards of the manifest cannot come from the source; None: they can."""
        lossy = {ref for ref in refs if self._samples.are_lossy(ref)}
        for ref in refs:
            if ref not in lossy and not self._gives(ref):
                return f"its samples differ in {ref.name}"
        if not lossy or self.same_plan:
            return None
        sound = [ref for ref in self._plan.shards() if is_image(ref.array) and ref not in lossy]
        for ref in sound:
            if self.take_stock(ref) is None:
                return f"its samples differ in {ref.name}"
        if not sound:
            ref = min(lossy)
            coded = self._samples.encode(ref)
            if coded.sha256 != self._listed(ref).sha256:
                return NO_PROOF
        return None

    def take_stock(self, ref: ShardRef) -> ShardEntry | None:
        """Return the entry of a sound shard; None for one that does not decode, or to others.

        Where the manifest is there it is believed: a lossless shard is not decoded once more.
        """
        if self._salvaged.manifest is not None and not self._samples.are_lossy(ref):
            return self._listed_lossless(ref)
        samples = self._samples.read(ref)
        if is_image(ref.array) and not self.same_plan:
            self._image_digest.update(bytes.fromhex(samples_sha256(samples)))
        try:
            coded = self._samples.compare(ref, samples)
        except (OSError, DamagedStore, InvalidRecord):
            return None
        except (ModelError, UnsupportedFormat):
            raise
        except CodecError:
            self._foreign += 1
            return None
        if self._samples.worst < math.inf or not isinstance(self._plan.loss, Lossy):
            self._sound += 1  # else any samples would do
        return coded.entry(ref.array, ref.index)

    def disproof(self) -> str | None:
        """Tell why the source is not the store's, once stock was taken of all shards."""
        believed = self._salvaged.manifest is not None
        if self._foreign == 0 and (believed or self._sound):
            return None
        if not believed:
            same = self._image_digest.hexdigest() in self._salvaged.digests
            if self.same_plan or (same and not self._lossy_image):
                return None
        return f"the samples of {self._foreign} shards differ" if self._foreign else NO_PROOF

    def has_other_metadata(self, tables: Mapping[str, ShardTable]) -> bool:
        """Whether a source that was touched would change what the level says, its CRS say.

        Only this version's documents can be told from those that it would write.
        """
        level = self._salvaged.level
        if self.same_plan or not level or not self.same_tools:
            return False
        composed: dict[str, dict[str, Any]] = {}

        def keep(key: str, data: bytes) -> None:
            if is_document(key):
                composed[key] = json.loads(data)

        items = self._samples.source.source_items()
        compose(self._samples.coding.writer, items, tables, keep)
        if "consolidated_metadata" not in level:  # of a lean store: each document has its own
            return any(map(self._says_otherwise, composed.items()))
        own = composed[document_key(FULL_RESOLUTION)]
        return bool(own.get("consolidated_metadata") != level["consolidated_metadata"])

    def _says_otherwise(self, composed: tuple[str, dict[str, Any]]) -> bool:
        """Whether a document below the level is there, can be read, and is another one."""
        key, want = composed
        if key.count("/") < 2:  # what is above tells of the tools at work, too
            return False
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((storage_path(self._plan.store) / key).read()) != want)
        return False

    @property
    def _lossy_image(self) -> bool:
        return not self._plan.loss.is_lossless

    @property
    def _proof(self) -> StoragePath:
        return ledger_folder(self._plan.store) / self._plan.digest / PROVED

    def _gives(self, ref: ShardRef) -> bool:
        """Whether a lossless shard, which is damaged, can come from the source.

        Of lossy streams a decoder may make other samples than when the store was sealed: then it is
        known by the source's files, or comes out as it was sealed, to the byte.
        """
        listed = self._listed(ref)
        if self._samples.are_those_of(listed):
            return True
        if not may_differ(self._reader, ref.array):
            return False
        return self.same_plan or self._samples.encode(ref).sha256 == listed.sha256

    @property
    def _reader(self) -> StoreReader:
        assert self._salvaged.reader is not None, "asked of stores whose manifest is sealed"
        return self._salvaged.reader

    def _listed(self, ref: ShardRef) -> ShardEntry:
        """Return what the manifest says of a shard."""
        assert self._salvaged.manifest is not None, "asked of stores whose manifest is sealed"
        return self._salvaged.manifest.arrays[ref.array].get(ref.array, ref.index)

    def _listed_lossless(self, ref: ShardRef) -> ShardEntry | None:
        listed = self._listed(ref)
        if not self.same_plan and not (
            self._samples.are_those_of(listed)
            or differs_by_decoder(self._reader, self._samples.source, ref)
        ):
            self._foreign += 1
            return None
        self._sound += 1
        irreversible = may_differ(self._reader, ref.array)  # as far as the store tells
        return replace(listed, max_error=0.0, squared_error=0.0, irreversible=irreversible)


def difference_of_shape(source: TileSource, layout: Layout) -> str | None:
    """Tell how the shape of a source is not that of a store; None: it is the same."""
    info = source.info
    found = (info.shape, info.dtype.name, info.axes)
    want = (layout.grid.shape, layout.dtype, layout.axes)
    if found == want:
        return None
    return f"it is {found[0]} of {found[1]}, the store {want[0]} of {want[1]}"
