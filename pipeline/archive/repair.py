"""Write damaged or missing objects of sealed stores again, from what the stores were made of.

    all as it was sealed                  nothing is done
    what is damaged comes out as sealed   it is put in its place; the store stays sealed throughout
    it comes out otherwise, or the root   what is sound is noted in the ledger ──► the root document
    document or all trace of it is gone   is removed ──► what is missing is written ──► sealed anew

The encoder gives the same bytes each time, so that the first way is the usual one; another version
of it takes the second. A sealed store is never wrong on either: before the root document goes,
everything is decided, and from then on the store is one that was begun, for the same compress line
or ``repair`` to go on with. Nothing is written before the source was found to be the store's: by
the digest of the plan or, where files were touched since, by the samples.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from tilepress.errors import DamagedStore, SourceError, UnsealedStore, UsageError, describe_error
from tilepress.pipeline.archive.compare import SourceSamples
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.evidence import Evidence, difference_of_shape
from tilepress.pipeline.archive.exact import with_exact
from tilepress.pipeline.archive.lease import Lease, LeaseKeeper, LeaseLost
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.archive.repair_files import mended_files
from tilepress.pipeline.archive.repair_marks import has_ledger, mark_coding, marked_codings
from tilepress.pipeline.archive.repaired import StoreRepair
from tilepress.pipeline.archive.replace import give_up
from tilepress.pipeline.archive.restore import Restoration
from tilepress.pipeline.archive.store_sources import StoreSources
from tilepress.pipeline.archive.verify import verify_store
from tilepress.pipeline.archive.write import check_lease, clear_leftovers
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.find.choose import ALL, Choice
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.kept.index import has_kept
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.atomic import is_partial
from tilepress.pipeline.storage.links import check_no_links_below
from tilepress.pipeline.storage.path import AnyPath, StoragePath, is_url, storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.keys import (
    IMAGE,
    ROOT_DOCUMENT,
    Separator,
    level_image,
    shard_of,
)
from tilepress.pipeline.store.manifest import Manifest, ShardTable
from tilepress.pipeline.store.salvage import Layout, Salvaged, salvage

__all__ = ["StoreRepair", "repair_stores"]

_OTHER_METADATA = "its samples are the store's, its metadata are not"


def repair_stores(
    path: AnyPath,
    source: Sequence[str | Path],
    stack: Stacks = None,
    *,
    show_paths: bool = False,
    choice: Choice = ALL,
) -> Iterator[StoreRepair]:
    """Repair a store, or every damaged one of an archive, from ``source``.

    ``choice`` says which of its files are meant, and which further drivers read them.

    Sound stores are left alone, and ``source`` is not looked at where all are. Of an archive, the
    stores that its catalogue lists and that are gone come last, as failures. Raises UsageError
    where there is no store or no source, and for a single store whose source cannot be found.
    Names of DICOM files and folders are told with ``show_paths`` alone.
    """
    root = storage_path(path)
    if not root.exists():
        raise UsageError(f"repairing {path}: no such file or folder")
    for missing in (one for one in source if not (is_url(one) or Path(one).exists())):
        raise UsageError(f"repairing from {missing}: no such file or folder")
    stores = find_stores(root) if root.is_folder() else []
    if not stores and not has_kept(root):
        what = "it is a folder without tilepress stores" if root.is_folder() else "it is a file"
        raise UsageError(f"repairing {path}: {what}, want a tilepress store or an archive")
    archive = None if stores == [root] else root
    folder = root.parent if archive is None else root
    finder = StoreSources(
        source, stack, archive, folder, doing="repairing", show_paths=show_paths, choice=choice
    )
    repaired = False
    with LeaseKeeper() as keeper:
        for store in stores:
            done = _repair(_Repair(store, finder, keeper), in_archive=archive is not None)
            repaired |= done.state == "repaired"
            yield done
    if archive is not None:
        if has_kept(archive):
            yield mended_files(archive, source)
        yield from _in_catalogue(archive, repaired=repaired)


def _in_catalogue(archive: StoragePath, *, repaired: bool) -> Iterator[StoreRepair]:
    """Yield what the catalogue knows and nothing here can mend; list in it what was repaired."""
    gone = [
        StoreRepair(store=str(store), state="failed", reason=text)
        for store, text in gone_stores(archive)
    ]
    yield from gone
    if gone or not repaired:  # an update would forget what is gone
        return
    problem = why_not_updated(archive)
    if problem is not None:
        yield StoreRepair(store=str(archive), state="failed", reason=problem)


def _repair(repair: _Repair, *, in_archive: bool) -> StoreRepair:
    state: Literal["sound", "repaired", "failed"] = "failed"
    reason = None
    try:
        state = repair.run()
    except Exception as error:  # the edge of a store: one must not fail its neighbours
        if isinstance(error, UsageError) and not in_archive:
            raise
        reason = repair.told(describe_error(error)[1])
    return StoreRepair(
        store=str(repair.store),
        state=state,
        written=repair.written,
        resealed=repair.resealed,
        left=tuple(repair.left),
        reason=reason,
    )


class _Repair:
    """The repair of one store."""

    def __init__(self, store: StoragePath, finder: StoreSources, keeper: LeaseKeeper) -> None:
        self.store = store
        self.left: list[str] = []
        self._finder, self._keeper = finder, keeper
        self._has_partials = False
        self._source = ""
        self._restoration: Restoration | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """Keys of what was put in its place so far."""
        return () if self._restoration is None else tuple(self._restoration.written)

    def told(self, text: str) -> str:
        """Return a message about this store without names of patients."""
        return self._finder.told(self.store, text)

    @property
    def resealed(self) -> bool:
        return self._restoration is not None and self._restoration.resealed

    def run(self) -> Literal["sound", "repaired"]:
        salvaged = salvage(self.store)
        damaged: set[str] = set()
        if salvaged.manifest is not None:
            damaged = self._damaged()
            if not damaged:
                self._tidy_up()
                return "sound"
        layouts = self._layouts(salvaged)
        spec = self._finder.find(self.store, salvaged, layouts["image"])
        self._source = spec.paths[0]
        with contextlib.closing(open_source(spec)) as source:
            plan = self._plan(source, layouts, salvaged)
            guessed = [n for n, one in layouts.items() if salvaged.unproved.get(n) == one]
            if guessed and plan.digest not in salvaged.digests:
                raise self._untold()
            check_no_links_below(self.store, self.store)
            lease = self._keeper.acquire(ledger_folder(self.store), plan.digest)
            try:
                self._check_unchanged(salvaged)
                self._give_up(lease)
                samples = SourceSamples(plan, source, salvaged.worst)
                self._restoration = Restoration(samples, salvaged, lease.holder)
                self._mend(self._restoration, Evidence(samples, salvaged), damaged, lease)
            finally:
                self._keeper.release(lease)
        return "repaired"

    def _damaged(self) -> set[str]:
        """Return the keys of what is not as it was sealed; remember what does not belong here."""
        found = verify_store(self.store)
        extra = [damage.key for damage in found if damage.kind == "unexpected"]
        self.left = [key for key in extra if not is_partial(Path(key))]
        self._has_partials = len(self.left) < len(extra)
        return {damage.key for damage in found if damage.kind != "unexpected"}

    def _tidy_up(self) -> None:
        """Remove what killed writers left in and beside a store that is sound."""
        clear_leftovers(str(self.store), self._keeper)
        if self._has_partials:
            lease = self._keeper.acquire(ledger_folder(self.store))
            try:
                self.store.sweep()
            finally:
                self._keeper.release(lease)

    def _layouts(self, salvaged: Salvaged) -> Mapping[str, Layout]:
        """Return how the arrays were coded; raise where there is nothing to go by."""
        if salvaged.reader is not None:
            return salvaged.layouts
        assert salvaged.refusal is not None, "what is not read was refused"
        folder = ledger_folder(self.store)
        marks = marked_codings(folder)
        if salvaged.root is None and not marks and has_ledger(folder):
            raise UnsealedStore(
                f"repairing {self.store}: it is not sealed; run its compress line again"
            )
        layouts = {**salvaged.unproved, **(marks[0] if marks else {}), **salvaged.layouts}
        if "image" in layouts:
            return layouts
        if salvaged.root is None and isinstance(salvaged.refusal, UnsealedStore):
            raise UnsealedStore(
                f"repairing {self.store}: it was never sealed, or too little of it is left; "
                "run its compress line again"
            )
        if not (self.store / IMAGE).is_folder():
            raise salvaged.refusal
        raise self._untold()

    def _untold(self) -> DamagedStore:
        return DamagedStore(
            f"repairing {self.store}: too little of its documents is left to tell how it was "
            "coded; compress it again with --force"
        )

    def _plan(
        self, source: TileSource, layouts: Mapping[str, Layout], salvaged: Salvaged
    ) -> ImagePlan:
        """Return the plan that gives this store; raise where the source is of another shape."""
        image = layouts["image"]
        wrong = difference_of_shape(source, image)
        if wrong is None and source.info.has_mask != ("mask" in layouts):
            wrong = "one has a mask, the other has none"
        grids = [layouts[name].grid for name in _levels_of(layouts)]
        if wrong is None and [one.shape for one in grids] != [
            one.shape for one in source.info.levels
        ]:
            wrong = "its levels are others"
        if wrong is not None:
            raise self._another(wrong)
        digests = plan_digests(source, image.grid, image.config, image.exact, grids)
        begun = ledger_folder(self.store)
        known = {*salvaged.digests, *(begun.folders() if begun.is_folder() else ())}
        return ImagePlan(
            digest=next((one for one in digests if one in known), digests[0]),
            store=str(self.store),
            spec=source.spec,
            info=with_exact(source.info, image.exact),
            grid=image.grid,
            mask_grid=layouts["mask"].grid if "mask" in layouts else None,
            codec_config=image.config,
            separator=image.separator,
            wordy=salvaged.wordy,
            level_grids=tuple(grids),
            newest=salvaged.version,
        )

    def _check_unchanged(self, salvaged: Salvaged) -> None:
        """Raise LeaseLost where somebody else wrote the store before its lease was ours."""
        found = (self.store / ROOT_DOCUMENT).read_tagged()
        if (None if found is None else found[0]) != salvaged.root:
            raise LeaseLost(f"repairing {self.store}: another process has written it meanwhile")

    def _give_up(self, lease: Lease) -> None:
        """End replacements that were begun; those that only a root document tells of, later."""
        give_up(self.store, lambda: check_lease(str(self.store), lease.holder))

    def _mend(
        self, restoration: Restoration, evidence: Evidence, damaged: set[str], lease: Lease
    ) -> None:
        """Put what is damaged in its place, or else seal the store anew."""
        manifest, ledger = restoration.manifest, Ledger(restoration.plan)
        if manifest is not None:
            damaged = self._put_listed(restoration, evidence, manifest, damaged)
            if not damaged:
                self.store.sweep()
                return
        begun_before = ledger.exists
        try:
            tables, missing = self._take_stock(evidence, restoration.plan, damaged)
            done = manifest is None and restoration.put_all(tables, missing)
            if not done:
                self._check_metadata(evidence, tables)
        except BaseException:
            if not begun_before:
                with contextlib.suppress(OSError):
                    ledger.remove()
            raise
        if not done:
            evidence.keep()
            restoration.seal_anew(missing)
        self._give_up(lease)
        ledger.remove()
        self._check_result()

    def _put_listed(
        self,
        restoration: Restoration,
        evidence: Evidence,
        manifest: Manifest,
        damaged: set[str],
    ) -> set[str]:
        """Restore the objects that a manifest lists; return the keys of what comes out otherwise.

        Where that is a document or an auxiliary object, nothing is put: the store must be sealed
        anew, and will be with all that is damaged.
        """
        separator = restoration.plan.separator
        shards = {
            key: ref
            for key in damaged
            if (ref := _listed_shard(key, manifest, separator)) is not None
        }
        keys = damaged - shards.keys()
        wrong = evidence.difference_from_listed(sorted(shards.values()))
        if wrong is not None:
            raise self._another(wrong)
        objects = restoration.listed_objects(manifest, keys)
        if len(objects) < len(keys):
            if not evidence.same_plan and evidence.same_tools:
                raise self._another(_OTHER_METADATA)
            return damaged
        refs = sorted(shards.items(), key=lambda item: item[1])
        unsound = {key for key, ref in refs if not restoration.put_listed(manifest, ref)}
        for key, data in objects.items():
            restoration.put(key, data)
        return unsound

    def _take_stock(
        self, evidence: Evidence, plan: ImagePlan, damaged: set[str]
    ) -> tuple[dict[str, ShardTable], list[ShardRef]]:
        """Note every sound shard in the ledger; return their tables, and the other shards.

        Raises SourceError where nothing shows that the source is the store's.
        """
        tables = {name: ShardTable(grid.counts) for name, grid in plan.grids.items()}
        unsound: list[ShardRef] = []
        ledger = Ledger(plan)
        mark_coding(plan)  # first: without it, it is taken for a store that never was sealed
        ledger.create()
        for ref in plan.shards():
            entry = None if plan.shard_key(ref) in damaged else evidence.take_stock(ref)
            if entry is None:
                unsound.append(ref)
                continue
            tables[ref.array].set(entry)
            retried(functools.partial(ledger.record, entry))
        wrong = evidence.disproof()
        if wrong is not None:
            raise self._another(wrong)
        return tables, unsound

    def _check_metadata(self, evidence: Evidence, tables: Mapping[str, ShardTable]) -> None:
        """Refuse to seal anew with a source whose samples alone are the store's."""
        if evidence.has_other_metadata(tables):
            raise self._another(_OTHER_METADATA)

    def _check_result(self) -> None:
        damaged = self._damaged()
        if damaged:
            raise DamagedStore(
                f"repairing {self.store}: {len(damaged)} objects are still damaged, the first is "
                f"{min(damaged)}; run it again"
            )

    def _another(self, text: str) -> SourceError:
        """Return the error that says that the source is not the store's."""
        changed = "" if self.written else "; nothing was changed"
        return SourceError(
            f"repairing {self.store}: {self._source} is not what it was made of ({text}){changed}"
        )


def _levels_of(layouts: Mapping[str, Layout]) -> Iterator[str]:
    """Yield the names of the images of levels, from 1 on, that are known without a gap."""
    names = map(level_image, itertools.count(1))
    return itertools.takewhile(layouts.__contains__, names)


def _listed_shard(key: str, manifest: Manifest, separator: Separator) -> ShardRef | None:
    """Return the shard that has this key; None for any other object."""
    found = shard_of(key, separator)
    if found is None or found[0] not in manifest.arrays:
        return None
    return ShardRef(*found)
