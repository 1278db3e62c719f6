"""Write the shards of a planned image, in any order and by any process, and seal the store.

Each function is a whole task: it may run twice, on any worker, or die at any point, and running it
again gives the same objects.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tilepress.codecs import threads as pool
from tilepress.codecs.difference import Difference
from tilepress.codecs.loss import Lossy
from tilepress.errors import (
    DamagedSource,
    SourceError,
    StoreError,
    TilepressError,
)
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.device import device
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper, LeaseLost, holds
from tilepress.pipeline.archive.ledger import Ledger, remove_plans
from tilepress.pipeline.archive.lossy import measured_loss, told_loss
from tilepress.pipeline.archive.outcome import (
    SealedImage,
    ShardDone,
)
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.archive.replace import clear_replaced, going_on, put_documents_back
from tilepress.pipeline.archive.stages import StageClock, Stages
from tilepress.pipeline.image.display import omero_of
from tilepress.pipeline.image.objects import is_pinned
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.kept import IRREVERSIBLE, WHAT_IS_IRREVERSIBLE, WHAT_IS_LOSSY
from tilepress.pipeline.store.keys import is_image
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.seal import is_sealed, read_root, sealed_digest, store_bytes
from tilepress.pipeline.store.shard_check import ShardBytes

__all__ = [
    "RECODED",
    "PoisonShard",
    "check_lease",
    "clear_leftovers",
    "close_sources",
    "code_with",
    "counted",
    "keep_open",
    "put_shard",
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


RECODED = (
    "some frames or tiles that came compressed are coded by their samples: exports hold these "
    "samples, not the source's bytes"
)
"""What is said of an image some of whose streams are coded by their samples."""


class PoisonShard(TilepressError):
    """A shard that ended the process of a part each time it was begun."""

    kind = "killed"


def write_shard(
    plan: ImagePlan,
    ref: ShardRef,
    holder: Holder,
    threads: int = 1,
    source: TileSource | None = None,
) -> ShardDone:
    """Read, code, check and write one shard, unless it is stored as the ledger says.

    ``source`` is read where the caller has it; else the plan's is opened, and kept open.
    """
    code_with(threads)
    ledger = Ledger(plan)
    known = retried(lambda: ledger.get(ref))
    if known is not None and retried(lambda: _is_stored(plan, known)):
        return ShardDone.of(known, reused=True)
    with counted(plan, ledger, ref, holder):
        entry, stages = put_shard(plan, ref, holder, source)
        clock = StageClock()
        with clock.time("write"):
            retried(lambda: ledger.record(entry))
    return ShardDone.of(entry, stages=stages + clock.stages)


def seal_image(
    plan: ImagePlan,
    holder: Holder,
    entries: tuple[ShardEntry, ...] | None = None,
    source: TileSource | None = None,
) -> SealedImage:
    """Write what makes a store of the shards; refuse where the source is not what was planned.

    ``entries`` are those of all shards where the caller has them; else they are the ledger's.
    ``source`` is one that the caller vouches for; else the plan's is opened anew, and looked at.
    """
    if entries is None:  # else the caller has just written a shard, and looked at the lease
        _check_lease(plan, holder)
    if is_sealed(plan.store) and going_on(plan) is None:
        if sealed_digest(storage_path(plan.store)) != plan.digest:
            raise LeaseLost(
                f"sealing {plan.store}: another process has sealed it; run the same command again"
            )
        # this task ran before, its worker died late
        return sealed_sizes(plan, read_root(plan.store).seal)
    known = tuple(Ledger(plan).entries(plan)) if entries is None else entries
    close_sources()  # the image is opened anew, by the reader that this one leaves
    seal = retried(lambda: _seal(plan, holder, known, source))
    remarks = (RECODED,) if any(entry.recoded for entry in known) else ()
    return replace(sealed_sizes(plan, seal), remarks=remarks)


def sealed_sizes(plan: ImagePlan, seal: str | None = None) -> SealedImage:
    """Return an image's size as samples, and that of its sealed store with all that is in it.

    The store is not opened: it is the one that the plan describes, sealed or found so just before.
    ``seal`` is as in ``SealedImage``.
    """
    separator = None if plan.replaced is None else plan.separator
    loss = None
    if isinstance(plan.loss, Lossy):
        loss = told_loss(plan.loss, read_root(plan.store).statement)
    return SealedImage(plan.source_bytes, store_bytes(plan.store, separator), seal, loss=loss)


def clear_leftovers(store: str, keeper: LeaseKeeper) -> None:
    """Remove what is left beside a sealed store: of its writer that was killed just after sealing,
    of a store that it replaced, of a replacement that was given up.
    """
    folder = ledger_folder(store)
    if not folder.exists():
        return
    with contextlib.suppress(StoreError):  # its writer lives: it will do so itself
        lease = keeper.acquire(folder)
        try:
            if clear_replaced(store, lambda: check_lease(store, lease.holder)):
                remove_plans(store)
        finally:
            keeper.release(lease, sealed=True)


# one shard


def code_with(threads: int) -> None:
    """Set the threads that code chunks; a GPU takes together what many threads ask for."""
    if device() == "cuda":
        threads = max(threads, GPU_THREADS)
    if pool.threads() != threads:
        pool.set_threads(threads)


def put_shard(
    plan: ImagePlan, ref: ShardRef, holder: Holder, source: TileSource | None = None
) -> tuple[ShardEntry, Stages]:
    """Code a shard and put it where it belongs."""
    coding = ImageCoding(plan)
    coded = retried(lambda: _encode(coding, ref, source))
    clock = StageClock()
    with clock.time("write"):
        _check_lease(plan, holder)
        retried(
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


def _encode(coding: ImageCoding, ref: ShardRef, source: TileSource | None) -> ShardBytes:
    if source is not None:
        return coding.encode(source, ref, device())
    try:
        return coding.encode(_source(coding.plan), ref, device())
    except (SourceError, OSError):
        close_sources()  # a stale handle stays stale
        raise


@contextlib.contextmanager
def counted(plan: ImagePlan, ledger: Ledger, ref: ShardRef, holder: Holder) -> Iterator[None]:
    """Leave out a shard that ended the process of a part again and again.

    Nobody watches the processes of parts, as a scheduler watches its workers: what was begun and
    neither done nor failed ended its process, or was killed with it.
    """
    if holder.role != "part":
        yield
        return
    tries = retried(lambda: ledger.begin(ref))
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


# the seal


def _seal(
    plan: ImagePlan,
    holder: Holder,
    entries: tuple[ShardEntry, ...],
    given: TileSource | None,
) -> str:
    if given is not None:
        return _seal_of(plan, holder, entries, given)
    with contextlib.closing(open_source(plan.spec)) as source:
        exact, levels = plan.info.exact, plan.level_grids
        if plan.digest not in plan_digests(source, plan.grid, plan.codec_config, exact, levels):
            raise DamagedSource(
                f"sealing {plan.store}: {plan.source_name} changed while it was read; "
                "run the same command again"
            )
        return _seal_of(plan, holder, entries, source)


def _seal_of(
    plan: ImagePlan, holder: Holder, entries: tuple[ShardEntry, ...], source: TileSource
) -> str:
    attributes = {"plan_digest": plan.digest} | _loss(plan, entries)
    if any(entry.irreversible for entry in entries):
        is_lossy = isinstance(plan.loss, Lossy)
        attributes[IRREVERSIBLE] = WHAT_IS_LOSSY if is_lossy else WHAT_IS_IRREVERSIBLE
    check = partial(_check_lease, plan, holder)
    try:
        return ImageCoding(plan).writer.seal(
            source.source_items(), entries, attributes, check, omero_of(source)
        )
    except BaseException:
        if plan.replaced is not None:
            put_documents_back(plan, check)
        raise


def _loss(plan: ImagePlan, entries: Iterable[ShardEntry]) -> dict[str, Any]:
    """Return what coding did to the samples: {} for lossless, else what the checks measured.

    PSNR is over all samples of the image, against the whole range that they may take; that of lossy
    coding over those that are present, in bands that are not lossless, against its own peak.
    """
    if plan.loss.is_lossless:
        return {}
    if isinstance(plan.loss, Lossy):
        return measured_loss(plan, plan.loss, entries)
    difference, samples = Difference(), 0
    for entry in entries:
        if is_image(entry.array):
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


def _is_stored(plan: ImagePlan, entry: ShardEntry) -> bool:
    """Whether a shard object is there, whole and with the right checksum."""
    path = plan.shard_path(ShardRef(entry.array, entry.index))
    return path.size() == entry.length and path.sha256() == entry.sha256


def _check_lease(plan: ImagePlan, holder: Holder) -> None:
    check_lease(plan.store, holder)


def check_lease(store: str, holder: Holder) -> None:
    """Raise LeaseLost where the store has another writer by now: a run that slept too long."""
    if not retried(lambda: holds(ledger_folder(store), holder)):
        raise LeaseLost(
            f"writing {store}: another process has taken the store over; "
            "run the same command again when it has finished"
        )


# open sources


_sources: OrderedDict[str, TileSource] = OrderedDict()
"""Open sources of this process by plan, the latest last. One task runs at a time in a process."""


def _source(plan: ImagePlan) -> TileSource:
    key = _source_key(plan)
    if key not in _sources:
        _make_room(plan)
        _sources[key] = open_source(plan.spec)
    _sources.move_to_end(key)
    return _sources[key]


def keep_open(plan: ImagePlan, source: TileSource) -> None:
    """Keep the source of a plan, open already, for the shards that this process writes next.

    It is closed here from now on.
    """
    known = _sources.pop(_source_key(plan), None)
    if known is not None:
        known.close()
    _make_room(plan)
    _sources[_source_key(plan)] = source


def _make_room(plan: ImagePlan) -> None:
    """Close what was not used for longest, so that one more may be open."""
    keep = 1 if is_pinned(plan.spec) else OPEN_SOURCES  # it holds a copy
    while len(_sources) >= keep:
        _sources.popitem(last=False)[1].close()


def _source_key(plan: ImagePlan) -> str:
    return f"{plan.digest}/{plan.source_name}"


def close_sources() -> None:
    """Close the sources that this process keeps open between tasks."""
    while _sources:
        _sources.popitem()[1].close()
