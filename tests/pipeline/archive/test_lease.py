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

from tilepress.errors import DestinationConflict
from tilepress.pipeline.archive import lease as room
from tilepress.pipeline.archive.lease import Holder, Lease, LeaseKeeper, holds
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.storage.s3 import BucketPath

HOLD_FOR_EVER = """
import sys, time
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.archive.lease import Lease
Lease.acquire(storage_path(sys.argv[1]))
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


def wins(folder: StoragePath, *, tries: int, threads: int) -> int:
    """Take a lease many times at once; return how many got it."""

    def attempt(_: int) -> bool:
        try:
            Lease.acquire(folder)
        except DestinationConflict:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(attempt, range(tries)))


class TestOneWriter:
    """Two runs into one store would interleave shards of different plans."""

    def test_a_second_writer_is_refused_and_told_who_writes(self, folder: Path):
        Lease.acquire(storage_path(folder))
        with pytest.raises(DestinationConflict, match=f"process {os.getpid()} on"):
            Lease.acquire(storage_path(folder))

    def test_a_released_lease_leaves_nothing_behind(self, folder: Path):
        Lease.acquire(storage_path(folder)).release()
        assert not folder.parent.exists()

    def test_a_released_lease_can_be_taken(self, folder: Path):
        Lease.acquire(storage_path(folder)).release()
        lease = Lease.acquire(storage_path(folder))
        assert holds(storage_path(folder), lease.holder)

    def test_what_others_left_in_the_folder_stays(self, folder: Path):
        lease = Lease.acquire(storage_path(folder))
        (folder / "digest").mkdir()
        lease.release()
        assert [path.name for path in folder.iterdir()] == ["digest"]

    def test_of_many_that_come_at_once_one_wins(self, folder: Path):
        assert wins(storage_path(folder), tries=64, threads=16) == 1

    def test_a_stale_lease_is_taken_over_by_one_of_many(self, folder: Path):
        Lease.acquire(storage_path(folder))
        path = folder / "lease.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "0"}))

        assert wins(storage_path(folder), tries=64, threads=16) == 1


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
                Lease.acquire(storage_path(folder))
        finally:
            child.kill()
            child.communicate()
        lease = Lease.acquire(storage_path(folder))
        assert holds(storage_path(folder), lease.holder)

    def test_a_process_id_that_was_used_again_is_not_the_holder(self, folder: Path):
        Lease.acquire(storage_path(folder))
        path = folder / "lease.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "1"}))
        Lease.acquire(storage_path(folder))

    def test_another_host_is_believed_while_its_heart_beats(self, folder: Path):
        Lease.acquire(storage_path(folder))
        foreign(folder)
        with pytest.raises(DestinationConflict, match="elsewhere"):
            Lease.acquire(storage_path(folder))

    def test_another_host_without_heartbeat_loses_its_lease(self, folder: Path):
        Lease.acquire(storage_path(folder))
        foreign(folder)
        old = time.time() - room.STALE_AFTER_S - 5
        os.utime(folder / "lease.json", (old, old))
        Lease.acquire(storage_path(folder))

    def test_a_torn_lease_file_is_no_lease(self, folder: Path):
        folder.mkdir(parents=True)
        (folder / "lease.json").write_text('{"id": "ab')
        Lease.acquire(storage_path(folder))


class TestLosersNotice:
    """A holder that slept through its own funeral must not write, beat or release."""

    def test_a_lost_lease_neither_beats_nor_releases(self, folder: Path):
        first = Lease.acquire(storage_path(folder))
        foreign(folder, id="other")
        assert not holds(storage_path(folder), first.holder)
        assert not first.beat()
        first.release()
        assert json.loads((folder / "lease.json").read_text())["id"] == "other"

    def test_a_keeper_beats_for_its_leases_and_releases_them(self, folder: Path):
        with LeaseKeeper(interval_s=0.02) as keeper:
            keeper.acquire(storage_path(folder))
            path = folder / "lease.json"
            os.utime(path, (1, 1))
            deadline = time.monotonic() + 10
            while path.stat().st_mtime == 1 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert path.stat().st_mtime > 1
        assert not folder.exists()


class TestPartsShare:
    """The parts of one plan write the same bytes; any other writer would not."""

    def part(self, plan: str) -> Holder:
        return Holder.this_process("part").of_plan(plan)

    def test_parts_of_one_plan_hold_it_together(self, folder: Path):
        first = Lease.acquire(storage_path(folder), self.part("a"))
        second = Lease.acquire(storage_path(folder), self.part("a"))
        assert holds(storage_path(folder), first.holder)
        assert holds(storage_path(folder), second.holder)
        first.release()
        assert holds(storage_path(folder), second.holder)

    def test_neither_another_plan_nor_a_run_comes_between(self, folder: Path):
        Lease.acquire(storage_path(folder), self.part("a"))
        with pytest.raises(DestinationConflict, match="a part of a plan"):
            Lease.acquire(storage_path(folder), self.part("b"))
        with pytest.raises(DestinationConflict, match="a part of a plan"):
            Lease.acquire(storage_path(folder), Holder.this_process().of_plan("a"))

    def test_dead_parts_lose_it_after_a_while(self, folder: Path):
        Lease.acquire(storage_path(folder), self.part("a"))
        old = time.time() - room.STALE_AFTER_S - 5
        os.utime(folder / "lease.json", (old, old))
        Lease.acquire(storage_path(folder), self.part("b"))

    def test_who_finishes_takes_it_from_them(self, folder: Path):
        part = Lease.acquire(storage_path(folder), self.part("a"))
        finish = Lease.acquire(storage_path(folder), Holder.this_process("finish").of_plan("a"))
        assert not holds(storage_path(folder), part.holder)
        finish.release()
        assert not folder.exists()

    def test_who_finishes_another_plan_does_not(self, folder: Path):
        Lease.acquire(storage_path(folder), self.part("a"))
        with pytest.raises(DestinationConflict):
            Lease.acquire(storage_path(folder), Holder.this_process("finish").of_plan("b"))


class TestBuckets:
    """Buckets have no locks: conditional puts decide."""

    @pytest.fixture
    def folder(self, bucket: str) -> BucketPath:
        found = storage_path(f"{bucket}/archive/.tilepress/scene.zarr")
        assert isinstance(found, BucketPath)
        return found

    def test_of_many_that_come_at_once_one_wins(self, folder: BucketPath):
        assert wins(folder, tries=24, threads=8) == 1

    def test_a_stale_lease_is_taken_over_by_one_of_many(self, folder: BucketPath):
        Lease.acquire(folder)
        lease = folder / "lease.json"
        lease.write(json.dumps({**json.loads(lease.read()), "started": "0"}).encode())

        assert wins(folder, tries=24, threads=8) == 1

    def test_a_released_lease_leaves_nothing_behind(self, folder: BucketPath):
        lease = Lease.acquire(folder)
        assert lease.beat()
        lease.release()
        assert not lease.beat()
        assert list(folder.walk()) == []

    def test_another_host_is_believed_while_its_heart_beats(
        self, folder: BucketPath, monkeypatch: pytest.MonkeyPatch
    ):
        Lease.acquire(folder)
        lease = folder / "lease.json"
        lease.write(json.dumps({**json.loads(lease.read()), "host": "elsewhere"}).encode())
        with pytest.raises(DestinationConflict, match="elsewhere"):
            Lease.acquire(folder)
        monkeypatch.setattr(room, "STALE_AFTER_S", -1.0)
        Lease.acquire(folder)
