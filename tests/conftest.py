"""Fixtures and Hypothesis profiles for every room."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, settings

from .helpers.s3 import S3Server, running_server
from .helpers.samples import smooth
from .helpers.slurm import Slurm, running_slurm, what_is_missing

ROOT = Path(__file__).resolve().parent.parent

# A slow or shared machine is no failure: no deadlines. The database stays off in CI, so that a run
# depends on the commit alone.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=25, **_COMMON)
settings.register_profile("ci", max_examples=50, derandomize=True, database=None, **_COMMON)
settings.register_profile("nightly", max_examples=1000, print_blob=True, **_COMMON)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)


MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
"""What is left behind by tests, and by several runs of them that are kept, is far less."""


def pytest_configure(config: pytest.Config) -> None:
    """Put the files of tests into memory where there is much of it.

    Stores are synced file by file, tens of thousands of files in a run. What that promises is
    tested by recording it (``tests/faults``), for which no disk has to be waited for. An option
    ``--basetemp`` or the variable PYTEST_DEBUG_TEMPROOT names another folder.
    """
    if config.option.basetemp is None and _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _has_room(folder: Path) -> bool:
    """Whether a folder in memory takes the files of a run, programs among them."""
    if not os.access(folder, os.W_OK):
        return False
    found = os.statvfs(folder)
    room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available // 2)
    return room >= ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


MAY_SKIP = ("no CUDA device", "root reads")
"""Beginnings of reasons for which a test may skip where everything is installed."""

_lacking: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(MAY_SKIP):
            _lacking.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With TILEPRESS_NO_SKIPS, as in CI, fail where tests skipped for want of what they need."""
    if _lacking and os.environ.get("TILEPRESS_NO_SKIPS") and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _lacking and os.environ.get("TILEPRESS_NO_SKIPS"):
        terminalreporter.section("skipped, and should not have been (TILEPRESS_NO_SKIPS)")
        for line in _lacking:
            terminalreporter.line(line)


class _SharedArrays(dict[Any, Any]):
    """The simulator's shared arrays of a block, each made once.

    numba's simulator looks an array up and makes it where it is missing, with nothing to keep two
    threads of a block from both making it and each having its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._making = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        if super().get(key) is None:
            self._making.acquire()
            if super().get(key) is not None:  # made while this thread waited
                self._making.release()
        return super().get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._making.release()


def _steady_simulator() -> None:
    from numba.cuda.simulator import kernelapi

    begin = kernelapi.FakeCUDAShared.__init__

    def begin_steadily(self: Any, size: int) -> None:
        begin(self, size)
        self._allocations = _SharedArrays()

    kernelapi.FakeCUDAShared.__init__ = begin_steadily


if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    _steady_simulator()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the checkout's root; the tests that read it skip where it is not complete."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images beside the checkout, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(
            "no real images: ../shared/data/MANIFEST.tsv does not exist beside the checkout"
        )
    return folder


@pytest.fixture(scope="session")
def dicom_samples() -> dict[str, Path]:
    """Return real DICOM files by short name (extra ``demo``), or skip."""
    from tilepress.examples import data

    try:
        return data.dicom_files()
    except data.MissingSamples as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Return an S3 server of this test session, or skip."""
    for name in ("moto", "flask", "obstore"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no object storage: {name} is not installed (extra test)")
    with running_server() as server:
        yield server


@pytest.fixture
def bucket(
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Return ``s3://…`` of a new bucket that this process and its children can use."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
    yield f"s3://{s3_server.new_bucket()}"
    s3_server.delay(0)
    s3_server.fail(0)
    s3_server.forget_everything()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Return a real Slurm of this test session, or skip."""
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
    with running_slurm() as running:
        yield running


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a plain array of 3 × 150 × 200 samples."""
    path = tmp_path / "scene.npy"
    np.save(path, smooth((3, 150, 200)))
    return path


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ``tilepress`` in a process of its own."""

    def run(*arguments: object, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tilepress", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that waits most: of files side by side it would be the last to end."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")
