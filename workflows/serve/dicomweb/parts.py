"""Answers that are streams of one part, or of many (multipart/related, RFC 2387).

An answer is made as fast as it is read. Some are made at a time (``places``); what fails on the way
cuts the answer short, so that its end is missing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from tilepress.errors import DamagedStore, TilepressError
from tilepress.workflows.serve.dicomweb.places import Pace, Places

__all__ = ["Part", "Streams"]

PIECE = 2**18
"""Bytes that are sent at a time at least, but for the last."""

STALLED_S = 120.0
"""A client that has not taken a piece for so long is gone."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer."""

    media_type: str
    """With its parameters."""
    location: str
    """The address of this part alone."""
    content: Callable[[], Iterator[bytes]]


class Streams:
    """Sends parts, some answers at a time."""

    def __init__(self) -> None:
        self._places = Places()

    def related(self, request: Request, media: str, parts: Iterator[Part]) -> Response:
        """Return a multipart answer."""
        boundary = secrets.token_hex(16)
        kind = f'multipart/related; type="{media}"; boundary={boundary}'
        return self._sent(request, _joined(parts, boundary), kind, {})

    def alone(self, request: Request, part: Part) -> Response:
        """Return an answer that is one part."""
        return self._sent(
            request, part.content(), part.media_type, {"content-location": part.location}
        )

    def pieces(self, request: Request, media: str, content: Iterator[bytes]) -> Response:
        """Return an answer of any content."""
        return self._sent(request, content, media, {})

    def _sent(
        self, request: Request, content: Iterator[bytes], media: str, headers: dict[str, str]
    ) -> Response:
        if request.method == "HEAD":
            return Response(None, headers=headers, media_type=media)
        stream = self._guarded(content)
        first = next(stream)  # what fails at once is told with a status of its own
        return _Streamed(self._places, first, stream, media, headers)

    def _guarded(self, content: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Yield what there is in pieces of a fair size, the last of which may be empty."""
        self._places.take()
        try:
            held: list[bytes] = []
            size = 0
            for piece in content:
                held.append(piece)
                size += len(piece)
                if size >= PIECE:
                    yield b"".join(held)
                    held, size = [], 0
            yield b"".join(held)
        except (TilepressError, OSError):
            raise
        except Exception as error:  # its text may quote a header
            raise DamagedStore(f"reading DICOM: {type(error).__name__}") from None
        finally:
            self._places.give_back()


class _Streamed(StreamingResponse):
    """An answer that gives its place back when its client has gone, too.

    What is cancelled stays in a cycle with its error until Python looks for such.
    """

    def __init__(
        self,
        places: Places,
        first: bytes,
        rest: Generator[bytes, None, None],
        media: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(_from(first, rest), media_type=media, headers=headers)
        self._places, self._rest = places, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as answer:

            def cut() -> None:
                loop.call_soon_threadsafe(answer.cancel)

            pace = Pace(cut)

            async def paced(message: Message) -> None:
                pace.begins()
                with anyio.move_on_after(STALLED_S) as piece:
                    await send(message)
                if piece.cancelled_caught:
                    answer.cancel()
                pace.ends(len(message.get("body", b"")))

            self._places.enter(pace)
            try:
                await super().__call__(scope, receive, paced)
            finally:
                self._places.leave(pace)
                self._rest.close()  # no thread is in it: those are waited for before


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _joined(parts: Iterator[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        head = f"Content-Type: {part.media_type}\r\nContent-Location: {part.location}\r\n\r\n"
        yield f"--{boundary}\r\n{head}".encode("latin-1")
        yield from part.content()
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("latin-1")
