"""Add levels of lower resolution to sealed stores, from what they were made of or from themselves.

A lossless store has the samples of its source, so what is made of either is the same, to the byte.
The store with levels replaces the one without (``replace``): shards of the full resolution are
copied as they are, under keys of their own, those of levels are coded. Until the new root document
is there the old store is whole; the same line goes on after a crash.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tilepress.codecs import threads as pool
from tilepress.errors import DamagedStore, SourceError, UsageError, describe_error
from tilepress.pipeline.archive.compare import SourceSamples, may_differ
from tilepress.pipeline.archive.destination import prepare_store
from tilepress.pipeline.archive.digests import levels_digest, plan_digest
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper, LeaseLost
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.archive.store_sources import StoreSources
from tilepress.pipeline.archive.write import (
    check_lease,
    clear_leftovers,
    close_sources,
    seal_image,
    write_shard,
)
from tilepress.pipeline.catalogue.stores import find_stores
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.find.choose import ALL, Choice
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.grid import ShardGrid, choose_grid
from tilepress.pipeline.image.made_levels import LEVELS, gets_levels
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.sources.levelled import LevelledSource, levelled
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.sources.stored import StoredSource
from tilepress.pipeline.storage.path import AnyPath, StoragePath, is_url, storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.bands import band_apart
from tilepress.pipeline.store.keys import ROOT_DOCUMENT, level_of
from tilepress.pipeline.store.manifest import ShardEntry, sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import Layout, Salvaged, salvage

__all__ = ["StoreLevels", "add_levels"]

READERS_S = 2.0
"""Seconds for which the chunks of a store that was replaced are kept at least."""
_TOO_SMALL = "it is too small for levels, unless some are asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLevels:
    """What became of one store."""

    store: str
    state: Literal["written", "unchanged", "failed"]
    levels: int = 0
    """Further levels that it has now."""
    reason: str | None = None
    """Why it failed, or is unchanged."""

    @property
    def ok(self) -> bool:
        return self.state != "failed"

    def lines(self) -> list[str]:
        count = f"{self.levels} further level{'s' * (self.levels != 1)}"
        reason = (self.reason or count).removeprefix(f"adding levels to {self.store}: ")
        return [f"{self.store}: {self.state}: {reason}"]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def add_levels(
    path: AnyPath,
    source: Sequence[str | Path] | None,
    asked: str | int,
    stack: Stacks = None,
    *,
    show_paths: bool = False,
    choice: Choice = ALL,
) -> Iterator[StoreLevels]:
    """Add levels to a store, or to each of an archive that has none, from ``source``.

    ``source`` : None for the samples of the stores; those that are not lossless, or do not tell
    all that levels have to know, fail then. ``asked`` : "auto" or how many, as for compress.

    Raises UsageError where there is no store or no source, and for a single store whose source
    cannot be found.
    """
    root = storage_path(path)
    stores = [storage_path(store) for store in find_stores(root)] if root.is_folder() else []
    if not stores:
        raise UsageError(f"adding levels to {path}: it is no tilepress store or archive")
    for missing in (one for one in source or () if not (is_url(one) or Path(one).exists())):
        raise UsageError(f"adding levels from {missing}: no such file or folder")
    archive = None if stores == [root] else root
    sources = None
    if source is not None:
        sources = StoreSources(
            source,
            stack,
            archive,
            root.parent if archive is None else root,
            doing="adding levels to",
            show_paths=show_paths,
            choice=choice,
        )
    written: list[StoragePath] = []
    with LeaseKeeper() as keeper:
        for store in stores:
            done = _added(store, sources, asked, keeper, alone=archive is None)
            written += [store] if done.state == "written" else []
            yield done
        if written:
            time.sleep(READERS_S)  # whoever has just opened one of them reads it to the end
        for store in written:
            clear_leftovers(str(store), keeper)
    problem = why_not_updated(archive) if archive is not None and written else None
    if problem is not None:
        yield StoreLevels(store=str(archive), state="failed", reason=problem)


def _added(
    store: StoragePath,
    sources: StoreSources | None,
    asked: str | int,
    keeper: LeaseKeeper,
    *,
    alone: bool,
) -> StoreLevels:
    try:
        return _Adding(store, keeper).run(sources, asked)
    except Exception as error:  # the edge of a store: one must not fail its neighbours
        if isinstance(error, UsageError) and alone:
            raise
        reason = describe_error(error)[1]
        reason = reason if sources is None else sources.told(store, reason)
        return StoreLevels(store=str(store), state="failed", reason=reason)
    finally:
        close_sources()


class _Adding:
    """Adds levels to one store."""

    def __init__(self, store: StoragePath, keeper: LeaseKeeper) -> None:
        self._store, self._keeper = store, keeper

    def run(self, sources: StoreSources | None, asked: str | int) -> StoreLevels:
        salvaged = salvage(self._store)
        reader = salvaged.reader
        if reader is None:
            assert salvaged.refusal is not None, "what is not read was refused"
            raise salvaged.refusal
        if reader.level_count > 1:
            clear_leftovers(str(self._store), self._keeper)
            return self._unchanged(reader.level_count - 1, None)
        if not gets_levels(reader.shape, asked):
            return self._unchanged(0, _TOO_SMALL)
        opened = self._opened(sources, salvaged, reader)
        with contextlib.closing(levelled(opened, asked)) as source:
            if not isinstance(source, LevelledSource):
                return self._unchanged(0, _TOO_SMALL)
            before = self._plan(source.source, salvaged, ())
            if before.digest != reader.statement.get("plan_digest"):
                raise SourceError(
                    f"adding levels to {self._store}: {source.spec.paths[0]} is not what it was "
                    "made of, or was touched since; compress it with --force and --levels"
                )
            image = salvaged.layouts["image"]
            grids = tuple(_cut(at.shape, source, image) for at in source.info.levels)
            plan = self._plan(source, salvaged, grids)
            self._replace(before, plan, salvaged, reader, source)
        return StoreLevels(store=str(self._store), state="written", levels=len(grids))

    def _opened(
        self, sources: StoreSources | None, salvaged: Salvaged, reader: StoreReader
    ) -> TileSource:
        """Return what levels are made of."""
        if sources is None:
            return StoredSource(reader, wordy=salvaged.wordy)
        return open_source(sources.find(self._store, salvaged, salvaged.layouts["image"]))

    def _unchanged(self, levels: int, reason: str | None) -> StoreLevels:
        return StoreLevels(store=str(self._store), state="unchanged", levels=levels, reason=reason)

    def _plan(
        self, source: TileSource, salvaged: Salvaged, levels: tuple[ShardGrid, ...]
    ) -> ImagePlan:
        """Return the plan of the store with these levels; without any, of the one that is there."""
        image, mask = salvaged.layouts["image"], salvaged.layouts.get("mask")
        assert salvaged.reader is not None, "it is what was opened"
        remarks = tuple(map(str, salvaged.reader.attrs.get("remarks", ())))
        info = replace(source.info, exact=image.exact, remarks=remarks)  # those on its coding, too
        whole = source.source if isinstance(source, LevelledSource) else source
        if isinstance(whole, StoredSource):
            digest = str(salvaged.reader.statement.get("plan_digest"))
            if levels:
                digest = levels_digest(digest, levels, source.spec.options[LEVELS])
        else:
            digest = plan_digest(source, image.grid, image.config, image.exact, levels)
        return ImagePlan(
            digest=digest,
            store=str(self._store),
            spec=source.spec,
            info=info,
            grid=image.grid,
            mask_grid=None if mask is None else mask.grid,
            codec_config=image.config,
            level_grids=levels,
            separator=image.separator,
        )

    def _replace(
        self,
        before: ImagePlan,
        plan: ImagePlan,
        salvaged: Salvaged,
        reader: StoreReader,
        source: LevelledSource,
    ) -> None:
        given = source if isinstance(source.source, StoredSource) else None
        lease = self._keeper.acquire(ledger_folder(self._store), plan.digest)
        try:
            found = (self._store / ROOT_DOCUMENT).read_tagged()
            if found is None or found[0] != salvaged.root:
                raise LeaseLost(f"adding levels to {self._store}: another process has written it")
            ready = retried(lambda: prepare_store(plan, force=True))
            assert ready is not None, "the store has no levels"
            samples = SourceSamples(before, source.source)
            for ref in ready.shards():
                if level_of(ref.array):
                    write_shard(ready, ref, lease.holder, pool.threads(), given)
                else:
                    _copy(ready, ref, samples, reader, lease.holder)
            seal_image(ready, lease.holder, source=given)
            self._keeper.release(lease, sealed=True)
        finally:
            self._keeper.release(lease)


def _cut(shape: tuple[int, ...], source: LevelledSource, image: Layout) -> ShardGrid:
    """Return the grid of a level: tiles and planes as the image has them, bands apart where its
    are."""
    *leading, height, width = image.grid.chunk
    size, planes = source.info.dtype.itemsize, math.prod(leading)
    grid = choose_grid(shape, size, tile=max(height, width), planes=planes)
    band = band_apart(image.axes, image.grid)
    return grid if band is None else grid.apart(band)


def _copy(
    plan: ImagePlan, ref: ShardRef, samples: SourceSamples, reader: StoreReader, holder: Holder
) -> None:
    """Give the new store a shard of the old one, as it is."""
    ledger = Ledger(plan)
    known = retried(lambda: ledger.get(ref))
    if known is not None and retried(plan.shard_path(ref).sha256) == known.sha256:
        return
    entry = reader.manifest.arrays[ref.array].get(ref.array, ref.index)
    data = retried(samples.plan.shard_path(ref).read)
    if sha256_hex(data) != entry.sha256:
        raise DamagedStore(f"adding levels to {plan.store}: {ref.name} is damaged; repair it first")
    if samples.are_lossy(ref):  # what coding did is measured, and told by the new store, too
        entry = samples.compare(ref, samples.read(ref)).entry(ref.array, ref.index)
    else:
        irreversible = may_differ(reader, ref.array)
        if irreversible and isinstance(samples.source, StoredSource):
            _check_decoder(samples, entry, plan.store)
        entry = replace(entry, max_error=0.0, squared_error=0.0, irreversible=irreversible)
    check_lease(plan.store, holder)
    writer = SourceSamples(plan, samples.source).coding.writer
    retried(
        lambda: writer.write_shard(
            ref.array, ref.index, data, lambda: check_lease(plan.store, holder)
        )
    )
    retried(lambda: ledger.record(entry))


def _check_decoder(samples: SourceSamples, entry: ShardEntry, store: str) -> None:
    """Raise SourceError where lossy streams in a shard decode otherwise than when it was written.

    Levels would be of other samples than the store says it has.
    """
    if not samples.are_those_of(entry):
        raise SourceError(
            f"adding levels to {store}: streams that it keeps are decoded otherwise here; name "
            "what it was made of with --source"
        )
