"""SIGKILL at random moments: the same line again gives the store, nothing looks whole before."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr

from tilepress.pipeline.verify import verify

from ..helpers.samples import smooth

SLOW_COMMAND = """
# The command with tiny shards that take their time, in the workers too (they import this file).
import time
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.archive import coding, plan

def tiny(shape, itemsize, *, tile, block=None):
    return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=64 * 64 * 2)

def slow(*arguments, **options):
    time.sleep(0.03)
    return encode_shard(*arguments, **options)

plan.choose_grid = tiny
encode_shard, coding.encode_shard = coding.encode_shard, slow

from tilepress.workflows.cli.app import main

if __name__ == "__main__":
    main()
"""

SIDE = 448
SHARDS = (SIDE // 64) ** 2


class Archive:
    """A source, its destination, and the one line that is run again and again."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "scene.npy"
        self.store = folder / "out" / "scene.zarr"
        self.report = folder / "report.json"
        self.samples = smooth((SIDE, SIDE))
        np.save(self.source, self.samples)
        self._script = folder / "command.py"
        self._script.write_text(SLOW_COMMAND)

    def start(self) -> subprocess.Popen[bytes]:
        line = ["compress", self.source, self.store.parent, "--tile", "64", "--workers", "2"]
        return subprocess.Popen(
            [sys.executable, str(self._script), *map(str, line), "--report", str(self.report)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @property
    def entries(self) -> int:
        """Shards that the ledger knows."""
        return len(list((self.store.parent / ".tilepress").rglob("image-*.json")))

    @property
    def sealed(self) -> bool:
        return (self.store / "zarr.json").exists()

    def check_unfinished(self) -> None:
        """A plain reader must not take a part for the whole."""
        if not self.sealed:
            with pytest.raises(FileNotFoundError):
                zarr.open(self.store, mode="r")

    def check_finished(self) -> None:
        assert np.array_equal(zarr.open_group(self.store, mode="r")["0/image"][...], self.samples)
        assert verify(self.store) == []
        assert not (self.store.parent / ".tilepress").exists()
        assert not list(self.store.parent.rglob("*.partial"))

    def remove(self) -> None:
        shutil.rmtree(self.store.parent)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    before = set(psutil.Process().children())  # servers that other tests use
    archive = Archive(tmp_path)
    yield archive
    for child in set(psutil.Process().children()) - before:
        with suppress(psutil.NoSuchProcess):
            for process in (*child.children(recursive=True), child):
                process.kill()


def wait_until_gone(processes: list[psutil.Process], limit_s: float = 30) -> None:
    _, alive = psutil.wait_procs(processes, timeout=limit_s)
    assert not alive, f"{len(alive)} processes outlived their command"


def workers_of(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [
            process
            for process in psutil.Process(command.pid).children()
            if "spawn_main" in " ".join(process.cmdline())
        ]
    return []


def wait_for(condition: object, command: subprocess.Popen[bytes], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and command.poll() is None:  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_command(archive: Archive, dice: random.Random) -> bool:
    """Start the line and kill it at a random moment; return whether it was still running."""
    goal = dice.uniform(archive.entries, SHARDS)
    command = archive.start()
    if dice.random() < 0.25:
        time.sleep(dice.uniform(0, 3))
    else:
        wait_for(lambda: archive.entries >= goal, command)
        time.sleep(dice.uniform(0, 0.2))
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(command.pid).children(recursive=True)
    was_running = command.poll() is None
    command.kill()
    command.communicate()
    wait_until_gone(family)
    archive.check_unfinished()
    return was_running


def finish(archive: Archive) -> str:
    command = archive.start()
    text = command.communicate(timeout=120)[0].decode()
    assert command.returncode == 0, text
    archive.check_finished()
    return text


def kill_workers(archive: Archive, dice: random.Random, kills: int) -> int:
    """Run the line to its end, killing random workers on the way; return how many died."""
    command = archive.start()
    died = 0
    moments = sorted(dice.uniform(1, 0.8 * SHARDS) for _ in range(kills))
    for moment in moments:
        wait_for(lambda moment=moment: archive.entries >= moment, command)
        wait_for(lambda: workers_of(command), command)  # a successor may be starting
        with suppress(psutil.NoSuchProcess, IndexError):
            dice.choice(workers_of(command)).kill()
            died += 1
    text = command.communicate(timeout=180)[0].decode()
    assert command.returncode == 0, text
    archive.check_finished()
    return died


@pytest.mark.slow
class TestKilledCommand:
    """Power cuts, out-of-memory killers and impatient people stop commands at any line."""

    def test_two_kills(self, archive: Archive):
        dice = random.Random(1)
        kills = 0
        while kills < 2 or archive.sealed:
            if archive.sealed:  # it was faster than the second kill
                archive.remove()
                kills = 0
            kills += kill_command(archive, dice)
        done = archive.entries
        assert done
        assert f"{done} of {SHARDS} shards were there already" in finish(archive)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_twenty_kills(self, archive: Archive):
        dice = random.Random(20)
        kills = 0
        while kills < 20:
            kills += kill_command(archive, dice)
            if archive.sealed or archive.entries > 0.7 * SHARDS:
                finish(archive)
                archive.remove()
        finish(archive)


@pytest.mark.slow
class TestKilledWorkers:
    """A dead worker costs the shard that it was at, once more."""

    def test_two_kills(self, archive: Archive):
        assert kill_workers(archive, random.Random(2), 2) >= 1

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_twenty_kills(self, archive: Archive):
        dice = random.Random(21)
        died = 0
        while died < 20:
            died += kill_workers(archive, dice, 5)
            archive.remove()


class TestInterrupts:
    """Ctrl-C and a batch system's SIGTERM stop a run in good order."""

    @pytest.mark.slow
    def test_ctrl_c_is_130_and_the_same_line_goes_on(self, archive: Archive):
        """The terminal sends it to the whole foreground group; only the command acts on it."""
        self.stop(archive, signal.SIGINT, to_all=True)
        assert "shards were there already" in finish(archive)

    @pytest.mark.slow
    def test_sigterm_is_130(self, archive: Archive):
        self.stop(archive, signal.SIGTERM, to_all=False)

    def stop(self, archive: Archive, number: signal.Signals, *, to_all: bool) -> None:
        command = archive.start()
        wait_for(lambda: archive.entries >= 5, command)
        family = psutil.Process(command.pid).children(recursive=True)
        for process in family if to_all else []:
            process.send_signal(number)
        command.send_signal(number)
        text = command.communicate(timeout=60)[0].decode()
        assert command.returncode == 130, text
        assert text.splitlines()[-1] == "tilepress: interrupted; run the same line again to go on"
        assert "Traceback" not in text
        assert "interrupted: 0 images written, 0 unchanged, 0 failed, 1 begun" in text
        assert json.loads(archive.report.read_text())["interrupted"]
        wait_until_gone(family)
        archive.check_unfinished()
        assert not list(archive.store.parent.rglob("lease.json"))
