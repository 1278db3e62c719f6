"""Check a sealed store against its manifest, and its samples against their source."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tilepress.errors import UsageError
from tilepress.pipeline.archive.verify import (
    Damage,
    OpenSource,
    check_stores,
    source_among,
    verify_store,
)
from tilepress.pipeline.catalogue.stores import is_store
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path

__all__ = ["Damage", "verify"]


def verify(
    path: AnyPath,
    source: TileSource | SourceFinder | Path | str | Sequence[Path | str] | None = None,
) -> list[Damage]:
    """Check every object of a sealed store, every record by decoding, and optionally the source.

    ``source`` is what the store was made of: a file, a folder that holds it, a list of such, or an
    open source. Of an archive, every store is checked, and the files that are kept beside them.

    Returns what is wrong, an empty list for a sound store. Raises UnsealedStore or StoreError where
    there is no finished store to check, ModelError or UnsupportedFormat where this installation
    cannot decode it, SourceError where the source cannot be read: then nothing can be told.
    UsageError says that no telling is possible which image the store was made of.

    Of an archive, what cannot be told of one of its stores does not hide the others: it is in the
    list, as a damage of kind "unknown". Raises UsageError where there is no archive.
    """
    where = storage_path(path)
    if where.is_folder() and not is_store(where):
        return _of_archive(where, source)
    return verify_store(where, None if source is None else _opener(source))


def _of_archive(
    archive: StoragePath,
    source: TileSource | SourceFinder | Path | str | Sequence[Path | str] | None,
) -> list[Damage]:
    if isinstance(source, (str, Path)):
        source = [source]
    if source is not None and not isinstance(source, Sequence):
        raise UsageError(f"verifying {archive}: it is an archive; give its sources as paths")
    checks = check_stores(archive, source or ())
    return [damage for check in checks for damage in check.damages_below(str(archive))]


def _opener(source: TileSource | SourceFinder | Path | str | Sequence[Path | str]) -> OpenSource:
    if isinstance(source, SourceFinder):
        return source_among(source)
    if isinstance(source, (str, Path)):
        return lambda reader: source_among(SourceFinder([source]))(reader)
    if isinstance(source, Sequence):
        return lambda reader: source_among(SourceFinder(source))(reader)
    return lambda _: contextlib.nullcontext(source)
