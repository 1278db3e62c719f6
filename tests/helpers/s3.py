"""A real S3 server for tests: moto's, as a process of its own on the loopback interface.

Run as a script it serves until the process that started it is gone, however that ended::

    python tests/helpers/s3.py     # prints the port

It is moto's server with three things that moto lacks: writes are taken one at a time and whole or
not at all, so that conditional ones decide races as S3's do; ``/-/traffic`` counts requests and
bytes; ``/-/fail?count=3&status=503`` answers the next requests with an error (``&method=PUT`` for
those of one kind), ``/-/delay?ms=30`` lets every answer wait as a real service does.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 120
WATCH_S = 0.5


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it: obstore reads exactly these names."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIDTEST00000000TEST",
            "AWS_SECRET_ACCESS_KEY": "test-secret-that-opens-nothing",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def new_bucket(self) -> str:
        """Create a bucket; return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self._ask("PUT", f"/{name}")
        return name

    def forget_everything(self) -> None:
        self._ask("POST", "/moto-api/reset")

    def traffic(self) -> dict[str, int]:
        """Return {"requests", "received_bytes", "sent_bytes"} and a count per method so far."""
        found: dict[str, int] = json.loads(self._ask("GET", "/-/traffic"))
        return found

    def fail(self, count: int, status: int = 503, method: str = "") -> None:
        """Answer the next ``count`` requests with an error."""
        self._ask("POST", f"/-/fail?count={count}&status={status}&method={method}")

    def delay(self, ms: int) -> None:
        """Let every answer wait."""
        self._ask("POST", f"/-/delay?ms={ms}")

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.endpoint + path, method=method, data=b"")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return bytes(answer.read())


@contextmanager
def running_server() -> Iterator[S3Server]:
    """Start a server; it ends with the block, or with this process."""
    with subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).resolve())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt from the terminal is for pytest
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, "the S3 server did not start"
            yield S3Server(f"http://127.0.0.1:{int(port)}")
        finally:
            process.kill()


class _Watched:
    """moto's application, with ordered writes, counters and failures on demand."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._writing, self._counting = threading.Lock(), threading.Lock()
        self._traffic = {"requests": 0, "received_bytes": 0, "sent_bytes": 0}
        self._fail = {"count": 0, "status": 503, "method": ""}
        self._delay_s = 0.0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/-/"):
            return self._control(environ, start_response)
        method = environ["REQUEST_METHOD"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        time.sleep(self._delay_s)
        self._count(requests=1, received_bytes=len(body), **{method: 1})
        if len(body) < length:  # the client is gone: S3 keeps nothing of such a request
            return _answer(start_response, "400 Bad Request", b"")
        status = self._failure(method)
        if status:
            return _answer(start_response, f"{status} Failed On Demand", b"")
        environ["wsgi.input"] = io.BytesIO(body)
        if method in ("GET", "HEAD"):
            return self._sent(self._application(environ, start_response))
        with self._writing:
            return list(self._application(environ, start_response))

    def _control(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        pairs = dict(part.split("=") for part in environ["QUERY_STRING"].split("&") if part)
        if environ["PATH_INFO"] == "/-/delay":
            self._delay_s = int(pairs["ms"]) / 1000
        if environ["PATH_INFO"] == "/-/fail":
            with self._counting:
                self._fail |= {k: int(v) if k != "method" else v for k, v in pairs.items()}
        with self._counting:
            return _answer(start_response, "200 OK", json.dumps(self._traffic).encode())

    def _failure(self, method: str) -> int:
        with self._counting:
            wanted = self._fail["method"]
            if not self._fail["count"] or (wanted and wanted != method):
                return 0
            self._fail["count"] -= 1
            return int(self._fail["status"])

    def _count(self, **counts: int) -> None:
        with self._counting:
            for name, count in counts.items():
                self._traffic[name] = self._traffic.get(name, 0) + count

    def _sent(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self._count(sent_bytes=len(part))
            yield part


def _answer(start_response: Any, status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(0)


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    application = _Watched(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, True, request_handler=MotoRequestHandler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve()
