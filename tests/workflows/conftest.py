"""Small sources, and runs of the command as people start it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ..slurm import Slurm, running_slurm, what_is_missing

Samples = npt.NDArray[np.uint16]


def smooth(shape: tuple[int, ...], seed: int = 0) -> Samples:
    """Return samples that look like an image: neighbours are alike."""
    steps = np.random.default_rng(seed).integers(-3, 4, shape)
    return (steps.cumsum(-1).cumsum(-2) % 4096).astype(np.uint16)


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


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Return a real Slurm of this test session, or skip."""
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
    with running_slurm() as running:
        yield running
