"""What a worker does: plan images, write one shard, seal a store; or all of it for small images.

Each function is a whole task: it may run twice, on any worker, or die at any point, and running it
again gives the same objects.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tilepress.codecs import threads as pool
from tilepress.codecs.loss import Difference
from tilepress.errors import (
    DamagedSource,
    DestinationConflict,
    SourceError,
    StoreError,
    TilepressError,
    UnsealedStore,
    describe_error,
)
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.compare import misfit
from tilepress.pipeline.archive.destination import (
    Destination,
    check_prepared,
    prepare_store,
    sealed_digest,
    state_of_store,
)
from tilepress.pipeline.archive.device import device
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper, holds
from tilepress.pipeline.archive.ledger import Ledger, ledger_folder, remove_plans
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.outcome import (
    ImageFailure,
    ImageResult,
    Outcome,
    SealedImage,
    ShardDone,
)
from tilepress.pipeline.archive.plan import (
    ImagePlan,
    ShardRef,
    make_plan,
    plan_digest,
)
from tilepress.pipeline.archive.stages import StageClock, Stages
from tilepress.pipeline.archive.weights import choose_weights
from tilepress.pipeline.find.discover import open_source
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.storage.path import Place, is_url, place
from tilepress.pipeline.storage.retry import patiently
from tilepress.pipeline.store.keys import shard_key
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, store_bytes
from tilepress.pipeline.store.shard import ShardBytes

__all__ = [
    "Job",
    "LeaseLost",
    "PoisonShard",
    "Todo",
    "clear_leftovers",
    "close_sources",
    "finish_images",
    "image_result",
    "plan_images",
    "prepare_images",
    "seal_image",
    "sealed_sizes",
    "write_shard",
]

OPEN_SOURCES = 2
"""Sources that one process keeps open: shards of one image mostly come in a row."""

GPU_THREADS = 64
"""Threads that hand chunks to a GPU: as many chunks as a shard has mostly, for one batch."""

PART_TRIES = 5
"""Times that parts begin a shard whose processes end without a word, before it is left out."""


class LeaseLost(StoreError):
    """Another process took over the store while this one was away."""

    kind = "lease-lost"


class PoisonShard(TilepressError):
    """A shard that ended the process of a part each time it was begun."""

    kind = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all tasks of a run have in common."""

    destination: Destination
    options: EncodeOptions
    holder: Holder
    force: bool = False
    checksum: bool = False
    """Whether a sealed store is held against the samples of its source before it is skipped."""
    whole_bytes: int = 0
    """Images of one shard and up to so many decoded bytes are written by the task that plans."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One image to plan, with the digest of its plan where that was fixed before."""

    spec: SourceSpec
    digest: str | None = None
    rival: str | None = None
    """Another image of this run whose store is the same: this one may only find its own there."""


def plan_images(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
    """Plan images; write those that are small at once, for three tasks each would cost more."""
    _code_with(threads)
    with LeaseKeeper(job.holder) as keeper:
        return [_outcome(todo, job, keeper) for todo in todos]


def prepare_images(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
    """Plan images for parts that will write them: make the way free, write nothing else."""
    with LeaseKeeper(job.holder) as keeper:
        return [_prepared(todo, job, keeper) for todo in todos]


def finish_images(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
    """Seal images that parts have written; those of which shards are missing are failures."""
    with LeaseKeeper(job.holder) as keeper:
        return [_finished(todo, job, keeper) for todo in todos]


def write_shard(plan: ImagePlan, ref: ShardRef, holder: Holder, threads: int = 1) -> ShardDone:
    """Read, code, check and write one shard, unless it is stored as the ledger says."""
    _code_with(threads)
    ledger = Ledger(plan)
    known = patiently(lambda: ledger.get(ref))
    if known is not None and patiently(lambda: _is_stored(plan, known)):
        return ShardDone.of(known, reused=True)
    with _counted(plan, ledger, ref, holder):
        entry, stages = _write(plan, ref, holder)
        clock = StageClock()
        with clock.time("write"):
            patiently(lambda: ledger.record(entry))
    return ShardDone.of(entry, stages=stages + clock.stages)


def seal_image(
    plan: ImagePlan, holder: Holder, entries: tuple[ShardEntry, ...] | None = None
) -> SealedImage:
    """Write what makes a store of the shards; refuse where the source is not what was planned.

    ``entries`` are those of all shards where the caller has them; else they are the ledger's.
    """
    _check_lease(plan, holder)
    if is_sealed(plan.store):
        if sealed_digest(place(plan.store)) != plan.digest:
            raise LeaseLost(
                f"sealing {plan.store}: another process has sealed it; run the same command again"
            )
        return sealed_sizes(plan)  # this task ran before, its worker died late
    known = tuple(Ledger(plan).entries(plan)) if entries is None else entries
    patiently(lambda: _seal(plan, holder, known))
    close_sources()
    return sealed_sizes(plan)


def sealed_sizes(plan: ImagePlan) -> SealedImage:
    """Return an image's size as samples, and that of its sealed store with all that is in it."""
    statement = StoreReader.open(plan.store).statement
    return SealedImage(int(statement["raw_bytes"]), store_bytes(plan.store))


def image_result(
    plan: ImagePlan,
    sealed: SealedImage,
    status: Literal["written", "unchanged"],
    reused: int = 0,
    stages: Stages | None = None,
) -> ImageResult:
    """Return what a report says of a sealed store."""
    return ImageResult(
        source=plan.source_name,
        store=plan.store,
        status=status,
        axes=plan.info.axes,
        shape=plan.info.shape,
        dtype=plan.info.dtype.name,
        raw_bytes=sealed.raw_bytes,
        stored_bytes=sealed.stored_bytes,
        shards=plan.total_shards,
        shards_reused=reused,
        remarks=plan.info.remarks,
        files=len(plan.spec.paths),
        tuned=plan.tuning.used if plan.tuning is not None else None,
        tuning_saved_bytes=plan.tuning.saved_bytes if plan.tuning is not None else None,
        stages=stages,
    )


# groups


def _outcome(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        plan = _plan(todo, job)
        _refuse_rival(todo, plan, job)
        _check_samples(plan, job)
        if plan.grid.total > 1 or plan.raw_bytes > job.whole_bytes:
            return Outcome(plan=plan)
        return _whole(plan, job, keeper)
    except Exception as error:  # the edge of a task: one image must not fail its neighbours
        return _failure(todo, error)


def _prepared(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        plan = _plan(todo, job)
        _refuse_rival(todo, plan, job)
        if not job.force and state_of_store(plan) == "sealed":
            return Outcome(result=image_result(plan, sealed_sizes(plan), "unchanged"))
        lease = patiently(lambda: keeper.acquire(ledger_folder(plan.store), plan.digest))
        try:
            patiently(lambda: prepare_store(plan, force=job.force))
        finally:
            keeper.release(lease)  # the parts take it when they come
        return Outcome(plan=plan)
    except Exception as error:  # as above
        return _failure(todo, error)


def _finished(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        sealed_before = _sealed_before(todo, job, keeper)
        if sealed_before is not None:
            return Outcome(result=sealed_before)
        plan = _plan(todo, job)
        _check_complete(plan)
        lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
        try:
            sealed = seal_image(plan, lease.holder)
            Ledger(plan).remove()
        finally:
            keeper.release(lease)
        return Outcome(result=image_result(plan, sealed, "written"))
    except Exception as error:  # as above
        return _failure(todo, error)


def _sealed_before(todo: Todo, job: Job, keeper: LeaseKeeper) -> ImageResult | None:
    """Return what an image is that a part sealed, without opening its source; else None."""
    store = job.destination.store_of(todo.spec)
    if not is_sealed(store):
        return None
    reader = StoreReader.open(store)
    if reader.statement.get("plan_digest") != todo.digest:
        return None
    clear_leftovers(str(store), keeper)
    return ImageResult(
        source=todo.spec.paths[0],
        store=str(store),
        status="unchanged",
        axes=reader.axes,
        shape=reader.shape,
        dtype=reader.dtype.name,
        raw_bytes=int(reader.statement["raw_bytes"]),
        stored_bytes=store_bytes(store),
        shards=sum(reader.grid(name).total for name in reader.arrays),
        shards_reused=0,
        files=len(todo.spec.paths),
    )


def _check_complete(plan: ImagePlan) -> None:
    missing = Ledger(plan).missing(plan.shards())
    if missing:
        raise UnsealedStore(
            f"finishing {plan.store}: {len(missing)} of {plan.total_shards} shards are missing, "
            f"the first is {missing[0].name}; run the parts again"
        )
    if state_of_store(plan) == "other":
        raise DestinationConflict(
            f"finishing {plan.store}: it is not what the parts of this plan wrote"
        )


def _refuse_rival(todo: Todo, plan: ImagePlan, job: Job) -> None:
    """Raise DestinationConflict where another image has the store, unless it is this one's own."""
    if todo.rival is None or (not job.force and state_of_store(plan) == "sealed"):
        return
    raise DestinationConflict(
        f"planning {plan.source_name}: its store {plan.store} is that of {todo.rival} already; "
        "give it a destination of its own"
    )


def _check_samples(plan: ImagePlan, job: Job) -> None:
    """Raise DestinationConflict where a sealed store would be skipped whose samples are others.

    Reads the whole source in this task, whatever its size: nothing is written meanwhile.
    """
    if not job.checksum or job.force or state_of_store(plan) != "sealed":
        return
    with contextlib.closing(open_source(plan.spec)) as source:
        wrong = misfit(plan, source)
    if wrong is not None:
        raise DestinationConflict(
            f"checking {plan.store}: its samples are not those of the source ({wrong}); "
            "pass --force to replace it"
        )


def _failure(todo: Todo, error: Exception) -> Outcome:
    kind, message = describe_error(error)
    return Outcome(failure=ImageFailure(source=todo.spec.paths[0], kind=kind, message=message))


def _plan(todo: Todo, job: Job) -> ImagePlan:
    plan = patiently(lambda: _planned(todo.spec, job))
    if todo.digest not in (None, plan.digest):
        raise DamagedSource(
            f"planning {plan.store}: {plan.source_name} is not what it was when the parts were "
            "planned; run tilepress plan again"
        )
    return plan


def _planned(spec: SourceSpec, job: Job) -> ImagePlan:
    with contextlib.closing(open_source(spec)) as source:
        plan = make_plan(source, job.destination.store_of(spec), job.options)
        if job.options.tune is not None:
            plan = choose_weights(plan, source, job.options.tune)
    return plan


def _whole(plan: ImagePlan, job: Job, keeper: LeaseKeeper) -> Outcome:
    """Write and seal a small image, of one shard and perhaps a mask."""
    if not job.force and state_of_store(plan) == "sealed":
        clear_leftovers(plan.store, keeper)
        return Outcome(result=image_result(plan, sealed_sizes(plan), "unchanged"))
    lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
    try:
        if lease.holder.role == "part":
            check_prepared(plan)
        else:
            patiently(lambda: prepare_store(plan, force=job.force))
        stages = Stages()
        entries: list[ShardEntry] = []
        ledger = Ledger(plan)
        for ref in plan.shards():
            with _counted(plan, ledger, ref, lease.holder):
                entry, spent = _write(plan, ref, lease.holder)
            entries.append(entry)
            stages += spent
        sealed = seal_image(plan, lease.holder, tuple(entries))
        ledger.remove()
        keeper.release(lease, sealed=True)
    finally:
        keeper.release(lease)
    done = tuple(map(ShardDone.of, entries))
    return Outcome(result=image_result(plan, sealed, "written", 0, stages), shards=done)


def clear_leftovers(store: str, keeper: LeaseKeeper) -> None:
    """Remove the ledger of a sealed store whose writer was killed just after sealing."""
    folder = ledger_folder(store)
    if not folder.exists():
        return
    with contextlib.suppress(StoreError):  # its writer lives: it will do so itself
        lease = keeper.acquire(folder)
        remove_plans(store)
        keeper.release(lease, sealed=True)


def _seal(plan: ImagePlan, holder: Holder, entries: tuple[ShardEntry, ...]) -> None:
    with contextlib.closing(open_source(plan.spec)) as source:
        if plan_digest(source, plan.grid, plan.codec_config) != plan.digest:
            raise DamagedSource(
                f"sealing {plan.store}: {plan.source_name} changed while it was read; "
                "run the same command again"
            )
        attributes = {"plan_digest": plan.digest} | _loss(plan, entries)
        ImageCoding(plan).writer.seal(
            source.source_items(), entries, attributes, lambda: _check_lease(plan, holder)
        )


# one shard


def _code_with(threads: int) -> None:
    """Set the threads that code chunks; a GPU takes together what many threads ask for."""
    if device() == "cuda":
        threads = max(threads, GPU_THREADS)
    if pool.threads() != threads:
        pool.set_threads(threads)


def _write(plan: ImagePlan, ref: ShardRef, holder: Holder) -> tuple[ShardEntry, Stages]:
    """Code a shard and put it where it belongs."""
    coding = ImageCoding(plan)
    coded = patiently(lambda: _encode(coding, ref))
    clock = StageClock()
    with clock.time("write"):
        _check_lease(plan, holder)
        patiently(
            lambda: coding.writer.write_shard(
                ref.array, ref.index, coded.data, lambda: _check_lease(plan, holder)
            )
        )
    spent = Stages(
        read_s=coded.read_s,
        code_s=coded.code_s,
        check_s=coded.check_s,
        read_bytes=coded.raw_bytes,
        written_bytes=coded.length,
    )
    return coded.entry(ref.array, ref.index), spent + clock.stages


def _encode(coding: ImageCoding, ref: ShardRef) -> ShardBytes:
    try:
        return coding.encode(_source(coding.plan), ref, device())
    except (SourceError, OSError):
        close_sources()  # a stale handle stays stale
        raise


@contextlib.contextmanager
def _counted(plan: ImagePlan, ledger: Ledger, ref: ShardRef, holder: Holder) -> Iterator[None]:
    """Leave out a shard that ended the process of a part again and again.

    Nobody watches the processes of parts, as a scheduler watches its workers: what was begun and
    neither done nor failed ended its process, or was killed with it.
    """
    if holder.role != "part":
        yield
        return
    tries = patiently(lambda: ledger.begin(ref))
    if tries >= PART_TRIES:
        raise PoisonShard(
            f"writing {plan.store}: its process ended {tries} times at this shard; "
            "compress it without --part, where workers are watched"
        )
    try:
        yield
    except BaseException:
        ledger.end(ref)
        raise
    ledger.end(ref)


def _loss(plan: ImagePlan, entries: Iterable[ShardEntry]) -> dict[str, float]:
    """Return what coding did to the samples: {} for lossless, else what the checks measured.

    PSNR is over all samples of the image, against the whole range that they may take.
    """
    if plan.loss.is_lossless:
        return {}
    difference, samples = Difference(), 0
    for entry in entries:
        if entry.array == "image":
            assert entry.difference is not None, "every shard was measured"
            difference += entry.difference
            samples += entry.raw_bytes // plan.info.dtype.itemsize
    loss = {"max_error_measured": difference.worst}
    if plan.info.dtype.kind in "iu":
        limits = np.iinfo(plan.info.dtype)
        low, high = plan.info.valid_range or (limits.min, limits.max)
        psnr_db = difference.psnr_db(samples, high - low)
        if psnr_db is not None:
            loss["psnr_db"] = round(psnr_db, 3)
    return loss


_sources: OrderedDict[str, TileSource] = OrderedDict()
"""Open sources of this process by plan, the latest last. One task runs at a time in a process."""


def _source(plan: ImagePlan) -> TileSource:
    key = f"{plan.digest}/{plan.source_name}"
    if key not in _sources:
        keep = 1 if is_url(plan.source_name) else OPEN_SOURCES  # a remote one holds a copy
        while len(_sources) >= keep:
            _sources.popitem(last=False)[1].close()
        _sources[key] = open_source(plan.spec)
    _sources.move_to_end(key)
    return _sources[key]


def close_sources() -> None:
    """Close the sources that this process keeps open between tasks."""
    while _sources:
        _sources.popitem()[1].close()


def _is_stored(plan: ImagePlan, entry: ShardEntry) -> bool:
    """Whether a shard object is there, whole and with the right checksum."""
    path: Place = place(plan.store) / shard_key(entry.array, entry.index)
    return path.size() == entry.length and path.sha256() == entry.sha256


def _check_lease(plan: ImagePlan, holder: Holder) -> None:
    """Raise LeaseLost where the store has another writer by now: a run that slept too long."""
    if not patiently(lambda: holds(ledger_folder(plan.store), holder)):
        raise LeaseLost(
            f"writing {plan.store}: another process has taken the store over; "
            "run the same command again when it has finished"
        )
