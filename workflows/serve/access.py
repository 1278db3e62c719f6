"""Who may ask: this machine's browser, or whoever has the token.

A page of another site could reach a server on the loopback interface by a name that it lets resolve
to it (DNS rebinding), so that requests must name one of the hosts that we are called by. With a
token nothing is answered without it; it comes once in the address, then in a cookie that scripts
and other sites do not get.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "Guard"]

COOKIE = "tilepress-token"

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

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str] | None, token: str | None) -> None:
        """``hosts`` are the names that requests may give, without a port; None: any."""
        self.app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refusal(request)
        if refused is not None:
            await refused(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> PlainTextResponse | RedirectResponse | None:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("only reading is possible here\n", 405, {"allow": "GET, HEAD"})
        if self._hosts is not None and _host(request) not in self._hosts:
            return PlainTextResponse("this name is not one of this server's\n", 403)
        if len(request.scope.get("query_string", b"")) > MAX_QUERY:
            return PlainTextResponse("the address is too long\n", 414)
        if self._token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            plain = request.url.remove_query_params("token")
            answer = RedirectResponse(f"{plain.path}?{plain.query}" if plain.query else plain.path)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return answer
        if self._is_token(request.cookies.get(COOKIE, "")):
            return None
        return PlainTextResponse("add ?token=… with the token that the server was given\n", 401)

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())


def _host(request: Request) -> str:
    """Return the name that a request calls the server by, without a port; "" for none."""
    name, _, port = request.headers.get("host", "").lower().rpartition(":")
    if not name or "]" in port:  # no port
        name = f"{name}:{port}" if name else port
    return name.strip("[]")


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
