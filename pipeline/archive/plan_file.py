"""Fix the plan of an archive in storage, so that parts on many machines share out the same work.

    ARCHIVE/.tilepress/plan/images-000000.jsonl   a line per image: source, store, digest, shards
    ARCHIVE/.tilepress/plan/images-000001.jsonl   …
    ARCHIVE/.tilepress/plan/files-000000.jsonl    a line per file that is no image and is kept
    ARCHIVE/.tilepress/plan/head.json             written last: options, counts, digest of all

A destination ``x.zarr`` has ``.tilepress/plan-x.zarr`` beside it. The plan is removed once every
image in it is sealed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from tilepress.errors import DamagedStore, DestinationConflict, UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.lease import Lease, LeaseKeeper, holds
from tilepress.pipeline.archive.outcome import ImageFailure
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, grids_of, part_of, shards_of
from tilepress.pipeline.archive.private import make_private
from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried

__all__ = ["Part", "PlanFile", "PlanHead", "PlannedImage"]

IMAGES_PER_OBJECT = 500
"""Images per object of a plan: a few hundred kilobytes."""

PLAN_FILE_VERSION = 1

_HEAD = "head.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the processes that share out a plan."""

    index: int
    """From 0."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part of "i/n"; raise UsageError for anything else."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise UsageError(f"compressing a part: got {text!r}, want i/n with i from 0 to n − 1")
        return cls(int(index), int(count))

    def keeps(self, folder: str) -> bool:
        """Whether the files of a folder that are no images are this part's to keep."""
        digest = hashlib.sha256(os.fsencode(folder)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def takes(self, digest: str, ref: ShardRef, grid: ShardGrid) -> bool:
        """Whether a shard of the image with this plan digest is this part's."""
        return part_of(digest, ref, grid, self.count) == self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One line of a plan."""

    spec: SourceSpec
    digest: str
    raw_bytes: int
    shards: int
    grid: ShardGrid
    """Of the image; a mask goes by the same hash."""
    mask_grid: ShardGrid | None = None
    level_grids: tuple[ShardGrid, ...] = ()

    @classmethod
    def of(cls, plan: ImagePlan) -> PlannedImage:
        return cls(
            spec=plan.spec,
            digest=plan.digest,
            raw_bytes=plan.raw_bytes,
            shards=plan.total_shards,
            grid=plan.grid,
            mask_grid=plan.mask_grid,
            level_grids=plan.level_grids,
        )

    def concerns(self, part: Part) -> bool:
        """Whether any shard is the part's: else it need not even open the image."""
        shards = shards_of(grids_of(self.grid, self.mask_grid, self.level_grids))
        return any(part.takes(self.digest, ref, self.grid) for ref in shards)

    def to_line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> PlannedImage:
        """Return what ``to_line`` wrote; raises what ``_WRONG`` lists for anything else."""
        fields = json.loads(line)
        mask = fields["mask_grid"]
        return cls(
            spec=_spec(fields["spec"]),
            digest=str(fields["digest"]),
            raw_bytes=_count(fields["raw_bytes"]),
            shards=_count(fields["shards"]),
            grid=_grid(fields["grid"]),
            mask_grid=None if mask is None else _grid(mask),
            level_grids=tuple(map(_grid, fields.get("level_grids", ()))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHead:
    """What a plan is of."""

    request: Mapping[str, Any]
    """Sources and options as they were given: parts that say otherwise are refused."""
    images: int
    shards: int
    raw_bytes: int
    unchanged: int
    """Images that were sealed already; they are not in the plan."""
    digest: str
    """sha256 of all lines."""
    objects: int
    failures: tuple[ImageFailure, ...] = field(default=())
    """What could not be planned."""
    kept_objects: int = 0
    kept_digest: str = ""
    """sha256 of all lines of files."""
    force: bool = False
    """Whether files that are kept, and changed since, are replaced."""


REMEDY = "remove that folder and run tilepress plan again: it keeps what is finished"


class PlanFile:
    """The plan of one destination, in storage."""

    def __init__(self, destination: Destination) -> None:
        name = f"plan-{destination.path.name}" if destination.is_store else "plan"
        self.folder: StoragePath = destination.folder / f".tilepress/{name}"
        self._lease: Lease | None = None
        self._lines: list[bytes] = []
        self._digest = hashlib.sha256()
        self._images = self._shards = self._raw_bytes = self._objects = 0
        self._kept_lines: list[bytes] = []
        self._kept_digest = hashlib.sha256()
        self._kept_objects = 0

    def lock(self, keeper: LeaseKeeper) -> None:
        """Become the one process that makes this plan; ``keeper`` lets go of it at its end.

        Raises DestinationConflict while another one does.
        """
        make_private(self.folder)  # paths of sources may name patients
        self._lease = keeper.acquire(self.folder)

    def head(self) -> PlanHead | None:
        """Return the head of a finished plan; None where there is none."""
        found = retried((self.folder / _HEAD).read_tagged)
        if found is None:
            return None
        try:
            fields = json.loads(found[0])
            if fields.pop("version") != PLAN_FILE_VERSION:
                raise UsageError(
                    f"reading the plan in {self.folder}: it is of another version of tilepress; "
                    f"{REMEDY}"
                )
            failures = tuple(ImageFailure(**one) for one in fields.pop("failures"))
            for name in ("images", "shards", "raw_bytes", "unchanged", "objects"):
                _count(fields[name])
            _count(fields.get("kept_objects", 0))
            _want(isinstance(fields["request"], dict))
            _want(isinstance(fields.get("force", False), bool))
            return PlanHead(**fields, failures=failures)
        except _WRONG as error:
            text = f"reading the plan in {self.folder}: it is damaged; {REMEDY}"
            raise DamagedStore(text) from error

    def images(self, head: PlanHead) -> Iterator[PlannedImage]:
        """Yield the images as a stream; raises DamagedStore where they are not those planned."""
        names = map(_object, range(head.objects))
        yield from self._lines_of(names, PlannedImage.from_line, head.digest)

    def kept(self, head: PlanHead) -> Iterator[OtherFile]:
        """Yield the files that are kept, folder by folder; raises as ``images`` does."""
        names = map(_kept_object, range(head.kept_objects))
        if head.kept_objects:
            yield from self._lines_of(names, _kept_file, head.kept_digest)

    def _lines_of(
        self, names: Iterable[str], parse: Callable[[bytes], T], want: str
    ) -> Iterator[T]:
        digest = hashlib.sha256()
        for name in names:
            try:
                data = retried((self.folder / name).read)
                digest.update(data)
                found = [parse(line) for line in data.splitlines()]
            except (FileNotFoundError, *_WRONG) as error:
                text = f"reading the plan in {self.folder}: {name} is damaged"
                raise DamagedStore(f"{text}; {REMEDY}") from error
            yield from found
        if digest.hexdigest() != want:
            text = f"reading the plan in {self.folder}: its images are not its own; {REMEDY}"
            raise DamagedStore(text)

    def add_kept(self, file: OtherFile) -> None:
        """Add a file that is no image to a plan that is being made; those of a folder together."""
        line = json.dumps(file.to_json(), separators=(",", ":"))
        self._kept_lines.append(line.encode() + b"\n")
        if len(self._kept_lines) == IMAGES_PER_OBJECT:
            self._flush_kept()

    def add(self, image: PlannedImage) -> None:
        """Add an image to a plan that is being made."""
        self._lines.append(image.to_line())
        self._images += 1
        self._shards += image.shards
        self._raw_bytes += image.raw_bytes
        if len(self._lines) == IMAGES_PER_OBJECT:
            self._flush()

    def close(
        self,
        request: Mapping[str, Any],
        unchanged: int,
        failures: tuple[ImageFailure, ...],
        *,
        force: bool = False,
    ) -> PlanHead:
        """Write what is left, and the head last: from now on the plan is fixed.

        Raises DestinationConflict, as ``add`` does, where another process makes the plan by now.
        """
        self._flush()
        self._flush_kept()
        head = PlanHead(
            request=request,
            images=self._images,
            shards=self._shards,
            raw_bytes=self._raw_bytes,
            unchanged=unchanged,
            digest=self._digest.hexdigest(),
            objects=self._objects,
            failures=failures,
            kept_objects=self._kept_objects,
            kept_digest=self._kept_digest.hexdigest(),
            force=force,
        )
        text = json.dumps({"version": PLAN_FILE_VERSION, **asdict(head)}, separators=(",", ":"))
        self._check_lock()
        if not retried(lambda: (self.folder / _HEAD).create(text.encode())):
            raise self._conflict()
        return head

    def forget_head(self) -> None:
        """Make the plan one that is being made."""
        (self.folder / _HEAD).remove()

    def remains(self) -> list[PlannedImage]:
        """Return images of a plan without head: one that was not completed, or half removed."""
        keys = [key for key, _ in self.folder.walk() if key.startswith("images-")]
        found: list[PlannedImage] = []
        for key in sorted(keys):
            with contextlib.suppress(OSError, *_WRONG):
                lines = (self.folder / key).read().splitlines()
                found += [PlannedImage.from_line(line) for line in lines]
        return found

    def remove(self) -> None:
        """Forget the plan, its head first."""
        self.forget_head()
        self.folder.remove_tree()
        self.folder.parent.remove_empty()

    def _flush(self) -> None:
        if self._lines:
            data = b"".join(self._lines)
            self._check_lock()
            retried(lambda: (self.folder / _object(self._objects)).write(data))
            self._digest.update(data)
            self._objects += 1
            self._lines.clear()

    def _flush_kept(self) -> None:
        if self._kept_lines:
            data = b"".join(self._kept_lines)
            self._check_lock()
            retried(lambda: (self.folder / _kept_object(self._kept_objects)).write(data))
            self._kept_digest.update(data)
            self._kept_objects += 1
            self._kept_lines.clear()

    def _check_lock(self) -> None:
        lease = self._lease
        if lease is None or not retried(lambda: holds(lease.folder, lease.holder)):
            raise self._conflict()

    def _conflict(self) -> DestinationConflict:
        return DestinationConflict(
            f"planning in {self.folder}: another process makes the plan by now; "
            "run the same command again"
        )


def _object(number: int) -> str:
    return f"images-{number:06}.jsonl"


def _kept_object(number: int) -> str:
    return f"files-{number:06}.jsonl"


def _kept_file(line: bytes) -> OtherFile:
    return OtherFile.from_json(json.loads(line))


_WRONG = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What a plan raises that is not one of ours: an archive may be somebody else's."""


def _want(right: bool) -> None:
    if not right:
        raise ValueError("a plan has other types")


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("want a number of things")
    return value


def _spec(fields: Mapping[str, Any]) -> SourceSpec:
    spec = SourceSpec(**{**fields, "paths": tuple(fields["paths"])})
    _want(bool(spec.paths) and all(isinstance(path, str) for path in spec.paths))
    _want(isinstance(spec.kind, str) and isinstance(spec.options, dict))
    _want(spec.source_bytes is None or _count(spec.source_bytes) >= 0)
    _want(_count(spec.images_in_files) > 0)
    return spec


def _grid(fields: Mapping[str, Any]) -> ShardGrid:
    shape, chunk, shard = (tuple(map(_count, fields[key])) for key in ("shape", "chunk", "shard"))
    _want(len(shape) == len(chunk) == len(shard) and all((*shape, *chunk, *shard)))
    return ShardGrid(shape, chunk, shard)
