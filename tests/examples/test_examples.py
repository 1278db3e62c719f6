"""What we show people runs: every example script, and the Python of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tilepress
from tilepress.examples.data import landsat_bands

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("[0-9]*.py"))


def run(arguments: list[str], cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestEveryExampleRuns:
    """An example that fails is worse than none."""

    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
    def test_as_a_person_would_run_it(
        self, script: Path, tmp_path: Path, request: pytest.FixtureRequest
    ):
        if "dicom" not in script.name:
            assert run([str(script)], tmp_path)
            return
        count = len(request.getfixturevalue("dicom_samples"))
        assert f"{count} of {count} exported files" in run([str(script)], tmp_path)


class TestTheReadmeRuns:
    """The first thing that a reader copies must work as it stands."""

    def test_its_python_runs_after_its_compress_line(self, tmp_path: Path):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        assert blocks
        tilepress.compress(landsat_bands(), tmp_path / "scene.zarr", stack="*_B?.tif", workers=0)
        run(["-c", "\n".join(blocks)], tmp_path)
