"""Answers are streams: some at a time, all of them given back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

import tilepress
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.dicomweb import parts as sending
from tilepress.workflows.serve.dicomweb import places
from tilepress.workflows.serve.shelf import Shelf

from .conftest import Made

CT = "studies/1.2.1/series/1.2.1.5/instances/1.2.1.5.2"
BIG = "studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
AS_KEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'


def _is_of(store: Path, columns: int) -> bool:
    return tilepress.open(store).sizes["x"] == columns


class TestStreams:
    def test_head_sends_nothing(self, dicomweb: TestClient) -> None:
        answer = dicomweb.head("studies/1.2.1", headers={"accept": AS_KEPT})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("multipart/related")
        assert not answer.content

    def test_who_waits_too_long_is_told(
        self, dicomweb: TestClient, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "STREAMS", 0)
        monkeypatch.setattr(places, "WAITING_S", 0.01)
        monkeypatch.setattr(places, "_LOOK_S", 0.01)
        client = TestClient(build(Shelf(made.archive)), base_url=str(dicomweb.base_url))
        assert client.get(CT).status_code == 503

    def test_all_are_given_back(self, dicomweb: TestClient) -> None:
        for _ in range(3 * places.STREAMS):
            assert dicomweb.get(f"{CT}/metadata").status_code == 200

    def test_a_client_that_goes_gives_its_place_back(self) -> None:
        """At once: what is cancelled lies in a cycle until Python looks for such."""
        closed = []

        def endless() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(sending.PIECE)
            finally:
                closed.append(True)

        async def gone(streams: sending.Streams) -> None:
            sent = asyncio.Event()

            async def receive() -> Message:
                await sent.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.body":
                    sent.set()
                    await asyncio.sleep(60)  # nobody reads

            scope = {
                "type": "http",
                "method": "GET",
                "headers": [],
                "asgi": {"spec_version": "2.3"},
            }
            answer = streams.pieces(Request(scope), "text/plain", endless())
            kept.append(answer)  # as a cycle would
            await answer(scope, receive, send)

        streams, kept = sending.Streams(), []
        for number in range(1, places.STREAMS + 2):
            asyncio.run(asyncio.wait_for(gone(streams), 30))
            assert len(closed) == number

    def test_a_damaged_store_is_told_and_others_are_served(
        self, dicomweb: TestClient, made: Made, tmp_path: Path
    ) -> None:
        shutil.copytree(made.archive, tmp_path / "archive")
        big = (path for path in (tmp_path / "archive").glob("CT-*.zarr") if _is_of(path, 22))
        (shard,) = (p for p in (next(big) / "0" / "image" / "c").rglob("*") if p.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 255
        shard.write_bytes(data)
        client = TestClient(build(Shelf(tmp_path / "archive")), base_url=str(dicomweb.base_url))
        answer = client.get(f"{BIG}/frames/1", headers={"accept": OCTETS})
        assert answer.status_code == 500
        assert "Big" not in answer.text
        assert client.get(CT).status_code == 200
