"""What a killed export left goes with the next one; what is being written stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.export_ledger import LEDGER
from tilepress.pipeline.storage import unfinished as module
from tilepress.pipeline.storage.unfinished import sweep_unfinished, unfinished
from tilepress.workflows.run.compress import compress

LEFT = (".tilepress-export-0123456789abcdef", ".tilepress-export-a1b2c3d4", f".{'0a' * 8}.partial")
"""Names of today's, and of those of earlier versions."""

HOLD = """
import sys, time
from pathlib import Path
from tilepress.pipeline.storage.unfinished import unfinished
with unfinished(Path(sys.argv[1])), unfinished(Path(sys.argv[1]), folder=True) as folder:
    (folder / "half").write_bytes(b"1")
    print("held", flush=True)
    time.sleep(60)
"""


def leave(folder: Path) -> None:
    """Make what killed exports have left, some time ago."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in LEFT[:2]:
        (folder / name).mkdir()
        (folder / name / "half.tif").write_bytes(b"1")
    (folder / LEFT[2]).write_bytes(b"1")
    for name in LEFT:
        os.utime(folder / name, (1, 1))


@pytest.mark.parametrize("folder", [False, True])
def test_it_is_gone_at_the_end_or_has_become_the_target(tmp_path: Path, folder: bool):
    target = tmp_path / "DOE^JANE"
    with unfinished(target, folder=folder) as path:
        assert path.is_dir() == folder
        assert "JANE" not in path.name
        assert path.exists()
    assert not list(tmp_path.iterdir())
    with unfinished(target, folder=folder) as path:
        path.rename(target)
    assert list(tmp_path.iterdir()) == [target]


def test_the_target_may_be_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with unfinished(Path("."), folder=True) as path:
        assert path.resolve().parent == tmp_path


def test_what_killed_ones_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "a"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        for name in os.listdir(tmp_path):
            os.utime(tmp_path / name, (1, 1))
        assert sweep_unfinished(tmp_path) == 0
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert len(os.listdir(tmp_path)) == 2
    assert sweep_unfinished(tmp_path) == 2
    assert not os.listdir(tmp_path)


def test_what_is_young_or_something_else_stays(tmp_path: Path):
    others = [".tilepress-export-", ".a.tif.0123456789abcdef.partial", "x.partial"]
    for name in others:
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / LEFT[0]).symlink_to(tmp_path / others[0])
    for name in (LEFT[0], *others):
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / LEFT[1]).write_bytes(b"1")
    assert sweep_unfinished(tmp_path) == 0
    assert sweep_unfinished(tmp_path / "none") == 0
    assert time.time() - os.stat(tmp_path / LEFT[1]).st_mtime < module.YOUNG_S
    assert len(os.listdir(tmp_path)) == 5


def test_what_is_young_is_waited_for_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "YOUNG_S", 0.5)
    (tmp_path / LEFT[0]).mkdir()
    with unfinished(tmp_path / "a"):
        assert sweep_unfinished(tmp_path) == 0
        assert sweep_unfinished(tmp_path, waits=True) == 1
        assert len(os.listdir(tmp_path)) == 1, "what is being written stays"


def test_it_is_gone_where_removing_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    remove, calls = shutil.rmtree, []

    def interrupted(path: Path, **options: bool) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        remove(path, **options)

    monkeypatch.setattr(module.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "a", folder=True) as path:
        (path / "half").touch()
    assert not list(tmp_path.iterdir())


def test_exports_sweep_their_folders(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(600, dtype=np.uint8).reshape(20, 30))
    assert compress(tmp_path / "a.npy", tmp_path / "out", workers=0).ok
    leave(tmp_path / "one")
    export(tmp_path / "out/a.zarr", tmp_path / "one/a.npy")
    assert os.listdir(tmp_path / "one") == ["a.npy"]
    leave(tmp_path / "all")
    leave(tmp_path)
    assert [done.problem for done in export_archive(tmp_path / "out", tmp_path / "all")] == [None]
    assert sorted(os.listdir(tmp_path / "all")) == [LEDGER, "a.npy"]
    assert {*LEFT} <= {*os.listdir(tmp_path)}
