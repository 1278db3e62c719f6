"""Object storage: kills, two writers at once, and a writer that wakes up too late."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr

from tilepress.errors import DestinationConflict
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.lease import Holder, Lease, LeaseLost
from tilepress.pipeline.archive.ledger import ledger_folder
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import make_plan
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.verify import verify

from .conftest import TILE, Scene
from .killing import Archive, end, kill_command


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    yield Archive(tmp_path, random.Random(7))
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("command.py" in word for word in process.cmdline()):
                process.kill()


class TestAKilledRunIntoABucket:
    """The server lives on; what was put stays, and nothing was half put."""

    def test_goes_on(self, archive: Archive, bucket: str):
        archive.renew(f"{bucket}/out")
        kill_command(archive, 0, "after-encode", "after-ledger", "after-seal")
        (tally,) = archive.tally.values()
        assert (tally.kills, tally.wrong, tally.redone) == (3, 0, 0)
        assert tally.finished > 0


class TestTwoWriters:
    """One is refused, or both wrote the same: a store is never of two."""

    def test_at_once(self, archive: Archive, bucket: str):
        archive.renew(f"{bucket}/out")
        both = [archive.compress("--workers", 0) for _ in range(2)]
        told = [one.communicate(timeout=120)[0].decode() for one in both]
        codes = sorted(one.returncode for one in both)
        assert codes in ([0, 0], [0, 1]), told
        if codes == [0, 1]:
            (refused,) = [text for text, one in zip(told, both, strict=True) if one.returncode]
            assert "is writing there" in refused or "was quicker" in refused, refused
        store = storage_path(archive.out) / "scene.zarr"
        assert verify(store) == []
        found = zarr.open_group(store.zarr_store(), mode="r")["0/image"][...]
        assert np.array_equal(found, archive.samples)
        end(archive.compress("--workers", 0))


@pytest.mark.usefixtures("tiny_shards")
class TestAZombie:
    """A writer slept for so long that another took its store over; then it woke up."""

    def test_does_not_write_once_its_lease_is_gone(
        self, scene: Scene, bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        plan, zombie, heir = self.taken_over(scene, bucket, monkeypatch)
        with pytest.raises(LeaseLost):
            task.write_shard(plan, next(plan.shards()), zombie)
        assert list((storage_path(plan.store) / "0").walk()) == []
        assert not task.write_shard(plan, next(plan.shards()), heir).reused

    def test_cannot_overwrite_between_its_look_and_its_put(
        self, scene: Scene, bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        """It has just seen that the lease is its own; the put itself is conditional."""
        plan, zombie, heir = self.taken_over(scene, bucket, monkeypatch)
        ref = next(plan.shards())
        task.write_shard(plan, ref, heir)
        writer = ImageCoding(plan).writer
        before = writer.shard_path(ref.array, ref.index).read_tagged()

        def lost() -> None:
            task._check_lease(plan, zombie)

        with pytest.raises(LeaseLost):
            writer.write_shard(ref.array, ref.index, b"of another run", lost)
        assert writer.shard_path(ref.array, ref.index).read_tagged() == before

    def test_cannot_replace_what_changed_while_it_looked(
        self, scene: Scene, bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        plan, _, _ = self.taken_over(scene, bucket, monkeypatch)
        ref = next(plan.shards())
        writer = ImageCoding(plan).writer
        target = writer.shard_path(ref.array, ref.index)
        target.write(b"of an earlier run")
        with pytest.raises(DestinationConflict, match="another process writes"):
            writer.write_shard(
                ref.array, ref.index, b"the zombie's", lambda: target.write(b"the heir's")
            )
        assert target.read() == b"the heir's"

    def taken_over(self, scene: Scene, bucket: str, monkeypatch: pytest.MonkeyPatch):
        from tilepress.pipeline.find.discover import discover
        from tilepress.pipeline.sources.open import open_source

        (spec,) = discover([scene.folder / "large.npy"], None)
        source = open_source(spec)
        plan = make_plan(
            source, storage_path(f"{bucket}/large.zarr"), EncodeOptions(tile=TILE, tier="fast")
        )
        source.close()
        folder = ledger_folder(plan.store)
        zombie = Lease.acquire(folder, Holder.this_process().of_plan(plan.digest))
        with monkeypatch.context() as patch:
            patch.setattr("tilepress.pipeline.archive.lease._is_stale", lambda *_: True)
            heir = Lease.acquire(folder, Holder.this_process().of_plan(plan.digest))
        return plan, zombie.holder, heir.holder
