"""Refuse to write through links of a folder: who made it may have laid them to any other."""

from __future__ import annotations

import os

from tilepress.errors import DestinationConflict
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath

__all__ = ["check_no_link"]


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
            raise DestinationConflict(
                f"writing below {root}: {path} is a link, which may lead anywhere; remove it, or "
                "name what it leads to as the destination"
            )
