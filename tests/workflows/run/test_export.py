"""An archive that several processes write back is the one that a single one writes."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tilepress.pipeline.export_archive import Exported
from tilepress.pipeline.export_archive import export_archive as by_one
from tilepress.pipeline.export_ledger import LEDGER
from tilepress.pipeline.export_staging import HereStager, Staged, StoreTask, Wanted
from tilepress.pipeline.storage.path import StoragePath
from tilepress.workflows.cluster.executor import Completed, InProcessExecutor, Killed
from tilepress.workflows.run import export as room
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.export import ExecutorStager, export_archive

from ...pipeline.images import dicom, npy, tiff


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive with names that collide, of rasters, arrays, a series and other files."""
    folder = tmp_path_factory.mktemp("made") / "in"
    for number in range(6):
        npy(folder / f"{number}/a.npy")
        tiff(folder / f"{number}/scene.tif")
        packed = gzip.compress((folder / f"{number}/scene.tif").read_bytes(), mtime=1)
        (folder / f"{number}/scene.tif.gz").write_bytes(packed)
    for number in (1, 2):
        dicom(folder / f"ct/{number}.dcm", 1, number)
    (folder / "notes.txt").write_text("read me")
    assert compress(folder, folder.parent / "out", workers=0, keep="all").ok
    return folder.parent / "out"


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """Return a copy of that archive."""
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture(scope="module")
def of_one(made: Path, tmp_path_factory: pytest.TempPathFactory) -> OfOne:
    """Return what a single process writes of it."""
    out = tmp_path_factory.mktemp("one")
    done = list(by_one(made, out))
    return OfOne(done, tree(out))


class OfOne(NamedTuple):
    """An export by a single process."""

    done: list[Exported]
    tree: dict[str, bytes]


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name != LEDGER}


class Shuffling(InProcessExecutor):
    """Does of four tasks any one next; what it began stays bounded."""

    window, slots = 4, 2

    def __init__(self, kills: int = 0) -> None:
        super().__init__()
        self._draw, self.most, self.kills = random.Random(1), 0, kills

    def next(self) -> Completed:
        self.most = max(self.most, len(self._tasks))
        self._tasks.rotate(self._draw.randrange(len(self._tasks)))
        if self.kills:
            self.kills -= 1
            return Completed(self._tasks.popleft()[0], error=Killed("its processes died"))
        return super().next()


def shuffled(archive: Path, out: Path, executor: Shuffling) -> list[Exported]:
    return list(by_one(archive, out, stager=lambda _: ExecutorStager(executor)))


class TestTheOrderOfWorkers:
    def test_does_not_show(self, archive: Path, of_one: OfOne, tmp_path: Path):
        executor = Shuffling()
        several = shuffled(archive, tmp_path / "several", executor)
        assert of_one.tree == tree(tmp_path / "several")
        assert [(a.name, a.state, a.number) for a in of_one.done] == [
            (a.name, a.state, a.number) for a in several
        ]
        assert 1 < executor.most <= 4
        assert shuffled(archive, tmp_path / "several", executor)[0].state == "there"

    def test_does_not_let_waiting_stores_pile_up(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(room, "AHEAD_PER_WORKER", 1)
        executor = Shuffling()
        shuffled(archive, tmp_path / "back", executor)
        assert executor.most <= 2

    def test_a_store_fails_alone(self, archive: Path, tmp_path: Path):
        (archive / "3/a.zarr/zarr.json").write_text("{}")
        done = shuffled(archive, tmp_path / "back", Shuffling())
        assert [one.name for one in done if one.problem] == ["3/a.zarr"]

    def test_a_worker_that_dies_is_tried_once_more(
        self, archive: Path, of_one: OfOne, tmp_path: Path
    ):
        done = shuffled(archive, tmp_path / "back", Shuffling(kills=2))
        assert not [one.problem for one in done if one.problem]
        assert len(done) == len(of_one.done)
        assert of_one.tree == tree(tmp_path / "back")

    def test_a_store_whose_workers_die_each_time_is_named(self, archive: Path, tmp_path: Path):
        done = shuffled(archive, tmp_path / "back", Shuffling(kills=100))
        assert {one.state for one in done if one.total} == {"failed"}
        assert all("processes died" in str(one.problem) for one in done if one.total)
        assert not list((tmp_path / "back").glob(".tilepress-export-*"))


class TestHowMany:
    @pytest.mark.parametrize(("stores", "limit", "want"), [(1, 0, 0), (9, 0, 4), (9, 2**40, 0)])
    def test_processes_an_archive_is_worth(
        self,
        archive: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        stores: int,
        limit: int,
        want: int,
    ):
        seen = []

        def opener(workers: int) -> int:
            seen.append(workers)
            return workers

        monkeypatch.setattr(room, "default_workers", lambda: 4)
        monkeypatch.setattr(room, "LocalOpener", opener)
        monkeypatch.setattr(room, "DaskExecutor", lambda _: Shuffling())
        monkeypatch.setattr(room, "SMALL_BYTES", limit)

        def run(*arguments: Any, stager: Any) -> Any:
            stager([StoragePath] * stores)
            return iter(())

        monkeypatch.setattr(room, "run_export", run)
        list(export_archive(archive, tmp_path / "back", Wanted()))
        assert seen == ([want] if want else [])

    def test_none_are_started_where_nobody_wants_any(self, archive: Path, tmp_path: Path):
        done = list(export_archive(archive, tmp_path / "back", Wanted(), workers=0))
        assert not [one.problem for one in done if one.problem]


class TestRealProcesses:
    def line(self, archive: Path, out: Path, *more: str) -> list[str]:
        line = [sys.executable, "-m", "tilepress", "export", str(archive), str(out)]
        return [*line, "--workers", "2", *more]

    def test_write_the_tree_of_one(self, archive: Path, of_one: OfOne, tmp_path: Path):
        report = tmp_path / "report.json"
        line = self.line(archive, tmp_path / "two", "--report", str(report))
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert of_one.tree == tree(tmp_path / "two")
        told = json.loads(report.read_text())
        assert told["stores"]["written"] == len(told["results"]) - 1 == 19
        assert not told["interrupted"]

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    def test_that_are_stopped_are_gone_on_with(
        self, archive: Path, of_one: OfOne, tmp_path: Path, number: signal.Signals
    ):
        out = tmp_path / "two"
        running = subprocess.Popen(
            self.line(archive, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not list(out.glob("[0-9]/*")) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(number)
        _, problems = running.communicate(timeout=60)
        if number == signal.SIGINT:
            assert running.returncode in (0, 130), problems
            assert not list(out.glob(".tilepress-export-*"))
        for folder in out.glob(".tilepress-export-*"):
            os.utime(folder, (1, 1))
        whole = of_one.tree
        named = {k: v for k, v in tree(out).items() if not k.startswith(".tilepress-export-")}
        assert named.items() <= whole.items()
        done = subprocess.run(self.line(archive, out), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        left = [k for k in tree(out) if k.startswith(".tilepress-export-")]
        assert {k: v for k, v in tree(out).items() if k not in left} == whole


class Recording(HereStager):
    """Tells what it staged."""

    def staged(self, tasks: Any) -> Any:
        for task in tasks:
            if isinstance(task, StoreTask):
                yield Staged(state="failed", problem=f"exporting {task.key}: no")
            else:
                yield None


def test_what_was_begun_is_removed_where_nobody_goes_on(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "back"
    exported = by_one(archive, out, stager=lambda _: Recording())
    next(exported)
    exported.close()
    assert not list(out.glob(".tilepress-export-*"))
