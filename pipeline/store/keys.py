"""Name the keys of a store: its levels, arrays and shards, and back; documents, source, manifest.

    zarr.json                        the root document
    0/zarr.json                      the document of a level
    0/image/zarr.json                the document of an array
    0/image/c/2/0/3                  a shard of a coded array, or a chunk of any other
    source/NAME/…                    an item that a faithful export needs
    manifest/…                       the list of everything
    signature.json                   who sealed it, where somebody signed

A node's key ("0/image") is its path below the root; every object of a node lies below it.
"""

from __future__ import annotations

__all__ = [
    "FULL_RESOLUTION",
    "IMAGE",
    "MANIFEST",
    "MASK",
    "ORIGIN",
    "ROOT_DOCUMENT",
    "SIGNATURE",
    "SOURCE",
    "array_key",
    "document_key",
    "is_chunk",
    "is_document",
    "is_manifest_chunk",
    "shard_key",
    "shard_of",
    "source_key",
]

ROOT_DOCUMENT = "zarr.json"
"""What makes a store of a folder: written last, removed first."""

SIGNATURE = "signature.json"
"""Who sealed the store; no part of it, for it comes after the seal."""

FULL_RESOLUTION = "0"
"""The level that has the samples as they are."""

IMAGE = f"{FULL_RESOLUTION}/image"
MASK = f"{FULL_RESOLUTION}/mask"

SOURCE = "source"
"""The group of the items that a faithful export needs."""

ORIGIN = f"{SOURCE}/origin"
"""The item that says what the store was made of; every store has it."""

MANIFEST = "manifest"

_CHUNKS = "c"
"""What Zarr puts between an array's key and the index of a chunk, or shard."""


def array_key(name: str, level: str = FULL_RESOLUTION) -> str:
    """Return the key of an array of a level, e.g. "0/image"."""
    return f"{level}/{name}"


def source_key(name: str) -> str:
    """Return the key of an item of ``source/``."""
    return f"{SOURCE}/{name}"


def document_key(node: str = "") -> str:
    """Return the key of a node's document: of the root where none is named."""
    return f"{node}/{ROOT_DOCUMENT}" if node else ROOT_DOCUMENT


def shard_key(array: str, index: tuple[int, ...]) -> str:
    """Return the key of a shard of the full resolution, e.g. "0/image/c/0/3"."""
    return "/".join([array_key(array), _CHUNKS, *map(str, index)])


def shard_of(key: str) -> tuple[str, tuple[int, ...]] | None:
    """Return array and index of what would be a shard of the full resolution; None for the rest.

    Whether there is such an array, and how many axes and shards it has, the key does not tell.
    """
    level, *names = key.split("/")
    if level != FULL_RESOLUTION or len(names) < 3 or names[1] != _CHUNKS:
        return None
    array, index = names[0], names[2:]
    if not all(number.isdecimal() and str(int(number)) == number for number in index):
        return None
    return array, tuple(int(number) for number in index)


def is_document(key: str) -> bool:
    """Whether a key is that of a metadata document."""
    return key.rpartition("/")[2] == ROOT_DOCUMENT


def is_chunk(key: str) -> bool:
    """Whether a key is that of a shard or chunk of some array."""
    return _CHUNKS in key.split("/")


def is_manifest_chunk(key: str) -> bool:
    """Whether an object belongs to the manifest's data, which cannot list itself."""
    return key.startswith(f"{MANIFEST}/{_CHUNKS}/")
