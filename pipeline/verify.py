"""Check a sealed store against its manifest, and its samples against their source."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tilepress.pipeline.archive.verify import Damage, OpenSource, source_among, verify_store
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import AnyPath, storage_path

__all__ = ["Damage", "verify"]


def verify(
    path: AnyPath,
    source: TileSource | SourceFinder | Path | str | Sequence[Path | str] | None = None,
) -> list[Damage]:
    """Check every object of a sealed store, every record by decoding, and optionally the source.

    ``source`` is what the store was made of: a file, a folder that holds it, a list of such, or an
    open source.

    Returns what is wrong, an empty list for a sound store. Raises UnsealedStore or StoreError where
    there is no finished store to check, ModelError or UnsupportedFormat where this installation
    cannot decode it, SourceError where the source cannot be read: then nothing can be told.
    UsageError says that no telling is possible which image the store was made of.
    """
    return verify_store(storage_path(path), None if source is None else _opener(source))


def _opener(source: TileSource | SourceFinder | Path | str | Sequence[Path | str]) -> OpenSource:
    if isinstance(source, SourceFinder):
        return source_among(source)
    if isinstance(source, (str, Path)):
        return lambda reader: source_among(SourceFinder([source]))(reader)
    if isinstance(source, Sequence):
        return lambda reader: source_among(SourceFinder(source))(reader)
    return lambda _: contextlib.nullcontext(source)
