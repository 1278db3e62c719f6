"""Bring the catalogue of an archive up to date: STAC for rasters, a study index for DICOM.

    catalogue/catalog.json            STAC catalog whose child is the collection
    catalogue/collection.json         STAC collection of the rasters; links items, or pages of them
    catalogue/items/<store>.json      STAC item of a store; the folders mirror those of the stores
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
import itertools
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tilepress.errors import DestinationConflict, TilepressError
from tilepress.pipeline.catalogue import dicom_studies as dicom_index
from tilepress.pipeline.catalogue import stac
from tilepress.pipeline.catalogue.index import FOLDER, RASTER, SERIES, Entry, Index, merged
from tilepress.pipeline.catalogue.listed import listed_store
from tilepress.pipeline.catalogue.stores import (
    CATALOGUE,
    READERS,
    is_store,
    several,
    walk_stores,
)
from tilepress.pipeline.image.pseudonyms import Pseudonyms
from tilepress.pipeline.privacy.key import known_pseudonyms
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import StoreSummary, read_seal, read_summary

__all__ = ["CatalogueUpdate", "update_catalogue", "why_not_updated"]

PAGE = 1000
"""Items, or series, that one document lists at most; a study is never divided."""

MARKER = "updating.json"
PAGES, DICOM_PAGES = "pages", "dicom"

STALE_AFTER = timedelta(days=1)
"""Age of what a killed update left in a bucket that is removed."""

_UNREADABLE = (TilepressError, ValueError, KeyError, TypeError)
"""What a damaged store may raise; storage that fails is another matter."""

CACHE_KIB = 2048
"""Memory that the temporary file may use for its pages."""


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


def update_catalogue(archive: AnyPath, *, rebuild: bool = False) -> CatalogueUpdate:
    """Make the catalogue of an archive true; ``rebuild`` writes all of it anew.

    Unfinished and unreadable stores are left out. May be stopped at any time and called again.
    Nothing is written where nothing has changed, and nothing at all for a single store.

    Raises OSError where storage fails.
    """
    where = storage_path(archive)
    if not where.is_folder() or is_store(where):
        return CatalogueUpdate(0, 0, 0)
    catalogue = where / CATALOGUE
    if not catalogue.is_folder() and next(walk_stores(where), None) is None:
        return CatalogueUpdate(0, 0, 0)
    check_no_link(where, catalogue)
    catalogue.make_folder()
    with catalogue.guard(), contextlib.closing(_Roll()) as roll:
        return _Update(where, roll, rebuild=rebuild).run()


def why_not_updated(archive: AnyPath) -> str | None:
    """Update the catalogue; return in a line why that failed: every store is sound without it."""
    try:
        update_catalogue(archive)
    except (OSError, TilepressError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, DestinationConflict):
            reason = str(error)
        return f"the catalogue of {archive} is not up to date ({reason})"
    return None


class _Update:
    """One update of one archive."""

    def __init__(self, archive: StoragePath, roll: _Roll, *, rebuild: bool) -> None:
        self._archive = archive
        self._catalogue = archive / CATALOGUE
        self._index = Index(self._catalogue)
        self._roll = roll
        self._now = datetime.now(UTC)
        self._generation = f"{self._now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._name = (None if rebuild else self._index.name) or _name_of(archive)
        self._before = self._index.generation
        self._marking = threading.Lock()
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
        if changed or self._sweep or not self._is_whole():
            self._mark()
            self._write_lists()
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
        if entry is not None and self._lacks_patient(entry):
            entry = None  # of a catalogue that knew no patients
        if entry is not None and entry.tag == tag:
            return _Look(key, entry, changed=False)
        try:
            if entry is not None and read_seal(store) == entry.seal:
                return _Look(key, replace(entry, tag=tag), changed=True)
            return _Look(key, self._described(store, key, tag), changed=True, written=True)
        except (*_UNREADABLE, FileNotFoundError, PermissionError):
            return gone

    def _lacks_patient(self, entry: Entry) -> bool:
        has_key = self._pseudonyms is not None and self._pseudonyms.key is not None
        return has_key and entry.kind == SERIES and entry.patient is None

    def _described(self, store: StoragePath, key: str, tag: str) -> Entry:
        summary = read_summary(store)
        return (
            self._raster(store, key, tag, summary)
            if summary.modality is None
            else self._series(store, key, tag, summary)
        )

    def _raster(self, store: StoragePath, key: str, tag: str, summary: StoreSummary) -> Entry:
        try:
            time = stac.acquired(StoreReader.open(store))
        except _UNREADABLE:
            time = None  # an item needs none
        item = stac.item_document(key, summary, time, self._now, self._name)
        self._mark()
        self._write(stac.item_key(key), item)
        bbox = item.get("bbox")
        return Entry(
            summary=listed_store(key, summary),
            tag=tag,
            seal=summary.seal,
            kind=RASTER,
            codec=str(summary.statement["codec"]),
            bbox=tuple(bbox) if bbox is not None else None,
            span=None if time is None else stac.span_of(time),
        )

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

    # the lists

    def _is_whole(self) -> bool:
        """Whether the lists are there that should be."""
        lists = [
            (RASTER, stac.COLLECTION), (RASTER, stac.CATALOG), (SERIES, dicom_index.INDEX),
        ]  # fmt: skip
        return all(
            (self._catalogue / name).exists() == (self._roll.count(kind) > 0)
            for kind, name in lists
        )

    def _write_lists(self) -> None:
        """Write pages first, then what refers to them; remove what has nothing to list."""
        if self._roll.count(RASTER):
            self._write_collection()
        else:
            (self._catalogue / stac.CATALOG).remove()
            (self._catalogue / stac.COLLECTION).remove()
        if self._roll.count(SERIES):
            self._write_dicom()
        else:
            (self._catalogue / dicom_index.INDEX).remove()

    def _write_collection(self) -> None:
        extent, pages = stac.Extent(), list[str]()
        one_page = self._roll.count(RASTER) <= PAGE
        stores: list[str] = []
        for number, block in enumerate(_blocks(self._roll.rasters(), PAGE)):
            stores = [entry.key for entry in block]
            for entry in block:
                extent.add(entry.bbox, entry.span, entry.summary.crs, entry.codec)
            if not one_page:
                pages.append(f"{PAGES}/{self._generation}/{number:05d}.json")
                self._write(pages[-1], stac.page_document(number, stores))
        document = stac.collection_document(
            self._name, extent, stores=stores if one_page else (), pages=pages
        )
        self._write(stac.COLLECTION, document)
        self._write(stac.CATALOG, stac.catalog_document(self._name))

    def _write_dicom(self) -> None:
        counts = {"studies": 0, "series": 0, "raw_bytes": 0, "stored_bytes": 0}
        one_page = self._roll.count(SERIES) <= PAGE
        pages: list[dict[str, Any]] = []
        studies: list[dict[str, Any]] = []
        for number, studies in enumerate(_pages_of_studies(self._roll.studies())):
            found = _counted(studies)
            counts = {name: count + found[name] for name, count in counts.items()}
            if not one_page:
                href = f"{DICOM_PAGES}/{self._generation}/{number:05d}.json"
                self._write(href, {"studies": studies})
                first, last = studies[0]["study"], studies[-1]["study"]
                pages.append({"href": href, "first": first, "last": last} | found)
        document = dicom_index.index_document(
            counts, studies=studies if one_page else None, pages=None if one_page else pages
        )
        self._write(dicom_index.INDEX, document)

    # what nothing refers to

    def _remove_items(self) -> None:
        for key in self._roll.gone():
            (self._catalogue / stac.item_key(key)).remove()
        if not self._sweep:
            return
        for name, _ in (self._catalogue / stac.ITEMS).walk():
            key = f"{stac.ITEMS}/{name}"
            store = stac.store_of_item(key)
            if store is not None and not self._roll.has_raster(store):
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

    def _write(self, key: str, document: Mapping[str, Any]) -> None:
        (self._catalogue / key).write(json.dumps(document, separators=(",", ":")).encode())


class _Roll:
    """The entries of an archive in order, in a temporary file that SQLite keeps."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE entries (position INTEGER PRIMARY KEY, store BLOB, kind TEXT, "
            "study TEXT, line TEXT)"
        )
        self._database.execute("CREATE INDEX stores ON entries (store)")
        self._database.execute("CREATE TABLE gone (store BLOB)")

    def close(self) -> None:
        self._database.close()

    def add(self, entry: Entry) -> None:
        self._database.execute(
            "INSERT INTO entries (store, kind, study, line) VALUES (?, ?, ?, ?)",
            (_as_bytes(entry.key), entry.kind, entry.study or "", entry.dump()),
        )

    def add_gone(self, key: str) -> None:
        self._database.execute("INSERT INTO gone VALUES (?)", (_as_bytes(key),))

    def count(self, kind: str = "") -> int:
        """Return how many entries there are, of one kind where that is named."""
        query = "SELECT COUNT(*) FROM entries WHERE ? IN ('', kind)"
        return int(self._database.execute(query, (kind,)).fetchone()[0])

    def lines(self) -> Iterator[str]:
        return self._lines("SELECT line FROM entries ORDER BY position")

    def rasters(self) -> Iterator[Entry]:
        query = "SELECT line FROM entries WHERE kind = ? ORDER BY position"
        return map(Entry.load, self._lines(query, RASTER))

    def studies(self) -> Iterator[Entry]:
        """Yield the DICOM series, those of a study together."""
        query = "SELECT line FROM entries WHERE kind = ? ORDER BY study, position"
        return map(Entry.load, self._lines(query, SERIES))

    def has_raster(self, store: str) -> bool:
        query = "SELECT 1 FROM entries WHERE store = ? AND kind = ?"
        return self._database.execute(query, (_as_bytes(store), RASTER)).fetchone() is not None

    def gone(self) -> Iterator[str]:
        for (store,) in self._database.execute("SELECT store FROM gone"):
            yield store.decode("utf-8", "surrogateescape")

    def _lines(self, query: str, *arguments: str) -> Iterator[str]:
        for (line,) in self._database.execute(query, arguments):
            yield line


def _name_of(archive: StoragePath) -> str:
    """Return what an archive's collection is called; it keeps that name wherever it is moved."""
    name = archive.path.resolve().name if isinstance(archive, FolderPath) else archive.name
    return name or "archive"


def _as_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _blocks(entries: Iterator[Entry], count: int) -> Iterator[list[Entry]]:
    while block := list(itertools.islice(entries, count)):
        yield block


def _pages_of_studies(entries: Iterable[Entry]) -> Iterator[list[dict[str, Any]]]:
    """Yield the documents of some studies at a time, with at least ``PAGE`` series together."""
    page, series = list[dict[str, Any]](), 0
    for study, listed in itertools.groupby(entries, key=lambda entry: entry.study):
        document = dicom_index.study_document(study, [entry.series or {} for entry in listed])
        page.append(document)
        series += len(document["series"])
        if series >= PAGE:
            yield page
            page, series = [], 0
    if page:
        yield page


def _counted(studies: list[dict[str, Any]]) -> dict[str, int]:
    return {
        "studies": len(studies),
        "series": sum(len(study["series"]) for study in studies),
        "raw_bytes": sum(study["raw_bytes"] for study in studies),
        "stored_bytes": sum(study["stored_bytes"] for study in studies),
    }
