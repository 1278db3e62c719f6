"""The list of all formats of images: the only place that names them all.

A new one is a room of its own with a module ``format`` (see ``image.format``), and a line here.
Importing this imports no library that reads images.
"""

from __future__ import annotations

from dataclasses import replace

from tilepress.pipeline.arrays.format import ARRAY
from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.image.format import Candidate, Certainty, Export, FileImages, Format
from tilepress.pipeline.openslide.format import OPENSLIDE
from tilepress.pipeline.volumes.format import VOLUMES

__all__ = [
    "ARRAY",
    "DICOM",
    "FORMATS",
    "GEOTIFF",
    "OPENSLIDE",
    "advices",
    "exports",
    "format_of_file",
    "format_of_kind",
    "has_private_names",
    "look_at",
    "names",
    "suffixes",
]

FORMATS: tuple[Format, ...] = (
    GEOTIFF,
    DICOM,
    OPENSLIDE,
    ARRAY,
)


def format_of_file(file: Candidate) -> Format | None:
    """Return the format of a file, by its content; None where it is of none.

    A closer look, at what no format has marked as its own, is taken last.
    """
    sure = {format_: format_.sniff(file) for format_ in FORMATS}
    best = max(FORMATS, key=lambda format_: sure[format_])
    if sure[best] >= Certainty.MARKED:
        return best
    possible = (format_ for format_ in FORMATS if sure[format_] == Certainty.POSSIBLE)
    return next((format_ for format_ in possible if format_.looks_like(file)), None)


def look_at(file: Candidate) -> tuple[Format | None, FileImages]:
    """Return the format of a file, None where it is of none, and what it holds.

    A format may take a file over from the one whose mark it begins with: then ``former`` tells what
    it would be taken for otherwise. Raises SourceError or OSError.
    """
    found = format_of_file(file)
    if found is None:
        return None, FileImages()
    content = found.images(file)
    for other in FORMATS:
        if other is not found and other.takes_over(file, content):
            return other, replace(other.images(file), former=content.images)
        if other is not found and (advice := other.advice(file, content)) is not None:
            return found, replace(content, advice=advice)
    return found, content


def advices() -> frozenset[str]:
    """Return all that formats may say of files of others."""
    return frozenset(advice for format_ in FORMATS for advice in format_.advices)


def format_of_kind(kind: str) -> Format | None:
    """Return the format whose recipes and origins are of this kind; None where there is none."""
    return next((format_ for format_ in FORMATS if kind in format_.kinds), None)


def has_private_names(kind: str) -> bool:
    """Whether files of this kind may be called after patients."""
    format_ = format_of_kind(kind)
    return format_ is not None and format_.private_names


def exports() -> dict[str, Export]:
    """Return every way to write a store by the name that users call it."""
    own = (export for format_ in FORMATS for export in format_.exports)
    return {export.name: export for export in (*own, *VOLUMES)}


def names() -> str:
    """Return what people are told that tilepress takes."""
    return ", ".join(name for format_ in FORMATS for name in format_.names)


def suffixes() -> frozenset[str]:
    """Return the endings of images, which the names of their stores lose."""
    return frozenset(suffix for format_ in FORMATS for suffix in format_.suffixes)
