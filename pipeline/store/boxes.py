"""Read boxes of a store's arrays: what is missing or damaged is an error, not a fill value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from tilepress.errors import DamagedStore, InvalidRecord
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.keys import SEPARATOR, Separator

__all__ = ["array_of", "read_box", "read_bytes", "separator_of"]


def array_of(root: zarr.Group, key: str, store: str) -> zarr.Array[Any]:
    """Return an array; ``store`` is what the error calls where it should be."""
    node = root.get(key)
    if not isinstance(node, zarr.Array):
        raise DamagedStore(f"reading {store}: there is no array {key}")
    return node


def read_box(node: zarr.Array[Any], box: Box, store: str) -> npt.NDArray[Any]:
    """Return the samples of a box, C-contiguous; raises DamagedStore, ValueError beyond the
    array."""
    if not all(0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, node.shape, strict=True)):
        raise ValueError(f"reading {node.path}: {box} is not within {node.shape}")
    try:
        return np.ascontiguousarray(node[box.slices])
    except (InvalidRecord, ValueError, ZeroDivisionError) as error:  # Zarr's: crc32c, chunks of 0
        raise DamagedStore(
            f"reading {store}/{node.path} {box.start}…{box.stop}: {error}"
        ) from error


def read_bytes(root: zarr.Group, key: str, store: str) -> bytes:
    """Return all of an array of bytes."""
    node = array_of(root, key, store)
    return read_box(node, Box((0,), node.shape), store).tobytes()


def separator_of(node: zarr.Array[Any]) -> Separator:
    """Return what stands between the numbers in the keys of an array's chunks."""
    encoding: object = getattr(node.metadata, "chunk_key_encoding", None)
    return "." if getattr(encoding, "separator", SEPARATOR) == "." else SEPARATOR
