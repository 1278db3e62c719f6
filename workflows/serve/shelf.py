"""The stores that are served, by their keys: no other is ever opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tilepress.codecs.coder import BASE
from tilepress.codecs.recent import Recent
from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.index import Entry, Index
from tilepress.pipeline.catalogue.search import Wanted, search
from tilepress.pipeline.catalogue.stores import CATALOGUE, is_store, walk_stores
from tilepress.pipeline.read.decoders import open_by
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed

__all__ = ["NoSuchStore", "Shelf"]

MAX_OPEN = 16
"""Stores that are held open; each may have overviews of 128 MiB."""

MAX_LISTED = 500
"""Stores that one page of a list has at most."""


class NoSuchStore(Exception):
    """There is no store of that key here."""


class Shelf:
    """One store, or those of an archive. Any thread may ask."""

    def __init__(
        self, where: AnyPath, decoder: str = BASE, *, force_generative: bool = False
    ) -> None:
        """Take a store or an archive; raises UsageError where there is neither.

        ``decoder`` is for the stores whose codec has several (``open_by``).
        """
        self._decoder, self._force_generative = decoder, force_generative
        self.path = storage_path(where)
        if not self.path.is_folder():
            raise UsageError(f"serving {where}: there is no such folder")
        self.is_store = is_store(self.path)
        if not self.is_store and next(walk_stores(self.path), None) is None:
            raise UsageError(f"serving {where}: it is no store, and there is none in it")
        self._open: Recent[str, Picture] = Recent(MAX_OPEN)

    @property
    def name(self) -> str:
        return self.path.name

    def picture(self, key: str) -> Picture:
        """Return a store's pictures.

        Raises NoSuchStore, and what opening a store raises.
        """
        picture = self._open.get(key)
        if picture is None:
            reader = open_by(
                self._find(key),
                self._decoder,
                force_generative=self._force_generative,
                any_codec=True,
            )
            picture = Picture(reader)
            self._open.put(key, picture)
        return picture

    def reader(self, key: str) -> StoreReader:
        """Open a store. Raises NoSuchStore, and what opening a store raises."""
        return StoreReader.open(self._find(key))

    def tag(self, key: str) -> str | None:
        """Return a mark that changes when a store of ``stores`` is replaced."""
        where = self.path if self.is_store else self.path / key
        return (where / ROOT_DOCUMENT).tag()

    def listed(
        self, wanted: Wanted, words: str, offset: int, limit: int
    ) -> tuple[list[Entry], int]:
        """Return entries of the catalogue that are wanted, from ``offset`` on, and their number.

        ``words`` have to stand in the key, in any case. Without a catalogue the archive is walked.
        """
        found: list[Entry] = []
        count = 0
        for entry in self.entries(wanted):
            key = entry.key.lower()
            if all(word in key for word in words.lower().split()):
                if offset <= count < offset + min(limit, MAX_LISTED):
                    found.append(entry)
                count += 1
        return found, count

    def stores(self) -> Iterator[str]:
        """Yield the keys of all stores."""
        return iter([self.name]) if self.is_store else walk_stores(self.path)

    @property
    def has_catalogue(self) -> bool:
        return not self.is_store and Index(self.path / CATALOGUE).exists

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        """Yield what the catalogue says of the stores that are wanted; nothing without one."""
        return search(self.path, wanted) if self.has_catalogue else iter(())

    def _find(self, key: str) -> StoragePath:
        """Return where the store of a key lies: below what is served, whatever the key says."""
        if self.is_store:
            if key != self.name:
                raise NoSuchStore
            return self.path
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise NoSuchStore
        if any(part.startswith(".") for part in parts) or any(map(is_store, self._above(parts))):
            raise NoSuchStore
        where = self.path / key
        if isinstance(where, FolderPath) and isinstance(self.path, FolderPath):
            root = self.path.path.resolve()
            try:
                lies = where.path.resolve(strict=True)
            except OSError as error:
                raise NoSuchStore from error
            if not lies.is_relative_to(root):  # a link that leads out
                raise NoSuchStore
        if not is_store(where) or not is_sealed(where):
            raise NoSuchStore
        if isinstance(where, FolderPath) and _has_links(where.path):
            raise NoSuchStore  # each of its objects could lie anywhere
        return where

    def _above(self, parts: list[str]) -> Iterator[StoragePath]:
        """Yield the folders between what is served and the store."""
        for count in range(1, len(parts)):
            yield self.path / "/".join(parts[:count])


def _has_links(folder: Path) -> bool:
    """Whether anything in a store on this machine is a link, or no file and no folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if _has_links(Path(entry.path)):
                    return True
            elif not entry.is_file(follow_symlinks=False):
                return True
    return False
