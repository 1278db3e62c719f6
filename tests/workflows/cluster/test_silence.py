"""A worker that no longer answers is told of, and one that is stopped does not keep its tasks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tilepress.workflows.cluster import silence, watch
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.silence import Silence


def stop_once(mark: str) -> int:
    """Stop this process as SIGSTOP from outside would, unless one has been stopped before."""
    if not os.path.exists(mark):
        Path(mark).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    return os.getpid()


class TestStoppedWorker:
    """Its connections stay open, so that Dask notices nothing for five minutes."""

    def test_its_task_goes_elsewhere_and_a_note_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.2)
        monkeypatch.setattr(silence, "SILENT_AFTER_S", 3.0)
        notes: list[str] = []
        with DaskExecutor(LocalOpener(workers=1, note=notes.append)) as executor:
            executor.submit("stops", stop_once, str(tmp_path / "mark"))
            done = executor.next()
        stopped = int((tmp_path / "mark").read_text())
        assert done.error is None
        assert done.result != stopped
        assert not os.path.exists(f"/proc/{stopped}")
        (note,) = notes
        assert note.startswith("worker 0 on 127.0.0.1 has not answered for ")
        assert note.endswith("its process was stopped; another is started, its tasks go elsewhere")


def look(silent: Silence, last_seen: float, *, times: int = 1, status: str = "running") -> set[str]:
    found: set[str] = set()
    for _ in range(times):
        found = {*silent.look({"a": {"last_seen": last_seen, "status": status}}, 2.0)}
    return found


class TestSilence:
    """What is counted are looks, not what the clock says."""

    def test_it_is_told_after_a_minute(self):
        silent = Silence()
        look(silent, 0.0)
        assert look(silent, 1.0, times=31) == set()
        assert look(silent, 1.0) == {"a"}
        assert look(silent, 2.0) == set()

    def test_a_worker_that_sets_itself_up_may_take_its_time(self):
        assert look(Silence(), 0.0, times=1000, status="init") == set()

    def test_one_that_left_and_came_back_begins_anew(self):
        silent = Silence()
        look(silent, 1.0, times=25)
        silent.look({}, 2.0)
        assert look(silent, 1.0, times=25) == set()
