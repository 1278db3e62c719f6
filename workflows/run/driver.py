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

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tilepress.errors import NO_ROOM, ExcludedSource, StoreError, describe_error
from tilepress.pipeline.archive.destination import (
    check_prepared,
    is_unchanged,
    prepare_store,
    what_stays,
)
from tilepress.pipeline.archive.images import Job, Todo, plan_images
from tilepress.pipeline.archive.lease import Holder, Lease, LeaseKeeper
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.outcome import (
    ImageFailure,
    ImageResult,
    Outcome,
    SealedImage,
    ShardDone,
    image_failure,
    image_result,
)
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.archive.plan_file import Part
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.archive.write import (
    clear_leftovers,
    seal_image,
    sealed_sizes,
    write_shard,
)
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.workflows.cluster.executor import Executor, Killed
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import (
    Failed,
    ImageDone,
    ImageStarted,
    Note,
    Progress,
    ShardStored,
)
from tilepress.workflows.run.groups import Groups
from tilepress.workflows.run.signing import Signing, SigningFuture
from tilepress.workflows.run.sweep import Sweeper
from tilepress.workflows.run.window import Task, TaskWindow

__all__ = ["WHOLE_BYTES", "NoRoom", "Run"]

WHOLE_BYTES = 32 * 2**20
"""Decoded size of images that one task plans, writes and seals."""


LISTED_IMAGES, LISTED_INPUTS = 50, 3
"""Failures for one reason that get a line each: of images, and of inputs that are none."""


class NoRoom(StoreError):
    """The destination is full, or read-only: no other image would fare better."""

    kind = NO_ROOM


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


GroupTask = Callable[[tuple[Todo, ...], Job, int], list[Outcome]]


@dataclass(slots=True, kw_only=True)
class Run:
    """One call of ``compress``, from images to a report.

    The methods are in the order of an image's way: a group of images is planned, an image begins,
    its shards are written, it is sealed, it is done; or it fails.
    """

    executor: Executor
    keeper: LeaseKeeper
    job: Job
    progress: Progress
    part: Part | None = None
    """Which shards of every image to write; None for all, and to seal."""
    group: GroupTask = plan_images
    """What a worker does with a group of images."""
    on_plan: Callable[[ImagePlan], None] | None = None
    """What to do with a plan instead of writing its shards."""
    write: Callable[..., ShardDone] = write_shard
    """What a worker does with a shard."""
    seal: Callable[[ImagePlan, Holder], SealedImage] = seal_image
    """What a worker does once all shards of an image are written."""
    signing: Signing | None = None
    """Signs every store as soon as it is sealed."""
    report: Report = field(default_factory=Report)
    unfinished: int = 0
    """Stores that were begun and are not sealed."""
    replacing: int = 0
    """Those of them that an old store is still in the place of."""

    _window: TaskWindow = field(init=False)
    _groups: Groups = field(init=False)
    _seals: deque[Task] = field(default_factory=deque)
    _images: deque[_Image] = field(default_factory=deque)
    """Images of which shards are still to be handed out."""
    _planned: int = 0
    _sweeper: Sweeper = field(init=False)

    def run(self, todos: Iterator[Todo]) -> Report:
        """Write every image of ``todos``; what fails is in the report, not raised."""
        self._window = TaskWindow(self.executor)
        self._groups = Groups(todos, self.job.destination)
        self._sweeper = Sweeper(self.keeper)
        try:
            while True:
                self._window.fill(self._next_task)
                if not self._window:
                    self._end_signing()
                    self._sweeper.finish()
                    return self.report
                self._window.take()
                self._sweeper.start_due()
        finally:
            if self.signing is not None:
                self.signing.close()
            self._sweeper.close()

    def _next_task(self) -> Task | None:
        """Choose what is closest to done: a seal, else a shard of a planned image, else a plan."""
        if self._seals:
            return self._seals.popleft()
        while self._images:
            image = self._images[0]
            ref = None if image.given_up else next(image.todo, None)
            if ref is not None:
                return self._shard_task(image, ref)
            self._images.popleft()
            image.listed_all = True
            self._settle(image)
            if self._seals:
                return self._seals.popleft()
        group = self._groups.next_group(self.executor.slots)
        return self._group_task(group) if group else None

    def _threads(self) -> int:
        """Return the threads that the next task may code with: several where workers are idle."""
        if not self._groups.all_taken:
            return self.executor.threads(self.executor.slots)
        waiting = sum(image.plan.total_shards - image.listed for image in self._images)
        tasks = min(self.executor.slots, len(self._window) + max(1, waiting))
        return self.executor.threads(tasks)

    # a group of images is planned

    def _group_task(self, group: tuple[Todo, ...]) -> Task:
        pieces = tuple(self._group_task((todo,)) for todo in group) if len(group) > 1 else ()
        for task in pieces:
            task.tries = 1
        self._planned += 1
        threads = self._threads()
        return Task(
            f"plan-{self._planned}",
            self.group,
            (group, self.job, threads),
            lambda outcomes: self._group_done(group, outcomes, threads),
            lambda error: self._group_failed(group, error),
            codes=self.group is plan_images,
            pieces=pieces,
        )

    def _group_done(self, group: tuple[Todo, ...], outcomes: list[Outcome], threads: int) -> None:
        for todo, outcome in zip(group, outcomes, strict=True):
            if outcome.failure is not None:
                self._list_failure(outcome.failure)
            elif outcome.result is not None:
                spent = outcome.result.stages or Stages()
                self._groups.note_time(todo, spent.seconds / threads)
                signed = self._whole_done(outcome.result, outcome.shards)
                if outcome.replaced:
                    self._sweeper.add(outcome.result.store, signed)
            else:
                assert outcome.plan is not None, "an outcome is one of three"
                self._plan_made(todo, outcome.plan)

    def _group_failed(self, group: tuple[Todo, ...], error: Exception) -> None:
        for todo in group:
            self._fail(todo.spec, todo.label, error)

    def _whole_done(
        self, result: ImageResult, shards: tuple[ShardDone, ...]
    ) -> SigningFuture | None:
        """Tell of an image that the task wrote which planned it, or that was there."""
        for done in shards:
            self._tell_of_shard(done, result.store)
        if result.stages is not None:
            self.report.stages += result.stages
        return self._image_done(result)

    # an image begins

    def _plan_made(self, todo: Todo, plan: ImagePlan) -> None:
        if self.on_plan is not None:
            self.on_plan(plan)  # what it raises ends the run: a plan with a gap is of no use
            return
        try:
            self._begin(plan)
        except Exception as error:  # the edge of an image; no room for any is told of in ``_fail``
            self._fail(todo.spec, todo.label, error)

    def _begin(self, plan: ImagePlan) -> None:
        """Take the lease of the store and queue the shards, unless it is sealed already."""
        if is_unchanged(plan, force=self.job.force, prepared=self.job.prepared):
            return self._unchanged(plan)
        lease = self.keeper.acquire(ledger_folder(plan.store), plan.digest)
        try:
            to_write = self._make_way(plan)
        except BaseException:
            self.keeper.release(lease)
            raise
        if to_write is None:
            self.keeper.release(lease)
            return self._unchanged(plan)
        self.unfinished += 1
        self.replacing += to_write.replaced is not None
        self.progress.tell(ImageStarted(to_write))
        self._images.append(_Image(to_write, lease, self._shards(to_write)))
        return None

    def _unchanged(self, plan: ImagePlan) -> None:
        clear_leftovers(plan.store, self.keeper)
        self._image_done(image_result(plan, sealed_sizes(plan), "unchanged"))

    def _make_way(self, plan: ImagePlan) -> ImagePlan | None:
        """Return the plan to write; None where its store is sealed."""
        if self.job.prepared:
            return check_prepared(plan)
        return retried(lambda: prepare_store(plan, force=self.job.force))

    def _shards(self, plan: ImagePlan) -> Iterator[ShardRef]:
        part = self.part
        if part is None:
            return plan.shards()
        return (ref for ref in plan.shards() if part.takes(plan.digest, ref, plan.grid))

    # its shards are written

    def _shard_task(self, image: _Image, ref: ShardRef) -> Task:
        threads = self._threads()
        image.open_shards += 1
        image.listed += 1
        return Task(
            image.plan.key(ref.name),
            self.write,
            (image.plan, ref, image.lease.holder, threads),
            lambda done: self._shard_done(image, ref, done),
            lambda error: self._shard_failed(image, ref, error),
            codes=True,
        )

    def _shard_done(self, image: _Image, ref: ShardRef, done: ShardDone) -> None:
        image.reused += done.reused
        if done.stages is not None:
            image.stages += done.stages
            self.report.stages += done.stages
        self._tell_of_shard(done, image.plan.store, ref.name)
        self._shard_ended(image)

    def _shard_failed(self, image: _Image, ref: ShardRef, error: Exception) -> None:
        """Give up the image, unless only this shard is poison: then the others go on."""
        image.whole = False
        if not image.given_up:
            image.given_up = getattr(error, "kind", "") != Killed.kind
            self._fail_image(image, error, ref)
        self._shard_ended(image)

    def _shard_ended(self, image: _Image) -> None:
        image.open_shards -= 1
        self._settle(image)

    def _tell_of_shard(self, done: ShardDone, store: str, shard: str | None = None) -> None:
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

    # it is sealed

    def _settle(self, image: _Image) -> None:
        """Queue the seal of an image whose shards have all ended, or let go of a failed one."""
        if not image.listed_all or image.open_shards:
            return
        if not image.whole:
            self.keeper.release(image.lease)
            return
        if self.part is not None and image.listed < image.plan.total_shards:
            self.keeper.release(image.lease)  # ``tilepress finish`` seals it
            self._finished(image)
            self.report.shared += 1
            return
        self._seals.append(
            Task(
                image.plan.key("seal"),
                self.seal,
                (image.plan, image.lease.holder),
                lambda sealed: self._sealed(image, sealed),
                lambda error: self._seal_failed(image, error),
            )
        )

    def _sealed(self, image: _Image, sealed: SealedImage) -> None:
        if image.plan.replaced is None:
            Ledger(image.plan).remove()
        self.keeper.release(image.lease, sealed=True)
        self._finished(image)
        stages = image.stages if image.stages.seconds else None
        result = image_result(image.plan, sealed, "written", image.reused, stages)
        signed = self._image_done(result)
        if image.plan.replaced is not None:
            self._sweeper.add(image.plan.store, signed)

    def _seal_failed(self, image: _Image, error: Exception) -> None:
        self.keeper.release(image.lease)
        self._fail_image(image, error)

    def _finished(self, image: _Image) -> None:
        self.unfinished -= 1
        self.replacing -= image.plan.replaced is not None

    # it is done, or it fails

    def _image_done(self, result: ImageResult) -> SigningFuture | None:
        self.report.images.append(result)
        self.progress.tell(ImageDone(result))
        if self.signing is None:
            return None
        signed = self.signing.add(result)
        for failure in self.signing.failures():
            self._list_failure(failure)
        return signed

    def _end_signing(self) -> None:
        if self.signing is None:
            return
        for failure in self.signing.failures(0):
            self._list_failure(failure)
        if self.signing.note is not None:
            self.progress.tell(Note(self.signing.note))

    def _fail_image(self, image: _Image, error: Exception, shard: ShardRef | None = None) -> None:
        plan = image.plan
        stays = "" if plan.replaced is None else what_stays(storage_path(plan.store), error)
        self._fail(plan.spec, plan.label, error, shard, stays)

    def fail(self, source: str, error: Exception) -> None:
        """List an input that is no image."""
        kind, message = describe_error(error)
        self._list_failure(ImageFailure(source=source, kind=kind, message=message), LISTED_INPUTS)

    def skip(self, spec: SourceSpec, label: str | None, error: ExcludedSource) -> None:
        """List an image that is left out on purpose."""
        self._fail(spec, label, error)

    def _fail(
        self,
        spec: SourceSpec,
        label: str | None,
        error: Exception,
        shard: ShardRef | None = None,
        stays: str = "",
    ) -> None:
        name = shard.name if shard else None
        self._list_failure(image_failure(spec, label, error, name, stays))

    def _list_failure(self, failure: ImageFailure, listed: int = LISTED_IMAGES) -> None:
        if failure.kind == NO_ROOM:
            reason = failure.message.removeprefix("reading or writing files: ")
            raise NoRoom(
                f"writing into {self.job.destination.path}: {reason}; make room and run the same "
                "line again to go on"
            )
        if failure.kind == ExcludedSource.kind:
            self.report.excluded.append(failure)
            if len(self.report.excluded) <= LISTED_IMAGES:
                self.progress.tell(Note(f"left out: {failure.line}"))
            elif len(self.report.excluded) == LISTED_IMAGES + 1:
                self.progress.tell(Note("further images that are left out are counted, not listed"))
            return
        self.report.failures.append(failure)
        self.progress.tell(Failed(failure, listed))
