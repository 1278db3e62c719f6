"""Tasks may run late, or for a run that lost its store: then they must not seal."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import DamagedSource, DestinationConflict
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.destination import Destination, prepare_store, state_of_store
from tilepress.pipeline.archive.images import Job, Todo, plan_images
from tilepress.pipeline.archive.lease import Lease, LeaseKeeper, LeaseLost
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder
from tilepress.pipeline.archive.write import seal_image, write_shard
from tilepress.pipeline.dicom.bytes import FileBytes
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.guests import client
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.store.seal import is_sealed
from tilepress.pipeline.verify import verify

from ...helpers.samples import smooth
from ..images import dicom


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    if request.param == "folder":
        return storage_path(tmp_path / "out.zarr")
    bucket = request.getfixturevalue("bucket")
    return storage_path(f"{bucket}/out.zarr")


@pytest.fixture
def keeper() -> Iterator[LeaseKeeper]:
    with LeaseKeeper() as found:
        yield found


def planned(tmp_path: Path, store: StoragePath, tile: int) -> ImagePlan:
    """Return a plan that writes tiles of that size."""
    source = tmp_path / "scene.npy"
    np.save(source, smooth((200, 300)))
    return planned_of(source, store, tile)


def planned_of(source: Path, store: StoragePath, tile: int) -> ImagePlan:
    (spec,) = discover([str(source)])
    assert isinstance(spec, SourceSpec)
    with LeaseKeeper() as keeper:
        job = Job(
            destination=Destination(store), options=EncodeOptions(tile=tile), holder=keeper.holder
        )
        (outcome,) = plan_images((Todo(spec),), job)
    assert outcome.plan is not None, outcome.failure
    return outcome.plan


def written(plan: ImagePlan, lease: Lease) -> None:
    prepare_store(plan, force=True)
    for ref in plan.shards():
        write_shard(plan, ref, lease.holder)


def seize(plan: ImagePlan) -> None:
    """Make another host the holder of the lease."""
    lease = ledger_folder(plan.store) / "lease.json"
    lease.write(json.dumps({**json.loads(lease.read()), "id": "0", "host": "elsewhere"}).encode())


class TestTheSealIsOnePlans:
    """Of two writers of one store, each sees when it is the other that sealed it."""

    def test_a_store_that_another_plan_sealed_is_not_taken_for_ones_own(
        self, tmp_path: Path, store: StoragePath, keeper: LeaseKeeper
    ):
        ours, other = planned(tmp_path, store, 64), planned(tmp_path, store, 128)
        lease = keeper.acquire(ledger_folder(store), other.digest)
        written(other, lease)
        seal_image(other, lease.holder)
        with pytest.raises(LeaseLost, match="another process has sealed it"):
            seal_image(ours, lease.holder)
        assert state_of_store(ours) == "other"
        assert verify(store) == []

    def test_sealing_twice_is_sealing(
        self, tmp_path: Path, store: StoragePath, keeper: LeaseKeeper
    ):
        plan = planned(tmp_path, store, 64)
        lease = keeper.acquire(ledger_folder(store), plan.digest)
        written(plan, lease)
        assert seal_image(plan, lease.holder) == seal_image(plan, lease.holder)

    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_whoever_lost_the_lease_meanwhile_does_not_seal(
        self,
        tmp_path: Path,
        store: StoragePath,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
        after: int,
    ):
        """The lease goes after so many objects of the seal are written."""
        plan = planned(tmp_path, store, 64)
        lease = keeper.acquire(ledger_folder(store), plan.digest)
        written(plan, lease)
        left = after
        writer = ImageCoding(plan).writer
        real = type(writer)._write

        def write(self: object, key: str, data: bytes, check: object) -> None:
            nonlocal left
            if left == 0:
                seize(plan)
            left -= 1
            real(self, key, data, check)

        monkeypatch.setattr(type(writer), "_write", write)
        with pytest.raises(LeaseLost):
            seal_image(plan, lease.holder)
        assert not is_sealed(store)

    def test_a_root_document_of_another_is_never_replaced(
        self,
        tmp_path: Path,
        store: StoragePath,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
    ):
        """It comes in the very moment between the last look and the write."""
        plan = planned(tmp_path, store, 64)
        lease = keeper.acquire(ledger_folder(store), plan.digest)
        written(plan, lease)
        writer = ImageCoding(plan).writer
        real = type(writer)._write_root

        def write_root(self: object, data: bytes) -> None:
            (store / "zarr.json").write(b"another's")
            real(self, data)

        monkeypatch.setattr(type(writer), "_write_root", write_root)
        with pytest.raises(DestinationConflict, match="another process has sealed it"):
            seal_image(plan, lease.holder)
        assert (store / "zarr.json").read() == b"another's"


class TestStorageOfSources:
    """Storage that fails for a while fails where sources are read, too."""

    @pytest.fixture
    def series(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImagePlan:
        monkeypatch.setattr("tilepress.pipeline.storage.retry.STORAGE_WAIT_S", 0.0)
        monkeypatch.setenv(client.SWITCH, "off")  # in a guest nobody could make reading fail
        source = dicom(tmp_path / "in/1", 5, 1)
        return planned_of(source, storage_path(tmp_path / "out.zarr"), 16)

    @pytest.mark.parametrize(
        ("times", "number", "passes"),
        [
            (3, errno.EIO, True),
            (3, errno.ESTALE, True),
            (4, errno.EIO, False),
            (1, errno.EACCES, False),
        ],
    )
    @pytest.mark.parametrize("when", ["planning", "writing", "sealing"])
    def test_what_passes_is_read_again(
        self, series: ImagePlan, keeper: LeaseKeeper, monkeypatch: pytest.MonkeyPatch,
        when: str, times: int, number: int, passes: bool,
    ):  # fmt: skip
        real, fails = FileBytes.read, iter([True] * times)

        def read(self: FileBytes, offset: int, length: int) -> bytes:
            if next(fails, False):
                raise OSError(number, os.strerror(number), "source")
            return real(self, offset, length)

        def fail() -> None:
            task.close_sources()
            monkeypatch.setattr(FileBytes, "read", read)

        lease = keeper.acquire(ledger_folder(series.store), series.digest)
        job = Job(
            destination=Destination(storage_path(series.store)),
            options=EncodeOptions(tile=16),
            holder=lease.holder,
        )
        with contextlib.nullcontext() if passes else pytest.raises(DamagedSource, match="reading"):
            if when == "planning":
                fail()
                (outcome,) = plan_images((Todo(series.spec),), job)
                if outcome.failure is not None:
                    raise DamagedSource(outcome.failure.message)
            else:
                prepare_store(series, force=True)
                if when == "writing":
                    fail()
                for ref in series.shards():
                    write_shard(series, ref, lease.holder)
                if when == "sealing":
                    fail()
                seal_image(series, lease.holder)
        assert next(fails, None) is None, "storage has failed as often as it should"
        assert is_sealed(series.store) == (passes and when != "planning")
