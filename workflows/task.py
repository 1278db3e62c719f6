"""What a worker does: plan an image, write one shard, seal a store.

Each function is a whole task: it may run twice, on any worker, or die at any point, and running it
again gives the same files.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tilepress.codecs import batcher
from tilepress.codecs.errors import DamagedSource, StoreError
from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.discover import open_source
from tilepress.pipeline.shard import ShardBytes, encode_shard
from tilepress.pipeline.source import SourceSpec, TileSource
from tilepress.pipeline.store import ROOT_DOCUMENT, StoreReader, StoreWriter, store_bytes
from tilepress.workflows.destination import Destination
from tilepress.workflows.lease import holds
from tilepress.workflows.ledger import Ledger, ShardEntry, ledger_folder
from tilepress.workflows.plan import EncodeOptions, ImagePlan, ShardRef, make_plan, plan_digest
from tilepress.workflows.tune import choose_weights

__all__ = [
    "LeaseLost",
    "SealedImage",
    "ShardDone",
    "plan_image",
    "seal_image",
    "sealed_sizes",
    "write_shard",
]

OPEN_SOURCES = 2
"""Sources that one process keeps open: shards of one image mostly come in a row."""

STORAGE_TRIES = 4
"""Times that a file operation is tried when storage reports what may pass."""

STORAGE_WAIT_S = 0.5
"""Seconds before the second try; doubled each time."""

PASSING_ERRORS = frozenset(
    {
        errno.EIO,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOLCK,
    }
)
"""What networked storage reports for a while; a full or read-only disk is not among them."""

T = TypeVar("T")


class LeaseLost(StoreError):
    """Another process took over the store while this one was away."""

    kind = "lease-lost"


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard that is on disk and in the ledger."""

    raw_bytes: int
    stored_bytes: int
    reused: bool
    """Whether an earlier run had written it."""


@dataclass(frozen=True, slots=True)
class SealedImage:
    """Sizes of a sealed store, in bytes."""

    raw_bytes: int
    stored_bytes: int


def plan_image(spec: SourceSpec, destination: Destination, options: EncodeOptions) -> ImagePlan:
    """Open a source and plan its store."""
    with contextlib.closing(open_source(spec)) as source:
        plan = make_plan(source, destination.store_of(spec), options)
        return plan if options.tune is None else choose_weights(plan, source, options.tune)


def write_shard(plan: ImagePlan, ref: ShardRef, holder_id: str, threads: int = 1) -> ShardDone:
    """Read, code, check and write one shard, unless it is on disk as the ledger says."""
    if batcher.threads() != threads:
        batcher.set_threads(threads)
    ledger = Ledger(plan)
    writer = _writer(plan)
    path = writer.shard_path(ref.array, ref.index)
    known = _patiently(lambda: ledger.get(ref))
    if known is not None and _patiently(lambda: _is_on_disk(path, known)):
        return ShardDone(known.raw_bytes, known.length, reused=True)
    coded = _encode(plan, writer, ref)
    _check_lease(plan, holder_id)
    _patiently(lambda: writer.write_shard(ref.array, ref.index, coded.data))
    entry = ShardEntry(
        array=ref.array,
        index=ref.index,
        length=coded.length,
        sha256=coded.sha256,
        samples_sha256=coded.samples_sha256,
        raw_bytes=coded.raw_bytes,
        max_error=coded.max_error,
        squared_error=coded.squared_error,
    )
    _patiently(lambda: ledger.record(entry))
    return ShardDone(entry.raw_bytes, entry.length, reused=False)


def seal_image(plan: ImagePlan, holder_id: str) -> SealedImage:
    """Write what makes a store of the shards; refuse where the source is not what was planned."""
    _check_lease(plan, holder_id)
    if (Path(plan.store) / ROOT_DOCUMENT).exists():  # this task ran before, its worker died late
        return sealed_sizes(plan)
    with contextlib.closing(open_source(plan.spec)) as source:
        if plan_digest(source, plan.grid, plan.codec_config) != plan.digest:
            raise DamagedSource(
                f"sealing {plan.store}: {plan.source_name} changed while it was read; "
                "run the same command again"
            )
        ledger = Ledger(plan)
        attributes = {"plan_digest": plan.digest} | _loss(plan, ledger)
        _writer(plan).seal(source.source_items(), ledger.entries(plan), attributes)
    _forget_sources()
    return sealed_sizes(plan)


def sealed_sizes(plan: ImagePlan) -> SealedImage:
    """Return an image's size as samples, and that of its sealed store with all that is in it."""
    store = Path(plan.store)
    statement = StoreReader.open(store).statement
    return SealedImage(int(statement["raw_bytes"]), store_bytes(store))


def _encode(plan: ImagePlan, writer: StoreWriter, ref: ShardRef) -> ShardBytes:
    grid = plan.grid_of(ref)
    box = grid.box(ref.index)
    source = _source(plan)
    samples = source.read(box) if ref.array == "image" else source.read_mask(box)
    codec = _codec(json.dumps(writer.codec_config(ref.array), sort_keys=True))
    return encode_shard(codec, samples, box, grid, ref.index, writer.fill(ref.array))


def _loss(plan: ImagePlan, ledger: Ledger) -> dict[str, float]:
    """Return what coding did to the samples: {} for lossless, else what the checks measured.

    PSNR is over all samples of the image, against the whole range that they may take.
    """
    if not plan.codec_config["max_error"]:
        return {}
    worst, squares, samples = 0.0, 0.0, 0
    for entry in ledger.entries(plan):
        if entry.array == "image":
            worst = max(worst, entry.max_error)
            squares += entry.squared_error
            samples += entry.raw_bytes // plan.info.dtype.itemsize
    loss = {"max_error_measured": worst}
    if plan.info.dtype.kind in "iu" and squares:
        limits = np.iinfo(plan.info.dtype)
        low, high = plan.info.valid_range or (limits.min, limits.max)
        loss["psnr_db"] = round(10 * math.log10((high - low) ** 2 * samples / squares), 3)
    return loss


def _writer(plan: ImagePlan) -> StoreWriter:
    return StoreWriter.create(
        Path(plan.store), plan.info, plan.grid, plan.codec_config, mask_grid=plan.mask_grid
    )


@functools.lru_cache(maxsize=4)
def _codec(config: str) -> TileCodec:
    return TileCodec.from_config(json.loads(config))


_sources: OrderedDict[str, TileSource] = OrderedDict()
"""Open sources of this process by plan, the latest last. One task runs at a time in a process."""


def _source(plan: ImagePlan) -> TileSource:
    key = f"{plan.digest}/{plan.source_name}"
    if key not in _sources:
        while len(_sources) >= OPEN_SOURCES:
            _sources.popitem(last=False)[1].close()
        _sources[key] = open_source(plan.spec)
    _sources.move_to_end(key)
    return _sources[key]


def _forget_sources() -> None:
    while _sources:
        _sources.popitem()[1].close()


def _is_on_disk(path: Path, entry: ShardEntry) -> bool:
    """Whether a shard object is there, whole and with the right checksum."""
    try:
        if path.stat().st_size != entry.length:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    except FileNotFoundError:
        return False


def _check_lease(plan: ImagePlan, holder_id: str) -> None:
    """Raise LeaseLost where the store has another writer by now: a run that slept too long."""
    if not holds(ledger_folder(Path(plan.store)), holder_id):
        raise LeaseLost(
            f"writing {plan.store}: another process has taken the store over; "
            "run the same command again when it has finished"
        )


def _patiently(operation: Callable[[], T]) -> T:
    """Do a file operation again while storage reports what may pass."""
    wait_s = STORAGE_WAIT_S
    for _ in range(STORAGE_TRIES - 1):
        try:
            return operation()
        except OSError as error:
            if error.errno not in PASSING_ERRORS:
                raise
        time.sleep(wait_s)
        wait_s *= 2
    return operation()
