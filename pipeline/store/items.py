"""Read what a store keeps beside samples: its manifest, and the items of its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import zarr

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.boxes import array_of, read_box, read_bytes, separator_of
from tilepress.pipeline.store.keys import (
    MANIFEST,
    ORIGIN,
    SOURCE,
    array_key,
    level_image,
    source_key,
)
from tilepress.pipeline.store.lean import (
    copied_documents,
    lean_source_key,
    listed_in,
    unpacked_source,
)
from tilepress.pipeline.store.manifest import Manifest, sha256_hex
from tilepress.pipeline.store.packed import item_of, names_of, origin_of
from tilepress.pipeline.store.seal import APART_VERSION, RootDocument

__all__ = ["KeptItems"]


class KeptItems:
    """The manifest and the source of a store, of whatever format."""

    def __init__(self, path: StoragePath, document: RootDocument, root: zarr.Group) -> None:
        self._path = path
        self._document = document
        self._root = root

    @cached_property
    def manifest(self) -> Manifest:
        """Raises DamagedStore where it is not the one that was sealed."""
        if self._document.is_lean:
            return self._lean_manifest()
        data = self._read_bytes(self._document.manifest)
        if sha256_hex(data) != self._document.statement.get("manifest_sha256"):
            raise DamagedStore(f"reading {self._path.name}: the manifest is not the one sealed")
        return Manifest.parse(data)

    @cached_property
    def origin(self) -> Mapping[str, Any]:
        """What kind of source it was, and what its format noted of it."""
        origin = origin_of(self._origin_bytes)
        if not isinstance(origin, dict) or "kind" not in origin:
            raise DamagedStore(f"reading {self._path.name}: source/origin says no kind")
        return origin

    def names(self) -> tuple[str, ...]:
        """Return the names of the source's items, in order."""
        if self._document.is_lean:
            return tuple(sorted(("origin", *names_of(self._origin_bytes))))
        group = self._root.get(SOURCE)
        if not isinstance(group, zarr.Group):
            raise DamagedStore(f"reading {self._path.name}: there is no group {SOURCE}")
        packed = () if self._is_first_format else names_of(self._origin_bytes)
        names = (name for name in group.array_keys() if source_key(name) != MANIFEST)
        return tuple(sorted((*names, *packed)))

    def apart(self) -> tuple[str, ...]:
        """Return the names of those that are not in one object with "origin"."""
        if self._document.is_lean:
            return ()
        packed = () if self._is_first_format else names_of(self._origin_bytes)
        return tuple(name for name in self.names() if name not in {"origin", *packed})

    def item(self, name: str) -> bytes:
        """Return one item; KeyError where there is none of that name."""
        if source_key(name) in self._root:
            return self._read_bytes(source_key(name))
        if name == "origin":
            return self._origin_bytes
        if self._is_first_format:
            raise KeyError(name)
        try:
            return item_of(self._origin_bytes, name)
        except ValueError as error:
            text = f"reading {self._path.name}: source/origin contradicts itself ({error})"
            raise DamagedStore(text) from error

    def start(self, name: str, length: int) -> bytes:
        """Return the first bytes of an item, and read no more than its chunks."""
        if source_key(name) not in self._root:
            return self.item(name)[:length]
        node = array_of(self._root, source_key(name), self._path.name)
        return read_box(node, Box((0,), (min(length, node.shape[0]),)), self._path.name).tobytes()

    @property
    def _is_first_format(self) -> bool:
        return bool(self._document.statement["format_version"] == APART_VERSION)

    def _lean_manifest(self) -> Manifest:
        document = self._document
        try:
            listed = Manifest.parse(listed_in(document.data))
            return replace(listed, documents=copied_documents(document.content))
        except DamagedStore as error:
            raise DamagedStore(f"reading {self._path.name}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise document.lacks(error) from error

    def _lean_source(self) -> bytes:
        image = array_of(self._root, array_key(level_image(0)), self._path.name)
        key = lean_source_key(separator_of(image))
        try:
            return unpacked_source((self._path / key).read())
        except (OSError, DamagedStore) as error:
            raise DamagedStore(f"reading {self._path.name}: {key}: {error}") from error

    @cached_property
    def _origin_bytes(self) -> bytes:
        if self._document.is_lean:
            return self._lean_source()
        return self._read_bytes(ORIGIN)

    def _read_bytes(self, key: str) -> bytes:
        return read_bytes(self._root, key, self._path.name)
