"""Seal a store, and tell whether one is: the root document carries a digest of itself.

    "seal":"…"    sha256 of the root document in which the 64 digits of the seal are all zero

The root document names the digest of the manifest, and the manifest has that of every object: who
trusts a seal can check everything else. There is no root document before the rest is written, and
it is the first that is removed.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilepress.errors import (
    DamagedStore,
    StoreError,
    TilepressError,
    UnsealedStore,
    UnsupportedFormat,
)
from tilepress.pipeline.storage.path import AnyPath, storage_path
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    IMAGE,
    MANIFEST,
    ROOT_DOCUMENT,
    ROOT_MANIFEST,
    Separator,
    document_key,
    is_chunk_of,
    other_separator,
)
from tilepress.pipeline.store.manifest import sha256_hex

__all__ = [
    "APART_VERSION",
    "LEAN_VERSION",
    "NEWEST_VERSION",
    "NO_SEAL",
    "ROOTED_LEAN_VERSION",
    "ROOTED_VERSION",
    "STORE_VERSION",
    "RootDocument",
    "is_sealed",
    "read_root",
    "remove_store",
    "seal_of",
    "sealed_digest",
    "store_bytes",
    "with_seal",
]

APART_VERSION = 1
"""Of stores of the first version: items of ``source/`` are arrays of their own, and all auxiliary
arrays are coded alike."""

ROOTED_VERSION = 2
"""Of stores of earlier versions: the manifest is an array of the root."""

ROOTED_LEAN_VERSION = 3
"""Of stores of earlier versions of small images: the manifest is in the root document."""

STORE_VERSION = 4
"""Of stores of images that are not small. The root has no array, and says where the image is."""

LEAN_VERSION = 5
"""Of stores of small images: manifest and source are in no arrays."""

NEWEST_VERSION = LEAN_VERSION

NO_SEAL = "0" * 64
"""What stands for a digest that is not known yet: it is as long as one."""

_SEAL = re.compile(rb'"seal":"([0-9a-f]{64})"')


def with_seal(document: bytes) -> bytes:
    """Put into the root document the digest of itself with the seal's digits all zero."""
    blank = f'"seal":"{NO_SEAL}"'.encode()
    assert document.count(blank) == 1, "the root document has one seal"
    return document.replace(blank, f'"seal":"{sha256_hex(document)}"'.encode())


def seal_of(document: bytes) -> str:
    """Return the seal that a root document carries, whether or not it is its own."""
    match = _SEAL.search(document)
    assert match is not None, "a root document has a seal"
    return match[1].decode()


def is_sealed(path: AnyPath) -> bool:
    """Whether a store at ``path`` was finished."""
    return (storage_path(path) / ROOT_DOCUMENT).size() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDocument:
    """The root document of a sealed store, as it was sealed."""

    store: str
    """Name of the store."""
    data: bytes
    content: Mapping[str, Any]

    @property
    def statement(self) -> Mapping[str, Any]:
        """``attributes["tilepress"]``: codec, model, loss, sizes, digests, versions, seal.

        Raises UnsupportedFormat where another tilepress is needed.
        """
        try:
            statement: Mapping[str, Any] = self.content["attributes"]["tilepress"]
            found = statement["format_version"]
        except (KeyError, TypeError) as error:
            raise self.lacks(error) from error
        if type(found) is not int or found not in range(APART_VERSION, NEWEST_VERSION + 1):
            raise UnsupportedFormat(
                f"opening {self.store}: got store format {found}, this tilepress reads "
                f"{APART_VERSION} to {NEWEST_VERSION}; a newer one may read it"
            )
        return statement

    @property
    def is_lean(self) -> bool:
        """Whether the manifest is in it: the store is that of a small image."""
        return self.statement["format_version"] in (ROOTED_LEAN_VERSION, LEAN_VERSION)

    @property
    def manifest(self) -> str:
        """The array that has the manifest, where that is not in the document itself."""
        version: int = self.statement["format_version"]
        return ROOT_MANIFEST if version < STORE_VERSION else MANIFEST

    @property
    def seal(self) -> str:
        """The digest that seals the store, whatever its version."""
        return seal_of(self.data)

    def lacks(self, what: object) -> DamagedStore:
        """Return the error that says what is not in it."""
        return DamagedStore(
            f"opening {self.store}: zarr.json has no {what}, want a store's root document"
        )


def read_root(path: AnyPath) -> RootDocument:
    """Return the root document if it is the one that was sealed, byte for byte.

    Raises UnsealedStore where it is missing, DamagedStore where it fails the seal, StoreError where
    there is no store at all.
    """
    path = storage_path(path)
    try:
        data = (path / ROOT_DOCUMENT).read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if (path / FULL_RESOLUTION).is_folder():
            raise UnsealedStore(
                f"opening {path.name}: it is not sealed; run the same compress line again"
            ) from error
        if any(".zarr/" in key for key, _ in path.walk()):
            raise StoreError(f"opening {path}: it is an archive; name one of its stores") from error
        raise StoreError(f"opening {path}: there is no store") from error
    match = _SEAL.search(data)
    if match is None:
        raise StoreError(f"opening {path}: it is no store of tilepress, or its seal is damaged")
    blank = data[: match.start(1)] + NO_SEAL.encode() + data[match.end(1) :]
    if sha256_hex(blank).encode() != match[1]:
        raise DamagedStore(f"opening {path.name}: zarr.json is not the one that was sealed")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:  # sealed so, by whom it may
        raise DamagedStore(f"opening {path.name}: zarr.json was sealed, and is no JSON") from error
    return RootDocument(store=path.name, data=data, content=content)


def sealed_digest(path: AnyPath) -> str | None:
    """Return the digest of the plan that wrote a sealed store; None where that is not known."""
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError):
        return str(read_root(path).statement.get("plan_digest"))
    return None


def store_bytes(path: AnyPath, separator: Separator | None = None) -> int:
    """Return the bytes of all objects of a store: what it takes in storage, headers included.

    With its separator, chunks of another store that replaces it, or that it replaced, are left out.
    """
    objects = storage_path(path).walk()
    if separator is None:
        return sum(size for _, size in objects)
    other = other_separator(separator)
    return sum(size for key, size in objects if not is_chunk_of(key, other))


def remove_store(path: AnyPath) -> None:
    """Remove a store that was never sealed, its documents first: nobody can open what is left."""
    store = storage_path(path)
    for node in ("", FULL_RESOLUTION, IMAGE):
        (store / document_key(node)).remove()
    store.remove_tree()
