"""Tell what a run would do: find and plan images, code a sample of their tiles, write nothing.

Each image is opened and planned as in a run, in this process. What a run would refuse or cannot
read is a failure here, too. Names of DICOM series are those of the archive where it has a key.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tilepress.errors import DestinationConflict, ExcludedSource
from tilepress.pipeline.archive.destination import Outlook, outlook
from tilepress.pipeline.archive.kept_levels import plan_with_levels
from tilepress.pipeline.archive.outcome import ImageFailure, image_failure
from tilepress.pipeline.archive.plan import ImagePlan, make_plan
from tilepress.pipeline.archive.sample import Sample, sample_image
from tilepress.pipeline.find.told import path_and_page
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.text import size
from tilepress.workflows.report.forecast import Forecast
from tilepress.workflows.report.labels import Labels
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Discovered, Failed, Note, Progress
from tilepress.workflows.run.claims import Claims
from tilepress.workflows.run.driver import LISTED_IMAGES, LISTED_INPUTS
from tilepress.workflows.run.images import find_images, nothing_found, other_files, too_large
from tilepress.workflows.run.keeping import Keeping
from tilepress.workflows.run.request import CompressRequest

__all__ = ["forecast_run"]

SAMPLED_IMAGES = 16
"""Images of which tiles are coded, drawn from all that are to be written."""

SAMPLED_CHUNKS = 3
"""Tiles of each."""

SAMPLE_S = 20.0
"""Seconds after which no further image is sampled."""

DOCUMENT_BYTES = 7000
"""What a store takes beside its records: documents, coordinates, headers; more where there are
many files."""

WORDS: dict[Outlook, str] = {
    "new": "would be written",
    "begun": "was begun, would be finished",
    "replaced": "would be replaced",
    "unchanged": "unchanged",
}


def forecast_run(
    request: CompressRequest,
    progress: Progress,
    *,
    force: bool = False,
    checksum: bool = False,
    workers: int | None = None,
    show_paths: bool = False,
) -> Report:
    """Return a report with what would be done; raises UsageError as a run does."""
    report, passed_over = Report(), Counter[str]()
    report.passed_over = passed_over
    others = other_files(request)
    found = find_images(request, passed_over, others, show_paths=show_paths, dry=True)
    with Labels(request.destination, show_paths=show_paths, table=False) as labels:
        dry = _DryRun(request, progress, report, labels, force=force)
        dry.forecast.workers = (os.cpu_count() or 1) if workers is None else max(1, workers)
        dry.look_at_all(found)
        if others is not None:
            keeping = Keeping(
                destination=request.destination,
                report=report,
                passed_over=passed_over,
                labels=labels,
                progress=progress,
                force=force,
                checksum=checksum,
                dry=True,
            )
            keeping.keep(others.folders())
        dry.estimate()
    report.forecast = dry.forecast
    nothing = not (dry.forecast.to_write or dry.forecast.unchanged or report.kept.files)
    if nothing and not report.failures and not report.excluded:
        raise nothing_found("compressing", request, passed_over)
    return report


@dataclass(slots=True)
class _DryRun:
    """One dry run, as far as it has come."""

    request: CompressRequest
    progress: Progress
    report: Report
    labels: Labels
    force: bool = field(kw_only=True)
    forecast: Forecast = field(default_factory=Forecast)
    _to_code: int = 0
    """Bytes of samples that would be coded: levels that are made add to those of sources."""
    _drawn: list[tuple[SourceSpec, str | None]] = field(default_factory=list)
    _claims: Claims = field(default_factory=Claims)
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311

    def look_at_all(self, found: Iterator[SourceSpec | Failure]) -> None:
        """Plan every image; list what is none, or cannot be planned."""
        files = images = 0
        for item in found:
            if isinstance(item, Failure):
                files += 1
                source, error = self.labels.of_failure(item)
                failure = ImageFailure(source=source, kind=error.kind, message=str(error))
                self._fail(failure, LISTED_INPUTS)
            else:
                files, images = files + len(item.paths), images + 1
                self._look(item, self.labels.of_image(item))
            self.progress.tell(Discovered(files, images))
        self.progress.tell(Discovered(files, images, done=True))

    def _look(self, spec: SourceSpec, label: str | None) -> None:
        limit = self.request.skip_larger
        try:
            if limit is not None and (spec.source_bytes or 0) > limit:
                raise too_large(spec, limit)  # noqa: TRY301  # listed below, as what is refused
            with self._planned(spec) as (plan, _):
                what = self._outlook(plan)
                self._count(plan, what)
                name = spec.paths[0] if label is None else label
                self._tell(f"{name} → {plan.store}: {size(plan.raw_bytes)}, {WORDS[what]}")
            if what != "unchanged":
                self._draw(spec, label)
        except ExcludedSource as error:
            failure = image_failure(spec, label, error)
            self.report.excluded.append(failure)
            self._tell(f"left out: {failure.line}")
        except Exception as error:  # the edge of an image, as in a run
            self._fail(image_failure(spec, label, error), LISTED_IMAGES)

    @contextlib.contextmanager
    def _planned(self, spec: SourceSpec) -> Iterator[tuple[ImagePlan, TileSource]]:
        destination = self.request.destination
        store = destination.store_of(spec)
        if not destination.is_store:
            check_no_link(destination.folder, store)
        options = self.request.options

        def planned(source: TileSource) -> ImagePlan:
            return make_plan(source, store, options, anew=self.force)

        with contextlib.closing(open_source(spec)) as opened:
            asked = options.asked_levels
            yield plan_with_levels(opened, store, planned, asked, anew=self.force)

    def _outlook(self, plan: ImagePlan) -> Outlook:
        """Tell what would become of an image; raise DestinationConflict as a run does."""
        spec = plan.spec
        name = path_and_page(spec)
        rival = self._claims.claim(plan.store, name)
        if rival not in (None, name):
            raise DestinationConflict(
                f"planning {plan.source_name}: its store {plan.store} is that of another image "
                "already; give it a destination of its own"
            )
        return outlook(plan, force=self.force)

    def _count(self, plan: ImagePlan, what: Outlook) -> None:
        forecast = self.forecast
        setattr(forecast, what, getattr(forecast, what) + 1)
        if what != "unchanged":
            forecast.files += len(plan.spec.paths)
            forecast.file_bytes += plan.spec.share_of_files or 0
            forecast.raw_bytes += plan.source_bytes
            self._to_code += plan.raw_bytes

    def _draw(self, spec: SourceSpec, label: str | None) -> None:
        """Take an image into the sample, each with the same chance whatever comes later."""
        if len(self._drawn) < SAMPLED_IMAGES:
            self._drawn.append((spec, label))
            return
        at = self._random.randrange(self.forecast.to_write)
        if at < SAMPLED_IMAGES:
            self._drawn[at] = (spec, label)

    def estimate(self) -> None:
        """Code some tiles, and scale what they give up to all images."""
        total = Sample()
        ends = time.monotonic() + SAMPLE_S
        warm: set[bool] = set()
        for number, (spec, label) in enumerate(self._drawn):
            if number and time.monotonic() > ends:
                break
            try:
                with self._planned(spec) as (plan, source):
                    streams = plan.info.stream_block is not None
                    if streams not in warm:
                        begun = time.monotonic()
                        sample_image(plan, source, 1)  # loads the model, compiles the coder
                        ends += time.monotonic() - begun
                        warm.add(streams)
                    total.add(sample_image(plan, source, SAMPLED_CHUNKS))
            except Exception as error:  # as above: pixels may be damaged behind a sound header
                self._fail(image_failure(spec, label, error), LISTED_IMAGES)
        forecast = self.forecast
        forecast.sampled_images, forecast.sampled_bytes = total.images, total.raw_bytes
        if total.raw_bytes:
            factor = self._to_code / total.raw_bytes
            documents = DOCUMENT_BYTES * forecast.to_write
            forecast.stored_bytes = round(total.coded_bytes * factor) + documents
            forecast.seconds = round(total.seconds * factor / forecast.workers, 1)

    def _tell(self, text: str) -> None:
        told = self.forecast.to_write + self.forecast.unchanged + len(self.report.excluded)
        if told <= LISTED_IMAGES:
            self.progress.tell(Note(text))
        elif told == LISTED_IMAGES + 1:
            self.progress.tell(Note("further images are counted, not listed"))

    def _fail(self, failure: ImageFailure, listed: int) -> None:
        self.report.failures.append(failure)
        self.progress.tell(Failed(failure, listed))
