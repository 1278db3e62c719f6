"""Find the stores of stacks that an earlier version called otherwise, so that none is made twice.

Stacks are called by the pattern that finds them. Before, their names went by the letters that files
share, and by their order. A store that lies under such a name and was made of the same files is the
image's store, and stays where it is; one that was made of some of them alone is in the way.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from tilepress.errors import StoreError, UnsupportedSource
from tilepress.pipeline import formats
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.find.stacks import STACKED
from tilepress.pipeline.find.walk import Failure, printable_name
from tilepress.pipeline.image.objects import file_names_of
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["as_stored_before"]


def as_stored_before(spec: SourceSpec, destination: Destination) -> SourceSpec | Failure:
    """Return the recipe of an image with the name that its store has.

    A failure where a store holds some of its files and others: nobody can say which is wanted.
    Images that were found without a pattern of stacks, and those that have a store, stay as they
    are.
    """
    format_ = formats.format_of_kind(spec.kind)
    stacking = None if format_ is None else format_.stacking
    if stacking is None or not spec.options.get(STACKED) or destination.is_store:
        return spec
    if destination.store_of(spec).exists():
        return spec
    files = file_names_of(spec)
    in_the_way = None
    for name in stacking.former_names(spec.paths):
        former = replace(spec, kind=stacking.kind, options={**spec.options, "name": name})
        store = destination.store_of(former)
        if not store.exists():
            if name.endswith("-stack"):
                continue  # what was numbered came after it
            if "-stack-" in name:
                break
            continue
        there = _files_of(store, stacking.kind)
        if there == files:
            return former
        if set(there) & set(files):
            in_the_way = store
    if in_the_way is None:
        return spec
    shown = printable_name(spec.paths[0])
    text = (
        f"stacking {shown}: {in_the_way} holds some of the image's {len(files)} files, and others; "
        "remove it, or name the files that it was made of"
    )
    return Failure(shown, UnsupportedSource(text))


def _files_of(store: StoragePath, kind: str) -> list[str]:
    """Return the files that a sealed store of a stack was made of; none for any other."""
    with contextlib.suppress(StoreError, OSError, KeyError, TypeError, ValueError):
        origin = StoreReader.open(store).origin
        if origin["kind"] == kind:
            return [str(file["name"]) for file in origin["files"]]
    return []
