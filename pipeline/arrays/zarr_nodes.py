"""Tell whether a folder is an array or a group of Zarr, of either format, and read what it says."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

from tilepress.pipeline.storage.below import Below, below
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.regular import RefusedFile, read_regular

__all__ = [
    "DOCUMENTS",
    "MAX_DOCUMENT_BYTES",
    "is_array_document",
    "is_zarr_array",
    "is_zarr_node",
    "names_own_codec",
    "read_document",
]

DOCUMENTS = ("zarr.json", ".zarray")
"""What says that something is an array, of either format."""

MAX_DOCUMENT_BYTES = 64 * 2**20
"""Size of a ``zarr.json`` at most; those of groups that list all below are the largest."""


def is_zarr_node(path: Path) -> bool:
    """Whether a folder is a Zarr array or group of either format."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def is_zarr_array(path: Path) -> bool:
    """Whether a folder is a Zarr array of either format."""
    if (path / ".zarray").is_file():
        return True
    try:
        return is_array_document(read_regular(path / "zarr.json", MAX_DOCUMENT_BYTES, (path,)))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def is_array_document(document: bytes) -> bool:
    """Whether a ``zarr.json`` is that of an array.

    One that cannot be understood counts as such: to open it as an array says what is wrong.
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        return True
    return isinstance(parsed, dict) and parsed.get("node_type") == "array"


def read_document(objects: Below, name: str, limit_bytes: int) -> bytes:
    """Return a document of an array in a bucket.

    Raises FileNotFoundError where there is none, RefusedFile where it is too long, OSError.
    """
    (found,) = objects.fetch([(name, 0, limit_bytes + 1)])
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if len(found) > limit_bytes:
        raise RefusedFile(f"it has more than {limit_bytes} bytes", name)
    return found


def names_own_codec(path: str) -> bool:
    """Whether the metadata of an array, in a folder or a bucket, seem to name our own codec."""
    objects = below(path) if is_url(path) else None
    folder = Path(path)
    for name in DOCUMENTS:
        with contextlib.suppress(OSError):
            document = (
                read_regular(folder / name, MAX_DOCUMENT_BYTES, (folder,))
                if objects is None
                else read_document(objects, name, MAX_DOCUMENT_BYTES)
            )
            if b"tilepress" in document:
                return True
    return False
