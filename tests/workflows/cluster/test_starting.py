"""A command that ends while its workers start leaves a line, and no process."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ...helpers.samples import smooth

MARK = "TILEPRESS_TEST_MARK"


def wait_for(found: object, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not found():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def descendants(mark: str) -> list[psutil.Process]:
    """Return the processes that have the mark in their environment, also orphans."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def started(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that a command has started, and those that they have."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a worker process, however far it is."""
    with contextlib.suppress(psutil.Error):  # a reader of images that has ended, say
        return "spawn_main" in " ".join(process.cmdline())
    return False


def runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("after_s", [0.0, 0.7])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_ends_while_its_workers_start(
    number: signal.Signals, after_s: float, tmp_path: Path
):
    np.save(tmp_path / "scene.npy", smooth((600, 600)))
    mark = secrets.token_hex(4)
    with subprocess.Popen(
        [sys.executable, "-m", "tilepress", "compress", "scene.npy", "out", "--workers", "2"],
        cwd=tmp_path,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: any(map(is_worker, started(process))))
            time.sleep(after_s)
            # those that read images know nothing of the mark
            begun = started(process)
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    lines = told.splitlines()
    if number == signal.SIGKILL:
        # a process that was to get its orders finds none, which Python itself says
        assert lines == [] or lines[-1] == "EOFError: Ran out of input", told
    else:
        assert process.returncode == 130
        assert lines[-1] == "tilepress: interrupted; run the same line again to go on"
        assert len(lines) <= 2, told  # before it, how far the run came
    wait_for(lambda: not descendants(mark) and not any(map(runs, begun)), within_s=30)
