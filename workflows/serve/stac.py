"""A STAC API (1.0: core, collections, features, item search) over the catalogue of an archive.

Clients find rasters by box, time, collection and id. Items are those of the catalogue, with a
thumbnail and addresses that work where they are read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.index import RASTER, Entry
from tilepress.pipeline.catalogue.search import Wanted, parse_bbox, parse_span
from tilepress.pipeline.catalogue.stac import COLLECTION, item_id, item_key
from tilepress.pipeline.catalogue.stores import CATALOGUE
from tilepress.workflows.serve.asked import number
from tilepress.workflows.serve.shelf import Shelf

__all__ = ["ROOT", "stac_routes"]

ROOT = "/stac"

GEOJSON = "application/geo+json"

LIMIT, MAX_LIMIT = 10, 500
"""Items of a page where nobody says how many, and at most."""

MAX_BODY = 2**16
"""Bytes of a search that comes as a document."""

MAX_OFFSET = 10**9

CONFORMS_TO = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)

_KNOWN = frozenset({"bbox", "datetime", "limit", "ids", "collections", "offset"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What a client looks for, and which page of it."""

    wanted: Wanted
    ids: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    limit: int = LIMIT
    offset: int = 0

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> _Search:
        """Read conditions; raises UsageError for what is none that is known."""
        for name in asked.keys() - _KNOWN:
            raise UsageError(f"searching: {name[:20]!r} is no condition of this server")
        box, when = asked.get("bbox"), asked.get("datetime")
        return cls(
            wanted=Wanted(
                bbox=None if box is None else parse_bbox(_flat(box)),
                span=None if when is None else parse_span(str(when)),
                kind=RASTER,
            ),
            ids=_texts(asked.get("ids")),
            collections=_texts(asked.get("collections")),
            limit=min(number(str(asked.get("limit", LIMIT)), "limit", MAX_OFFSET), MAX_LIMIT),
            offset=number(str(asked.get("offset", 0)), "offset", MAX_OFFSET),
        )


def stac_routes(shelf: Shelf, *, tell_places: bool) -> list[BaseRoute]:
    """Return the routes of the API.

    ``tell_places`` says where stores lie: of use to who reads on this machine, and nobody else's
    business.
    """
    views = _Views(shelf, tell_places)
    collection = ROOT + "/collections/{collection}"
    return [
        Route(ROOT, views.landing),
        Route(f"{ROOT}/conformance", views.conformance),
        Route(f"{ROOT}/collections", views.collections),
        Route(collection, views.collection),
        Route(f"{collection}/items", views.items),
        Route(collection + "/items/{item}", views.item),
        Route(f"{ROOT}/search", views.search),
        Route(f"{ROOT}/search", views.posted, methods=["POST"]),
    ]


class _Views:
    def __init__(self, shelf: Shelf, tell_places: bool) -> None:
        self._shelf, self._tell_places = shelf, tell_places

    def landing(self, request: Request) -> Response:
        here = _address(request)
        search = {"rel": "search", "href": f"{here}/search", "type": GEOJSON}
        return JSONResponse(
            {
                "type": "Catalog",
                "stac_version": "1.1.0",
                "id": f"{self._document()['id']}-catalog",
                "description": f"The archive {self._shelf.name}.",
                "conformsTo": CONFORMS_TO,
                "links": [
                    _link("self", here),
                    _link("root", here),
                    _link("conformance", f"{here}/conformance"),
                    _link("data", f"{here}/collections"),
                    _link("child", self._own(request)),
                    search | {"method": "GET"},
                    search | {"method": "POST"},
                ],
            }
        )

    def conformance(self, request: Request) -> Response:
        return JSONResponse({"conformsTo": CONFORMS_TO})

    def collections(self, request: Request) -> Response:
        here = _address(request)
        links = [_link("self", f"{here}/collections"), _link("root", here)]
        return JSONResponse({"collections": [self._collection(request)], "links": links})

    def collection(self, request: Request) -> Response:
        self._check(request)
        return JSONResponse(self._collection(request))

    def items(self, request: Request) -> Response:
        self._check(request)
        return self._page(request, dict(request.query_params), f"{self._own(request)}/items")

    def item(self, request: Request) -> Response:
        self._check(request)
        asked = _Search(wanted=Wanted(kind=RASTER), ids=frozenset({request.path_params["item"]}))
        for entry in self._matching(asked):
            item = self._item(request, entry)
            if item is not None:
                return JSONResponse(item, media_type=GEOJSON)
        raise HTTPException(404, "there is no such item here")

    def search(self, request: Request) -> Response:
        return self._page(request, dict(request.query_params), f"{_address(request)}/search")

    async def posted(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"a search has {MAX_BODY} bytes at most")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise UsageError("searching: want a JSON object")
        return await run_in_threadpool(self._page, request, asked, f"{_address(request)}/search")

    # what they are made of

    def _page(self, request: Request, asked: dict[str, Any], address: str) -> Response:
        """Return a page of what is found, with a link to the next one."""
        asked = {name: value for name, value in asked.items() if name != "token"}
        search = _Search.of(asked)
        if search.limit == 0:
            raise UsageError("searching: got limit 0, want one from 1 on")
        entries = itertools.islice(self._matching(search), search.offset, None)
        page = list(itertools.islice(entries, search.limit))
        found = [item for entry in page if (item := self._item(request, entry)) is not None]
        links: list[dict[str, Any]] = [_link("root", _address(request))]
        if len(page) == search.limit and next(entries, None) is not None:
            again = asked | {"offset": search.offset + search.limit}
            following: dict[str, Any] = {"rel": "next", "type": GEOJSON}
            if request.method == "POST":
                following |= {"href": address, "method": "POST", "body": again}
            else:
                following |= {"href": f"{address}?{urlencode(again)}", "method": "GET"}
            links.append(following)
        return JSONResponse(
            {
                "type": "FeatureCollection",
                "features": found,
                "numberReturned": len(found),
                "links": links,
            },
            media_type=GEOJSON,
        )

    def _matching(self, search: _Search) -> Iterator[Entry]:
        if search.collections is not None and self._document()["id"] not in search.collections:
            return
        for entry in self._shelf.entries(search.wanted):
            if search.ids is None or item_id(entry.key) in search.ids:
                yield entry

    def _item(self, request: Request, entry: Entry) -> dict[str, Any] | None:
        """Return an item as clients of this server need it; None where the catalogue lacks it."""
        item = self._read(item_key(entry.key))
        if item is None:
            return None
        here, base, key = self._own(request), _base(request), quote(entry.key)
        item["links"] = [
            _link("self", f"{here}/items/{quote(str(item['id']))}", GEOJSON),
            _link("root", _address(request)),
            _link("parent", here),
            _link("collection", here),
            _link("alternate", f"{base}/view/{key}", "text/html"),
        ]
        assets = item["assets"] if self._tell_places else {}
        store = str(self._shelf.path / entry.key)
        for name, asset in assets.items():
            asset["href"] = store if name == "data" else f"{store}/zarr.json"
        item["assets"] = assets | {
            "thumbnail": {
                "href": f"{base}/api/thumb/{key}",
                "type": "image/png",
                "title": "Picture of the whole, of 256 samples",
                "roles": ["thumbnail"],
            }
        }
        item["properties"]["tilepress:store"] = entry.key
        return item

    def _collection(self, request: Request) -> dict[str, Any]:
        here = self._own(request)
        links = [
            _link("self", here),
            _link("root", _address(request)),
            _link("parent", _address(request)),
            _link("items", f"{here}/items", GEOJSON),
        ]
        return self._document() | {"links": links}

    def _document(self) -> dict[str, Any]:
        found = None if self._shelf.is_store else self._read(COLLECTION)
        if found is None:
            raise HTTPException(404, "this has no catalogue of rasters")
        return found

    def _read(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            document = json.loads((self._shelf.path / CATALOGUE / key).read())
            return document if isinstance(document, dict) else None
        return None

    def _check(self, request: Request) -> None:
        if request.path_params["collection"] != self._document()["id"]:
            raise HTTPException(404, "there is no such collection here")

    def _own(self, request: Request) -> str:
        """Return the address of the one collection."""
        return f"{_address(request)}/collections/{quote(str(self._document()['id']), safe='')}"


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": kind}


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _address(request: Request) -> str:
    return _base(request) + ROOT


def _flat(box: object) -> str:
    """Return a box as text: documents have it as a list, of six numbers with heights."""
    if isinstance(box, str):
        parts = box.split(",")
    elif isinstance(box, list):
        parts = [str(one) for one in box]
    else:
        raise UsageError("searching: want a box as four numbers")
    if len(parts) == 6:
        parts = [*parts[:2], *parts[3:5]]
    return ",".join(parts)


def _texts(given: object) -> frozenset[str] | None:
    """Return the words of a list, or of a text with commas; None where nothing is given."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        return frozenset(given.split(","))
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return frozenset(given)
    raise UsageError("searching: want ids and collections as lists of words")
