"""Drive a run: plan images, keep a bounded number of shards in flight, seal what is complete.

    todos ──► plan_images ──► lease, conflicts ──► write_shard × n ──► seal_image ──► result
              (a worker)          (here)             (workers)          (a worker)
                   └── small images are written and sealed by the task that plans them ──► result

Memory does not grow with the archive: images and shards are streams, at most ``executor.window``
tasks exist at a time, and what a shard gave is in the ledger, not here. An error fails its image,
the others go on. A task that kills its workers is taken apart, its images or shard are tried once
more with nothing beside them, and what kills again is listed by name.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tilepress.errors import NO_ROOM, StoreError, TilepressError, describe_error
from tilepress.pipeline.archive.destination import check_prepared, prepare_store, state_of_store
from tilepress.pipeline.archive.images import Job, Todo, plan_images
from tilepress.pipeline.archive.lease import Holder, Lease, LeaseKeeper
from tilepress.pipeline.archive.ledger import Ledger, ledger_folder
from tilepress.pipeline.archive.outcome import (
    ImageFailure,
    ImageResult,
    Outcome,
    SealedImage,
    ShardDone,
    image_result,
)
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.archive.plan_file import Part
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.archive.write import (
    clear_leftovers,
    seal_image,
    sealed_sizes,
    write_shard,
)
from tilepress.pipeline.storage.retry import patiently
from tilepress.workflows.cluster.executor import Completed, Executor, Killed
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import (
    Failed,
    ImageDone,
    ImageStarted,
    Progress,
    ShardStored,
)
from tilepress.workflows.run.claims import Taken

__all__ = ["WHOLE_BYTES", "NoRoom", "Run"]

WHOLE_BYTES = 32 * 2**20
"""Decoded size of images that one task plans, writes and seals."""

GROUP_IMAGES = 32
"""Small images that one task plans, and writes, at most."""

GROUP_BYTES = 16 * 2**20
"""Bytes of source files that such a group has at most; a larger file is a group of its own."""

GROUP_S = 1.0
"""Seconds that such a group should take: long beside what a task costs, and short enough that no
worker waits long for another one's last group."""

PACE_IMAGES = 32
"""Images that the pace is taken over: those that are there already go faster than new ones."""

GROUPS_PER_SLOT = 4
"""How often every worker should get a group before groups grow: few images are spread out."""


@dataclass(slots=True, eq=False)
class _Image:
    """One image that is being written."""

    plan: ImagePlan
    lease: Lease
    todo: Iterator[ShardRef]
    open_shards: int = 0
    """Shards that are in flight, or wait to be tried alone."""
    listed: int = 0
    """Shards that were handed out."""
    listed_all: bool = False
    """Whether ``todo`` is used up."""
    reused: int = 0
    given_up: bool = False
    """An error ended it: no further shards."""
    whole: bool = True
    """Whether every shard so far was written."""
    stages: Stages = field(default_factory=Stages)


class NoRoom(StoreError):
    """The destination is full, or read-only: no other image would fare better."""

    kind = NO_ROOM


@dataclass(slots=True)
class _Pace:
    """How fast the latest small images went."""

    seconds: float = 0.0
    size: float = 0.0
    """Bytes of their files."""

    def add(self, seconds: float, size: int) -> None:
        keep = 1 - 1 / PACE_IMAGES
        self.seconds = self.seconds * keep + seconds
        self.size = self.size * keep + size

    def size_for(self, seconds: float) -> float:
        """Return how many bytes take so long; infinite while nothing took any time."""
        return seconds * self.size / self.seconds if self.seconds > 0 else math.inf


@dataclass(slots=True, eq=False)
class _Task:
    """One task with what is to be done with its outcome."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    on_result: Callable[[Any], None]
    on_error: Callable[[Exception], None]
    codes: bool = False
    alone: tuple[_Task, ...] = ()
    """What to try one after another if this kills its workers; itself where nothing is given."""
    tries: int = 0


Group = Callable[[tuple[Todo, ...], Job, int], list[Outcome]]


@dataclass(slots=True, kw_only=True)
class Run:
    """One call of ``compress``, from images to a report."""

    executor: Executor
    keeper: LeaseKeeper
    job: Job
    progress: Progress
    part: Part | None = None
    """Which shards of every image to write; None for all, and to seal."""
    group: Group = plan_images
    """What a worker does with a group of images."""
    on_plan: Callable[[ImagePlan], None] | None = None
    """What to do with a plan instead of writing its shards."""
    write: Callable[..., ShardDone] = write_shard
    """What a worker does with a shard."""
    seal: Callable[[ImagePlan, Holder], SealedImage] = seal_image
    """What a worker does once all shards of an image are written."""
    report: Report = field(default_factory=Report)
    unfinished: int = 0
    """Stores that were begun and are not sealed."""

    _in_flight: dict[str, _Task] = field(default_factory=dict)
    _ready: deque[_Task] = field(default_factory=deque)
    _suspects: deque[_Task] = field(default_factory=deque)
    _images: deque[_Image] = field(default_factory=deque)
    _taken: Taken = field(default_factory=Taken)
    _next: Todo | None = None
    _planned: int = 0
    _groups: int = 0
    _pace: _Pace = field(default_factory=_Pace)
    _listed_all: bool = False

    def run(self, todos: Iterator[Todo]) -> Report:
        """Write every image of ``todos``; what fails is in the report, not raised."""
        while True:
            self._fill(todos)
            if not self._in_flight:
                return self.report
            self._take(self.executor.next())

    def fail(self, source: str, error: Exception, shard: ShardRef | None = None) -> None:
        """List a failure."""
        kind, message = describe_error(error)
        self._failed(
            ImageFailure(
                source=source, kind=kind, message=message, shard=shard.name if shard else None
            )
        )

    def _failed(self, failure: ImageFailure) -> None:
        if failure.kind == NO_ROOM:
            reason = failure.message.removeprefix("reading or writing files: ")
            raise NoRoom(
                f"writing into {self.job.destination.path}: {reason}; make room and run the same "
                "line again to go on"
            )
        self.report.failures.append(failure)
        self.progress.tell(Failed(failure))

    # tasks

    def _fill(self, todos: Iterator[Todo]) -> None:
        """Submit until the window is full or nothing is left; a suspect runs with none beside."""
        if self._suspects:
            if not self._in_flight:
                self._submit(self._suspects.popleft())
            return
        while len(self._in_flight) < self.executor.window:
            task = self._next_task(todos)
            if task is None:
                return
            self._submit(task)

    def _next_task(self, todos: Iterator[Todo]) -> _Task | None:
        """Choose what is closest to done: a seal, else a shard of a planned image, else a plan."""
        if self._ready:
            return self._ready.popleft()
        while self._images:
            image = self._images[0]
            ref = None if image.given_up else next(image.todo, None)
            if ref is not None:
                return self._shard_task(image, ref)
            self._images.popleft()
            image.listed_all = True
            self._settle(image)
            if self._ready:
                return self._ready.popleft()
        group = self._next_group(todos)
        return self._group_task(group) if group else None

    def _submit(self, task: _Task) -> None:
        task.tries += 1
        key = f"{task.name}-{task.tries}"
        self._in_flight[key] = task
        self.executor.submit(key, task.function, *task.args, codes=task.codes)

    def _take(self, completed: Completed) -> None:
        task = self._in_flight.pop(completed.key)
        if completed.error is None:
            task.on_result(completed.result)
        elif isinstance(completed.error, Killed) and task.tries == 1:
            self._suspects.extend(task.alone or (task,))
        else:
            task.on_error(completed.error)

    # groups of images

    def _next_group(self, todos: Iterator[Todo]) -> tuple[Todo, ...]:
        """Take the next images: one large one, or some small ones."""
        limit = max(1, min(GROUP_IMAGES, self._groups // (GROUPS_PER_SLOT * self.executor.slots)))
        most = min(GROUP_BYTES, self._pace.size_for(GROUP_S))
        group: list[Todo] = []
        total = 0
        while len(group) < limit:
            todo = self._next or self._next_todo(todos)
            self._next = None
            if todo is None:
                break
            total += todo.spec.source_bytes or 0
            if group and total > most:
                self._next = todo
                break
            group.append(todo)
        if self._next is None:  # so that it is known when the last one has been taken
            self._next = self._next_todo(todos)
        self._groups += 1
        return tuple(group)

    def _next_todo(self, todos: Iterator[Todo]) -> Todo | None:
        """Take the next image that was not named before."""
        if self._listed_all:
            return None
        for todo in todos:
            store = str(self.job.destination.store_of(todo.spec))
            source = _name(todo)
            taken = self._taken.by(store, source)
            if taken is None:
                return todo
            if taken != source:
                return replace(todo, rival=taken)
        self._listed_all = True
        return None

    def _group_task(self, group: tuple[Todo, ...]) -> _Task:
        alone = tuple(self._group_task((todo,)) for todo in group) if len(group) > 1 else ()
        for task in alone:
            task.tries = 1
        self._planned += 1
        threads = self._threads()
        return _Task(
            f"plan-{self._planned}",
            self.group,
            (group, self.job, threads),
            lambda outcomes: self._group_done(group, outcomes, threads),
            lambda error: self._group_failed(group, error),
            codes=self.group is plan_images,
            alone=alone,
        )

    def _group_done(self, group: tuple[Todo, ...], outcomes: list[Outcome], threads: int) -> None:
        for todo, outcome in zip(group, outcomes, strict=True):
            if outcome.failure is not None:
                self._failed(outcome.failure)
            elif outcome.result is not None:
                if todo.spec.source_bytes is not None:
                    spent = outcome.result.stages or Stages()
                    self._pace.add(spent.seconds / threads, todo.spec.source_bytes)
                self._whole_done(outcome.result, outcome.shards)
            else:
                assert outcome.plan is not None, "an outcome is one of three"
                self._plan_made(todo, outcome.plan)

    def _group_failed(self, group: tuple[Todo, ...], error: Exception) -> None:
        for todo in group:
            self.fail(todo.spec.paths[0], error)

    def _whole_done(self, result: ImageResult, shards: tuple[ShardDone, ...]) -> None:
        """Tell of an image that the task wrote which planned it, or that was there."""
        for done in shards:
            self._shard_stored(done, result.store)
        if result.stages is not None:
            self.report.stages += result.stages
        self._image_done(result)

    def _plan_made(self, todo: Todo, plan: ImagePlan) -> None:
        if self.on_plan is not None:
            self.on_plan(plan)  # what it raises ends the run: a plan with a gap is of no use
            return
        try:
            self._begin(plan)
        except (TilepressError, OSError) as error:
            self.fail(todo.spec.paths[0], error)

    def _begin(self, plan: ImagePlan) -> None:
        """Take the lease of the store and queue the shards, unless it is sealed already."""
        if not self.job.force and state_of_store(plan) == "sealed":
            clear_leftovers(plan.store, self.keeper)
            return self._image_done(image_result(plan, sealed_sizes(plan), "unchanged"))
        lease = self.keeper.acquire(ledger_folder(plan.store), plan.digest)
        try:
            self._make_way(plan)
        except BaseException:
            self.keeper.release(lease)
            raise
        self.unfinished += 1
        self.progress.tell(ImageStarted(plan))
        self._images.append(_Image(plan, lease, self._shards(plan)))
        return None

    def _make_way(self, plan: ImagePlan) -> None:
        if self.part is None:
            patiently(lambda: prepare_store(plan, force=self.job.force))
        else:
            check_prepared(plan)

    def _shards(self, plan: ImagePlan) -> Iterator[ShardRef]:
        part = self.part
        if part is None:
            return plan.shards()
        return (ref for ref in plan.shards() if part.takes(plan.digest, ref, plan.grid))

    # shards

    def _shard_task(self, image: _Image, ref: ShardRef) -> _Task:
        threads = self._threads()
        image.open_shards += 1
        image.listed += 1
        return _Task(
            image.plan.key(ref.name),
            self.write,
            (image.plan, ref, image.lease.holder, threads),
            lambda done: self._shard_done(image, ref, done),
            lambda error: self._shard_failed(image, ref, error),
            codes=True,
        )

    def _threads(self) -> int:
        """Return the threads that the next task may code with: several where workers are idle."""
        if not self._listed_all:
            return self.executor.threads(self.executor.slots)
        waiting = sum(image.plan.total_shards - image.listed for image in self._images)
        tasks = min(self.executor.slots, len(self._in_flight) + max(1, waiting))
        return self.executor.threads(tasks)

    def _shard_done(self, image: _Image, ref: ShardRef, done: ShardDone) -> None:
        image.reused += done.reused
        if done.stages is not None:
            image.stages += done.stages
            self.report.stages += done.stages
        self._shard_stored(done, image.plan.store, ref.name)
        self._shard_ended(image)

    def _shard_stored(self, done: ShardDone, store: str, shard: str | None = None) -> None:
        self.progress.tell(
            ShardStored(
                raw_bytes=done.raw_bytes,
                stored_bytes=done.stored_bytes,
                reused=done.reused,
                stages=done.stages,
                store=store,
                shard=shard,
            )
        )

    def _shard_failed(self, image: _Image, ref: ShardRef, error: Exception) -> None:
        """Give up the image, unless only this shard is poison: then the others go on."""
        image.whole = False
        if not image.given_up:
            image.given_up = getattr(error, "kind", "") != Killed.kind
            self.fail(image.plan.source_name, error, ref)
        self._shard_ended(image)

    def _shard_ended(self, image: _Image) -> None:
        image.open_shards -= 1
        self._settle(image)

    # seal

    def _settle(self, image: _Image) -> None:
        """Queue the seal of an image whose shards have all ended, or let go of a failed one."""
        if not image.listed_all or image.open_shards:
            return
        if not image.whole:
            self.keeper.release(image.lease)
            return
        if self.part is not None and image.listed < image.plan.total_shards:
            self.keeper.release(image.lease)  # ``tilepress finish`` seals it
            self.unfinished -= 1
            self.report.shared += 1
            return
        self._ready.append(
            _Task(
                image.plan.key("seal"),
                self.seal,
                (image.plan, image.lease.holder),
                lambda sealed: self._sealed(image, sealed),
                lambda error: self._seal_failed(image, error),
            )
        )

    def _sealed(self, image: _Image, sealed: SealedImage) -> None:
        Ledger(image.plan).remove()
        self.keeper.release(image.lease, sealed=True)
        self.unfinished -= 1
        stages = image.stages if image.stages.seconds else None
        self._image_done(image_result(image.plan, sealed, "written", image.reused, stages))

    def _seal_failed(self, image: _Image, error: Exception) -> None:
        self.keeper.release(image.lease)
        self.fail(image.plan.source_name, error)

    def _image_done(self, result: ImageResult) -> None:
        self.report.images.append(result)
        self.progress.tell(ImageDone(result))


def _name(todo: Todo) -> str:
    """Return what tells an image from any other: its first file, and the page."""
    page = todo.spec.options.get("page")
    return todo.spec.paths[0] + ("" if page is None else f" (page {page})")
