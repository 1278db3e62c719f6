"""Drive a run: plan images, keep a bounded number of shards in flight, seal what is complete.

    specs ──► plan_image ──► lease, conflicts ──► write_shard × n ──► seal_image ──► result
              (a worker)       (here)              (workers)           (a worker)

Memory does not grow with the archive: specs and shards are streams, at most ``executor.window``
tasks exist at a time, and what a shard gave is in the ledger, not here. An error fails its image,
the others go on. A shard that kills its workers is tried once more alone, with nothing beside it,
and then listed.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tilepress.codecs.errors import DestinationConflict, TilepressError
from tilepress.pipeline.source import SourceSpec
from tilepress.workflows.destination import Destination, prepare_store, state_of_store
from tilepress.workflows.edge import describe_error
from tilepress.workflows.executor import Completed, Executor, Killed
from tilepress.workflows.lease import Lease, LeaseKeeper
from tilepress.workflows.ledger import Ledger, ledger_folder, remove_plans
from tilepress.workflows.plan import EncodeOptions, ImagePlan, ShardRef
from tilepress.workflows.progress import Progress
from tilepress.workflows.report import ImageFailure, ImageResult, Report
from tilepress.workflows.task import (
    SealedImage,
    ShardDone,
    plan_image,
    seal_image,
    sealed_sizes,
    write_shard,
)

__all__ = ["Run"]


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


@dataclass(slots=True, eq=False)
class _Task:
    """One task with what is to be done with its outcome."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    on_result: Callable[[Any], None]
    on_error: Callable[[Exception], None]
    tries: int = 0


@dataclass(slots=True, kw_only=True)
class Run:
    """One call of ``compress``, from specs to a report."""

    executor: Executor
    keeper: LeaseKeeper
    destination: Destination
    options: EncodeOptions
    progress: Progress
    force: bool = False
    report: Report = field(default_factory=Report)

    _in_flight: dict[str, _Task] = field(default_factory=dict)
    _ready: deque[_Task] = field(default_factory=deque)
    _suspects: deque[_Task] = field(default_factory=deque)
    _images: deque[_Image] = field(default_factory=deque)
    _stores: dict[str, str] = field(default_factory=dict)
    _planned: int = 0
    _listed_specs: bool = False

    def run(self, specs: Iterator[SourceSpec]) -> Report:
        """Write every image of ``specs``; what fails is in the report, not raised."""
        ahead = self._look_ahead(specs)
        while True:
            self._fill(ahead)
            if not self._in_flight:
                return self.report
            self._take(self.executor.next())

    @property
    def unfinished(self) -> set[str]:
        """Stores that were begun and are not sealed."""
        return self._stores.keys() - {image.store for image in self.report.images}

    def fail(self, source: str, error: Exception, shard: ShardRef | None = None) -> None:
        """List a failure."""
        kind, message = describe_error(error)
        failure = ImageFailure(
            source=source, kind=kind, message=message, shard=shard.name if shard else None
        )
        self.report.failures.append(failure)
        self.progress.failed(failure)

    def _look_ahead(self, specs: Iterator[SourceSpec]) -> Iterator[SourceSpec]:
        """Yield the specs one late, so that it is known when the last one has been taken."""
        previous = next(specs, None)
        for spec in specs:
            if previous is not None:
                yield previous
            previous = spec
        self._listed_specs = True
        if previous is not None:
            yield previous

    # tasks

    def _fill(self, specs: Iterator[SourceSpec]) -> None:
        """Submit until the window is full or nothing is left; a suspect runs with none beside."""
        if self._suspects:
            if not self._in_flight:
                self._submit(self._suspects.popleft())
            return
        while len(self._in_flight) < self.executor.window:
            task = self._next_task(specs)
            if task is None:
                return
            self._submit(task)

    def _next_task(self, specs: Iterator[SourceSpec]) -> _Task | None:
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
        spec = next(specs, None)
        return None if spec is None else self._plan_task(spec)

    def _submit(self, task: _Task) -> None:
        task.tries += 1
        key = f"{task.name}-{task.tries}"
        self._in_flight[key] = task
        self.executor.submit(key, task.function, *task.args)

    def _take(self, completed: Completed) -> None:
        task = self._in_flight.pop(completed.key)
        if completed.error is None:
            task.on_result(completed.result)
        elif isinstance(completed.error, Killed) and task.tries == 1:
            self._suspects.append(task)
        else:
            task.on_error(completed.error)

    # plan

    def _plan_task(self, spec: SourceSpec) -> _Task:
        self._planned += 1
        return _Task(
            f"plan-{self._planned}",
            plan_image,
            (spec, self.destination, self.options),
            self._plan_made,
            lambda error: self.fail(spec.paths[0], error),
        )

    def _plan_made(self, plan: ImagePlan) -> None:
        try:
            self._begin(plan)
        except (TilepressError, OSError) as error:
            self.fail(plan.source_name, error)

    def _begin(self, plan: ImagePlan) -> None:
        """Take the lease of the store and queue the shards, unless it is sealed already."""
        taken = self._stores.get(plan.store, plan.source_name)
        if taken != plan.source_name:
            raise DestinationConflict(
                f"planning {plan.source_name}: its store {plan.store} is that of {taken} already; "
                "give it a destination of its own"
            )
        if not self.force and state_of_store(plan) == "sealed":
            self._clear_leftovers(plan)
            self._stores[plan.store] = plan.source_name
            return self._image_done(plan, sealed_sizes(plan), "unchanged", 0)
        lease = self.keeper.acquire(ledger_folder(Path(plan.store)))
        try:
            prepare_store(plan, force=self.force)
        except BaseException:
            self.keeper.release(lease)
            raise
        self._stores[plan.store] = plan.source_name
        self.progress.image_started(plan)
        self._images.append(_Image(plan, lease, plan.shards()))
        return None

    def _clear_leftovers(self, plan: ImagePlan) -> None:
        """Remove the ledger of a sealed store whose writer was killed just after sealing."""
        if not ledger_folder(Path(plan.store)).exists():
            return
        with contextlib.suppress(DestinationConflict):  # its writer lives: it will do so itself
            lease = self.keeper.acquire(ledger_folder(Path(plan.store)))
            remove_plans(Path(plan.store))
            self.keeper.release(lease)

    # shards

    def _shard_task(self, image: _Image, ref: ShardRef) -> _Task:
        threads = self._threads()
        image.open_shards += 1
        image.listed += 1
        return _Task(
            image.plan.key(ref.name),
            write_shard,
            (image.plan, ref, image.lease.holder_id, threads),
            lambda done: self._shard_done(image, done),
            lambda error: self._shard_failed(image, ref, error),
        )

    def _threads(self) -> int:
        """Return the threads that the next shard may code with: several where workers are idle."""
        if not self._listed_specs:
            return max(1, self.executor.coders // self.executor.slots)
        waiting = sum(image.plan.total_shards - image.listed for image in self._images)
        tasks = min(self.executor.slots, len(self._in_flight) + waiting)
        return max(1, self.executor.coders // max(1, tasks))

    def _shard_done(self, image: _Image, done: ShardDone) -> None:
        image.reused += done.reused
        self.progress.shard_done(done.raw_bytes, done.stored_bytes, reused=done.reused)
        self._shard_ended(image)

    def _shard_failed(self, image: _Image, ref: ShardRef, error: Exception) -> None:
        """Give up the image, unless only this shard is poison: then the others go on."""
        image.whole = False
        if not image.given_up:
            image.given_up = not isinstance(error, Killed)
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
        self._ready.append(
            _Task(
                image.plan.key("seal"),
                seal_image,
                (image.plan, image.lease.holder_id),
                lambda sealed: self._sealed(image, sealed),
                lambda error: self._seal_failed(image, error),
            )
        )

    def _sealed(self, image: _Image, sealed: SealedImage) -> None:
        Ledger(image.plan).remove()
        self.keeper.release(image.lease)
        self._image_done(image.plan, sealed, "written", image.reused)

    def _seal_failed(self, image: _Image, error: Exception) -> None:
        self.keeper.release(image.lease)
        self.fail(image.plan.source_name, error)

    def _image_done(
        self,
        plan: ImagePlan,
        sealed: SealedImage,
        status: Literal["written", "unchanged"],
        reused: int,
    ) -> None:
        result = ImageResult(
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
        )
        self.report.images.append(result)
        self.progress.image_done(result)
