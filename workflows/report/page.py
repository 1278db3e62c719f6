"""A report as notebooks and prompts show it: what became of the images, and what failed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tilepress.pipeline.read.tables import paragraph, table
from tilepress.pipeline.storage.text import size
from tilepress.workflows.report.alike import lines_of

if TYPE_CHECKING:
    from tilepress.workflows.report.report import Report

__all__ = ["html_of", "text_of"]

SHOWN = 50
"""Images that are listed."""

_HEAD = ("source", "store", "shape", "dtype", "samples", "stored", "ratio", "")


def text_of(report: Report) -> str:
    """Return a summary and a list of failures, as a prompt shows them."""
    return "\n".join([*_head_of(report), *_told_of(report)])


def html_of(report: Report) -> str:
    """Return a summary, a table of images and a list of failures."""
    parts = [paragraph(line) for line in _head_of(report)]
    if report.forecast is not None:
        return "".join([*parts, *map(paragraph, _told_of(report))])
    rows = [
        (
            image.source,
            image.store,
            "×".join(map(str, image.shape)),
            image.dtype,
            size(image.raw_bytes),
            size(image.stored_bytes),
            f"{image.raw_bytes / max(1, image.stored_bytes):.2f}",
            "; ".join((image.status, *image.remarks)),
        )
        for image in islice(report.images, SHOWN)
    ]
    if rows:
        parts.append(table(rows, _HEAD))
    if len(report.images) > SHOWN:
        parts.append(paragraph(f"{len(report.images) - SHOWN} further images are not shown"))
    return "".join([*parts, *map(paragraph, _told_of(report))])


def _head_of(report: Report) -> list[str]:
    """Return what became of the images in numbers, or would become."""
    if report.forecast is not None:
        return report.forecast.lines(len(report.failures), len(report.excluded))
    counts = [f"{report.written} written", f"{report.unchanged} unchanged"]
    if report.excluded:
        counts.append(f"{len(report.excluded)} left out")
    counts.append(f"{len(report.failures)} failed")
    if report.images:
        counts.append(report.sizes_text)
    return [f"{', '.join(counts)}, {report.seconds:.1f} s"]


def _told_of(report: Report) -> list[str]:
    """Return what else there is to say, failures last."""
    told = [report.loss_text, report.larger_text, report.kept.text, report.passed_over_text]
    if report.forecast is not None:
        told = []
    return [*filter(None, told), *lines_of(report.failures)]
