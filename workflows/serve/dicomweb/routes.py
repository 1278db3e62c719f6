"""The addresses of DICOMweb (PS3.18 table 10.1-1), all below one root."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tilepress.workflows.serve.dicomweb.accept import takes_json
from tilepress.workflows.serve.dicomweb.holdings import UID, Holdings, Instance
from tilepress.workflows.serve.dicomweb.parts import Streams
from tilepress.workflows.serve.dicomweb.pictures import picture, picture_type
from tilepress.workflows.serve.dicomweb.retrieve import (
    bulk_data,
    frame_numbers,
    frames,
    instances,
    metadata,
)
from tilepress.workflows.serve.dicomweb.search import Level, asked, searched
from tilepress.workflows.serve.quiet import Answer, quiet
from tilepress.workflows.serve.shelf import Shelf

__all__ = ["ROOT", "dicomweb_routes"]

ROOT = "/dicom-web"

JSON = "application/dicom+json"

_STUDY, _SERIES, _INSTANCE = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)


SERVICES = {
    "QIDO-RS": ["/studies", "/series", "/instances", f"{_STUDY}/series", f"{_STUDY}/instances",
                f"{_SERIES}/instances"],
    "WADO-RS": [_STUDY, _SERIES, _INSTANCE, f"{_INSTANCE}/frames/{{frames}}",
                f"{_INSTANCE}/bulkdata/{{path}}"],
    "WADO-RS metadata": [f"{level}/metadata" for level in (_STUDY, _SERIES, _INSTANCE)],
    "WADO-RS rendered": [f"{_INSTANCE}/rendered", f"{_INSTANCE}/frames/{{frames}}/rendered"],
    "WADO-RS thumbnail": [*(f"{level}/thumbnail" for level in (_STUDY, _SERIES, _INSTANCE)),
                          f"{_INSTANCE}/frames/{{frames}}/thumbnail"],
    "documentation": "docs/viewer.md#dicomweb",
}  # fmt: skip
"""What the root of DICOMweb tells: services, and their addresses below it."""


def dicomweb_routes(shelf: Shelf, turn: Callable[[], Any]) -> list[BaseRoute]:
    """Return the routes of DICOMweb. ``turn`` gives what limits how many pictures are drawn."""
    views = _Views(shelf, turn)
    table: list[tuple[str, Answer]] = [
        ("/studies", views.search("study")),
        ("/series", views.search("series")),
        ("/instances", views.search("instance")),
        (f"{_STUDY}/series", views.search("series")),
        (f"{_STUDY}/instances", views.search("instance")),
        (f"{_SERIES}/instances", views.search("instance")),
        *((f"{level}/metadata", views.metadata) for level in (_STUDY, _SERIES, _INSTANCE)),
        *((f"{level}/thumbnail", views.thumbnail) for level in (_STUDY, _SERIES, _INSTANCE)),
        (f"{_INSTANCE}/rendered", views.rendered),
        (_INSTANCE + "/frames/{frames}", views.frames),
        (_INSTANCE + "/frames/{frames}/rendered", views.rendered),
        (_INSTANCE + "/frames/{frames}/thumbnail", views.thumbnail),
        (_INSTANCE + "/bulkdata/{path:path}", views.bulk_data),
        *((level, views.retrieve) for level in (_STUDY, _SERIES, _INSTANCE)),
    ]
    table += [("", views.services), ("/", views.services)]
    return [Route(ROOT + path, _quiet(answer)) for path, answer in table]


def _quiet(answer: Answer) -> Answer:
    """Refuse what is no UID, and have what nobody foresaw say its type alone."""
    quietly = quiet(answer, "reading DICOM")

    @wraps(answer)
    def checked(request: Request) -> Response:
        for name, value in request.path_params.items():
            if name in ("study", "series", "instance") and not UID.fullmatch(value):
                raise HTTPException(400, f"the {name} is no UID")
        return quietly(request)

    return checked


class _Views:
    def __init__(self, shelf: Shelf, turn: Callable[[], Any]) -> None:
        self._holdings = Holdings(shelf)
        self._streams = Streams()
        self._turn = turn

    def services(self, request: Request) -> Response:
        """What is answered below this address, for people and for who looks whether it is there."""
        told = {"service": "DICOMweb (DICOM PS3.18), read-only", "root": _root(request), **SERVICES}
        return Response(json.dumps(told, indent=1).encode(), media_type="application/json")

    def search(self, level: Level) -> Answer:
        def search(request: Request) -> Response:
            takes_json(request)
            wanted = asked(request.query_params)
            params = request.path_params
            with self._turn():
                found, has_more = searched(
                    self._holdings, level, wanted, _root(request),
                    params.get("study"), params.get("series"),
                )  # fmt: skip
            warnings = list(wanted.warnings)
            if has_more:
                warnings.append("There are additional results that can be requested")
            headers = {"warning": ", ".join(f'299 tilepress "{one}"' for one in warnings)}
            content = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
            return Response(content, headers=headers if warnings else {}, media_type=JSON)

        return search

    def metadata(self, request: Request) -> Response:
        takes_json(request)
        return metadata(request, self._streams, self._named(request), _root(request))

    def retrieve(self, request: Request) -> Response:
        found = list(self._named(request))
        only = "instance" in request.path_params
        return instances(request, self._streams, found, _root(request), only=only)

    def frames(self, request: Request) -> Response:
        instance = self._one(request)
        count = len(instance.stored.frames)
        numbers = frame_numbers(request.path_params["frames"], count)
        return frames(request, self._streams, instance, numbers, _root(request))

    def bulk_data(self, request: Request) -> Response:
        path = request.path_params["path"]
        return bulk_data(request, self._streams, self._one(request), path, _root(request))

    def rendered(self, request: Request) -> Response:
        return self._picture(request, self._one(request), thumbnail=False)

    def thumbnail(self, request: Request) -> Response:
        """The picture of an instance, or of that in the middle of a study or series."""
        if "instance" in request.path_params:
            return self._picture(request, self._one(request), thumbnail=True)
        every = list(self._named(request))
        return self._picture(request, every[(len(every) - 1) // 2], thumbnail=True)

    def _picture(self, request: Request, instance: Instance, *, thumbnail: bool) -> Response:
        media = picture_type(request)
        count = len(instance.stored.frames)
        numbers = [(count - 1) // 2 if thumbnail else 0]
        if "frames" in request.path_params:
            numbers = frame_numbers(request.path_params["frames"], count)
        if len(numbers) > 1:
            raise HTTPException(400, "one frame is drawn at a time")
        with self._turn():
            data = picture(instance, numbers[0], media, request.query_params, thumbnail=thumbnail)
        return Response(data, media_type=media)

    def _named(self, request: Request) -> Iterator[Instance]:
        """Yield the instances that an address names; raises NoSuchStore."""
        params = request.path_params
        if "instance" in params:
            return iter([self._one(request)])
        found = self._holdings.find(params["study"], params.get("series"))
        return (one for series in found for one in self._holdings.instances(series))

    def _one(self, request: Request) -> Instance:
        params = request.path_params
        return self._holdings.instance(params["study"], params["series"], params["instance"])


def _root(request: Request) -> str:
    """Return the address of DICOMweb as the client has it.

    Some clients leave the port out of their header ``Host``; on this machine it is known.
    """
    url = request.url.replace(path=ROOT, query="", fragment="")
    server = request.scope.get("server")
    if url.port is None and server and url.hostname in ("127.0.0.1", "localhost", "::1"):
        url = url.replace(port=server[1])
    return str(url)
