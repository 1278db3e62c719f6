"""Clients that read slowly, or not at all, do not keep others out."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tilepress.workflows.serve.dicomweb import parts as sending
from tilepress.workflows.serve.dicomweb import places
from tilepress.workflows.serve.dicomweb.places import Pace, Places
from tilepress.workflows.serve.listening import listening

PLACES = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "STREAMS", PLACES)
    monkeypatch.setattr(places, "CREDIT_S", 0.3)
    monkeypatch.setattr(places, "_LOOK_S", 0.05)


@pytest.fixture
def port() -> Iterator[int]:
    """Serve ``/pieces/N``: so many pieces of the usual size."""
    streams = sending.Streams()

    def pieces(request: Request) -> Response:
        count = request.path_params["count"]
        content = (bytes(sending.PIECE) for _ in range(count))
        return streams.pieces(request, "text/plain", content)

    app = Starlette(routes=[Route("/pieces/{count:int}", pieces)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    with listening("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def _asking(port: int, count: int) -> socket.socket:
    """Ask, and read the beginning of the answer alone."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /pieces/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % count)
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def _is_whole(port: int, count: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/pieces/{count}", timeout=60) as answer:
        return len(answer.read()) == count * sending.PIECE


class TestSlowClients:
    def test_that_hold_every_place_give_one_up(self, port: int) -> None:
        slow = [_asking(port, 10_000) for _ in range(PLACES)]
        try:
            for _ in range(PLACES + 1):
                assert _is_whole(port, 20)
        finally:
            for client in slow:
                client.close()

    def test_keep_their_places_while_nobody_wants_them(self, port: int) -> None:
        slow = _asking(port, 30)
        time.sleep(4 * places.CREDIT_S)
        size = 12
        while data := slow.recv(2**20):
            size += len(data)
            if data.endswith(b"\r\n0\r\n\r\n"):
                break
        slow.close()
        assert size > 30 * sending.PIECE, "all of it, slowly begun"

    def test_give_place_before_those_who_read(self, port: int) -> None:
        """Three do not read, one does; it gets all though another wants a place meanwhile."""
        slow = [_asking(port, 10_000) for _ in range(PLACES - 1)]
        found: list[bool] = []
        reader = threading.Thread(target=lambda: found.append(_is_whole(port, 400)))
        reader.start()
        try:
            for _ in range(PLACES):
                assert _is_whole(port, 20)
        finally:
            reader.join()
            for client in slow:
                client.close()
        assert found == [True]

    def test_that_take_nothing_for_long_are_cut_off(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "STALLED_S", 0.2)
        slow = _asking(port, 10_000)
        time.sleep(1)
        slow.settimeout(30)
        size = 0
        while data := slow.recv(2**20):  # what was under way, and then the end of it
            size += len(data)
        slow.close()
        assert size < 10_000 * sending.PIECE


class TestPaces:
    def test_earn_by_what_is_taken_and_pay_by_waiting(self, monkeypatch: Any) -> None:
        now = [100.0]
        monkeypatch.setattr(places.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(places, "CREDIT_S", 5.0)
        pace = Pace(lambda: None)
        for _ in range(10):  # half the fair rate: two seconds for what is worth one
            pace.begins()
            now[0] += 2
            pace.ends(places.FAIR_RATE)
        assert pace.credit_s() == pytest.approx(-5)
        for _ in range(20):
            pace.begins()
            pace.ends(places.FAIR_RATE)
        assert pace.credit_s() == 5
        pace.begins()
        now[0] += 6
        assert pace.credit_s() == -1

    def test_so_many_wait_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who waits has one of the threads that draw pages, too."""
        monkeypatch.setattr(places, "STREAMS", 0)
        monkeypatch.setattr(places, "WAITING", 1)
        monkeypatch.setattr(places, "WAITING_S", 0.5)
        here = Places()

        def take() -> None:
            with pytest.raises(HTTPException):
                here.take()

        waiting = threading.Thread(target=take)
        waiting.start()
        time.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(HTTPException) as caught:
            here.take()
        assert caught.value.status_code == 503
        assert waiting.is_alive(), f"at once, not after {time.monotonic() - began} s"
        waiting.join()
