"""Bring the catalogue of an archive up to date: STAC for rasters, a study index for DICOM.

    catalogue/catalog.json            STAC catalog whose child is the collection
    catalogue/collection.json         STAC collection of the rasters; links items, or pages of them
    catalogue/items/<store>.json      STAC item of a store; the folders mirror those of the stores
    catalogue/thumbnails/<store>.webp small picture of a store on the ground
    catalogue/pages/<generation>/…    STAC catalogs that link items, where they are many
    catalogue/dicom.json              DICOM series by study, or the pages that hold them
    catalogue/dicom/<generation>/…    those pages
    catalogue/index.json, index/…     what ``tilepress ls`` needs of every store
    catalogue/updating.json           there while an update is at work, or was killed

Items are written only for stores that are new or sealed anew. Each object is written whole; what
is read first (collection, index) after what it refers to, and what nothing refers to any more is
removed last. So a killed update leaves the old catalogue or the new one, and the next update, which
finds ``updating.json``, removes what neither refers to. Memory does not grow with the archive: what
is known of its stores waits in a temporary file.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tilepress.errors import DestinationConflict, TilepressError
from tilepress.pipeline.catalogue import dicom_studies as dicom_index
from tilepress.pipeline.catalogue import stac
from tilepress.pipeline.catalogue.index import FOLDER, RASTER, SERIES, Entry, Index, merged
from tilepress.pipeline.catalogue.item_keys import (
    THUMBNAILS,
    store_of_item,
    store_of_thumbnail,
    thumbnail_key,
)
from tilepress.pipeline.catalogue.listed import listed_store
from tilepress.pipeline.catalogue.lists import DICOM_PAGES, PAGES, Lists, write_document
from tilepress.pipeline.catalogue.roll import Roll
from tilepress.pipeline.catalogue.stores import (
    CATALOGUE,
    READERS,
    is_store,
    several,
    walk_stores,
)
from tilepress.pipeline.catalogue.thumbnails import UNREADABLE, Thumbnails, thumbnail_of
from tilepress.pipeline.image.pseudonyms import Pseudonyms
from tilepress.pipeline.privacy.key import known_pseudonyms
from tilepress.pipeline.storage.links import check_no_links_below
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import StoreSummary, read_seal, read_summary

__all__ = ["CatalogueUpdate", "update_catalogue", "why_not_updated"]

MARKER = "updating.json"

STALE_AFTER = timedelta(days=1)
"""Age of what a killed update left in a bucket that is removed."""


@dataclass(frozen=True, slots=True)
class CatalogueUpdate:
    """What an update did."""

    stores: int
    """Stores in the catalogue now."""
    written: int
    """Of them new or sealed anew."""
    removed: int
    """Stores that were in the catalogue and are gone from it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found of one store."""

    key: str
    entry: Entry | None
    """None where there is no sealed store that can be read."""
    changed: bool
    """Whether the index has to be written again."""
    written: bool = False


def update_catalogue(
    archive: AnyPath, *, rebuild: bool = False, thumbnails: Thumbnails = "levels"
) -> CatalogueUpdate:
    """Make the catalogue of an archive true; ``rebuild`` writes all of it anew.

    ``thumbnails`` says which stores on the ground that are new or sealed anew get one; "all" also
    gives one to those that were listed without.

    Unfinished and unreadable stores are left out. May be stopped at any time and called again.
    Nothing is written where nothing has changed, and nothing at all for a single store.

    Raises OSError where storage fails, DestinationConflict where a folder of it is a link.
    """
    where = storage_path(archive)
    if not where.is_folder() or is_store(where):
        return CatalogueUpdate(0, 0, 0)
    catalogue = where / CATALOGUE
    if not catalogue.is_folder() and next(walk_stores(where), None) is None:
        return CatalogueUpdate(0, 0, 0)
    check_no_links_below(where, catalogue)
    catalogue.make_folder()
    with catalogue.guard(), contextlib.closing(Roll()) as roll:
        return _Update(where, roll, rebuild=rebuild, thumbnails=thumbnails).run()


def why_not_updated(archive: AnyPath, thumbnails: Thumbnails = "levels") -> str | None:
    """Update the catalogue; return in a line why that failed: every store is sound without it."""
    try:
        update_catalogue(archive, thumbnails=thumbnails)
    except (OSError, TilepressError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, DestinationConflict):
            reason = str(error)
        return f"the catalogue of {archive} is not up to date ({reason})"
    return None


class _Update:
    """One update of one archive."""

    def __init__(
        self, archive: StoragePath, roll: Roll, *, rebuild: bool, thumbnails: Thumbnails
    ) -> None:
        self._archive = archive
        self._catalogue = archive / CATALOGUE
        self._index = Index(self._catalogue)
        self._roll = roll
        self._now = datetime.now(UTC)
        self._generation = f"{self._now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._name = (None if rebuild else self._index.name) or _name_of(archive)
        self._lists = Lists(self._catalogue, roll, self._generation, self._name)
        self._before = self._index.generation
        self._thumbnails: Thumbnails = thumbnails
        self._marking, self._drawing = threading.Lock(), threading.Lock()
        self._marker = self._catalogue / MARKER
        self._marked = self._marker.exists()
        self._rebuild = rebuild
        self._pseudonyms: Pseudonyms | None = None
        with contextlib.suppress(OSError, TilepressError):  # whose key it is not lists no patients
            self._pseudonyms = known_pseudonyms(archive)
        self._sweep = rebuild or self._marked or not self._index.exists

    def run(self) -> CatalogueUpdate:
        changed, written, removed = self._look_at_all()
        stores = self._roll.count()
        if changed or self._sweep or not self._lists.are_whole():
            self._mark()
            self._lists.write()
            self._index.write(self._roll.lines(), self._generation, self._name)
            self._remove_items()
            self._remove_generations()
            self._marker.remove()
        return CatalogueUpdate(stores, written, removed)

    def _look_at_all(self) -> tuple[bool, int, int]:
        known = iter(()) if self._rebuild else self._index.entries()
        pairs = merged(walk_stores(self._archive), known)
        changed, written, removed = False, 0, 0
        with ThreadPoolExecutor(READERS, thread_name_prefix="catalogue") as pool:
            for look in several(pool, lambda pair: self._look(*pair), pairs):
                changed |= look.changed
                written += look.written
                if look.entry is not None:
                    self._roll.add(look.entry)
                elif look.changed:
                    removed += 1
                    self._roll.add_gone(look.key)
        return changed, written, removed

    def _look(self, key: str, entry: Entry | None, present: bool) -> _Look:
        """Look at one store; write its item if it is new or was sealed anew."""
        gone = _Look(key, None, changed=entry is not None)
        store = self._archive / key
        if not present:
            return gone
        tag = (store / ROOT_DOCUMENT).tag()  # before the document: a later one has another tag
        if tag is None:
            return gone
        had = entry is not None and bool(entry.thumbnail)
        if entry is not None and (self._lacks_patient(entry) or self._lacks_thumbnail(entry)):
            entry = None  # of a catalogue that knew no patients, or drew nothing
        if entry is not None and entry.tag == tag:
            return _Look(key, entry, changed=False)
        try:
            if entry is not None and read_seal(store) == entry.seal:
                return _Look(key, replace(entry, tag=tag), changed=True)
            described = self._described(store, key, tag, had_thumbnail=had)
            return _Look(key, described, changed=True, written=True)
        except (*UNREADABLE, FileNotFoundError, PermissionError):
            return gone

    def _lacks_patient(self, entry: Entry) -> bool:
        has_key = self._pseudonyms is not None and self._pseudonyms.key is not None
        return has_key and entry.kind == SERIES and entry.patient is None

    def _lacks_thumbnail(self, entry: Entry) -> bool:
        is_placed = entry.kind == RASTER and entry.bbox is not None
        return self._thumbnails == "all" and is_placed and entry.thumbnail is None

    def _described(self, store: StoragePath, key: str, tag: str, *, had_thumbnail: bool) -> Entry:
        summary = read_summary(store)
        if summary.modality is not None:
            return self._series(store, key, tag, summary)
        entry = self._raster(store, key, tag, summary)
        if had_thumbnail and not entry.thumbnail:  # its item names none by now
            (self._catalogue / thumbnail_key(key)).remove()
        return entry

    def _raster(self, store: StoragePath, key: str, tag: str, summary: StoreSummary) -> Entry:
        reader, time = None, None  # an item needs neither
        with contextlib.suppress(*UNREADABLE):
            reader = StoreReader.open(store)
            time = stac.acquired(reader)
        picture, was_tried = None, False
        if reader is not None and self._is_drawn(reader, summary):
            with self._drawing:  # one at a time: each may take a lot of memory
                picture, was_tried = thumbnail_of(reader), True
        item = stac.item_document(key, summary, time, self._now, self._name, picture)
        self._mark()
        if picture is not None:
            (self._catalogue / thumbnail_key(key)).write(picture)
        write_document(self._catalogue, stac.item_key(key), item)
        bbox = item.get("bbox")
        return Entry(
            summary=listed_store(key, summary),
            tag=tag,
            seal=summary.seal,
            kind=RASTER,
            codec=str(summary.statement["codec"]),
            bbox=tuple(bbox) if bbox is not None else None,
            span=None if time is None else stac.span_of(time),
            thumbnail=picture is not None if was_tried else None,
        )

    def _is_drawn(self, reader: StoreReader, summary: StoreSummary) -> bool:
        """Whether a store gets a thumbnail: it lies on the ground, and is asked for."""
        if self._thumbnails == "none" or stac.footprint_of(summary) is None:
            return False
        return self._thumbnails == "all" or reader.level_count > 1

    def _series(self, store: StoragePath, key: str, tag: str, summary: StoreSummary) -> Entry:
        reader = StoreReader.open(store)
        known = dicom_index.identity(reader)
        series = dicom_index.SeriesEntry.of(key, summary, known)
        return Entry(
            summary=listed_store(key, summary),
            tag=tag,
            seal=summary.seal,
            kind=SERIES,
            codec=str(summary.statement["codec"]),
            study=known.study,
            patient=dicom_index.patient_of(reader, self._pseudonyms),
            series=series.to_json(),
        )

    # what nothing refers to

    def _remove_items(self) -> None:
        for key in self._roll.gone():
            (self._catalogue / stac.item_key(key)).remove()
            (self._catalogue / thumbnail_key(key)).remove()
        if not self._sweep:
            return
        for name, _ in (self._catalogue / stac.ITEMS).walk():
            key = f"{stac.ITEMS}/{name}"
            store = store_of_item(key)
            if store is not None and self._roll.raster(store) is None:
                (self._catalogue / key).remove()
        for name, _ in (self._catalogue / THUMBNAILS).walk():
            key = f"{THUMBNAILS}/{name}"
            store = store_of_thumbnail(key)
            shown = None if store is None else self._roll.raster(store)
            if store is not None and not (shown is not None and shown.thumbnail):
                (self._catalogue / key).remove()

    def _remove_generations(self) -> None:
        for name in (PAGES, DICOM_PAGES, FOLDER):
            folder = self._catalogue / name
            with contextlib.suppress(FileNotFoundError):
                for generation in folder.folders():
                    if self._is_past(generation):
                        (folder / generation).remove_tree()
            folder.remove_empty()

    def _is_past(self, generation: str) -> bool:
        """Whether nobody writes a generation any more.

        In a bucket there is no lock: what is young may be that of another update.
        """
        if generation == self._generation:
            return False
        if generation == self._before or not self._archive.conditional:
            return True
        return generation < f"{self._now - STALE_AFTER:%Y%m%dT%H%M%S}"

    def _mark(self) -> None:
        """Leave a mark before anything is written: the next update then knows of this one."""
        with self._marking:
            if not self._marked:
                self._marker.write(b"{}")
                self._marked = True


def _name_of(archive: StoragePath) -> str:
    """Return what an archive's collection is called; it keeps that name wherever it is moved."""
    name = archive.path.resolve().name if isinstance(archive, FolderPath) else archive.name
    return name or "archive"
