"""Find the images of a request, and leave out what the destination cannot take."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tilepress.errors import ExcludedSource, NoSuchSource, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.former import as_stored_before
from tilepress.pipeline.archive.images import Todo
from tilepress.pipeline.archive.private import (
    check_deidentified_as_a_whole,
    deidentifying_pseudonyms,
    known_pseudonyms,
    mark_deidentified,
    pseudonyms_to_be,
)
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.former_pages import as_taken_before
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.told import path_and_page
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.private_names import PRIVATE
from tilepress.pipeline.image.pseudonyms import Pseudonyms, PseudonymsOf
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.kept.index import FolderIndex
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.privacy.recipe import is_deidentified, renamed
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.text import size
from tilepress.workflows.report.labels import Labels
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Discovered
from tilepress.workflows.run.driver import Run
from tilepress.workflows.run.request import CompressRequest

__all__ = ["find_images", "nothing_found", "other_files", "pseudonyms_of", "todos", "too_large"]

LISTED_IMAGES = 10
"""Images that a message names at most."""


def other_files(request: CompressRequest) -> OtherFiles | None:
    """Return what gathers the files that are no images; None where they have no place.

    What is de-identified has none with it: nobody knows what such a file tells.
    """
    if request.destination.is_store:
        return None
    return OtherFiles("none" if request.options.profile is not None else request.keep)


def nothing_found(doing: str, request: CompressRequest, passed_over: Counter[str]) -> UsageError:
    """Return an error that says what there was in place of images."""
    named = ", ".join(map(str, request.sources))
    left_out = Report(passed_over=passed_over).passed_over_text
    return UsageError(f"{doing}: found no image in {named}" + (left_out and f"; {left_out}"))


def find_images(
    request: CompressRequest,
    passed_over: Counter[str] | None = None,
    others: OtherFiles | None = None,
    *,
    show_paths: bool = False,
    dry: bool = False,
) -> Iterator[SourceSpec | Failure]:
    """Yield what there is to compress; raise UsageError where the destination cannot take it.

    Files that are no images are gathered in ``others``, or else counted in ``passed_over``, by
    their endings. ``dry`` writes nothing: no key of names is made, and what would need one to be
    de-identified is found as it is.
    """
    destination = request.destination
    asked = request.options.profile is not None
    if not destination.is_store:
        check_deidentified_as_a_whole(destination.folder, asked=asked)
    everything = discover(
        request.sources,
        request.stack,
        passed_over,
        pseudonyms=pseudonyms_of(destination, dry=dry),
        others=others,
        choice=request.choice,
        max_expansion=request.options.max_expansion,
    )
    found = _own_output_left_out(everything, destination)
    if request.stack is not None:
        found = _as_stored_before(found, destination)
    found = _as_taken_before(found, destination, deidentified=asked)
    if request.options.profile is not None and not dry:
        found = _deidentified(found, destination, request.options.profile)
    elif request.options.profile is not None:
        found = _to_be_deidentified(found, destination, request.options.profile)
    if destination.is_store:
        return _one_image(found, destination, show_paths=show_paths)
    return found


def todos(
    found: Iterator[SourceSpec | Failure],
    run: Run,
    labels: Labels,
    skip_larger: int | None = None,
) -> Iterator[Todo]:
    """Yield the images; list what is none, and what is larger than what is wanted."""
    files = images = 0
    for item in found:
        if isinstance(item, Failure):
            files += 1
            run.report.absent += isinstance(item.error, NoSuchSource)
            run.fail(*labels.of_failure(item))
        elif skip_larger is not None and (item.source_bytes or 0) > skip_larger:
            files += len(item.paths)
            run.skip(item, labels.of_image(item), too_large(item, skip_larger))
        else:
            files += len(item.paths)
            images += 1
            yield Todo(item, label=labels.of_image(item))
        run.progress.tell(Discovered(files, images))
    run.progress.tell(Discovered(files, images, done=True))


def too_large(spec: SourceSpec, limit: int) -> ExcludedSource:
    """Return the error that lists an image as larger than what is wanted."""
    found = size(spec.source_bytes or 0)
    return ExcludedSource(f"its files have {found}, more than the {size(limit)} of --skip-larger")


def _own_output_left_out(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Pass over what lies in the destination, which may be inside a source folder."""
    known: dict[str, FolderIndex] = {}
    for item in found:
        path = item.path if isinstance(item, Failure) else item.paths[0]
        if not destination.holds(path, known):
            yield item


def _as_taken_before(
    found: Iterator[SourceSpec | Failure], destination: Destination, *, deidentified: bool
) -> Iterator[SourceSpec | Failure]:
    """Yield the images of an earlier version in place of those that the archive has as such."""

    def store_of(spec: SourceSpec) -> StoragePath:
        if deidentified and not (destination.is_store or formats.has_private_names(spec.kind)):
            known = known_pseudonyms(destination.folder)
            if known is not None and known.key is not None:
                spec = renamed(spec, str(store_path(spec)), known)
        return destination.store_of(spec)

    for item in found:
        if isinstance(item, Failure):
            yield item
        else:
            yield from as_taken_before(item, store_of)


def _as_stored_before(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Yield stacks by the names that their stores have, whichever version gave them."""
    for item in found:
        yield item if isinstance(item, Failure) else as_stored_before(item, destination)


def _deidentified(
    found: Iterator[SourceSpec | Failure], destination: Destination, profile: Profile
) -> Iterator[SourceSpec | Failure]:
    """Yield images to be de-identified: of no file is told what it is called, whatever it is.

    Raises UsageError where the archive has no key, once there is an image.
    """
    pseudonyms: Pseudonyms | None = None
    for item in found:
        if isinstance(item, Failure):
            yield replace(item, private=True)
        else:
            if pseudonyms is None:
                pseudonyms = deidentifying_pseudonyms(destination.folder)
                if not destination.is_store:
                    mark_deidentified(destination.folder)
            yield destination.deidentified(item, profile, pseudonyms)


def _to_be_deidentified(
    found: Iterator[SourceSpec | Failure], destination: Destination, profile: Profile
) -> Iterator[SourceSpec | Failure]:
    """Yield images as they will be found de-identified, where the archive has its key by now."""
    known = known_pseudonyms(destination.folder)
    for item in found:
        if isinstance(item, Failure):
            yield replace(item, private=True)
        elif known is None or known.key is None:
            yield replace(item, options={**item.options, PRIVATE: True})
        else:
            yield destination.deidentified(item, profile, known)


def pseudonyms_of(destination: Destination, *, dry: bool = False) -> PseudonymsOf:
    """Return what gives the names of series; in a dry run without making a key."""
    if not dry or destination.is_store:
        return destination.pseudonyms
    return functools.cache(lambda: pseudonyms_to_be(destination.folder))


def _one_image(
    found: Iterator[SourceSpec | Failure], destination: Destination, *, show_paths: bool
) -> Iterator[SourceSpec | Failure]:
    """Return what was found, or raise UsageError where it is more than one image."""
    items: list[SourceSpec | Failure] = []
    images: list[str] = []
    for item in found:
        items.append(item)
        if isinstance(item, SourceSpec):
            images.append(_told(item, show_paths=show_paths))
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


def _told(spec: SourceSpec, *, show_paths: bool) -> str:
    """Return what tells an image from others that were found."""
    if is_deidentified(spec) and not formats.has_private_names(spec.kind) and not show_paths:
        return "an image"
    if spec.options.get(PRIVATE) and not show_paths:
        return "an image beside DICOM"
    if formats.has_private_names(spec.kind) and not show_paths:
        modality = str(spec.options["name"]).partition("-")[0]
        return f"a series ({modality}, files: {len(spec.paths)})"
    return path_and_page(spec)
