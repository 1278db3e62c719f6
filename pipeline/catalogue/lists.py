"""Write the documents of a catalogue that list stores: collection, study index, and their pages.

Pages first, then what refers to them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tilepress.pipeline.catalogue import dicom_studies as dicom_index
from tilepress.pipeline.catalogue import stac
from tilepress.pipeline.catalogue.index import RASTER, SERIES, Entry
from tilepress.pipeline.catalogue.roll import Roll
from tilepress.pipeline.storage.path import StoragePath

__all__ = ["DICOM_PAGES", "PAGES", "Lists", "write_document"]

PAGE = 1000
"""Items, or series, that one document lists at most; a study is never divided."""

PAGES, DICOM_PAGES = "pages", "dicom"


def write_document(catalogue: StoragePath, key: str, document: Mapping[str, Any]) -> None:
    """Write one document of a catalogue."""
    (catalogue / key).write(json.dumps(document, separators=(",", ":")).encode())


class Lists:
    """The lists of one catalogue, of the stores that a roll names."""

    def __init__(self, catalogue: StoragePath, roll: Roll, generation: str, name: str) -> None:
        self._catalogue, self._roll = catalogue, roll
        self._generation, self._name = generation, name

    def are_whole(self) -> bool:
        """Whether the lists are there that should be."""
        lists = [
            (RASTER, stac.COLLECTION), (RASTER, stac.CATALOG), (SERIES, dicom_index.INDEX),
        ]  # fmt: skip
        return all(
            (self._catalogue / name).exists() == (self._roll.count(kind) > 0)
            for kind, name in lists
        )

    def write(self) -> None:
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

    def _write(self, key: str, document: Mapping[str, Any]) -> None:
        write_document(self._catalogue, key, document)


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
