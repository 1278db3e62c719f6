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
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from tilepress.codecs import threads as pool
from tilepress.errors import (
    CodecError,
    DamagedStore,
    InvalidRecord,
    ModelError,
    SourceError,
    UnsealedStore,
    UnsupportedFormat,
    UsageError,
    describe_error,
)
from tilepress.pipeline.archive.compare import SourceSamples
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper, LeaseLost, holds
from tilepress.pipeline.archive.ledger import Ledger, ledger_folder
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, plan_digest
from tilepress.pipeline.archive.write import clear_leftovers, seal_image, write_shard
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.find.discover import open_source
from tilepress.pipeline.find.match import Sources
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.storage.atomic import is_partial
from tilepress.pipeline.storage.path import Place, Where, is_url, place
from tilepress.pipeline.storage.retry import patiently
from tilepress.pipeline.store.documents import COMPOSED, compose
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    IMAGE,
    ROOT_DOCUMENT,
    document_key,
    shard_key,
    shard_of,
)
from tilepress.pipeline.store.manifest import Manifest, ShardEntry, ShardTable, sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import Layout, Salvaged, salvage
from tilepress.pipeline.store.shard import ShardBytes, samples_sha256
from tilepress.pipeline.verify import check_store

__all__ = ["StoreRepair", "repair_stores"]

MARK = "repair.json"
"""Object of a ledger that says how a store was coded which is being sealed anew."""

PROVED = "proved"
"""Object of a ledger that says that its plan's source was found to be that of the store."""

_NO_PROOF = "nothing that is sound in the store shows that it is"

_OTHER_METADATA = "its samples are the store's, its metadata are not"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRepair:
    """What became of one store."""

    store: str
    state: Literal["sound", "repaired", "failed"]
    written: tuple[str, ...] = ()
    """Objects that were damaged or missing and are as they should be now."""
    resealed: bool = False
    """Whether the store was sealed anew: its root document is another one then."""
    left: tuple[str, ...] = ()
    """Objects that the store does not list. No reader looks at them; whose are they?"""
    reason: str | None = None
    """Why it failed."""

    @property
    def ok(self) -> bool:
        return self.state != "failed"

    def lines(self) -> list[str]:
        texts: list[str] = [self.state, *(f"{key}: written again" for key in self.written)]
        if self.resealed:
            texts.append("sealed anew")
        texts += [f"{key}: left alone, the store does not list it" for key in self.left]
        if self.reason is not None:
            texts.append(self.reason)
        return [f"{self.store}: {text}" for text in texts]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def repair_stores(
    path: Where, source: Sequence[str | Path], stack: str | None = None
) -> Iterator[StoreRepair]:
    """Repair a store, or every damaged one of an archive, from ``source``.

    Sound stores are left alone, and ``source`` is not looked at where all are. Of an archive, the
    stores that its catalogue lists and that are gone come last, as failures. Raises UsageError
    where there is no store or no source, and for a single store whose source cannot be found.
    """
    root = place(path)
    if not root.exists():
        raise UsageError(f"repairing {path}: no such file or folder")
    for missing in (one for one in source if not (is_url(one) or Path(one).exists())):
        raise UsageError(f"repairing from {missing}: no such file or folder")
    stores = find_stores(root) if root.is_folder() else []
    if not stores:
        what = "it is a folder without tilepress stores" if root.is_folder() else "it is a file"
        raise UsageError(f"repairing {path}: {what}, want a tilepress store or an archive")
    archive = None if stores == [root] else root
    finder = _Finder(source, stack, archive)
    repaired = False
    with LeaseKeeper() as keeper:
        for store in stores:
            done = _repair(_Repair(store, finder, keeper), in_archive=archive is not None)
            repaired |= done.state == "repaired"
            yield done
    if archive is not None:
        yield from _in_catalogue(archive, repaired=repaired)


def _in_catalogue(archive: Place, *, repaired: bool) -> Iterator[StoreRepair]:
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
        reason = describe_error(error)[1]
    return StoreRepair(
        store=str(repair.store),
        state=state,
        written=tuple(repair.written),
        resealed=repair.resealed,
        left=tuple(repair.left),
        reason=reason,
    )


class _Finder:
    """Finds what stores were made of; nothing is searched before the first store asks."""

    def __init__(
        self, paths: Sequence[str | Path], stack: str | None, archive: Place | None
    ) -> None:
        self._paths, self._stack, self._archive = paths, stack, archive

    @cached_property
    def _sources(self) -> Sources:
        return Sources(self._paths, stack=self._stack, archive=self._archive, doing="repairing")

    def find(self, store: Place, salvaged: Salvaged, layout: Layout) -> SourceSpec:
        """Return the image of a store, by its origin or, where that is lost, by its shape."""
        if salvaged.origin is not None:
            return self._sources.find(store, salvaged.origin)
        fitting = []
        for spec in self._sources.candidates(store):
            with contextlib.suppress(SourceError), contextlib.closing(open_source(spec)) as source:
                if _difference(source, layout) is None:
                    fitting.append(spec)
        if len(fitting) != 1:
            raise UsageError(
                f"repairing {store}: what it was made of is not to be read in it, and "
                f"{len(fitting)} images fit its shape; name the file (of a stack, with --stack)"
            )
        return fitting[0]


class _Repair:
    """The repair of one store."""

    def __init__(self, store: Place, finder: _Finder, keeper: LeaseKeeper) -> None:
        self.store = store
        self.written: list[str] = []
        self.left: list[str] = []
        self.resealed = False
        self._finder, self._keeper = finder, keeper
        self._has_partials = False

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
        with contextlib.closing(open_source(spec)) as source:
            plan = self._plan(source, layouts)
            guessed = [n for n, one in layouts.items() if salvaged.unproved.get(n) == one]
            if guessed and plan.digest not in salvaged.digests:
                raise self._untold()
            lease = self._keeper.acquire(ledger_folder(self.store), plan.digest)
            try:
                self._check_unchanged(salvaged)
                work = _Work(plan, source, salvaged, lease.holder)
                self._mend(work, damaged)
            finally:
                self._keeper.release(lease)
        return "repaired"

    def _damaged(self) -> set[str]:
        """Return the keys of what is not as it was sealed; remember what does not belong here."""
        found = list(check_store(self.store))
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
        marks = _marks(folder)
        if salvaged.root is None and not marks and _has_ledger(folder):
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

    def _plan(self, source: TileSource, layouts: Mapping[str, Layout]) -> ImagePlan:
        """Return the plan that gives this store; raise where the source is of another shape."""
        image = layouts["image"]
        wrong = _difference(source, image)
        if wrong is None and source.info.has_mask != ("mask" in layouts):
            wrong = "one has a mask, the other has none"
        if wrong is not None:
            raise self._another(source.spec, wrong)
        return ImagePlan(
            digest=plan_digest(source, image.grid, image.config),
            store=str(self.store),
            spec=source.spec,
            info=source.info,
            grid=image.grid,
            mask_grid=layouts["mask"].grid if "mask" in layouts else None,
            codec_config=image.config,
        )

    def _check_unchanged(self, salvaged: Salvaged) -> None:
        """Raise LeaseLost where somebody else wrote the store before its lease was ours."""
        found = (self.store / ROOT_DOCUMENT).read_tagged()
        if (None if found is None else found[0]) != salvaged.root:
            raise LeaseLost(f"repairing {self.store}: another process has written it meanwhile")

    def _mend(self, work: _Work, damaged: set[str]) -> None:
        """Put what is damaged in its place, or else seal the store anew."""
        manifest, ledger = work.salvaged.manifest, Ledger(work.plan)
        if manifest is not None and self._put_listed(work, manifest, damaged):
            self.store.sweep()
            return
        begun_before = ledger.exists
        try:
            tables, unsound = self._take_stock(work, ledger, damaged)
            done = manifest is None and self._put_all(work, tables, unsound)
            if not done:
                self._check_metadata(work, tables)
        except BaseException:
            if not begun_before:
                with contextlib.suppress(OSError):
                    ledger.remove()
            raise
        if not done:
            self._seal_anew(work, unsound)
        ledger.remove()
        self._check_result()

    def _check_metadata(self, work: _Work, tables: Mapping[str, ShardTable]) -> None:
        """Refuse to seal anew with a source whose samples alone are the store's."""
        if work.has_other_metadata(tables):
            raise self._another(work.plan.spec, _OTHER_METADATA)

    def _take_stock(
        self, work: _Work, ledger: Ledger, damaged: set[str]
    ) -> tuple[dict[str, ShardTable], list[ShardRef]]:
        """Note every sound shard in the ledger; return their tables, and the other shards.

        Raises SourceError where nothing shows that the source is the store's.
        """
        plan = work.plan
        tables = {name: ShardTable(grid.counts) for name, grid in plan.grids.items()}
        unsound: list[ShardRef] = []
        ledger.create()
        layouts = {
            name: Layout(
                grid=grid,
                dtype=plan.info.dtype.name,
                axes=plan.info.axes,
                config=work.writer.codec_config(name),
            )
            for name, grid in plan.grids.items()
        }
        mark = json.dumps({name: layout.to_json() for name, layout in layouts.items()})
        (ledger_folder(self.store) / plan.digest / MARK).write(mark.encode())
        for ref in plan.shards():
            entry = None if _key(ref) in damaged else work.take_stock(ref)
            if entry is None:
                unsound.append(ref)
                continue
            tables[ref.array].set(entry)
            patiently(functools.partial(ledger.record, entry))
        wrong = work.disproof()
        if wrong is not None:
            raise self._another(plan.spec, wrong)
        return tables, unsound

    # as it was sealed

    def _put_listed(self, work: _Work, manifest: Manifest, damaged: set[str]) -> bool:
        """Restore the objects that a manifest lists; False where some come out otherwise."""
        refs = sorted(ref for key in damaged if (ref := _shard_of(key, manifest)) is not None)
        keys = {key for key in damaged if _shard_of(key, manifest) is None}
        wrong = work.difference_from_listed(refs)
        if wrong is not None:
            raise self._another(work.plan.spec, wrong)
        objects = self._objects(work, manifest, keys)
        if len(objects) < len(keys):
            if not work.same_plan and work.same_tools:
                raise self._another(work.plan.spec, _OTHER_METADATA)
            return False
        same = True
        for ref in refs:
            coded = work.code(ref)
            if coded.entry(ref.array, ref.index) != work.listed(ref):
                same = False
                continue
            self._put_shard(work, ref, coded)
            damaged.discard(_key(ref))
        for key, data in objects.items():
            self._put(work, key, data)
        return same

    def _objects(self, work: _Work, manifest: Manifest, keys: set[str]) -> dict[str, bytes]:
        """Return those of the objects that can be had as they were sealed."""
        if not keys:
            return {}
        found: dict[str, bytes] = {}

        def keep(key: str, data: bytes) -> None:
            if key in keys and sha256_hex(data) == _digest(manifest, key):
                found[key] = data

        work.compose(manifest.arrays, keep)
        for key in keys:
            if key not in found:
                for data in work.consolidated(key):
                    keep(key, data)
        return found

    def _put_all(
        self, work: _Work, tables: Mapping[str, ShardTable], unsound: list[ShardRef]
    ) -> bool:
        """Restore everything if that gives the very root document that is there, sealed."""
        if work.salvaged.reader is None:
            return False
        for ref in unsound:
            coded = work.code(ref)
            tables[ref.array].set(coded.entry(ref.array, ref.index))
        objects: dict[str, bytes] = {}

        def keep(key: str, data: bytes) -> None:
            if (self.store / key).sha256() != sha256_hex(data):
                objects[key] = data

        work.compose(tables, keep)
        if ROOT_DOCUMENT in objects:
            return False
        for ref in unsound:
            self._put_shard(work, ref, work.code(ref))
        for key, data in objects.items():
            self._put(work, key, data)
        return True

    def _put_shard(self, work: _Work, ref: ShardRef, coded: ShardBytes) -> None:
        work.check_lease()
        patiently(
            lambda: work.writer.write_shard(ref.array, ref.index, coded.data, work.check_lease)
        )
        self.written.append(_key(ref))

    def _put(self, work: _Work, key: str, data: bytes) -> None:
        work.check_lease()
        patiently(lambda: (self.store / key).write(data))
        self.written.append(key)

    # sealed anew

    def _seal_anew(self, work: _Work, unsound: list[ShardRef]) -> None:
        """Unseal, write what is missing, seal; every sound shard is in the ledger by now."""
        proved = ledger_folder(self.store) / work.plan.digest / PROVED
        patiently(lambda: proved.write(b""))
        work.check_lease()
        patiently((self.store / ROOT_DOCUMENT).remove)
        for ref in unsound:
            write_shard(work.plan, ref, work.holder, pool.threads())
            self.written.append(_key(ref))
        seal_image(work.plan, work.holder)
        self.resealed = True
        listed = work.salvaged.manifest
        if listed is not None:
            sealed = StoreReader.open(self.store).manifest
            for key in {*listed.documents, *listed.files} - {*sealed.documents, *sealed.files}:
                (self.store / key).remove()

    def _check_result(self) -> None:
        damaged = self._damaged()
        if damaged:
            raise DamagedStore(
                f"repairing {self.store}: {len(damaged)} objects are still damaged, the first is "
                f"{min(damaged)}; run it again"
            )

    def _another(self, spec: SourceSpec, text: str) -> SourceError:
        changed = "" if self.written else "; nothing was changed"
        return SourceError(
            f"repairing {self.store}: {spec.paths[0]} is not what it was made of ({text}){changed}"
        )


class _Work:
    """A store that is being repaired, and the open source that it is made again from."""

    def __init__(
        self, plan: ImagePlan, source: TileSource, salvaged: Salvaged, holder: Holder
    ) -> None:
        self.plan, self.salvaged, self.holder = plan, salvaged, holder
        self._source = source
        self._samples = SourceSamples(plan, source)
        self._store = place(plan.store)
        self.writer = self._samples.coding.writer
        self._sound = self._foreign = 0
        self._image_digest = hashlib.sha256()

    @cached_property
    def same_plan(self) -> bool:
        """Whether the store, or a repair before, says that it was made of these very files."""
        if self.plan.digest in self.salvaged.digests:
            return True
        return (ledger_folder(self._store) / self.plan.digest / PROVED).size() is not None

    @property
    def same_tools(self) -> bool:
        """Whether this version of tilepress sealed the store."""
        with contextlib.suppress(PackageNotFoundError):
            return self.salvaged.sealed_by == version("tilepress")
        return False

    def has_other_metadata(self, tables: Mapping[str, ShardTable]) -> bool:
        """Whether a source that was touched would change what the level says, its CRS say.

        Only this version's documents can be told from those that it would write.
        """
        level = self.salvaged.level
        if self.same_plan or not level or not self.same_tools:
            return False
        composed: dict[str, Any] = {}

        def keep(key: str, data: bytes) -> None:
            if key == document_key(FULL_RESOLUTION):
                composed.update(json.loads(data))

        compose(self.writer, self._source.source_items(), tables, keep)
        return bool(composed["consolidated_metadata"] != level.get("consolidated_metadata"))

    @property
    def _statement(self) -> Mapping[str, Any]:
        assert self.salvaged.reader is not None, "asked of stores whose root document is sealed"
        return self.salvaged.reader.statement

    def check_lease(self) -> None:
        """Raise LeaseLost where the store has another writer by now."""
        if not patiently(lambda: holds(ledger_folder(self._store), self.holder)):
            raise LeaseLost(f"repairing {self._store}: another process has taken it over")

    def listed(self, ref: ShardRef) -> ShardEntry:
        """Return what the manifest says of a shard."""
        assert self.salvaged.manifest is not None, "asked of stores whose manifest is sealed"
        return self.salvaged.manifest.arrays[ref.array].get(ref.array, ref.index)

    def code(self, ref: ShardRef) -> ShardBytes:
        """Code a shard from the source."""
        return self._samples.encode(ref)

    def compose(
        self, tables: Mapping[str, ShardTable], write: Callable[[str, bytes], None]
    ) -> None:
        """Hand every object but the shards to ``write``, as they were when the store was sealed."""
        statement = self._statement
        extra = {key: value for key, value in statement.items() if key not in COMPOSED}
        items = self._source.source_items()
        compose(self.writer, items, tables, write, extra, statement["tools"])

    def consolidated(self, key: str) -> Iterator[bytes]:
        """Yield what a document may have been, from the copy of it in the root document."""
        documents = json.loads(self.salvaged.root or b"{}")["consolidated_metadata"]["metadata"]
        node = documents.get(key.removesuffix(f"/{ROOT_DOCUMENT}"))
        if node is not None:
            yield json.dumps(node, separators=(",", ":")).encode()

    def difference_from_listed(self, refs: Sequence[ShardRef]) -> str | None:
        """Tell why these shards of the manifest cannot come from the source; None: they can."""
        lossy = {ref for ref in refs if self._samples.are_lossy(ref.array)}
        for ref in refs:
            if ref not in lossy and not self._samples.are_those_of(self.listed(ref)):
                return f"its samples differ in {ref.name}"
        if not lossy or self.same_plan:
            return None
        sound = [ref for ref in self.plan.shards() if ref.array == "image" and ref not in lossy]
        for ref in sound:
            if self.take_stock(ref) is None:
                return f"its samples differ in {ref.name}"
        if not sound:
            ref = min(lossy)
            if self.code(ref).entry(ref.array, ref.index) != self.listed(ref):
                return _NO_PROOF
        return None

    def take_stock(self, ref: ShardRef) -> ShardEntry | None:
        """Return the entry of a sound shard; None for one that does not decode, or to others.

        Where the manifest is there it is believed: a lossless shard is not decoded once more.
        """
        if self.salvaged.manifest is not None and not self._samples.are_lossy(ref.array):
            return self._listed_lossless(ref)
        samples = self._samples.read(ref)
        if ref.array == "image" and not self.same_plan:
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
        self._sound += 1
        return coded.entry(ref.array, ref.index)

    def disproof(self) -> str | None:
        """Tell why the source is not the store's, once stock was taken of all shards."""
        believed = self.salvaged.manifest is not None
        if self._foreign == 0 and (believed or self._sound):
            return None
        if not believed:
            same = self._image_digest.hexdigest() in self.salvaged.digests
            if self.same_plan or (same and not self._samples.are_lossy("image")):
                return None
        return f"the samples of {self._foreign} shards differ" if self._foreign else _NO_PROOF

    def _listed_lossless(self, ref: ShardRef) -> ShardEntry | None:
        listed = self.listed(ref)
        if not self.same_plan and not self._samples.are_those_of(listed):
            self._foreign += 1
            return None
        self._sound += 1
        return replace(listed, max_error=0.0, squared_error=0.0)


def _key(ref: ShardRef) -> str:
    return shard_key(ref.array, ref.index)


def _shard_of(key: str, manifest: Manifest) -> ShardRef | None:
    """Return the shard that has this key; None for any other object."""
    found = shard_of(key)
    if found is None or found[0] not in manifest.arrays:
        return None
    return ShardRef(*found)


def _digest(manifest: Manifest, key: str) -> str | None:
    """Return the sha256 of an object that is no shard."""
    entry = manifest.files.get(key)
    return manifest.documents.get(key) if entry is None else entry.sha256


def _difference(source: TileSource, layout: Layout) -> str | None:
    """Tell how the shape of a source is not that of a store; None: it is the same."""
    info = source.info
    found = (info.shape, info.dtype.name, info.axes)
    want = (layout.grid.shape, layout.dtype, layout.axes)
    if found == want:
        return None
    return f"it is {found[0]} of {found[1]}, the store {want[0]} of {want[1]}"


def _marks(folder: Place) -> list[dict[str, Layout]]:
    """Return how the store was coded by each repair that was begun and not finished."""
    found = []
    for name in folder.folders() if folder.is_folder() else ():
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            mark = json.loads((folder / name / MARK).read())
            found.append({array: Layout.from_json(fields) for array, fields in mark.items()})
    return found


def _has_ledger(folder: Place) -> bool:
    return folder.is_folder() and bool(folder.folders())
