"""Describe stores in the words of STAC 1.1: an item per store, a collection for the archive.

Extensions: ``projection`` 2.0 (CRS, shape, transform, box in the CRS), ``raster`` 2.0 (scale,
offset, sampling, resolution of bands), ``file`` 2.1 (size of the store; size and digest of its root
document, which seals all else). What has no word in STAC has the prefix ``tilepress:``.

STAC wants a time of every item. It is taken from the source's own tags where ``source/`` keeps
them; ``tilepress:datetime_from`` names the tag. A file's mtime is no such time. Where no tag tells,
``datetime`` is null, as STAC allows, with the only interval that is sure: from year 1 to the moment
at which the item was written, when the image was there.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tilepress.pipeline.catalogue.footprint import Bbox, Footprint, footprint
from tilepress.pipeline.catalogue.item_keys import (
    ITEMS,
    item_key,
    quoted,
    store_of_item,
    thumbnail_key,
)
from tilepress.pipeline.catalogue.placing import fitted_place
from tilepress.pipeline.catalogue.stac_assets import JSON_TYPE, assets_of, thumbnail_asset
from tilepress.pipeline.formats import format_of_kind
from tilepress.pipeline.image.info import Acquired
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import StoreSummary

__all__ = [
    "CATALOG",
    "COLLECTION",
    "ITEMS",
    "Extent",
    "acquired",
    "catalog_document",
    "collection_document",
    "footprint_of",
    "item_document",
    "item_id",
    "item_key",
    "page_document",
    "span_of",
    "store_of_item",
]

STAC_VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

COLLECTION = "collection.json"
CATALOG = "catalog.json"
"""The document above the collection: clients that begin with a catalog open it."""

GEOJSON_TYPE = "application/geo+json"

UNKNOWN_START = "0001-01-01T00:00:00Z"
MAX_SUMMARY = 50
"""Different values that a summary lists at most."""


@dataclass(slots=True)
class Extent:
    """What the items of a collection span; grows as they are added."""

    west: float = math.inf
    south: float = math.inf
    east: float = -math.inf
    north: float = -math.inf
    first: str | None = None
    last: str | None = None
    items: int = 0
    crs: set[str] = field(default_factory=set)
    codecs: set[str] = field(default_factory=set)

    def add(
        self, bbox: Bbox | None, span: tuple[str, str] | None, crs: str | None, codec: str
    ) -> None:
        self.items += 1
        if bbox is not None:
            west, south, east, north = bbox
            if west > east:  # across the antimeridian
                west, east = -180.0, 180.0
            self.west, self.south = min(self.west, west), min(self.south, south)
            self.east, self.north = max(self.east, east), max(self.north, north)
        if span is not None:
            self.first = span[0] if self.first is None else min(self.first, span[0])
            self.last = span[1] if self.last is None else max(self.last, span[1])
        for values, value in ((self.crs, crs), (self.codecs, codec)):
            if value is not None and len(values) < MAX_SUMMARY:
                values.add(value)

    @property
    def bbox(self) -> list[float]:
        """The box around all items; the whole globe where none has a place."""
        if self.west > self.east:
            return [-180.0, -90.0, 180.0, 90.0]
        return [self.west, self.south, self.east, self.north]


def acquired(reader: StoreReader) -> Acquired | None:
    """Return when the image was taken; None where its source does not say, or not in numbers."""
    format_ = format_of_kind(str(reader.origin.get("kind")))
    return None if format_ is None else format_.acquired(reader)


def span_of(time: Acquired) -> tuple[str, str]:
    """Return the first and last moment as STAC writes them."""
    return _told(time.time), _told(time.until or time.time)


def footprint_of(summary: StoreSummary) -> Footprint | None:
    """Return the outline of a store's raster; None where it has no georeference."""
    attributes = summary.attributes
    crs = attributes.get("proj:wkt2") or attributes.get("proj:code")
    transform = attributes.get("spatial:transform")
    if not crs or not transform:
        fitted = fitted_place(summary.place)
        if fitted is None:
            return None
        crs, transform = fitted
    height, width = summary.shape[-2:]
    with contextlib.suppress(ValueError, TypeError):
        return footprint(str(crs), [float(n) for n in transform], height, width)
    return None


def item_document(
    store: str,
    summary: StoreSummary,
    time: Acquired | None,
    now: datetime,
    collection: str,
    thumbnail: bytes | None = None,
) -> dict[str, Any]:
    """Return the STAC item of a store.

    Parameters
    ----------
    store : its key below the archive, e.g. "2024/scene.zarr"
    now : when the item is written, UTC
    collection : name of the collection
    thumbnail : the picture that lies at ``thumbnail_key``, where there is one
    """
    outline = footprint_of(summary)
    up = "../" * item_key(store).count("/")
    document: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": item_id(store),
        "geometry": None if outline is None else outline.geometry,
    }
    if outline is not None:
        document["bbox"] = list(outline.bbox)
    properties = _times(time, now) | _projection(summary) | _statement(summary)
    assets = assets_of(f"{up}../{store}", summary)
    if thumbnail is not None:
        assets["thumbnail"] = thumbnail_asset(up + thumbnail_key(store), thumbnail)
    document["stac_extensions"] = _extensions(properties, assets["data"])
    return document | {
        "properties": properties,
        "collection": collection,
        "links": [_link(rel, up + COLLECTION) for rel in ("root", "parent", "collection")],
        "assets": assets,
    }


def page_document(number: int, stores: Iterable[str]) -> dict[str, Any]:
    """Return a STAC catalog of a part of the items: what one reads at a time of a large archive.

    It lies two folders below the catalogue's.
    """
    up = "../../"
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"part-{number:05d}",
        "description": f"Part {number} of the archive's items, in the order of their stores.",
        "links": [
            _link("root", up + COLLECTION),
            _link("parent", up + COLLECTION),
            *(_item_link(store, up) for store in stores),
        ],
    }


def collection_document(
    name: str, extent: Extent, *, stores: Sequence[str] = (), pages: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the STAC collection of an archive, which links its items or pages of them."""
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "description": f"{extent.items} images stored as Zarr by tilepress.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [extent.bbox]},
            "temporal": {"interval": [[extent.first, extent.last]]},
        },
        "links": [
            _link("root", f"./{COLLECTION}"),
            *(_item_link(store, "./") for store in stores),
            *(_link("child", f"./{page}") for page in pages),
        ],
    }
    summaries = {"proj:code": sorted(extent.crs), "tilepress:codec": sorted(extent.codecs)}
    document["summaries"] = {key: values for key, values in summaries.items() if values}
    return document


def catalog_document(name: str) -> dict[str, Any]:
    """Return the STAC catalog whose one child is the collection of an archive."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"{name}-catalog",
        "description": "An archive of images stored as Zarr by tilepress.",
        "links": [_link("root", f"./{CATALOG}"), _link("child", f"./{COLLECTION}")],
    }


def _extensions(properties: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    """Return the extensions of which an item has a field."""
    keys = {*properties, *data, *(key for band in data["bands"] for key in band)}
    prefixes = {key.partition(":")[0] for key in keys}
    known = {"proj": PROJECTION, "raster": RASTER, "file": FILE}
    return [uri for prefix, uri in known.items() if prefix in prefixes]


def item_id(store: str) -> str:
    """Return a name of its own without slashes: it becomes a part of URLs."""
    folder, _, name = store.rpartition("/")
    stem = name.removesuffix(".zarr")
    return f"{stem}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}" if folder else stem


def _told(time: datetime) -> str:
    text = time.astimezone(UTC).isoformat(timespec="milliseconds" if time.microsecond else "auto")
    return text.replace("+00:00", "Z")


def _times(time: Acquired | None, now: datetime) -> dict[str, Any]:
    written = _told(now.replace(microsecond=0))
    source = {} if time is None else {"tilepress:datetime_from": time.tag}
    if time is not None and time.until is None:
        return {"datetime": _told(time.time), "updated": written} | source
    first, last = (UNKNOWN_START, written) if time is None else span_of(time)
    span = {"datetime": None, "start_datetime": first, "end_datetime": last}
    return span | {"updated": written} | source


def _projection(summary: StoreSummary) -> dict[str, Any]:
    attributes = summary.attributes
    found: dict[str, Any] = {}
    code, wkt = attributes.get("proj:code"), attributes.get("proj:wkt2")
    transform = attributes.get("spatial:transform")
    if code or wkt or transform:
        found["proj:code"] = code  # null says that there is none
    if wkt and not code:
        found["proj:wkt2"] = wkt
    if transform:
        found |= {
            "proj:shape": list(summary.shape[-2:]),
            "proj:transform": list(transform),
            "proj:bbox": list(attributes["spatial:bbox"]),
        }
    return found


def _statement(summary: StoreSummary) -> dict[str, Any]:
    statement = summary.statement
    loss = statement["loss"]
    found = {
        "tilepress:codec": statement["codec"],
        "tilepress:tier": statement["tier"],
        "tilepress:lossless": loss["lossless"],
        "tilepress:max_error": loss["max_error"],
        "tilepress:psnr_db": statement.get("psnr_db"),
        "tilepress:ratio": round(summary.ratio, 4),
        "tilepress:raw_bytes": summary.raw_bytes,
        "tilepress:stored_bytes": summary.stored_bytes,
        "tilepress:model": statement["model"]["name"],
        "tilepress:model_sha256": statement["model"]["sha256"],
        "tilepress:source_digest": statement["source_digest"]["sha256"],
        "tilepress:seal": summary.seal,
        "tilepress:axes": list(summary.axes),
        "tilepress:shape": list(summary.shape),
    }
    return {key: value for key, value in found.items() if value is not None}


def _link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": quoted(href), "type": JSON_TYPE}


def _item_link(store: str, up: str) -> dict[str, str]:
    return {"rel": "item", "href": quoted(up + item_key(store)), "type": GEOJSON_TYPE}
