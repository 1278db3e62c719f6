"""End a run, however it ends: bring the catalogue up to date, write the report.

(The command ``finish``, which seals what parts have written, is in ``parts``.)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tilepress.errors import TilepressError, UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.outcome import ImageFailure
from tilepress.pipeline.catalogue.index import Index
from tilepress.pipeline.catalogue.stores import CATALOGUE
from tilepress.pipeline.catalogue.thumbnails import thumbnails_asked
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.storage import copies
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath
from tilepress.workflows.report.report import Report, RunDescription
from tilepress.workflows.report.telling import Failed, Note, Progress
from tilepress.workflows.run.driver import Run

__all__ = ["ReportWriter", "finish_run", "report_when_stopped"]

MAX_ABOVE = 8
"""Folders above a store of its own name in which an archive's catalogue is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWriter:
    """Completes the report of a run by what was asked for and how long it took, and writes it."""

    path: Path | None
    """File to write it to; None for none."""
    started: float
    """When the run began, as ``time.monotonic`` says."""
    description: RunDescription

    def write(self, report: Report) -> None:
        report.seconds = time.monotonic() - self.started
        report.run = self.description
        if self.path is not None:
            report.write(self.path)


def finish_run(
    report: Report,
    writer: ReportWriter,
    archive: Destination | None = None,
    progress: Progress | None = None,
    thumbnails: bool | None = None,
) -> Report:
    """Bring the catalogue of an archive up to date, and write the report; return it.

    ``thumbnails`` : whether stores on the ground get one there; None for those with levels.
    """
    with contextlib.suppress(OSError):
        copies.clear()  # copies of remote images may hold what is private
    if archive is not None and not archive.is_store and report.images:
        _update_catalogue(archive, report, progress, thumbnails)
    if archive is not None and archive.is_store and report.written and progress is not None:
        around = _catalogued_archive(archive)
        if around is not None:
            text = f"the catalogue of {around} lists {archive.path.name} after the next run into it"
            progress.tell(Note(text))
    writer.write(report)
    return report


@contextlib.contextmanager
def report_when_stopped(run: Run, writer: ReportWriter) -> Iterator[None]:
    """Say how far a run came that does not end by itself, and write its report.

    The interrupt, or the error that ends it (no workers, no room), goes on.
    """
    try:
        yield
    except UsageError:
        raise  # nothing was done yet
    except (KeyboardInterrupt, TilepressError, OSError) as reason:
        report = run.report
        report.interrupted = True
        begun = f", {run.unfinished} begun" if run.unfinished else ""
        if run.replacing:
            begun += f" ({run.replacing} of them beside old stores, which stay in their places)"
        stopped = "interrupted" if isinstance(reason, KeyboardInterrupt) else "stopped"
        text = (
            f"{stopped}: {report.written} images written, {report.unchanged} unchanged, "
            f"{len(report.failures)} failed{begun}; stopping the workers"
        )
        run.progress.tell(Note(text))
        try:
            finish_run(report, writer)
        except OSError as error:  # the exit code is that of the interrupt all the same
            text = f"{error.strerror or type(error).__name__}: {error.filename}"
            run.progress.tell(Note(text))
        raise


def _catalogued_archive(store: Destination) -> StoragePath | None:
    """Return the archive that a store was written into by its name; None where it has none.

    Whether there is a catalogue is looked at, and nothing of it is opened: it was not named.
    """
    around = store.path
    for _ in range(MAX_ABOVE if isinstance(around, FolderPath) else 0):
        around = around.parent
        if Index(around / CATALOGUE).lies_there:
            return around
    return None


def _update_catalogue(
    archive: Destination, report: Report, progress: Progress | None, thumbnails: bool | None
) -> None:
    """Bring the catalogue up to date; a failure is listed: every store is sealed without it."""
    problem = why_not_updated(archive.path, thumbnails_asked(thumbnails))
    if problem is not None:
        failure = ImageFailure(
            source=str(archive.path),
            kind="catalogue",
            message=f"{problem}; stores are sealed without it, and the next run tries again",
        )
        report.failures.append(failure)
        if progress is not None:
            progress.tell(Failed(failure))
