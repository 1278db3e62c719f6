"""What became of an image: sealed, failed, or still to be written shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tilepress.errors import describe_error
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.image.private_names import file_names, without_paths
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.manifest import ShardEntry

__all__ = [
    "ImageFailure",
    "ImageResult",
    "Outcome",
    "SealedImage",
    "ShardDone",
    "image_failure",
    "image_result",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One sealed store."""

    source: str
    """Path of the first file of the image; of DICOM the name of its store."""
    store: str
    status: Literal["written", "unchanged"]
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    """Decoded size of the image as it came, without its mask and levels that were made of it."""
    stored_bytes: int
    """Size of the store: all its objects, documents and the copies in ``source/`` included."""
    shards: int
    shards_reused: int
    """Shards that an earlier, interrupted run had finished."""
    remarks: tuple[str, ...] = ()
    files: int = 1
    """Files that the image was made of: a stack or a series has several."""
    tuned: bool | None = None
    """In a run that tunes: whether the tuned weights code the image, or those they came from."""
    tuning_saved_bytes: int | None = None
    """What they save, estimated while planning, the weights in the store counted."""
    stages: Stages | None = None
    """Where the time of this run's workers went; None where nothing was timed."""
    seal: str | None = None
    """Seal of what this run has sealed, or has compared with its source; None where neither."""
    file_bytes: int | None = None
    """Size of the files that it was made of, compressed as they are; its even share of a file that
    holds several images. None where nobody has looked."""
    loss: Mapping[str, Any] | None = None
    """What lossy coding did to its samples; None where it is not lossy."""

    @property
    def ratio(self) -> float:
        """Samples against the store."""
        return self.raw_bytes / max(1, self.stored_bytes)

    @property
    def file_ratio(self) -> float | None:
        """Files against the store: below 1 where it takes more than they did."""
        return None if self.file_bytes is None else self.file_bytes / max(1, self.stored_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        stages = self.stages.to_json() if self.stages is not None else None
        against_files = None if self.file_ratio is None else round(self.file_ratio, 4)
        ratios = {"ratio": round(self.ratio, 4), "file_ratio": against_files}
        return {**asdict(self), **ratios, "stages": stages}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFailure:
    """One input that did not become a sealed store."""

    source: str
    kind: str
    """Stable name: ``TilepressError.kind``, "storage", "memory", "internal" or "catalogue"."""
    message: str
    """One line: what was being done, what was found, where."""
    shard: str | None = None
    """The shard that failed, where it was one."""

    @property
    def line(self) -> str:
        """One line that names the input."""
        shard = f", shard {self.shard}" if self.kind == "killed" else ""
        if Path(self.source).name in self.message:
            return self.message + shard
        return f"{self.source}{shard}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """Return the failure as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard that is on disk and in the ledger."""

    raw_bytes: int
    stored_bytes: int
    reused: bool
    """Whether an earlier run had written it."""
    stages: Stages | None = None
    """Where the time went; None for a shard that was there."""

    @classmethod
    def of(
        cls, entry: ShardEntry, *, reused: bool = False, stages: Stages | None = None
    ) -> ShardDone:
        return cls(entry.raw_bytes, entry.length, reused, stages)


@dataclass(frozen=True, slots=True)
class SealedImage:
    """Sizes of a sealed store, in bytes."""

    raw_bytes: int
    """Decoded size of the image as it came: not of levels that were made."""
    stored_bytes: int
    seal: str | None = None
    """Of a store that was just sealed, or compared with its source; None where neither."""
    remarks: tuple[str, ...] = ()
    """What a user should know of how it was coded."""
    loss: Mapping[str, Any] | None = None
    """What lossy coding did to its samples; None where it is not lossy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one image of a group; exactly one of the first three is there."""

    plan: ImagePlan | None = None
    """It is to be written shard by shard."""
    result: ImageResult | None = None
    """It is sealed."""
    failure: ImageFailure | None = None
    shards: tuple[ShardDone, ...] = ()
    """Of an image that this very task wrote."""
    replaced: bool = False
    """Whether its store replaced another one, of which chunks are still there."""


def image_failure(
    spec: SourceSpec,
    label: str | None,
    error: Exception,
    shard: str | None = None,
    stays: str = "",
) -> ImageFailure:
    """Return what a report says of an image that failed.

    With a label, which names its store, no path of a file and no part of one is told. ``stays``
    ends the message: what the failure leaves.
    """
    kind, message = describe_error(error)
    if label is not None:
        names = file_names(label, len(spec.paths))
        message = without_paths(message, spec.paths, names)
    source = spec.paths[0] if label is None else label
    return ImageFailure(source=source, kind=kind, message=message + stays, shard=shard)


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
        remarks=(*plan.info.remarks, *sealed.remarks),
        files=len(plan.spec.paths),
        loss=sealed.loss,
        tuned=plan.tuning.used if plan.tuning is not None else None,
        tuning_saved_bytes=plan.tuning.saved_bytes if plan.tuning is not None else None,
        stages=stages,
        seal=sealed.seal,
        file_bytes=plan.spec.share_of_files,
    )
