"""The S3 server of the tests is a process that ends with them and decides races as S3 does."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from .s3 import S3Server

HOLDER = """
import runpy, sys, time
s3 = runpy.run_path(sys.argv[1])
with s3["running_server"]() as server:
    print(server.endpoint, flush=True)
    time.sleep(600)
"""


def _answers(endpoint: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/-/traffic", timeout=10):
            return True
    except (OSError, http.client.HTTPException):
        return False


class TestTheServer:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_ends_with_the_process_that_started_it(
        self, s3_server: S3Server, how: signal.Signals
    ) -> None:
        script = str(Path(__file__).with_name("s3.py"))
        with subprocess.Popen(
            [sys.executable, "-P", "-c", HOLDER, script], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            endpoint = holder.stdout.readline().strip()
            assert _answers(endpoint)
            os.kill(holder.pid, how)
        while _answers(endpoint):  # pytest's own limit ends the wait
            time.sleep(0.1)

    def test_lets_one_of_many_writers_create(self, bucket: str) -> None:
        def create(number: int) -> bool:
            store = S3Store(bucket.removeprefix("s3://"))
            try:
                obstore.put(store, "lease", str(number).encode(), mode="create")
            except BaseError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(16)))
        assert sum(won) == 1
        content = obstore.get(S3Store(bucket.removeprefix("s3://")), "lease").bytes()
        assert int(bytes(content)) == won.index(True)

    def test_fails_on_demand_and_counts(self, bucket: str, s3_server: S3Server) -> None:
        store = S3Store(bucket.removeprefix("s3://"), retry_config={"max_retries": 0})
        before = s3_server.traffic()
        s3_server.fail(1, 500, "PUT")
        with pytest.raises(BaseError):
            obstore.put(store, "a", b"x", use_multipart=False)
        obstore.put(store, "a", b"x", use_multipart=False)
        assert s3_server.traffic()["PUT"] == before["PUT"] + 2
