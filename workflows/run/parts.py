"""Share the work of an archive out to processes that know nothing of each other.

plan (or the first part) ──► plan in storage ──► part 0 … part n−1 ──► finish: seal, catalogue
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Job, Todo, finish_images, prepare_images
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper
from tilepress.pipeline.archive.options import CodingOptions, EncodeOptions
from tilepress.pipeline.archive.plan_file import Part, PlanFile, PlanHead, PlannedImage
from tilepress.pipeline.archive.private import PRIVATE_NAME
from tilepress.pipeline.catalogue.stores import walk_stores
from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.kept.index import FolderIndex
from tilepress.pipeline.kept.keep import missing_of
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.store.seal import is_sealed, sealed_digest
from tilepress.pipeline.store.signature import Signer
from tilepress.workflows.report.labels import Labels
from tilepress.workflows.report.report import (
    Report,
    RunDescription,
    check_writable_report,
)
from tilepress.workflows.report.telling import Failed, Note, Progress, SilentProgress
from tilepress.workflows.run.driver import WHOLE_BYTES, Run
from tilepress.workflows.run.finish import ReportWriter, finish_run, report_when_stopped
from tilepress.workflows.run.images import find_images, nothing_found, other_files, todos
from tilepress.workflows.run.keeping import Keeping, by_folder
from tilepress.workflows.run.options import check_options, takes_coding_options
from tilepress.workflows.run.request import CompressRequest, PathLike
from tilepress.workflows.run.signing import BY_COMPRESS, BY_FINISH, Signing
from tilepress.workflows.run.workers import make_executor

__all__ = ["compress_part", "finish", "plan"]

WAIT_FOR_PLAN_S = 2.0
"""Seconds between two looks of a part for the plan that another one makes."""


@takes_coding_options
def plan(
    sources: PathLike | Sequence[PathLike],
    destination: PathLike,
    *,
    stack: Stacks = None,
    keep: str = "known",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    driver: str | Sequence[str] = (),
    skip_larger: int | None = None,
    workers: int | None = None,
    force: bool = False,
    show_paths: bool = False,
    progress: Progress | None = None,
    **coding: Unpack[CodingOptions],
) -> PlanHead:
    """Fix what the parts of an archive will write: every image, its store and its shards.

    Takes what ``compress`` takes. A plan that is there is kept, unless ``force`` says to make it
    anew (and to replace what the destination holds).
    """
    request = CompressRequest.of(
        sources,
        destination,
        stack,
        coding,
        keep=keep,
        include=include,
        exclude=exclude,
        driver=driver,
        skip_larger=skip_larger,
    )
    check_options(request.options, workers, None)
    request.destination.check_writable()
    with progress or SilentProgress() as told:
        return _fixed_plan(request, workers, force, told, show_paths=show_paths)


def finish(
    destination: PathLike,
    *,
    workers: int | None = None,
    sign: str | Path | None = None,
    thumbnails: bool | None = None,
    report: str | Path | None = None,
    show_paths: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Seal what the parts of a plan have written; what they have not is listed as failures.

    ``sign`` and ``thumbnails`` are as in ``compress``; what parts have sealed and not signed is
    compared with its source first. May be called again after more parts have run. The plan is
    removed once everything is sealed, and signed.
    """
    started = time.monotonic()
    if report is not None:
        check_writable_report(Path(report))
    target = Destination(storage_path(destination))
    signer = None if sign is None else Signer.load(sign)
    writer = ReportWriter(
        path=None if report is None else Path(report),
        started=started,
        description=RunDescription.now({"destination": str(target.path), "workers": workers}),
    )
    plan_file = PlanFile(target)
    head = plan_file.head()
    if head is None and (_was_finished(plan_file, target) or _is_sealed(plan_file, target)):
        with progress or SilentProgress() as told:
            unsigned = "" if signer is None else f"; none is signed by this: {BY_COMPRESS}"
            told.tell(Note(_nothing(target) + unsigned))
            return finish_run(Report(), writer, target, told, thumbnails)
    if head is None:
        raise UsageError(
            f"finishing {target.path}: there is no plan of parts; "
            "run tilepress plan or compress --part first"
        )
    options = EncodeOptions.from_json(head.request)
    with progress or SilentProgress() as told:
        with contextlib.ExitStack() as at_work:
            keeper = at_work.enter_context(LeaseKeeper(Holder.this_process("finish")))
            run = Run(
                executor=at_work.enter_context(
                    make_executor(workers, None, "cpu", options, progress)
                ),
                keeper=keeper,
                job=Job(
                    destination=target,
                    options=options,
                    holder=keeper.holder,
                    sign=signer is not None,
                    prepared=True,
                ),
                progress=told,
                group=finish_images,
                signing=None if signer is None else Signing(signer, BY_COMPRESS),
            )
            for failure in head.failures:
                run.report.failures.append(failure)
                told.tell(Failed(failure))
            labels = at_work.enter_context(
                Labels(target, writer.path, "-finish", show_paths=show_paths)
            )
            images = (_todo(image, labels) for image in plan_file.images(head))
            with report_when_stopped(run, writer):
                result = run.run(images)
                for files in by_folder(plan_file.kept(head)):
                    _check_kept(target, files, result, labels, told)
        if len(result.failures) == len(head.failures):
            plan_file.remove()
        if not result.images and not result.failures and not result.kept.files:
            told.tell(Note(_nothing(target)))
        with report_when_stopped(run, writer):
            return finish_run(result, writer, target, told, thumbnails)


def _nothing(target: Destination) -> str:
    return f"nothing to finish in {target.path}: every image of the archive is sealed"


def _was_finished(plan_file: PlanFile, target: Destination) -> bool:
    """Whether all that is left of a plan is sealed: then ``finish`` was killed at its very end."""
    images = plan_file.remains()
    if not images:
        return False
    with LeaseKeeper() as keeper:
        plan_file.lock(keeper)  # DestinationConflict while a plan is being made
        if any(sealed_digest(target.store_of(image.spec)) != image.digest for image in images):
            return False
        plan_file.remove()
    return True


def _is_sealed(plan_file: PlanFile, target: Destination) -> bool:
    """Whether there are stores, and no trace of a plan or of a store that is being written."""
    if target.is_store:
        return is_sealed(target.path) and not plan_file.folder.is_folder()
    if not target.path.is_folder() or _is_at_work(target.path / ".tilepress"):
        return False
    return next(walk_stores(target.path), None) is not None


def _is_at_work(state: StoragePath) -> bool:
    """Whether a folder of the state of runs has more than what stays in it."""
    return state.is_folder() and any(name != PRIVATE_NAME for name in state.folders())


def compress_part(
    request: CompressRequest,
    part: Part,
    device: str,
    writer: ReportWriter,
    progress: Progress | None,
    signer: Signer | None,
    *,
    show_paths: bool = False,
) -> Report:
    """Write one part's share of the shards, in this process; make the plan where none is."""
    request.destination.check_writable()
    with contextlib.ExitStack() as resources:
        told = resources.enter_context(progress or SilentProgress())
        head = _fixed_plan(request, 0, False, told, show_paths=show_paths)
        keeper = resources.enter_context(LeaseKeeper(Holder.this_process("part")))
        run = Run(
            executor=resources.enter_context(
                make_executor(0, None, device, request.options, progress)
            ),
            keeper=keeper,
            job=Job(
                destination=request.destination,
                options=request.options,
                holder=keeper.holder,
                prepared=True,
                whole_bytes=WHOLE_BYTES,
            ),
            progress=told,
            part=part,
            signing=None if signer is None else Signing(signer, BY_FINISH),
        )
        images = PlanFile(request.destination).images(head)
        name = f"-part-{part.index}-of-{part.count}"
        labels = resources.enter_context(
            Labels(request.destination, writer.path, name, show_paths=show_paths)
        )
        mine = (_todo(image, labels) for image in images if image.concerns(part))
        with report_when_stopped(run, writer):
            result = run.run(mine)
            passed_over: Counter[str] = Counter()
            result.passed_over = passed_over
            keeping = Keeping(
                destination=request.destination,
                report=result,
                passed_over=passed_over,
                labels=labels,
                progress=told,
                force=head.force,
            )
            kept = PlanFile(request.destination).kept(head)
            keeping.keep(files for files in by_folder(kept) if part.keeps(files[0].folder))
        if result.shared:
            text = (
                f"part {part.index} of {part.count}: {result.shared} images are shared with other "
                "parts; tilepress finish seals them"
            )
            told.tell(Note(text))
    return finish_run(result, writer)


def _check_kept(
    target: Destination,
    files: Sequence[OtherFile],
    report: Report,
    labels: Labels,
    progress: Progress,
) -> None:
    """Count the files of a folder that parts have kept; list those that none has."""
    passed_over: Counter[str] = Counter()
    keeping = Keeping(
        destination=target, report=report, passed_over=passed_over, labels=labels, progress=progress
    )
    keeping.count(missing_of(target.path, files))


def _todo(image: PlannedImage, labels: Labels) -> Todo:
    return Todo(image.spec, image.digest, label=labels.of_image(image.spec))


def _fixed_plan(
    request: CompressRequest,
    workers: int | None,
    force: bool,
    progress: Progress,
    *,
    show_paths: bool,
) -> PlanHead:
    """Return the plan that is there, or make it; one process makes it, the others wait."""
    plan_file = PlanFile(request.destination)
    told = False
    with LeaseKeeper() as keeper:
        while True:
            head = None if force else plan_file.head()
            if head is None:
                try:
                    plan_file.lock(keeper)
                except DestinationConflict:
                    if not told:
                        progress.tell(Note("waiting for another part, which makes the plan"))
                    told = True
                    time.sleep(WAIT_FOR_PLAN_S)
                    continue
                head = None if force else plan_file.head()  # made while the lease was taken
            if head is None:
                with Labels(request.destination, part="-plan", show_paths=show_paths) as labels:
                    return _make_plan(request, plan_file, keeper, workers, force, progress, labels)
            _check_same(head, request, plan_file)
            return head


def _make_plan(
    request: CompressRequest,
    plan_file: PlanFile,
    keeper: LeaseKeeper,
    workers: int | None,
    force: bool,
    progress: Progress,
    labels: Labels,
) -> PlanHead:
    """List all images in storage and make the way free for them."""
    if force:
        plan_file.forget_head()
    passed_over: Counter[str] = Counter()
    others = other_files(request)
    found = find_images(request, passed_over, others)
    with contextlib.ExitStack() as resources:
        run = Run(
            executor=resources.enter_context(
                make_executor(workers, None, "cpu", request.options, progress)
            ),
            keeper=keeper,
            job=Job(
                destination=request.destination,
                options=request.options,
                holder=keeper.holder,
                force=force,
            ),
            progress=progress,
            group=prepare_images,
            on_plan=lambda plan: plan_file.add(PlannedImage.of(plan)),
        )
        result = run.run(todos(found, run, labels, request.skip_larger))
        for files in others.folders() if others is not None else ():
            known: dict[str, FolderIndex] = {}
            for file in files:
                if not request.destination.holds(file.file.path, known):
                    plan_file.add_kept(file)
    unchanged, failures = len(result.images), tuple(result.failures)
    head = plan_file.close(request.to_json(), unchanged, failures, force=force)
    if not (head.images or head.unchanged or head.failures or head.kept_objects):
        plan_file.remove()
        raise nothing_found("planning", request, passed_over)
    return head


def _check_same(head: PlanHead, request: CompressRequest, plan_file: PlanFile) -> None:
    """Raise UsageError where a part asks for something else than was planned."""
    asked = request.to_json()
    for name, planned in head.request.items():
        if asked.get(name) != planned:
            raise UsageError(
                f"compressing a part: got {name} {asked.get(name)!r}, the plan in "
                f"{plan_file.folder} has {planned!r}; finish it, or make another with "
                "tilepress plan --force, which replaces what is there"
            )
