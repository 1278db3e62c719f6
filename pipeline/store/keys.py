"""Name the keys of a store: its levels, arrays and shards, and back; documents, source, manifest.

    zarr.json                        the root document
    0/zarr.json                      the document of a level
    0/image/zarr.json                the document of an array
    0/image/c/2/0/3                  a shard of a coded array, or a chunk of any other
    0/image/c.2.0.3                  the same of a store that has replaced one of the first kind
    1/image/…                        the image at the next level, where its source has levels
    source/NAME/…                    an item that a faithful export needs
    source/manifest/…                the list of everything; in stores of formats 1 and 2 manifest/…
    signature.json                   who sealed it, where somebody signed

A node's key ("0/image") is its path below the root; every object of a node lies below it. What
stands between the numbers of a chunk is the separator of the store, as its documents say (Zarr's
``chunk_key_encoding``): a store and the one that replaces it have different ones, so that no chunk
of one is ever taken for one of the other.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "FULL_RESOLUTION",
    "IMAGE",
    "MANIFEST",
    "MASK",
    "ORIGIN",
    "ROOT_DOCUMENT",
    "ROOT_MANIFEST",
    "SEPARATOR",
    "SIGNATURE",
    "SOURCE",
    "Separator",
    "array_key",
    "document_key",
    "is_chunk",
    "is_chunk_of",
    "is_document",
    "is_image",
    "is_manifest_chunk",
    "is_shared",
    "level_image",
    "level_of",
    "other_separator",
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

MANIFEST = f"{SOURCE}/manifest"
"""The list of everything: no array of the root, where readers would take it for the image."""

ROOT_MANIFEST = "manifest"
"""The same in stores of formats 1 and 2."""

_CHUNKS = "c"
"""What Zarr puts between an array's key and the index of a chunk, or shard."""

Separator = Literal["/", "."]

SEPARATOR: Separator = "/"
"""What stands between the numbers of a chunk's key in a store that has replaced none."""

_OTHER_SEPARATOR: Separator = "."


def other_separator(separator: Separator) -> Separator:
    """Return the separator of a store that replaces one with this separator."""
    return _OTHER_SEPARATOR if separator == SEPARATOR else SEPARATOR


def array_key(name: str) -> str:
    """Return the key of an array by its name: "0/image" of "image", "1/image" of "1/image".

    Arrays of the full resolution are called without it, as before there were levels.
    """
    return name if "/" in name else f"{FULL_RESOLUTION}/{name}"


def level_image(level: int) -> str:
    """Return the name of the array that has the image at a level: "image", "1/image", …"""
    return "image" if level == 0 else f"{level}/image"


def level_of(array: str) -> int | None:
    """Return the level whose image an array is; None for a mask or any other."""
    level, slash, name = array.rpartition("/")
    if name != "image" or not (level.isdecimal() if slash else not level):
        return None
    return int(level or 0)


def is_image(array: str) -> bool:
    """Whether an array has the image, at whatever level."""
    return level_of(array) is not None


def source_key(name: str) -> str:
    """Return the key of an item of ``source/``."""
    return f"{SOURCE}/{name}"


def document_key(node: str = "") -> str:
    """Return the key of a node's document: of the root where none is named."""
    return f"{node}/{ROOT_DOCUMENT}" if node else ROOT_DOCUMENT


def shard_key(array: str, index: tuple[int, ...], separator: Separator = SEPARATOR) -> str:
    """Return the key of a shard of an array by its name, e.g. "0/image/c/0/3"."""
    return f"{array_key(array)}/{separator.join([_CHUNKS, *map(str, index)])}"


def shard_of(key: str, separator: Separator = SEPARATOR) -> tuple[str, tuple[int, ...]] | None:
    """Return name and index of an array of which the key would be a shard; None for the rest.

    Whether there is such an array, and how many axes and shards it has, the key does not tell.
    """
    level, array, rest = ([*key.split("/", 2), "", ""])[:3]
    chunks, *index = rest.split(separator)
    if chunks != _CHUNKS or not index:
        return None
    if not all(number.isdecimal() and str(int(number)) == number for number in (level, *index)):
        return None
    name = array if level == FULL_RESOLUTION else f"{level}/{array}"
    return name, tuple(int(number) for number in index)


def is_document(key: str) -> bool:
    """Whether a key is that of a metadata document."""
    return key.rpartition("/")[2] == ROOT_DOCUMENT


def is_chunk(key: str) -> bool:
    """Whether a key is that of a shard or chunk of some array."""
    name = key.rpartition("/")[2]
    return _CHUNKS in key.split("/") or name.startswith(f"{_CHUNKS}{_OTHER_SEPARATOR}")


def is_chunk_of(key: str, separator: Separator) -> bool:
    """Whether a key is that of a chunk that only a store with this separator has."""
    *folders, name = key.split("/")
    if separator == SEPARATOR:
        return _CHUNKS in folders
    return name.startswith(f"{_CHUNKS}{separator}")


def is_shared(key: str) -> bool:
    """Whether a store and the one that replaces it have objects of this same key.

    Documents are, and the one chunk of an array without axes.
    """
    return is_document(key) or key.endswith(f"/{_CHUNKS}")


def is_manifest_chunk(key: str, separator: Separator = SEPARATOR) -> bool:
    """Whether an object belongs to the manifest's data, which cannot list itself."""
    starts = (f"{node}/{_CHUNKS}{separator}" for node in (MANIFEST, ROOT_MANIFEST))
    return key.startswith(tuple(starts))
