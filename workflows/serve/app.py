"""The web application: an index of stores, tiles, slices, values, and the pages that show them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from tilepress.codecs.recent import Recent
from tilepress.errors import TilepressError, TooMuchMemory, UsageError
from tilepress.pipeline.catalogue.index import Entry
from tilepress.pipeline.catalogue.search import Wanted, parse_bbox, parse_span
from tilepress.pipeline.read.look import Look, Pixels, look_of
from tilepress.pipeline.read.picture import Picture
from tilepress.workflows.serve.access import Guard
from tilepress.workflows.serve.asked import look_asked, number
from tilepress.workflows.serve.described import described
from tilepress.workflows.serve.dicomweb.routes import dicomweb_routes
from tilepress.workflows.serve.mercator import MAX_ZOOM, map_tile
from tilepress.workflows.serve.originals import Originals, What, what_asked
from tilepress.workflows.serve.quiet import Answer, quiet
from tilepress.workflows.serve.shelf import NoSuchStore, Shelf
from tilepress.workflows.serve.stac import stac_routes

__all__ = ["TILE", "build"]

VIEWER = Path(__file__).parent / "viewer"

TILE = 256
THUMBNAIL = 256

MAX_TILES = 2**26
"""Bytes of finished pictures that are kept."""

MAX_LOOKS = 1000
"""Stores whose usual look is kept."""

WORKING = 4
WAITING_S = 30.0
"""So many pictures are drawn at a time; a request that waits longer is told to come again."""


def build(
    shelf: Shelf, *, hosts: Sequence[str] | None = ("127.0.0.1", "localhost", "::1"),
    token: str | None = None, origins: Sequence[str] = (), originals: Originals | None = None,
) -> ASGIApp:  # fmt: skip
    """Return the application that shows the stores of a shelf.

    ``hosts`` are the names that requests may call it by, None any; ``token`` is what requests must
    have, None nothing; ``origins`` are those whose pages may read it; ``originals`` show what
    stores were made of. Raises UsageError where anybody anywhere might ask: headers of DICOM files
    have names of patients.
    """
    if hosts is None and token is None:
        raise UsageError("serving: other machines need a token")
    views = _Views(shelf, originals)
    routes = [
        Route("/", _page("index.html")),
        Route("/view/{key:path}", _quiet(views.page)),
        Route("/api/stores", _quiet(views.stores)),
        Route("/api/info/{key:path}", _quiet(views.info)),
        Route("/api/thumb/{key:path}", _quiet(views.thumb)),
        Route("/api/value/{row}/{column}/{key:path}", _quiet(views.value)),
        Route("/api/tile/{level}/{column}/{row}/{key:path}", _quiet(views.tile)),
        Route("/api/xyz/{zoom}/{column}/{row}/{key:path}", _quiet(views.xyz)),
        Route("/api/plane/{axis}/{number}/{key:path}", _quiet(views.plane)),
        *dicomweb_routes(shelf, views.turn),
        *stac_routes(shelf, tell_places=token is None),
        Mount("/static", StaticFiles(directory=VIEWER)),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _told,
            NoSuchStore: _no_store,
            UsageError: _bad_request,
            TooMuchMemory: _too_much,
            TilepressError: _broken,
            OSError: _unreadable,
        },
    )
    return Guard(app, hosts=hosts, token=token, origins=origins)


def _quiet(answer: Answer) -> Answer:
    return quiet(answer, "reading the store")


class _Views:
    def __init__(self, shelf: Shelf, originals: Originals | None = None) -> None:
        self._shelf, self._originals = shelf, originals
        self._looks: Recent[str, Look] = Recent(MAX_LOOKS)
        self._made: Recent[tuple[Any, ...], bytes] = Recent(MAX_TILES, len)
        self._working = threading.BoundedSemaphore(WORKING)

    def page(self, request: Request) -> Response:
        self._shelf.picture(request.path_params["key"])  # 404 before a page that cannot work
        return FileResponse(VIEWER / "view.html")

    def stores(self, request: Request) -> Response:
        query = request.query_params
        if not self._shelf.has_catalogue:
            return self._uncatalogued(query.get("q", ""))
        wanted = Wanted(
            bbox=parse_bbox(query["bbox"]) if query.get("bbox") else None,
            span=parse_span(query["datetime"]) if query.get("datetime") else None,
            modality=query.get("modality") or None,
        )
        offset = number(query.get("offset", "0"), "offset", 10**9)
        limit = number(query.get("limit", "60"), "limit", 501)
        found, count = self._shelf.listed(wanted, query.get("q", ""), offset, limit)
        rows = [_row(entry) for entry in found]
        return JSONResponse({"name": self._shelf.name, "count": count, "stores": rows})

    def _uncatalogued(self, words: str) -> Response:
        """Return the keys alone of an archive without a catalogue, or of one store."""
        wanted = words.lower().split()
        keys = []
        for key in self._shelf.stores():
            if all(word in key.lower() for word in wanted):
                keys.append({"key": key})
            if len(keys) == 500:
                break
        return JSONResponse({"name": self._shelf.name, "count": len(keys), "stores": keys})

    def info(self, request: Request) -> Response:
        picture, usual = self._picture(request)
        told = described(request.path_params["key"], picture, usual)
        can_compare = self._originals is not None and not picture.reader.loss.is_lossless
        return JSONResponse(told | {"original": can_compare, "worst": _worst(picture)})

    def thumb(self, request: Request) -> Response:
        return self._png(request, ("thumb",), lambda p, look: p.overview(THUMBNAIL, look))

    def tile(self, request: Request) -> Response:
        """A tile of the pyramid of powers of two whose last level is the full resolution."""
        picture, _ = self._picture(request)
        top = math.ceil(math.log2(max(picture.height, picture.width, 2)))
        params = request.path_params
        level = number(params["level"], "level", top + 1)
        factor = 2 ** (top - level)
        side = TILE * factor
        row = number(params["row"], "row", -(-picture.height // side))
        column = number(params["column"], "column", -(-picture.width // side))
        window = (row * side, column * side, (row + 1) * side, (column + 1) * side)
        return self._png(
            request, ("tile", level, row, column), lambda p, look: p.region(window, factor, look)
        )

    def xyz(self, request: Request) -> Response:
        params = request.path_params
        zoom = number(params["zoom"], "zoom", MAX_ZOOM + 1)
        column = number(params["column"], "column", 2**zoom)
        row = number(params["row"], "row", 2**zoom)
        return self._png(
            request,
            ("xyz", zoom, column, row),
            lambda p, look: map_tile(p, zoom, column, row, look),
        )

    def value(self, request: Request) -> Response:
        picture, usual = self._picture(request)
        look = look_asked(request.query_params, picture.reader, usual)
        row = number(request.path_params["row"], "row", picture.height)
        column = number(request.path_params["column"], "column", picture.width)
        values = picture.value(row, column, look)
        shown = [v if not isinstance(v, float) or math.isfinite(v) else None for v in values]
        told: dict[str, Any] = {"values": shown}
        if look.index is not None:
            told["index"] = picture.index(row, column, look)
        return JSONResponse(told)

    def plane(self, request: Request) -> Response:
        """Samples of a slice, of its original or how far they are apart, little-endian, C order;
        dtype and shape are in the headers."""
        picture, usual = self._picture(request)
        look = look_asked(request.query_params, picture.reader, usual)
        params = request.path_params
        axis = params["axis"]
        axes = picture.reader.axes
        count = picture.reader.shape[axes.index(axis)] if axis in axes else 0
        if axis not in ("z", "y", "x") or not count:
            raise UsageError(f"drawing: got axis {axis[:20]!r}, want z, y or x of a volume")
        picture, look, _ = self._beside(request, picture, look)
        with self.turn():
            samples = picture.plane(axis, number(params["number"], axis, count), look)
        little = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
        if little.dtype.itemsize > 4 or little.dtype.kind == "b" or little.dtype == np.float16:
            little = little.astype("<f4")
        headers = {
            "x-dtype": little.dtype.str.lstrip("|<"),
            "x-shape": ",".join(map(str, little.shape)),
        }
        return Response(little.tobytes(), media_type="application/octet-stream", headers=headers)

    def _picture(self, request: Request) -> tuple[Picture, Look]:
        key = request.path_params["key"]
        picture = self._shelf.picture(key)
        seal = str(picture.reader.statement.get("seal"))
        usual = self._looks.get(seal)
        if usual is None:
            usual = look_of(picture.reader)
            self._looks.put(seal, usual)
        return picture, usual

    def _png(
        self, request: Request, what: tuple[Any, ...], draw: Callable[[Picture, Look], Pixels]
    ) -> Response:
        picture, usual = self._picture(request)
        look = look_asked(request.query_params, picture.reader, usual)
        seal = str(picture.reader.statement.get("seal"))
        picture, look, of = self._beside(request, picture, look)
        name = (seal, of, what, look.channels, look.index, tuple(sorted(look.place.items())))
        data = self._made.get(name)
        if data is None:
            with self.turn():
                data = bytes(imagecodecs.png_encode(draw(picture, look), level=1))
            self._made.put(name, data)
        return Response(
            data, media_type="image/png", headers={"cache-control": "private, max-age=300"}
        )

    def _beside(
        self, request: Request, picture: Picture, look: Look
    ) -> tuple[Picture, Look, What | None]:
        """Return what is asked for in place of the stored samples; None where these are."""
        if not request.query_params.get("of"):
            return picture, look, None
        of = what_asked(request.query_params["of"])
        if self._originals is None:
            raise HTTPException(404, "no original was named: serve with --original")
        return self._originals.picture(picture, of), self._originals.look(look, picture, of), of

    def turn(self) -> _Turn:
        """Return what holds one of the few places of those who work."""
        return _Turn(self._working)


class _Turn:
    """One of the few that work at a time; who waits too long is told so."""

    def __init__(self, working: threading.BoundedSemaphore) -> None:
        self._working = working

    def __enter__(self) -> None:
        if not self._working.acquire(timeout=WAITING_S):
            raise HTTPException(503, "too many pictures are being drawn; ask again")

    def __exit__(self, *_: object) -> None:
        self._working.release()


def _worst(picture: Picture) -> float | None:
    """Return what no sample is off by more than; None where the store does not tell."""
    worst = picture.reader.worst
    return worst if math.isfinite(worst) else None


def _row(entry: Entry) -> dict[str, Any]:
    summary = entry.summary
    return {
        "key": entry.key,
        "axes": list(summary.axes),
        "shape": list(summary.shape),
        "dtype": summary.dtype,
        "ratio": round(summary.ratio, 2),
        "bytes": summary.stored_bytes,
        "lossless": summary.max_error == 0,
        "crs": summary.crs,
        "modality": summary.modality,
        "bbox": entry.bbox,
        "time": entry.span,
    }


def _page(name: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        return FileResponse(VIEWER / name)

    return page


def _failed(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _failed(error.status_code, str(error.detail))


def _no_store(request: Request, error: Exception) -> Response:
    return _failed(404, "there is no such store here")


def _bad_request(request: Request, error: Exception) -> Response:
    return _failed(400, str(error))


def _too_much(request: Request, error: Exception) -> Response:
    return _failed(413, str(error))


def _broken(request: Request, error: Exception) -> Response:
    return _failed(500, str(error))


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return _failed(500, f"reading the store: {error.strerror or type(error).__name__}")
