"""Who may ask: this machine's browser, or whoever has the token.

A page of another site could reach a server on the loopback interface by a name that it lets resolve
to it (DNS rebinding), so that requests must name one of the hosts that we are called by. With a
token nothing is answered without it; it comes once in the address, then in a cookie that scripts
and other sites do not get, or with each request as ``Authorization: Bearer``. Pages of another
origin read answers only where that origin was named.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "SEARCH", "Guard"]

COOKIE = "tilepress-token"

_PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": "accept, authorization, cache-control, content-type, pragma",
    "access-control-max-age": "600",
}
"""What a browser is told that asks whether a page of another origin may ask."""

SEARCH = "/stac/search"
"""The one address that takes POST, for clients of STAC ask so."""


_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s/?#@:\[\]\\]*))(?::[0-9]{0,5})?")
"""An address in brackets, or a name, and a port."""

MAX_QUERY = 4096
"""Bytes of an address behind its "?"."""

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


class Guard:
    """Wraps an application: hosts, token, methods, headers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] | None,
        token: str | None,
        origins: Sequence[str] = (),
    ) -> None:
        """``hosts`` are the names that requests may give, without a port; None: any.

        ``origins`` are those whose pages may read answers, beside the server's own.
        """
        self.app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._token = token
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        origin = request.headers.get("origin", "")
        headers = dict(_HEADERS)
        if origin in self._origins:
            headers |= {
                "access-control-allow-origin": origin,
                "access-control-expose-headers": "content-location, warning",
                "cross-origin-resource-policy": "cross-origin",
            }
        if self._origins:
            headers["vary"] = "Origin"
        told = _with_headers(send, headers)
        refused = self._refusal(request, origin)
        if refused is not None:
            await refused(scope, receive, told)
            return
        await self.app(scope, receive, told)

    def _refusal(self, request: Request, origin: str) -> Response | None:
        if request.method == "OPTIONS" and origin in self._origins and self._knows(request):
            return Response(None, 204, _PREFLIGHT)  # browsers send no token with this question
        if request.method not in ("GET", "HEAD") and not _searches(request):
            return PlainTextResponse("only reading is possible here\n", 405, {"allow": "GET, HEAD"})
        if not self._knows(request):
            return PlainTextResponse("this name is not one of this server's\n", 403)
        if len(request.scope.get("query_string", b"")) > MAX_QUERY:
            return PlainTextResponse("the address is too long\n", 414)
        if self._token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            plain = request.url.remove_query_params("token")
            path = "/" + plain.path.lstrip("/\\")  # two slashes would be the name of a host
            answer = RedirectResponse(f"{path}?{plain.query}" if plain.query else path)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return answer
        if self._is_token(request.cookies.get(COOKIE, "")):
            return None
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        return PlainTextResponse(
            "add ?token=… or the header Authorization: Bearer … with the server's token\n",
            401,
            {"www-authenticate": "Bearer"},
        )

    def _knows(self, request: Request) -> bool:
        """Whether a request calls the server by one of its names."""
        return self._hosts is None or _host(request) in self._hosts

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())


def _searches(request: Request) -> bool:
    """Whether a request is a question that comes as a document: it changes nothing either."""
    return request.method == "POST" and request.url.path == SEARCH


def _host(request: Request) -> str:
    """Return the name that a request calls the server by, without a port; "" for none.

    What is behind the colon is digits: answers give addresses with it, and "localhost:x@elsewhere"
    is another host.
    """
    found = _HOST.fullmatch(request.headers.get("host", "").lower())
    return "" if found is None else found[1] or found[2]


def _with_headers(send: Send, told: Mapping[str, str]) -> Callable[[Message], Awaitable[None]]:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in told.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
