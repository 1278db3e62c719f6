"""Tell whether a folder is an array or a group of Zarr, of either format, and read what it says."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from tilepress.pipeline.storage.regular import read_regular

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "is_array_document",
    "is_zarr_array",
    "is_zarr_node",
    "names_own_codec",
]

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


def names_own_codec(path: Path) -> bool:
    """Whether the metadata of an array seem to name the codec of this package."""
    for name in ("zarr.json", ".zarray"):
        with contextlib.suppress(OSError):
            if b"tilepress" in read_regular(path / name, MAX_DOCUMENT_BYTES, (path,)):
                return True
    return False
