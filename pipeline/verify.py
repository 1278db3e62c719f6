"""Check a sealed store against its manifest, and its samples against their source."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tilepress.errors import UsageError
from tilepress.pipeline.archive.verified import Damage
from tilepress.pipeline.archive.verify import OpenSource, check_stores, source_among, verify_store
from tilepress.pipeline.catalogue.stores import is_store
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import AnyPath, storage_path

__all__ = ["Damage", "verify"]


Given: TypeAlias = TileSource | SourceFinder | Path | str | Sequence[Path | str]
"""What a store was made of."""


def verify(
    path: AnyPath,
    source: Given | None = None,
    *,
    stack: Stacks = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    driver: str | Sequence[str] = (),
    show_paths: bool = False,
) -> list[Damage]:
    """Check every object of a sealed store, every record by decoding, and optionally the source.

    Of an archive, every store is checked, and the files that are kept beside them.

    Parameters
    ----------
    source :
        What the store was made of: a file, a folder that holds it, a list of such, or an open
        source.
    stack, include, exclude, driver :
        How paths of ``source`` are read, as ``tilepress.compress`` says.
    show_paths :
        Of an archive, name DICOM files, too; their paths may have names of patients.

    Returns what is wrong, an empty list for a sound store. Raises UnsealedStore or StoreError where
    there is no finished store to check, ModelError or UnsupportedFormat where this installation
    cannot decode it, SourceError where the source cannot be read: then nothing can be told.
    UsageError says that no telling is possible which image the store was made of.

    Of an archive, what cannot be told of one of its stores does not hide the others: it is in the
    list, as a damage of kind "unknown". Raises UsageError where there is no archive.
    """
    where = storage_path(path)
    choice = Choice.of(include, exclude, driver)
    if isinstance(source, (str, Path)):
        source = [source]
    if where.is_folder() and not is_store(where):
        if source is not None and not isinstance(source, Sequence):
            raise UsageError(f"verifying {where}: it is an archive; give its sources as paths")
        checks = check_stores(where, source or (), stack, show_paths=show_paths, choice=choice)
        return [damage for check in checks for damage in check.damages_below(str(where))]
    return verify_store(where, None if source is None else _opener(source, stack, choice))


def _opener(
    source: TileSource | SourceFinder | Sequence[Path | str], stack: Stacks, choice: Choice
) -> OpenSource:
    if isinstance(source, SourceFinder):
        return source_among(source)
    if isinstance(source, Sequence):
        found = functools.partial(SourceFinder, source, stack=stack, choice=choice)
        return lambda reader: source_among(found())(reader)
    return lambda _: contextlib.nullcontext(source)
