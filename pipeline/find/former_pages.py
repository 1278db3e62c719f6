"""Find the images that earlier versions took a file for, where an archive has their stores.

What is one slide today was a store for each of its pages. Such stores are right, and stay: the file
is taken for those pages wherever they are stored, and for a slide everywhere else.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable

from tilepress.errors import StoreError
from tilepress.pipeline import formats
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed

__all__ = ["as_taken_before"]


def as_taken_before(
    spec: SourceSpec, store_of: Callable[[SourceSpec], StoragePath]
) -> tuple[SourceSpec, ...]:
    """Return the images of an earlier version whose stores are there, or else the image itself.

    ``store_of`` tells where the store of an image is, or would be.
    """
    format_ = formats.format_of_kind(spec.kind)
    former = () if format_ is None else format_.former(spec)
    own = str(store_of(spec)) if former else ""
    for one in former:
        store = store_of(one)
        begun = str(store) != own and "page" not in spec.options  # else it may be another slide's
        if _is_store_of(store, one, begun=begun):
            return former
    return (spec,)


def _is_store_of(store: StoragePath, spec: SourceSpec, *, begun: bool) -> bool:
    """Whether a store was made of what an earlier version took.

    ``begun``: what was begun there, and is not sealed, can be nothing else.
    """
    if not store.is_folder():
        return False
    if not is_sealed(store):
        return begun
    with contextlib.suppress(StoreError, OSError, KeyError, TypeError, ValueError, IndexError):
        origin = StoreReader.open(store).origin
        file = (origin.get("files") or origin["instances"])[0]
        names = {posixpath.basename(path) for path in spec.paths}
        same = posixpath.basename(file["name"]) in names or DEIDENTIFIED in origin
        return bool(
            origin["kind"] == spec.kind and same and file.get("page") == spec.options.get("page")
        )
    return False
