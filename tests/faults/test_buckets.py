"""Object storage: kills, two writers at once, and a writer that wakes up too late."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import obstore
import psutil
import pytest
import zarr

from tilepress.errors import DestinationConflict
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.lease import Holder, Lease, LeaseLost
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ledger_folder, make_plan
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.verify import verify

from .conftest import TILE, Scene, check_any, check_archive, write_sources
from .killing import Archive, end, kill_command


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    yield Archive(tmp_path, random.Random(7))
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("command.py" in word for word in process.cmdline()):
                process.kill()


@pytest.mark.slow
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


Put = tuple[str, bytes | None]
"""Key below the archive and the object that was put there; None where it was removed."""


class Puts:
    """What a run changes in a bucket, object by object, in order."""

    def __init__(self, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[Put] = []
        self._skip = len(below) + 1
        put, delete = obstore.put, obstore.delete

        def watched_put(store: object, key: str, data: bytes, **options: object) -> object:
            answer = put(store, key, data, **options)
            self.done.append((key[self._skip :], bytes(data)))
            return answer

        def watched_delete(store: object, keys: str | list[str]) -> None:
            delete(store, keys)
            self.done += [
                (k[self._skip :], None) for k in ([keys] if isinstance(keys, str) else keys)
            ]

        monkeypatch.setattr(obstore, "put", watched_put)
        monkeypatch.setattr(obstore, "delete", watched_delete)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_shards", "dead_holders")
class TestEveryCrashOfARunThatReplaces:
    """Behind every single put and removal there is the old store or the new one, whole."""

    EVERY = 24
    """From each so many-th state the same line is run again."""

    def test_the_same_line_ends_it(
        self, scene: Scene, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        older = write_sources(tmp_path / "old", 50)
        done, begin = self.replaced(scene, older, bucket, monkeypatch)
        told = self.check(scene, older, bucket, done, begin, lambda at: check_again(scene, at))
        print(told)
        assert told["sealed"] == len(scene.images) * told["states"]

    def replaced(
        self, scene: Scene, older: Scene, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[list[Put], dict[str, bytes]]:
        """Return what a run by force puts and removes, and what was there before."""
        out = storage_path(f"{bucket}/out")
        assert older.compress(str(out)).ok
        begin = {key: (out / key).read() for key, _ in out.walk()}
        with monkeypatch.context() as patch:
            puts = Puts("out", patch)
            assert scene.compress(str(out), force=True).ok
        after = {key: (out / key).read() for key, _ in out.walk()}
        state = dict(begin)
        for key, data in puts.done:
            state = changed(state, key, data)
        assert state == after, "what is not written down would not be tested"
        return puts.done, begin

    def check(
        self,
        scene: Scene,
        older: Scene,
        bucket: str,
        done: list[Put],
        begin: dict[str, bytes],
        rerun: Callable[[str], None],
    ) -> dict[str, int]:
        out = storage_path(f"{bucket}/replayed")
        for key, data in begin.items():
            (out / key).write(data)
        told = {"states": 0, "reruns": 0, "sealed": 0, "unsealed": 0}
        state = dict(begin)
        known: dict[str, object] = {}
        for number, (key, data) in enumerate([("", None), *done]):
            if data is not None:
                (out / key).write(data)
            elif key:
                (out / key).remove()
            state = changed(state, key, data)
            told["states"] += 1
            for name in scene.images:
                own = {k: v for k, v in state.items() if concerns(k, name)}
                if known.get(name) != own:  # else it was looked at behind the put before
                    samples = older.images[name], scene.images[name]
                    assert check_any(out / f"{name}.zarr", samples) == "sealed", (number, key)
                    known[name] = own
                told["sealed"] += 1
            if number % self.EVERY == 0:
                at = f"{bucket}/again-{number}"
                for k, v in state.items():
                    (storage_path(at) / k).write(v)
                rerun(at)
                told["reruns"] += 1
        return told


def changed(state: dict[str, bytes], key: str, data: bytes | None) -> dict[str, bytes]:
    rest = {k: v for k, v in state.items() if k != key}
    return rest if data is None else {**rest, key: data}


def concerns(key: str, name: str) -> bool:
    """Whether an object decides what a reader of a store, or a check, finds."""
    return key.startswith(f"{name}.zarr/") or (
        key.startswith(f".tilepress/{name}.zarr/") and key.endswith("/replaces.json")
    )


def check_again(scene: Scene, at: str) -> None:
    assert scene.compress(at, force=True).ok
    check_archive(scene, at)
