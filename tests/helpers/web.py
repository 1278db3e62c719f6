"""A web server of a folder on the loopback interface, which answers ranges as real ones do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class WebServer:
    """A running server, and what it was asked for."""

    address: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and range of each request."""
    status: int | None = None
    """What it answers to everything, where that is said."""
    ranges: bool = True
    """Whether it knows ranges; else it sends the whole object, as toys do."""


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """Serve the files of a folder, without listings, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            said = self.headers.get("Range")
            running.asked.append((self.path, said))
            file = folder / self.path.lstrip("/")
            if running.status is not None or not file.is_file():
                self._send(running.status or 404, b"")
                return
            data = file.read_bytes()
            if said is None or not running.ranges:
                self._send(200, data)
                return
            match = re.fullmatch(r"bytes=(\d*)-(\d*)", said)
            assert match is not None, said
            start = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
            stop = min(len(data), int(match[2]) + 1) if match[1] and match[2] else len(data)
            self._send(206, data[start:stop], f"bytes {start}-{stop - 1}/{len(data)}")

        def _send(self, status: int, body: bytes, span: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
            if span is not None:
                self.send_header("Content-Range", span)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
