"""A store is replaced beside itself: whoever looks finds the old one or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tilepress
from tilepress.errors import DamagedStore, DestinationConflict
from tilepress.pipeline.archive import replace, write
from tilepress.pipeline.archive.destination import (
    check_prepared,
    is_unchanged,
    prepare_store,
    state_of_store,
)
from tilepress.pipeline.archive.lease import LeaseKeeper, LeaseLost
from tilepress.pipeline.archive.ledger import REPLACES
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.replace import clear_replaced, pending, replacements
from tilepress.pipeline.archive.write import clear_leftovers, seal_image, write_shard
from tilepress.pipeline.catalogue.stores import list_stores
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.store.keys import SIGNATURE, is_document
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import read_root
from tilepress.pipeline.store.signature import Signer, is_outdated
from tilepress.pipeline.store.writer import StoreWriter
from tilepress.pipeline.verify import verify

from ...helpers.samples import smooth
from .test_write import planned_of

OLD, NEW = smooth((80, 90), 1), smooth((80, 90), 2)


pytestmark = pytest.mark.usefixtures("roomy_stores")  # of small ones: test_lean_stores.py


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    if request.param == "folder":
        return storage_path(tmp_path / "archive/out.zarr")
    bucket = request.getfixturevalue("bucket")
    return storage_path(f"{bucket}/archive/out.zarr")


@pytest.fixture
def key() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


@pytest.fixture
def keeper() -> Iterator[LeaseKeeper]:
    with LeaseKeeper() as found:
        yield found


def plan_of(tmp_path: Path, store: StoragePath, samples: np.ndarray, tile: int = 64) -> ImagePlan:
    np.save(tmp_path / "scene.npy", samples)
    return planned_of(tmp_path / "scene.npy", store, tile)


def begin(plan: ImagePlan, keeper: LeaseKeeper, shards: int | None = None) -> ImagePlan:
    """Write some shards of a plan, by force; let go of the lease as a killed run does later."""
    lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
    found = prepare_store(plan, force=True)
    assert found is not None
    for ref in list(found.shards())[:shards]:
        write_shard(found, ref, lease.holder)
    keeper.release(lease)
    return found


def seal(plan: ImagePlan, keeper: LeaseKeeper) -> None:
    lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
    seal_image(plan, lease.holder)
    keeper.release(lease)


@pytest.fixture
def old(tmp_path: Path, store: StoragePath, keeper: LeaseKeeper) -> ImagePlan:
    """A sealed store of the old samples."""
    plan = begin(plan_of(tmp_path, store, OLD), keeper)
    seal(plan, keeper)
    clear_leftovers(plan.store, keeper)
    return plan


@pytest.fixture
def half(tmp_path: Path, store: StoragePath, old: ImagePlan, keeper: LeaseKeeper) -> ImagePlan:
    """The plan of a new store that is not sealed, all of whose shards are written."""
    return begin(plan_of(tmp_path, store, NEW), keeper)


class TestSignatures:
    """Who signed the old store has not signed the new one."""

    def test_the_old_ones_goes_with_it_and_the_new_ones_stays(
        self, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper, key: Signer
    ):
        key.sign(store, read_root(store).seal)
        seal(half, keeper)
        assert is_outdated(store)
        clear_leftovers(half.store, keeper)
        assert (store / SIGNATURE).size() is None
        assert_holds(store, NEW)

    def test_one_that_is_made_before_the_old_store_is_swept_stays(
        self, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper, key: Signer
    ):
        key.sign(store, read_root(store).seal)
        seal(half, keeper)
        key.sign(store, read_root(store).seal)
        clear_leftovers(half.store, keeper)
        assert not is_outdated(store)
        assert (store / SIGNATURE).size() is not None
        assert_holds(store, NEW)

    def test_a_replacement_that_is_given_up_leaves_the_signature(
        self, store: StoragePath, old: ImagePlan, half: ImagePlan, keeper: LeaseKeeper, key: Signer
    ):
        key.sign(store, read_root(store).seal)
        clear_leftovers(half.store, keeper)
        assert (store / SIGNATURE).size() is not None
        assert_holds(store, OLD)


def assert_holds(store: StoragePath, samples: np.ndarray) -> None:
    """Every way into the store gives these samples, and the store is sound."""
    assert verify(store) == []
    for read in (
        zarr.open_group(store.zarr_store(), mode="r")["0/image"],
        zarr.open_group(store.zarr_store(), path="0", mode="r")["image"],
        zarr.open_array(store.zarr_store(), path="0/image", mode="r"),
        xr.open_zarr(store.zarr_store(), group="0")["image"],
        tilepress.open(str(store))["image"],
    ):
        assert np.array_equal(np.asarray(read[...]), samples)


class TestWhileItIsWritten:
    def test_the_old_store_is_there(self, store: StoragePath, half: ImagePlan):
        assert_holds(store, OLD)
        assert state_of_store(half) == "replacing"
        (listed,) = list_stores(store.parent)
        assert listed.state == "sealed"

    def test_its_size_is_its_own(self, store: StoragePath, old: ImagePlan, half: ImagePlan):
        (listed,) = list_stores(store.parent)
        all_of_it = sum(size for _, size in store.walk())
        assert listed.stored_bytes < 0.7 * all_of_it

    def test_without_force_it_stays_and_the_line_says_so(self, store: StoragePath, half: ImagePlan):
        with pytest.raises(DestinationConflict, match="the old store is in its place"):
            prepare_store(half, force=False)
        assert_holds(store, OLD)

    def test_the_line_of_the_old_store_gives_the_new_one_up(
        self, store: StoragePath, old: ImagePlan, half: ImagePlan, keeper: LeaseKeeper
    ):
        assert is_unchanged(old)
        clear_leftovers(old.store, keeper)
        assert_holds(store, OLD)
        assert not ledger_folder(store).exists()
        assert {key for key, _ in store.walk() if not is_document(key)} == {
            key for key, _ in store.walk() if "/c/" in key
        }

    def test_not_while_another_run_holds_the_lease(
        self, store: StoragePath, old: ImagePlan, half: ImagePlan, keeper: LeaseKeeper
    ):
        with LeaseKeeper() as other:
            other.acquire(ledger_folder(store), half.digest)
            clear_leftovers(old.store, keeper)
        assert pending(store, half.digest) is not None
        assert half.shard_path(next(half.shards())).size() is not None

    def test_the_same_line_goes_on(self, half: ImagePlan, keeper: LeaseKeeper):
        plan = ImagePlan(**{
            **{name: getattr(half, name) for name in half.__slots__},
            "separator": "/", "replaced": None,
        })  # fmt: skip
        lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
        found = prepare_store(plan, force=True)
        assert found == half == check_prepared(plan)
        assert all(write_shard(found, ref, lease.holder).reused for ref in found.shards())

    def test_another_plan_begins_anew(
        self, tmp_path: Path, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper
    ):
        other = begin(plan_of(tmp_path, store, OLD + 1, tile=128), keeper)
        assert [one.plan for one in replacements(store)] == [other.digest]
        assert_holds(store, OLD)
        seal(other, keeper)
        assert_holds(store, OLD + 1)


class TestTheChange:
    def test_of_every_document_leaves_a_whole_store(
        self,
        store: StoragePath,
        half: ImagePlan,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
    ):
        """Looked at from outside before each object that is put at the very end."""
        real, looks = StoreWriter._write, []

        def write(self: StoreWriter, key: str, data: bytes, check: object) -> None:
            real(self, key, data, check)
            if is_document(key):
                assert verify(store) == []
                found = zarr.open_group(store.zarr_store(), mode="r")["0/image"][...]
                assert np.array_equal(found, OLD)
                for path in ("0", "0/image"):
                    node = zarr.open(store.zarr_store(), path=path, mode="r")
                    samples = node["image"][...] if path == "0" else node[...]
                    assert any(np.array_equal(samples, one) for one in (OLD, NEW))
                looks.append(key)

        monkeypatch.setattr(StoreWriter, "_write", write)
        seal(half, keeper)
        assert len(looks) > 3
        assert_holds(store, NEW)

    def test_what_is_given_up_in_the_midst_of_it_is_undone(
        self,
        store: StoragePath,
        old: ImagePlan,
        half: ImagePlan,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
    ):
        before = (store / "0/zarr.json").read()

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "_write_root", die)
            patch.setattr(write, "put_documents_back", lambda *_: None)  # killed, not stopped
            with pytest.raises(KeyboardInterrupt):
                seal(half, keeper)
        assert (store / "0/zarr.json").read() != before
        assert verify(store) == []
        clear_leftovers(old.store, keeper)
        assert (store / "0/zarr.json").read() == before
        assert_holds(store, OLD)

    def test_where_storage_fails_the_documents_are_put_back_at_once(
        self,
        store: StoragePath,
        half: ImagePlan,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
    ):
        before = {key: (store / key).read() for key, _ in store.walk() if is_document(key)}

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "_write_root", full)
            with pytest.raises(OSError, match="No space"):
                seal(half, keeper)
        assert {key: (store / key).read() for key in before} == before
        assert_holds(store, OLD)
        seal(half, keeper)
        assert_holds(store, NEW)

    def test_a_store_that_changed_meanwhile_is_not_replaced(
        self, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper
    ):
        root = (store / "zarr.json").read()
        (store / "zarr.json").write(root.replace(b"tilepress", b"tilepresS", 1))
        with pytest.raises(DestinationConflict, match="another process has sealed it"):
            StoreWriter.seal(_writer(half), *_nothing_to_check(half), lambda: None)
        assert (store / "zarr.json").read() != root

    @pytest.mark.slow
    def test_it_goes_from_one_separator_to_the_other_and_back(
        self, tmp_path: Path, store: StoragePath, old: ImagePlan, keeper: LeaseKeeper
    ):
        for samples, separator in ((NEW, "."), (OLD, "/"), (NEW, ".")):
            plan = begin(plan_of(tmp_path, store, samples), keeper)
            assert plan.separator == separator
            seal(plan, keeper)
            clear_leftovers(plan.store, keeper)
            assert_holds(store, samples)
            assert StoreReader.open(store).separator == separator
            assert not ledger_folder(store).exists()


class TestReadersOfTheOld:
    def test_find_their_chunks_until_they_are_swept(
        self, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper
    ):
        """Then ours say what is missing; no reader ever gets a chunk of the new store."""
        stock = zarr.open_group(store.zarr_store(), mode="r")["0/image"]
        ours = tilepress.open(str(store))["image"]
        first = stock[:64]
        seal(half, keeper)
        assert_holds(store, NEW)
        assert np.array_equal(np.concatenate([first, stock[64:]]), OLD)
        assert np.array_equal(ours[:64].to_numpy(), OLD[:64])
        clear_leftovers(half.store, keeper)
        with pytest.raises(DamagedStore, match="missing"):
            ours[64:].to_numpy()
        assert not np.any(stock[64:] == NEW[64:]) or np.all(stock[64:] == 0)


class TestClearing:
    def test_leaves_a_store_alone_that_does_not_say_what_it_consists_of(
        self, store: StoragePath, half: ImagePlan, keeper: LeaseKeeper
    ):
        seal(half, keeper)
        for key, _ in list(store.walk()):
            if key.startswith("source/manifest/c"):
                (store / key).write(b"damaged")
        before = sorted(store.walk())
        assert not clear_replaced(store)
        clear_leftovers(half.store, keeper)
        assert sorted(store.walk()) == before
        assert ledger_folder(store).exists()

    @pytest.mark.parametrize(
        "key", ["../evil/zarr.json", "/evil/zarr.json", "zarr.json", "evil.txt", "1/image/c/0/0"]
    )
    def test_puts_nothing_back_that_is_none_of_the_store(
        self, store: StoragePath, old: ImagePlan, half: ImagePlan, keeper: LeaseKeeper, key: str
    ):
        """A mark that somebody has forged, in an archive that he made."""
        mark = ledger_folder(store) / half.digest / REPLACES
        told = json.loads(mark.read())
        told["documents"][key] = "evil"
        told["auxiliary"] += ["../evil", "evil"]
        mark.write(json.dumps(told).encode())
        before = sorted(store.parent.walk())
        assert replacements(store) == []
        assert clear_replaced(store)
        assert sorted(store.parent.walk()) == before

    def test_of_nothing(self, store: StoragePath, old: ImagePlan):
        before = sorted(store.walk())
        assert clear_replaced(store)
        assert sorted(store.walk()) == before


class TestASweeperThatSlept:
    """It wakes when the store was replaced twice, and the third has the keys of the first again."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> StoragePath:
        return storage_path(tmp_path / "archive/out.zarr")

    @pytest.mark.parametrize("batches", [0, 1])
    def test_removes_nothing_of_the_store_that_is_there(
        self,
        tmp_path: Path,
        store: StoragePath,
        half: ImagePlan,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
        batches: int,
    ):
        monkeypatch.setattr(replace, "BATCH", 1)
        seal(half, keeper)
        slept, looks = [], []

        def sleep() -> None:
            looks.append(1)
            if len(looks) > batches and not slept:
                slept.append(1)
                for samples in (OLD + 1, OLD + 2):
                    plan = begin(plan_of(tmp_path, store, samples), keeper)
                    seal(plan, keeper)

        with pytest.raises(LeaseLost, match="another process has sealed it"):
            clear_replaced(store, sleep)
        assert_holds(store, OLD + 2)

    def test_looks_at_the_lease_before_each_batch(
        self,
        store: StoragePath,
        half: ImagePlan,
        keeper: LeaseKeeper,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(replace, "BATCH", 2)
        seal(half, keeper)
        before, looks = dict(store.walk()), []

        def lost_at_once() -> None:
            looks.append(1)
            if len(looks) == 2:
                raise LeaseLost("another process has it")

        with pytest.raises(LeaseLost):
            clear_replaced(store, lost_at_once)
        assert len(before) - len(dict(store.walk())) <= 2


class TestRepair:
    """Of a damaged store whose replacement was begun: the old store is mended, the rest goes."""

    @pytest.mark.parametrize("same_plan", [True, False])
    @pytest.mark.parametrize("key", ["0/image/c/0/0", "0/zarr.json", "zarr.json"])
    def test_gives_the_replacement_up(
        self,
        tmp_path: Path,
        store: StoragePath,
        old: ImagePlan,
        keeper: LeaseKeeper,
        same_plan: bool,
        key: str,
    ):
        before = {key: (store / key).read() for key, _ in store.walk()}
        times = os.stat(tmp_path / "scene.npy")
        begin(old if same_plan else plan_of(tmp_path, store, NEW), keeper)
        np.save(tmp_path / "scene.npy", OLD)
        os.utime(tmp_path / "scene.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
        (store / key).remove()
        (repaired,) = repair_stores(store, [str(tmp_path / "scene.npy")])
        assert repaired.ok, repaired.reason
        clear_leftovers(old.store, keeper)
        assert_holds(store, OLD)
        assert {key: (store / key).read() for key, _ in store.walk()} == before


class TestWhatIsNoStoreOfOurs:
    def test_goes_once_the_new_store_is_sealed(
        self, tmp_path: Path, store: StoragePath, keeper: LeaseKeeper
    ):
        (store / "0/image/.zarray").write(b"{}")
        (store / "notes.txt").write(b"text")
        plan = begin(plan_of(tmp_path, store, NEW), keeper)
        assert (store / "notes.txt").read() == b"text"
        seal(plan, keeper)
        clear_leftovers(plan.store, keeper)
        assert_holds(store, NEW)
        assert (store / "notes.txt").size() is None

    def test_a_file_is_refused(self, tmp_path: Path, keeper: LeaseKeeper):
        plan = plan_of(tmp_path, storage_path(tmp_path / "x.zarr"), NEW)
        (tmp_path / "x.zarr").write_bytes(b"text")
        with pytest.raises(DestinationConflict, match="it is no folder"):
            begin(plan, keeper)
        assert (tmp_path / "x.zarr").read_bytes() == b"text"


def _writer(plan: ImagePlan) -> StoreWriter:
    from tilepress.pipeline.archive.coding import ImageCoding

    return ImageCoding(plan).writer


def _nothing_to_check(plan: ImagePlan):
    from tilepress.pipeline.archive.ledger import Ledger
    from tilepress.pipeline.sources.open import open_source

    return open_source(plan.spec).source_items(), list(Ledger(plan).entries(plan)), {}
