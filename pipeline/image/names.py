"""Names of files: what several have in common, which are safe to write, which name no file."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tilepress.errors import DamagedStore
from tilepress.pipeline.storage.path import is_url

__all__ = [
    "below_common_folder",
    "is_virtual",
    "path_to_write",
    "safe_name",
    "scene_of",
    "stays_below",
]


def below_common_folder(paths: Sequence[str]) -> list[str]:
    """Return the paths of files or objects below the deepest folder that holds them all.

    Of files of this machine ``..`` is resolved first, by name, so that no result begins with it.
    """
    plain = [p.partition("://")[2] if is_url(p) else os.path.abspath(p) for p in paths]
    root = posixpath.commonpath([posixpath.dirname(path) for path in plain])
    length = len(root) + (root not in ("", "/"))
    return [path[length:] for path in plain]


def is_virtual(path: str) -> bool:
    """Whether GDAL would take a path for one of its virtual files, which may lie on a network."""
    return re.match(r"/+vsi", path) is not None


def stays_below(name: str) -> bool:
    """Whether a name with forward slashes stays below the folder that it is joined to."""
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


def path_to_write(name: object, doing: str) -> PurePosixPath:
    """Return the path below its folder of a file that a store names.

    Stores name files as they were called, below the folder that they shared. A name that leaves the
    folder is none that a store was made with. A backslash, which other systems take for a slash,
    becomes "_".

    Raises DamagedStore where the name is unsafe; ``doing`` is what its message begins with.
    """
    if not isinstance(name, str) or not stays_below(name):
        raise DamagedStore(f"{doing}: the store names the unsafe file {name!r}")
    return PurePosixPath(name.replace("\\", "_"))


def safe_name(text: str) -> str:
    """Return ``text`` with what may trouble a file system or URL replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "image"


def scene_of(name: str) -> str:
    """Return what the names of files have in common that belong together: a_B1.tif, a_MTL.txt."""
    stem = name.partition(".")[0]
    return stem.rpartition("_")[0] or stem
