"""Plan, write and seal whole images, in groups: small ones are one task from source to seal.

Each function is a whole task, as those of ``write`` are. An image that fails is an outcome, and no
reason for its neighbours to fail.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from tilepress.errors import (
    DamagedSource,
    DestinationConflict,
    UnsealedStore,
)
from tilepress.pipeline.archive.compare import find_difference
from tilepress.pipeline.archive.destination import (
    Destination,
    check_prepared,
    is_unchanged,
    prepare_store,
    state_of_store,
    what_stays,
)
from tilepress.pipeline.archive.kept_levels import plan_with_levels
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.outcome import (
    ImageResult,
    Outcome,
    ShardDone,
    image_failure,
    image_result,
)
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder, make_plan
from tilepress.pipeline.archive.replace import going_on, pending
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.archive.weights import choose_weights
from tilepress.pipeline.archive.write import (
    clear_leftovers,
    close_sources,
    code_with,
    counted,
    keep_open,
    put_shard,
    seal_image,
    sealed_sizes,
)
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.keys import SIGNATURE
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, store_bytes
from tilepress.pipeline.store.summary import source_bytes

__all__ = ["Job", "Todo", "finish_images", "plan_images", "prepare_images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all tasks of a run have in common."""

    destination: Destination
    options: EncodeOptions
    holder: Holder
    force: bool = False
    checksum: bool = False
    """Whether a sealed store is compared with the samples of its source before it is skipped."""
    sign: bool = False
    """Whether stores are signed: of a plan of parts, those that were sealed before and have no
    signature are compared with their sources."""
    prepared: bool = False
    """Whether the way was made free before: by the plan of parts."""
    whole_bytes: int = 0
    """Images of one shard and up to so many decoded bytes are written by the task that plans."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One image to plan, with the digest of its plan where that was fixed before."""

    spec: SourceSpec
    digest: str | None = None
    rival: str | None = None
    """Another image of this run whose store is the same: this one may only find its own there."""
    label: str | None = None
    """What people are told in place of its files' paths, which may name a patient: its store."""

    @property
    def source_name(self) -> str:
        """Return how people know the image."""
        return self.spec.paths[0] if self.label is None else self.label


def plan_images(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
    """Plan images; write those that are small at once, for three tasks each would cost more."""
    code_with(threads)
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


def _outcome(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        plan, source = _plan(todo, job)
        with contextlib.ExitStack() as held:
            held.callback(source.close)
            _refuse_rival(todo, plan, job)
            if job.checksum and is_unchanged(plan, force=job.force):
                return _unchanged(plan, keeper, _compared(plan, source))
            if plan.grid.total > 1 or plan.raw_bytes > job.whole_bytes:
                return Outcome(plan=plan)
            if is_unchanged(plan, force=job.force, prepared=job.prepared, just_planned=True):
                return _unchanged(plan, keeper)
            held.pop_all()
            keep_open(plan, source)
        try:
            return _whole(plan, job, keeper)
        finally:
            close_sources()
    except Exception as error:  # the edge of a task: one image must not fail its neighbours
        return _failure(todo, error, job)


def _unchanged(plan: ImagePlan, keeper: LeaseKeeper, seal: str | None = None) -> Outcome:
    clear_leftovers(plan.store, keeper)
    return Outcome(result=image_result(plan, sealed_sizes(plan, seal), "unchanged"))


def _prepared(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        plan, source = _plan(todo, job)
        source.close()
        _refuse_rival(todo, plan, job)
        if is_unchanged(plan, force=job.force):
            return _unchanged(plan, keeper)
        lease = retried(lambda: keeper.acquire(ledger_folder(plan.store), plan.digest))
        try:
            to_write = retried(lambda: prepare_store(plan, force=job.force))
        finally:
            keeper.release(lease)  # the parts take it when they come
        return _unchanged(plan, keeper) if to_write is None else Outcome(plan=to_write)
    except Exception as error:  # as above
        return _failure(todo, error, job)


def _finished(todo: Todo, job: Job, keeper: LeaseKeeper) -> Outcome:
    try:
        sealed_before = _sealed_before(todo, job, keeper)
        if sealed_before is not None:
            return Outcome(result=sealed_before)
        plan, source = _plan(todo, job)
        source.close()
        plan = going_on(plan) or replace(plan, separator=Ledger(plan).separator)
        _check_complete(plan)
        lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
        try:
            sealed = seal_image(plan, lease.holder)
            if plan.replaced is None:
                Ledger(plan).remove()
        finally:
            keeper.release(lease)
        result = image_result(plan, sealed, "written")
        return Outcome(result=result, replaced=plan.replaced is not None)
    except Exception as error:  # as above
        return _failure(todo, error, job)


def _sealed_before(todo: Todo, job: Job, keeper: LeaseKeeper) -> ImageResult | None:
    """Return what an image is that a part sealed, without opening its source; else None."""
    store = job.destination.store_of(todo.spec)
    if not is_sealed(store) or pending(store, todo.digest or "") is not None:
        return None
    reader = StoreReader.open(store)
    if reader.statement.get("plan_digest") != todo.digest:
        return None
    clear_leftovers(str(store), keeper)
    seal = None
    if job.sign and (store / SIGNATURE).size() is None:
        plan, source = _plan(todo, job)
        with contextlib.closing(source):
            seal = _compared(plan, source)
    return ImageResult(
        source=todo.source_name,
        store=str(store),
        status="unchanged",
        axes=reader.axes,
        shape=reader.shape,
        dtype=reader.dtype.name,
        raw_bytes=source_bytes(reader.statement, reader.attrs, reader.shape, reader.dtype),
        stored_bytes=store_bytes(store, reader.separator),
        shards=sum(reader.grid(name).total for name in reader.arrays),
        shards_reused=0,
        files=len(todo.spec.paths),
        seal=seal,
        file_bytes=todo.spec.share_of_files,
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
    if todo.rival is None or is_unchanged(plan, force=job.force):
        return
    raise DestinationConflict(
        f"planning {plan.source_name}: its store {plan.store} is that of {todo.rival} already; "
        "give it a destination of its own"
    )


def _compared(plan: ImagePlan, source: TileSource) -> str:
    """Return the seal of a sealed store whose samples are those of its source.

    Reads the whole source in this task, whatever its size: nothing is written meanwhile. Raises
    DestinationConflict where the samples are others.
    """
    reader = StoreReader.open(plan.store)
    wrong = find_difference(plan, source, reader)
    if wrong is not None:
        raise DestinationConflict(
            f"checking {plan.store}: its samples are not those of the source ({wrong}): one of "
            "the two has changed; ask tilepress verify about the store, and choose another "
            "destination for what the source is now"
        )
    return str(reader.statement["seal"])


def _failure(todo: Todo, error: Exception, job: Job) -> Outcome:
    stays = ""
    if job.force or job.prepared:
        stays = what_stays(job.destination.store_of(todo.spec), error)
    return Outcome(failure=image_failure(todo.spec, todo.label, error, stays=stays))


def _plan(todo: Todo, job: Job) -> tuple[ImagePlan, TileSource]:
    """Return the plan of an image and its open source, which the caller closes."""
    plan, source = retried(lambda: _planned(todo, job))
    if todo.digest not in (None, plan.digest):
        source.close()
        raise DamagedSource(
            f"planning {plan.store}: {plan.source_name} is not what it was when the parts were "
            "planned; run tilepress plan again"
        )
    return plan, source


def _planned(todo: Todo, job: Job) -> tuple[ImagePlan, TileSource]:
    spec = todo.spec
    store = job.destination.store_of(spec)
    if not job.destination.is_store:
        check_no_link(job.destination.folder, store)
    options = job.options

    def planned(source: TileSource) -> ImagePlan:
        plan = make_plan(source, store, options, wanted=todo.digest, anew=job.force)
        plan = replace(plan, label=todo.label)
        return plan if options.tune is None else choose_weights(plan, source, options.tune)

    opened = open_source(spec)
    with contextlib.ExitStack() as held:
        held.callback(opened.close)
        asked, wanted = options.asked_levels, todo.digest
        plan, source = plan_with_levels(
            opened, store, planned, asked, wanted=wanted, anew=job.force
        )
        held.pop_all()
    return plan, source


def _whole(plan: ImagePlan, job: Job, keeper: LeaseKeeper) -> Outcome:
    """Write and seal a small image, of one shard and perhaps a mask.

    Its source is open from planning; sealing opens it anew, to see whether it is what was planned.
    """
    lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
    try:
        to_write = _to_write(plan, job)
        if to_write is None:
            keeper.release(lease)
            return _unchanged(plan, keeper)
        plan = to_write
        stages = Stages()
        entries: list[ShardEntry] = []
        ledger = Ledger(plan)
        for ref in plan.shards():
            with counted(plan, ledger, ref, lease.holder):
                entry, spent = put_shard(plan, ref, lease.holder)
            entries.append(entry)
            stages += spent
        sealed = seal_image(plan, lease.holder, tuple(entries))
        if plan.replaced is None:
            ledger.remove()
        keeper.release(lease, sealed=True)
    finally:
        keeper.release(lease)
    done = tuple(map(ShardDone.of, entries))
    result = image_result(plan, sealed, "written", 0, stages)
    return Outcome(result=result, shards=done, replaced=plan.replaced is not None)


def _to_write(plan: ImagePlan, job: Job) -> ImagePlan | None:
    """Make the way free; None where the store is sealed."""
    if job.prepared:
        return check_prepared(plan)
    return retried(lambda: prepare_store(plan, force=job.force))
