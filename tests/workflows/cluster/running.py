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
from tilepress.workflows.cluster.closed import key_files, write_keys
from tilepress.workflows.cluster.contract import OpenedCluster
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


def write_profile(opened: OpenedCluster, folder: Path) -> Path:
    """Write a profile by which another run may join a cluster of ours, with its keys."""
    write_keys(opened.client.security, folder)
    key, certificate = map(str, key_files(folder))
    profile = {
        "kind": "address",
        "address": opened.client.scheduler.address,
        "tls": {"ca": certificate, "cert": certificate, "key": key},
    }
    path = folder / "address.yaml"
    path.write_text(json.dumps(profile))
    return path


def wait_for_file(file: Path) -> None:
    """Wait until a file has something in it."""
    end = time.monotonic() + 60
    while not file.exists() or not file.stat().st_size:
        assert time.monotonic() < end
        time.sleep(0.1)


def address_in(file: Path) -> str:
    address: str = json.loads(file.read_text())["address"]
    return address
