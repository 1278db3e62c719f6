"""Tell whether a folder is an array or a group of Zarr, of either format."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

__all__ = ["is_array_document", "is_zarr_array", "is_zarr_node", "names_own_codec"]

MAX_LOOK_BYTES = 2**20


def is_zarr_node(path: Path) -> bool:
    """Whether a folder is a Zarr array or group of either format."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def is_zarr_array(path: Path) -> bool:
    """Whether a folder is a Zarr array of either format."""
    if (path / ".zarray").is_file():
        return True
    try:
        return is_array_document((path / "zarr.json").read_bytes())
    except OSError:
        return False


def is_array_document(document: bytes) -> bool:
    """Whether a ``zarr.json`` is that of an array."""
    try:
        parsed = json.loads(document)
    except ValueError:
        return False
    return isinstance(parsed, dict) and parsed.get("node_type") == "array"


def names_own_codec(path: Path) -> bool:
    """Whether the metadata of an array seem to name the codec of this package."""
    for name in ("zarr.json", ".zarray"):
        with contextlib.suppress(OSError), (path / name).open("rb") as file:
            if b"tilepress" in file.read(MAX_LOOK_BYTES):
                return True
    return False
