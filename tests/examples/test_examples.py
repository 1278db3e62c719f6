"""What we show people runs: every example script (tests/test_docs.py runs the pages)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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

    @pytest.mark.slow
    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
    def test_as_a_person_would_run_it(
        self, script: Path, tmp_path: Path, request: pytest.FixtureRequest
    ):
        if "dicom" not in script.name:
            assert run([str(script)], tmp_path)
            return
        count = len(request.getfixturevalue("dicom_samples"))
        assert f"{count} of {count} exported files" in run([str(script)], tmp_path)
