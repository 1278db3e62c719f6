"""Write damaged files that an archive keeps again, from where they came."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from tilepress.pipeline.archive.private import pseudonyms_of_sources
from tilepress.pipeline.archive.repaired import StoreRepair
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.others import OtherFile, OtherFiles
from tilepress.pipeline.kept.check import Finding, check_kept, mend_kept
from tilepress.pipeline.kept.index import FILES
from tilepress.pipeline.storage.atomic import PARTIAL_SUFFIX
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath

__all__ = ["mended_files"]

ABANDONED_S = 24 * 3600
"""Age of a temporary file that nobody writes any more."""


def mended_files(archive: StoragePath, source: Sequence[str | Path]) -> StoreRepair:
    """Mend what is damaged of the files that an archive keeps; ``source`` is not searched else.

    Only what has the very content that was kept is taken. What no index lists is left alone.
    """
    where = str(archive / FILES)
    try:
        _sweep(archive / FILES)
        found = list(check_kept(archive))
        damaged = [one for one in found if one.state == "damaged"]
        left = tuple(one.key for one in found if one.state == "unknown")
        if not damaged:
            return StoreRepair(store=where, state="sound", left=left)
        mended = list(mend_kept(damaged, _sources(archive, source)))
    except OSError as error:
        text = f"reading {where}: {error.strerror or type(error).__name__}"
        return StoreRepair(store=where, state="failed", reason=text)
    written = tuple(finding.key for finding, why in mended if why is None)
    failed = [_told(finding, why) for finding, why in mended if why is not None]
    return StoreRepair(
        store=where,
        state="failed" if failed else "repaired",
        written=written,
        left=left,
        reason="; ".join(failed) or None,
    )


def _sweep(folder: StoragePath) -> None:
    """Remove what writers left that were killed long ago; those at work are let alone."""
    if isinstance(folder, FolderPath):
        for path in folder.path.rglob(f".*{PARTIAL_SUFFIX}"):
            if time.time() - path.lstat().st_mtime > ABANDONED_S:
                path.unlink(missing_ok=True)


def _told(finding: Finding, why: str) -> str:
    return f"{finding.key}: {finding.detail.partition(':')[0]}; {why}"


def _sources(archive: StoragePath, source: Sequence[str | Path]) -> dict[str, list[OtherFile]]:
    """Return the files of the sources that are no images, by their paths below what was named."""
    with contextlib.closing(OtherFiles("all")) as others:
        for _ in discover(source, pseudonyms=lambda: pseudonyms_of_sources(archive), others=others):
            pass
        found: dict[str, list[OtherFile]] = {}
        for files in others.folders():
            for other in files:
                found.setdefault(other.file.relative, []).append(other)
        return found
