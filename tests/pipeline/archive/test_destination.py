"""What lies in the way is kept until something else is sealed, and only our own rest is not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from tilepress.errors import DestinationConflict, SourceError
from tilepress.pipeline.archive import destination
from tilepress.pipeline.archive.destination import prepare_store, state_of_store
from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.replace import replacements
from tilepress.pipeline.archive.write import clear_leftovers, seal_image, write_shard
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.store.builder import consolidate
from tilepress.pipeline.verify import verify

from .test_write import planned_of

NUMBERS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def plan_of(folder: Path, samples: np.ndarray) -> ImagePlan:
    np.save(folder / "scene.npy", samples)
    return planned_of(folder / "scene.npy", storage_path(folder / "out/scene.zarr"), 64)


def begin(plan: ImagePlan, *, seal: bool = False, write: bool = True) -> ImagePlan:
    """Write a plan by force, as a run does that is killed before the seal, or just after it."""
    with LeaseKeeper() as keeper:
        lease = keeper.acquire(ledger_folder(plan.store), plan.digest)
        found = prepare_store(plan, force=True)
        assert found is not None
        for ref in found.shards() if write else ():
            write_shard(found, ref, lease.holder)
        if seal:
            seal_image(found, lease.holder)
    return found


def begin_and_seal(plan: ImagePlan) -> StoragePath:
    """Return a sealed store of a plan, by force."""
    begin(plan, seal=True)
    with LeaseKeeper() as keeper:
        clear_leftovers(plan.store, keeper)
    assert not ledger_folder(plan.store).exists()
    return storage_path(plan.store)


def objects_of(store: StoragePath) -> dict[str, bytes]:
    return {key: (store / key).read() for key, _ in store.walk()}


def foreign(store: Path, kind: str) -> None:
    """Make a Zarr store that is none of ours."""
    if kind == "array":
        zarr.create_array(store, shape=(64, 64), chunks=(32, 32), dtype="u1")[:] = 7
        return
    group = zarr.create_group(store, zarr_format=2 if kind == "version 2" else 3)
    encoding: Any = {"name": "default", "separator": "."}
    options = {"chunk_key_encoding": encoding} if kind == "dots" else {}
    for name in ("c", "labels") if kind == "OME-Zarr" else ("image",):
        path = name if kind == "OME-Zarr" else f"0/{name}"
        made = group.create_array(path, shape=(64, 64), chunks=(32, 32), dtype="u1", **options)
        if kind != "sparse":
            made[:] = 7
    if kind in ("OME-Zarr", "slashes"):
        consolidate(LocalStore(store))


KINDS = ["array", "OME-Zarr", "slashes", "dots", "sparse", "version 2"]


pytestmark = pytest.mark.usefixtures("roomy_stores")  # of small ones: test_lean_stores.py


class TestWhatIsForeign:
    @pytest.mark.parametrize("kind", KINDS)
    def test_stays_whole_however_often_its_replacement_is_begun(self, tmp_path: Path, kind: str):
        """Killed, the source changes, killed again: only what was begun goes."""
        foreign(tmp_path / "out/scene.zarr", kind)
        store = storage_path(tmp_path / "out/scene.zarr")
        before = objects_of(store)
        for n in range(3):
            plan = begin(plan_of(tmp_path, NUMBERS + n))
            found = objects_of(store)
            assert {key: found.get(key) for key in before} == before
            own = {plan.shard_key(ref) for ref in plan.shards()}
            assert found.keys() - before.keys() == own
            assert [one.plan for one in replacements(store)] == [plan.digest]
        assert begin_and_seal(plan_of(tmp_path, NUMBERS)) == store
        assert verify(store) == []

    def test_chunks_of_either_kind_are_kept_where_ours_have_other_keys(self, tmp_path: Path):
        foreign(tmp_path / "out/scene.zarr", "array")
        store = storage_path(tmp_path / "out/scene.zarr")
        (store / "0/image/c.9.9").write(b"dot")
        before = objects_of(store)
        for n in range(2):
            begin(plan_of(tmp_path, NUMBERS + n))
            assert before.items() <= objects_of(store).items()

    def test_at_the_keys_of_ours_with_both_separators_it_is_refused(self, tmp_path: Path):
        store = storage_path(tmp_path / "out/scene.zarr")
        for key in ("0/image/c/0/0", "0/image/c.0.0"):
            (store / key).write(key.encode())
        before = objects_of(store)
        with pytest.raises(DestinationConflict, match="chunks of two stores"):
            begin(plan_of(tmp_path, NUMBERS))
        assert objects_of(store) == before

    def test_what_has_come_since_is_not_taken_for_ours(self, tmp_path: Path):
        foreign(tmp_path / "out/scene.zarr", "array")
        store = storage_path(tmp_path / "out/scene.zarr")
        begin(plan_of(tmp_path, NUMBERS))
        others = ("labels/c/0", "labels/c.0", "0/image/c.7.7", "notes/zarr.json", "c.txt")
        for key in others:
            (store / key).write(b"mine")
        begin(plan_of(tmp_path, NUMBERS + 1))
        assert all((store / key).size() == 4 for key in others)


class TestAStoreWhoseRootIsLost:
    """It can be repaired; so by force something is written beside it, as beside a whole one."""

    @pytest.mark.parametrize("left", ["nothing", "a repair", "a ledger", "a replacement"])
    def test_stays_whole(self, tmp_path: Path, left: str):
        plan = plan_of(tmp_path, NUMBERS)
        store = begin_and_seal(plan)
        if left == "a replacement":
            begin(plan_of(tmp_path, NUMBERS + 5), write=False)
        before = objects_of(store)
        (store / "zarr.json").remove()
        if left in ("a repair", "a ledger"):
            Ledger(plan).create()
        if left == "a repair":
            (ledger_folder(store) / plan.digest / "repair.json").write(b"{}")
        other = plan_of(tmp_path, NUMBERS + 1)
        assert state_of_store(other) == "other"
        begin(other)
        del before["zarr.json"]
        assert before.items() <= objects_of(store).items()
        begin_and_seal(other)
        assert verify(store) == []

    def test_whose_repair_was_begun_is_known_as_one_without_a_manifest(self, tmp_path: Path):
        plan = plan_of(tmp_path, NUMBERS)
        store = begin_and_seal(plan)
        for key in [
            key for key, _ in store.walk() if key.startswith(("source/manifest", "zarr.json"))
        ]:
            (store / key).remove()
        Ledger(plan).create()
        (ledger_folder(store) / plan.digest / "repair.json").write(b"{}")
        before = objects_of(store)
        begin(plan_of(tmp_path, NUMBERS + 1))
        assert before.items() <= objects_of(store).items()

    def test_is_repaired_after_its_replacement_was_given_up(self, tmp_path: Path):
        store = begin_and_seal(plan_of(tmp_path, NUMBERS))
        before = objects_of(store)
        (store / "zarr.json").remove()
        begin(plan_of(tmp_path, NUMBERS + 1))
        np.save(tmp_path / "scene.npy", NUMBERS)
        (repaired,) = repair_stores(store, [str(tmp_path / "scene.npy")])
        assert repaired.ok, repaired.reason
        assert objects_of(store).keys() == before.keys()
        assert objects_of(store)["0/image/c/0/0"] == before["0/image/c/0/0"]
        assert verify(store) == []

    def test_and_that_holds_chunks_of_two_is_left_to_a_repair(self, tmp_path: Path):
        store = begin_and_seal(plan_of(tmp_path, NUMBERS))
        begin(plan_of(tmp_path, NUMBERS + 1))
        (store / "zarr.json").remove()
        before = objects_of(store), objects_of(ledger_folder(store))
        with pytest.raises(DestinationConflict, match="run tilepress repair"):
            begin(plan_of(tmp_path, NUMBERS + 2))
        found = objects_of(ledger_folder(store))
        assert objects_of(store) == before[0]
        assert before[1].items() <= found.items()


class TestARestOfOurs:
    def test_goes_at_once(self, tmp_path: Path):
        begin(plan_of(tmp_path, NUMBERS))
        plan = begin(plan_of(tmp_path, NUMBERS + 1), write=False)
        assert plan.separator == "/"
        assert list(storage_path(plan.store).walk()) == []


class TestWhyNot:
    """Force is advised for other options of the same source, and for nothing else."""

    def refusal(self, plan: ImagePlan) -> str:
        with pytest.raises(DestinationConflict) as refused:
            prepare_store(plan, force=False)
        return str(refused.value)

    def other(self, tmp_path: Path) -> ImagePlan:
        store = storage_path(tmp_path / "out/scene.zarr")
        return planned_of(tmp_path / "scene.npy", store, 32)

    def test_other_options(self, tmp_path: Path):
        begin_and_seal(plan_of(tmp_path, NUMBERS))
        assert "pass --force to replace it" in self.refusal(self.other(tmp_path))

    def test_other_options_of_a_source_that_changed_too(self, tmp_path: Path):
        begin_and_seal(plan_of(tmp_path, NUMBERS))
        np.save(tmp_path / "scene.npy", NUMBERS + 1)
        text = self.refusal(self.other(tmp_path))
        assert "its source has changed since" in text
        assert "--force" not in text

    def test_a_source_that_cannot_be_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        begin_and_seal(plan_of(tmp_path, NUMBERS))
        other = self.other(tmp_path)

        def refuse(_: object) -> contextlib.AbstractContextManager[None]:
            raise SourceError("reading scene.npy: it is gone")

        monkeypatch.setattr(destination, "open_source", refuse)
        assert "--force" not in self.refusal(other)

    def test_a_store_that_cannot_be_read(self, tmp_path: Path):
        store = begin_and_seal(plan_of(tmp_path, NUMBERS))
        (store / "zarr.json").write((store / "zarr.json").read()[:-9])
        text = self.refusal(self.other(tmp_path))
        assert "run tilepress repair" in text
        assert "--force" not in text
