"""The command line in this process, and images to give it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio

from tilepress.workflows.cli import app as cli

from ...helpers.samples import smooth

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the command in this process: quick, no signal handlers."""
    monkeypatch.setattr(cli, "interrupts", contextlib.nullcontext)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(argument) for argument in arguments]
        monkeypatch.setattr(cli.sys, "argv", ["tilepress", *line])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(line, code, out, err)

    return run


def write_tiff(path: Path, side: int = 100) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(smooth((side, side)), 1)
