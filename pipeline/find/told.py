"""What people are told of an image or a file that was found, without names of patients."""

from __future__ import annotations

from tilepress.errors import SourceError
from tilepress.pipeline import formats
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.private_names import PRIVATE, file_names, without_paths
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import is_deidentified

__all__ = ["A_FILE", "is_private", "path_and_page", "told_error", "told_failure", "told_name"]

A_FILE = "a file that may be DICOM, or lies beside such"


def is_private(spec: SourceSpec) -> bool:
    """Whether the path of an image may name a patient."""
    private = spec.options.get(PRIVATE) or is_deidentified(spec)
    return bool(private) or formats.has_private_names(spec.kind)


def told_name(spec: SourceSpec) -> str:
    """Return what an image is called: its first file's path, or else its name."""
    if is_deidentified(spec):
        return str(spec.options["name"])
    if spec.options.get(PRIVATE):
        return A_FILE
    if formats.has_private_names(spec.kind):
        return str(spec.options["name"])
    return path_and_page(spec)


def path_and_page(spec: SourceSpec) -> str:
    """Return the path of an image's first file, and the page where it is one of several."""
    if "variable" in spec.options:
        return f"{spec.paths[0]} ({spec.options['variable']})"
    return spec.paths[0] + (f" (page {spec.options['page']})" if "page" in spec.options else "")


def told_error(spec: SourceSpec, text: str, name: str | None = None) -> str:
    """Return a message about an image; ``name`` is that of its store."""
    if not is_private(spec):
        return text
    return without_paths(text, spec.paths, file_names(name or told_name(spec), len(spec.paths)))


def told_failure(failure: Failure) -> tuple[str, SourceError]:
    """Return what an input is called that is no image, and why it is none."""
    if not failure.private:
        return failure.path, failure.error
    text = without_paths(str(failure.error), [failure.path], [A_FILE])
    return A_FILE, type(failure.error)(text)
