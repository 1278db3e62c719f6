"""Clusters to run beside a test, and tasks for them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tilepress.pipeline.archive.device import device
from tilepress.workflows.cluster.executor import DaskExecutor


def pid_and_device() -> tuple[int, str]:
    return os.getpid(), device()


def visible() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "-")


def run_one(executor: DaskExecutor) -> object:
    executor.submit("first", pid_and_device, codes=True)
    return executor.next()


@contextlib.contextmanager
def dask_command(
    *arguments: str, log: Path = Path(os.devnull)
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask command beside the test."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_file(file: Path) -> None:
    """Wait until a file has something in it."""
    end = time.monotonic() + 60
    while not file.exists() or not file.stat().st_size:
        assert time.monotonic() < end
        time.sleep(0.1)


def address_in(file: Path) -> str:
    address: str = json.loads(file.read_text())["address"]
    return address
