"""Take a request to compress apart: sources, destination, options, and who does the work."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tilepress.errors import TilepressError, UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.pipeline.archive.images import Todo
from tilepress.pipeline.archive.options import CodingOptions, EncodeOptions
from tilepress.pipeline.archive.outcome import ImageFailure
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.inputs import absolute
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage import copies as staging
from tilepress.pipeline.storage.path import Place, place
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.executor import DaskExecutor, Executor, InProcessExecutor
from tilepress.workflows.cluster.worker import set_up
from tilepress.workflows.report.report import Report, RunFacts
from tilepress.workflows.report.telling import Discovered, Failed, Note, Progress
from tilepress.workflows.run.driver import Run

__all__ = [
    "PathLike",
    "Request",
    "conclude",
    "found_in",
    "make_executor",
    "todos",
    "told_when_stopped",
]

LISTED_IMAGES = 10
"""Images that a message names at most."""

PathLike = str | Path | Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller asked for."""

    sources: list[str | Path]
    destination: Destination
    stack: str | None
    options: EncodeOptions

    @classmethod
    def of(
        cls,
        sources: PathLike | Sequence[PathLike],
        destination: PathLike,
        stack: str | None,
        coding: CodingOptions,
    ) -> Request:
        if not str(destination).strip():
            raise UsageError("compressing: the destination is empty")
        return cls(
            sources=_paths(sources),
            destination=Destination(place(destination)),
            stack=stack,
            options=EncodeOptions.of(coding),
        )

    def facts(self, **others: object) -> RunFacts:
        """Return what a report says of the request; ``others`` are further options."""
        destination = {"destination": str(self.destination.path)}
        return RunFacts.now(self.to_json() | destination | others)

    def to_json(self) -> dict[str, Any]:
        """Return what the parts of one plan must agree on."""
        return {
            "sources": [absolute(source) for source in self.sources],
            "stack": self.stack,
            **self.options.to_json(),
        }


def _paths(sources: PathLike | Sequence[PathLike]) -> list[str | Path]:
    given = (
        list(sources)
        if isinstance(sources, Sequence) and not isinstance(sources, str)
        else [sources]
    )
    paths = [one if isinstance(one, (str, Path)) else str(one) for one in given]
    if not paths:
        raise UsageError("compressing: no sources were given")
    return paths


def make_executor(
    workers: int | None,
    cluster: str | None,
    device: str,
    options: EncodeOptions,
    progress: Progress | None,
    *,
    dashboard: bool = False,
) -> Executor:
    """Return what runs the tasks; nothing is started before the first one."""
    wanted = _device(device)
    if workers == 0:
        if cluster is not None:
            raise UsageError(f"starting workers: --workers 0 does not go with --cluster {cluster}")
        from tilepress.workflows.cluster.local import visible_gpus

        set_up(wanted, has_gpu=wanted == "cuda" or (wanted == "auto" and bool(visible_gpus())))
        return InProcessExecutor()
    codec = {"codec": options.codec, "tier": options.tier, "model": options.model}
    note = None if progress is None else lambda text: progress.tell(Note(text))
    return DaskExecutor(
        choose_cluster(
            cluster, workers=workers, device=wanted, codec=codec, note=note, dashboard=dashboard
        )
    )


def _device(name: str) -> WantedDevice:
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"compressing: got device {name!r}, want auto, cpu or cuda")
    return cast("WantedDevice", name)


def found_in(
    request: Request, passed_over: Counter[str] | None = None
) -> Iterator[SourceSpec | Failure]:
    """Yield what there is to compress; raise UsageError where the destination cannot take it.

    Companions of images are counted in ``passed_over``, by their endings.
    """
    destination = request.destination
    everything = discover(request.sources, request.stack, passed_over)
    found = _own_output_left_out(everything, destination)
    return _one_image(found, destination) if destination.is_store else found


def _own_output_left_out(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Pass over what lies in the destination, which may be inside a source folder."""
    for item in found:
        path = item.path if isinstance(item, Failure) else item.paths[0]
        if not destination.holds_part(path):
            yield item


def _one_image(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Return what was found, or raise UsageError where it is more than one image."""
    items: list[SourceSpec | Failure] = []
    images: list[str] = []
    for item in found:
        items.append(item)
        if isinstance(item, SourceSpec):
            page = f" (page {item.options['page']})" if "page" in item.options else ""
            images.append(item.paths[0] + page)
        if len(images) > LISTED_IMAGES:
            break
    if len(images) > 1:
        more = ", …" if len(images) > LISTED_IMAGES else ""
        listed = ", ".join(images[:LISTED_IMAGES])
        raise UsageError(
            f"compressing into {destination.path}: a .zarr destination takes one image, got "
            f"{listed}{more}; give a folder"
        )
    return itertools.chain(items, found)


def todos(found: Iterator[SourceSpec | Failure], run: Run) -> Iterator[Todo]:
    """Yield the images; list what is none."""
    files = images = 0
    for item in found:
        if isinstance(item, Failure):
            files += 1
            run.fail(str(item.path), item.error)
        else:
            files += len(item.paths)
            images += 1
            yield Todo(item)
        run.progress.tell(Discovered(files, images))
    run.progress.tell(Discovered(files, images, done=True))


def conclude(
    result: Report,
    report: str | Path | None,
    started: float,
    facts: RunFacts,
    archive: Destination | None = None,
    progress: Progress | None = None,
) -> Report:
    """Bring the catalogue of an archive up to date, and write the report."""
    with contextlib.suppress(OSError):
        staging.clear()  # copies of remote images may hold what is private
    if archive is not None and not archive.is_store and result.images:
        _update_catalogue(archive, result, progress)
    result.seconds = time.monotonic() - started
    result.run = facts
    if report is not None:
        result.write(Path(report))
    return result


@contextlib.contextmanager
def told_when_stopped(
    run: Run, report: str | Path | None, started: float, facts: RunFacts
) -> Iterator[None]:
    """Say how far a run came that does not end by itself, and write its report.

    The interrupt, or the error that ends it (no workers, no room), goes on.
    """
    try:
        yield
    except UsageError:
        raise  # nothing was done yet
    except (KeyboardInterrupt, TilepressError, OSError) as reason:
        result = run.report
        result.interrupted = True
        begun = f", {run.unfinished} begun" if run.unfinished else ""
        stopped = "interrupted" if isinstance(reason, KeyboardInterrupt) else "stopped"
        text = (
            f"{stopped}: {result.written} images written, {result.unchanged} unchanged, "
            f"{len(result.failures)} failed{begun}; stopping the workers"
        )
        run.progress.tell(Note(text))
        try:
            conclude(result, report, started, facts)
        except OSError as error:  # the exit code is that of the interrupt all the same
            text = f"{error.strerror or type(error).__name__}: {error.filename}"
            run.progress.tell(Note(text))
        raise


def _update_catalogue(archive: Destination, result: Report, progress: Progress | None) -> None:
    """Bring the catalogue up to date; a failure is listed: every store is sealed without it."""
    problem = why_not_updated(archive.path)
    if problem is not None:
        failure = ImageFailure(
            source=str(archive.path),
            kind="catalogue",
            message=f"{problem}; stores are sealed without it, and the next run tries again",
        )
        result.failures.append(failure)
        if progress is not None:
            progress.tell(Failed(failure))
