"""A script without ``if __name__ == "__main__":`` is told so, once."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.unguarded import VARIABLE, end_if_unguarded, told_if_unguarded

SCRIPT = """
import tilepress

tilepress.compress({image!r}, {store!r}, workers=2)
"""


class TestAScriptThatWorkersCannotRead:
    def test_ends_with_one_line_that_says_what_to_do(self, image: Path, tmp_path: Path):
        script, store = tmp_path / "script.py", tmp_path / "x.zarr"
        script.write_text(SCRIPT.format(image=str(image), store=str(store)))
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("tilepress.errors.UsageError: starting workers: each of them runs")
        assert 'below if __name__ == "__main__":, or give workers=0' in last
        assert done.stderr.count("Traceback") == 1, done.stderr
        assert not store.exists()


class TestTelling:
    def test_a_worker_that_reads_the_script_leaves_a_mark_and_ends(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        def start_workers() -> None:
            with told_if_unguarded() as environment:
                monkeypatch.setenv(VARIABLE, environment[VARIABLE])
                end_if_unguarded()  # of a process that is not being started
                process = multiprocessing.current_process()
                monkeypatch.setattr(process, "_inheriting", True, raising=False)
                with pytest.raises(SystemExit):
                    end_if_unguarded()
                raise RuntimeError("Nanny failed to start.")

        with pytest.raises(UsageError, match="workers=0"):
            start_workers()

    def test_other_errors_stay_what_they_are(self):
        with pytest.raises(RuntimeError, match="something else"), told_if_unguarded():
            raise RuntimeError("something else")
