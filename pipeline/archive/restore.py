"""Make objects of a damaged store again from its source, and put them where they belong.

What was sealed comes out the same, to the byte, from the same source and the same encoder; only
what does is put in its place. What does not is a reason to seal the store anew.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from tilepress.codecs import threads as pool
from tilepress.codecs.record import keeps_streams
from tilepress.errors import StoreError
from tilepress.pipeline.archive.compare import SourceSamples
from tilepress.pipeline.archive.lease import Holder, LeaseLost, holds
from tilepress.pipeline.archive.own_keys import OwnKeys
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.archive.write import seal_image, write_shard
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.documents import COMPOSED, compose
from tilepress.pipeline.store.keys import ROOT_DOCUMENT, SIGNATURE
from tilepress.pipeline.store.lean import document_of
from tilepress.pipeline.store.manifest import Manifest, ShardTable, sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import Salvaged
from tilepress.pipeline.store.seal import APART_VERSION, NEWEST_VERSION
from tilepress.pipeline.store.shard import split_shard
from tilepress.pipeline.store.shard_check import ShardBytes
from tilepress.pipeline.store.signature import is_outdated

__all__ = ["Restoration"]


class Restoration:
    """Makes the objects of one store again; the caller holds its lease.

    Nothing is put before the source was found to be the store's.
    """

    def __init__(self, samples: SourceSamples, salvaged: Salvaged, holder: Holder) -> None:
        self._samples, self._salvaged, self._holder = samples, salvaged, holder
        self.plan = samples.plan
        self.manifest = salvaged.manifest
        """What the store should consist of; None where that is not known."""
        self._writer = samples.coding.writer
        self._store = storage_path(samples.plan.store)
        self.written: list[str] = []
        """Keys of what was put, in order."""
        self.resealed = False

    # as it was sealed

    def listed_objects(self, manifest: Manifest, keys: set[str]) -> dict[str, bytes]:
        """Return those of the objects, no shards, that can be had as they were sealed."""
        if not keys:
            return {}
        found: dict[str, bytes] = {}

        def keep(key: str, data: bytes) -> None:
            if key in keys and sha256_hex(data) == _digest(manifest, key):
                found[key] = data

        self._compose(manifest.arrays, keep)
        for key in keys:
            if key not in found:
                for data in self._consolidated(key):
                    keep(key, data)
        return found

    def put_listed(self, manifest: Manifest, ref: ShardRef) -> bool:
        """Put a shard as the manifest lists it; False where it comes out otherwise."""
        coded = self._samples.encode(ref)
        listed = manifest.arrays[ref.array].get(ref.array, ref.index)
        if coded.sha256 != listed.sha256:  # the samples of lossy streams may be others by now
            return False
        self._put_shard(ref, coded)
        return True

    def put_all(self, tables: Mapping[str, ShardTable], unsound: list[ShardRef]) -> bool:
        """Restore everything if that gives the very root document that is there, sealed.

        ``tables`` are those of the sound shards; False where nothing was put.
        """
        if self._salvaged.reader is None:
            return False
        for ref in unsound:
            coded = self._samples.encode(ref)
            tables[ref.array].set(coded.entry(ref.array, ref.index))
        objects: dict[str, bytes] = {}

        def keep(key: str, data: bytes) -> None:
            if (self._store / key).sha256() != sha256_hex(data):
                objects[key] = data

        self._compose(tables, keep)
        if ROOT_DOCUMENT in objects:
            return False
        for ref in unsound:
            self._put_shard(ref, self._samples.encode(ref))
        for key, data in objects.items():
            self.put(key, data)
        return True

    def put(self, key: str, data: bytes) -> None:
        """Put an object that is no shard."""
        self._check_lease()
        retried(lambda: (self._store / key).write(data))
        self.written.append(key)

    # sealed anew

    def seal_anew(self, unsound: list[ShardRef]) -> None:
        """Unseal, write what is missing, seal; every sound shard is in the ledger by now.

        A store of format 1 into which records came that its readers do not know is of a newer one
        from then on.
        """
        self._check_lease()
        retried((self._store / ROOT_DOCUMENT).remove)
        for ref in unsound:
            write_shard(self.plan, ref, self._holder, pool.threads())
            self.written.append(self.plan.shard_key(ref))
        plan = self.plan
        if plan.newest == APART_VERSION and any(map(self._has_newer_records, plan.shards())):
            plan = replace(plan, newest=NEWEST_VERSION, wordy=False)
        seal_image(plan, self._holder)
        self.resealed = True
        self._drop_signature()
        self._drop_unlisted(plan)

    def _has_newer_records(self, ref: ShardRef) -> bool:
        """Whether records of a shard keep streams, which no store of format 1 had."""
        per_shard = self.plan.grid_of(ref).chunks_per_shard
        data = retried((self._store / self.plan.shard_key(ref)).read)
        return any(map(keeps_streams, split_shard(data, per_shard).values()))

    def _drop_unlisted(self, plan: ImagePlan) -> None:
        """Remove what the store had as one of another format, or of other arrays."""
        sealed = StoreReader.open(self._store).manifest
        own = OwnKeys.of(plan, plan.separator)
        listed = self.manifest
        had = set() if listed is None else {*listed.documents, *listed.files}
        for key in [key for key, _ in self._store.walk()]:
            if (own.has(key) or key in had) and not sealed.lists(key, plan.separator):
                retried((self._store / key).remove)

    def _drop_signature(self) -> None:
        """Remove a signature that is that of the store before; whoever signed looks at this one."""
        with contextlib.suppress(StoreError):  # one that a newer tilepress made: left to it
            if is_outdated(self._store):
                retried((self._store / SIGNATURE).remove)

    def _put_shard(self, ref: ShardRef, coded: ShardBytes) -> None:
        self._check_lease()
        retried(
            lambda: self._writer.write_shard(ref.array, ref.index, coded.data, self._check_lease)
        )
        self.written.append(self.plan.shard_key(ref))

    def _check_lease(self) -> None:
        """Raise LeaseLost where the store has another writer by now."""
        if not retried(lambda: holds(ledger_folder(self._store), self._holder)):
            raise LeaseLost(f"repairing {self._store}: another process has taken it over")

    def _compose(
        self, tables: Mapping[str, ShardTable], write: Callable[[str, bytes], None]
    ) -> None:
        """Hand every object but the shards to ``write``, as they were when the store was sealed."""
        assert self._salvaged.reader is not None, "asked of stores whose root document is sealed"
        statement = self._salvaged.reader.statement
        extra = {key: value for key, value in statement.items() if key not in COMPOSED}
        items = self._samples.source.source_items()
        omero = self._salvaged.reader.root_attributes.get("ome", {}).get("omero")
        compose(self._writer, items, tables, write, extra, statement["tools"], omero)

    def _consolidated(self, key: str) -> Iterator[bytes]:
        """Yield what a document may have been, from the copy of it in the root document."""
        documents = json.loads(self._salvaged.root or b"{}")["consolidated_metadata"]["metadata"]
        node = documents.get(key.removesuffix(f"/{ROOT_DOCUMENT}"))
        if node is not None:
            yield json.dumps(node, separators=(",", ":")).encode()
            yield document_of(node)


def _digest(manifest: Manifest, key: str) -> str | None:
    """Return the sha256 of an object that is no shard."""
    entry = manifest.files.get(key)
    return manifest.documents.get(key) if entry is None else entry.sha256
