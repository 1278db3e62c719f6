"""Refuse to write through links of a folder: who made it may have laid them to any other."""

from __future__ import annotations

import os
from pathlib import Path

from tilepress.errors import DestinationConflict
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath

__all__ = ["check_no_link", "check_no_links_below"]


def check_no_link(root: StoragePath, place: StoragePath) -> None:
    """Raise DestinationConflict where a link is on the way from ``root``, excluded, to ``place``.

    ``root`` itself is what the user has named, a link or not. Buckets have no links.
    """
    if not isinstance(root, FolderPath) or not isinstance(place, FolderPath):
        return
    path = root.path
    for part in place.path.relative_to(root.path).parts:
        path = path / part
        if os.path.islink(path):
            raise _conflict(root, path)


def check_no_links_below(root: StoragePath, place: StoragePath) -> None:
    """Raise DestinationConflict where ``place``, below ``root``, or any folder in it is a link.

    A file that is one is replaced, and what it leads to stays.
    """
    check_no_link(root, place)
    if not isinstance(place, FolderPath):
        return
    for folder, folders, _ in os.walk(place.path):
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink():
                raise _conflict(root, path)


def _conflict(root: StoragePath, path: Path) -> DestinationConflict:
    return DestinationConflict(
        f"writing below {root}: {path} is a link, which may lead anywhere; remove it, or "
        "name what it leads to as the destination"
    )
