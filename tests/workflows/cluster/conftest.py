"""Clusters that tests of this folder share."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import address_in, dask_command, wait_for_file


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Return the address of a scheduler in a process of its own, with two workers."""
    file = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(file)]
    quiet = ["--host", "127.0.0.1", "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            dask_command("distributed.cli.dask_scheduler", *where, *quiet, "--port", "0")
        )
        for resource in ("CPU=1", "GPU=1"):
            stack.enter_context(
                dask_command(
                    "distributed.cli.dask_worker", *where, *quiet, "--nthreads", "1",
                    "--no-nanny", "--resources", resource, "--death-timeout", "5",
                    log=tmp_path / "workers.log",
                )
            )  # fmt: skip
        wait_for_file(file)
        yield address_in(file), process
