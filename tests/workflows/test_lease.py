"""The lease: one writer per store, whoever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tilepress.codecs.errors import DestinationConflict
from tilepress.workflows import lease as room
from tilepress.workflows.lease import Lease, LeaseKeeper, holds

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from tilepress.workflows.lease import Lease
Lease.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive" / ".tilepress" / "scene.zarr"


def foreign(folder: Path, **changes: object) -> None:
    """Make the lease look as if another host's process held it."""
    path = folder / "lease.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere", **changes}))


class TestOneWriter:
    """Two runs into one store would interleave shards of different plans."""

    def test_a_second_writer_is_refused_and_told_who_writes(self, folder: Path):
        Lease.acquire(folder)
        with pytest.raises(DestinationConflict, match=f"process {os.getpid()} on"):
            Lease.acquire(folder)

    def test_a_released_lease_leaves_nothing_behind(self, folder: Path):
        Lease.acquire(folder).release()
        assert not folder.parent.exists()

    def test_a_released_lease_can_be_taken(self, folder: Path):
        Lease.acquire(folder).release()
        lease = Lease.acquire(folder)
        assert holds(folder, lease.holder_id)

    def test_what_others_left_in_the_folder_stays(self, folder: Path):
        lease = Lease.acquire(folder)
        (folder / "digest").mkdir()
        lease.release()
        assert [path.name for path in folder.iterdir()] == ["digest"]

    def test_of_many_that_come_at_once_one_wins(self, folder: Path):
        def attempt(_: int) -> int:
            try:
                Lease.acquire(folder)
            except DestinationConflict:
                return 0
            return 1

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(attempt, range(64))) == 1

    def test_a_stale_lease_is_taken_over_by_one_of_many(self, folder: Path):
        Lease.acquire(folder)
        path = folder / "lease.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "0"}))

        def attempt(_: int) -> int:
            try:
                Lease.acquire(folder)
            except DestinationConflict:
                return 0
            return 1

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(attempt, range(64))) == 1


class TestDeadHolders:
    """A lease that outlives its holder would lock an archive until a person comes."""

    def test_a_killed_process_of_this_host_loses_its_lease_at_once(self, folder: Path):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD_FOR_EVER, str(folder)], stdout=subprocess.PIPE
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            with pytest.raises(DestinationConflict, match=f"process {child.pid} on"):
                Lease.acquire(folder)
        finally:
            child.kill()
            child.communicate()
        lease = Lease.acquire(folder)
        assert holds(folder, lease.holder_id)

    def test_a_process_id_that_was_used_again_is_not_the_holder(self, folder: Path):
        Lease.acquire(folder)
        path = folder / "lease.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "1"}))
        Lease.acquire(folder)

    def test_another_host_is_believed_while_its_heart_beats(self, folder: Path):
        Lease.acquire(folder)
        foreign(folder)
        with pytest.raises(DestinationConflict, match="elsewhere"):
            Lease.acquire(folder)

    def test_another_host_without_heartbeat_loses_its_lease(self, folder: Path):
        Lease.acquire(folder)
        foreign(folder)
        old = time.time() - room.STALE_AFTER_S - 5
        os.utime(folder / "lease.json", (old, old))
        Lease.acquire(folder)

    def test_a_torn_lease_file_is_no_lease(self, folder: Path):
        folder.mkdir(parents=True)
        (folder / "lease.json").write_text('{"id": "ab')
        Lease.acquire(folder)


class TestLosersNotice:
    """A holder that slept through its own funeral must not write, beat or release."""

    def test_a_lost_lease_neither_beats_nor_releases(self, folder: Path):
        first = Lease.acquire(folder)
        foreign(folder, id="other")
        assert not holds(folder, first.holder_id)
        assert not first.beat()
        first.release()
        assert holds(folder, "other")

    def test_a_keeper_beats_for_its_leases_and_releases_them(self, folder: Path):
        with LeaseKeeper(interval_s=0.02) as keeper:
            keeper.acquire(folder)
            path = folder / "lease.json"
            os.utime(path, (1, 1))
            deadline = time.monotonic() + 10
            while path.stat().st_mtime == 1 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert path.stat().st_mtime > 1
        assert not folder.exists()
