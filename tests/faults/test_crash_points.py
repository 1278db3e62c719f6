"""A power cut after every single operation: old, new, or not sealed; never sealed and wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.errors import UsageError
from tilepress.pipeline.archive.replace import replacements
from tilepress.pipeline.catalogue.stores import list_stores
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.run.parts import finish, plan

from .conftest import TILE, Scene, check_any, check_archive, write_sources
from .recording import DAMAGES, Damage, Journal, Tree, read_tree, watched, write_tree

pytestmark = pytest.mark.usefixtures("tiny_shards", "dead_holders")

EVERYDAY_RERUNS = 8
"""States of a journal from which the everyday suite runs the line again; the long one does all."""

Rerun = Callable[[Path], None]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Other images of the same names and shapes."""
    return write_sources(tmp_path_factory.mktemp("faults") / "old", 50)


State = tuple[tuple[str, bytes | None], ...]


def states(journal: Journal) -> tuple[dict[State, tuple[int, Damage]], dict[str, int]]:
    """Return every state that a crash can leave, with the first crash that leaves it.

    Beside them, how many of these states each way of damage leaves.
    """
    found: dict[State, tuple[int, Damage]] = {}
    left: dict[str, int] = {}
    for damage in DAMAGES:
        own = {}
        for count in range(len(journal) + 1):
            own.setdefault(tuple(journal.after(count, damage).items()), (count, damage))
        left[damage] = len(own)
        found = {**own, **found}
    return found, left


def check_every_crash(
    journal: Journal,
    folder: Path,
    new: Scene,
    old: Scene | None,
    rerun: Rerun,
    *,
    all_of_them: bool,
    sealed_alike: bool = True,
) -> dict[str, int]:
    """Rebuild every state, look at it as a reader does, then run the line again."""
    found, left = states(journal)
    every = 1 if all_of_them else max(1, len(found) // EVERYDAY_RERUNS)
    told = {"crashes": len(DAMAGES) * (len(journal) + 1), "states": len(found), "reruns": 0}
    told |= {**left, "sealed": 0, "unsealed": 0}
    known: dict[object, str] = {}
    for number, (tree, (count, damage)) in enumerate(found.items()):
        out = folder / f"state{number}" / "out"
        write_tree(out, dict(tree))
        try:
            for name in new.images:
                told[checked(out, name, tree, known, samples_of(name, new, old))] += 1
            if number % every == 0 or count == len(journal):
                rerun(out)
                if sealed_alike:
                    check_archive(new, out)
                assert all(summary.state == "sealed" for summary in list_stores(out))
                told["reruns"] += 1
        except BaseException as error:
            last = journal.operations[max(0, count - 1)]
            error.add_note(f"crash {damage} behind operation {count}: {last.kind} {last.path}")
            raise
        shutil.rmtree(out.parent)
    print(told)
    return told


def checked(
    out: Path,
    name: str,
    tree: State,
    known: dict[object, str],
    samples: tuple[np.ndarray, ...],
) -> str:
    """Check one store of a state, unless one of the very same bytes was checked before."""
    own = (
        name,
        tuple(
            (key, data)
            for key, data in tree
            if key.startswith(f"{name}.zarr")
            or (key.startswith(f".tilepress/{name}.zarr/") and key.endswith("/replaces.json"))
        ),
    )
    if own not in known:
        known[own] = check_any(storage_path(out) / f"{name}.zarr", samples)
    return known[own]


def samples_of(name: str, *scenes: Scene | None) -> tuple[np.ndarray, ...]:
    return tuple(scene.images[name] for scene in scenes if scene is not None)


@pytest.fixture(
    params=["everyday", pytest.param("all", marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def all_of_them(request: pytest.FixtureRequest) -> bool:
    return request.param == "all"


class TestTheJournal:
    """What is not written down would not be tested."""

    def test_the_journal_is_complete(self, scene: Scene, older: Scene, folder: Path):
        out = folder / "out"
        older.compress(out)
        with watched(out) as journal:
            scene.compress(out, force=True)
        assert journal.after(len(journal), "intact") == read_tree(out)
        kinds = {operation.kind for operation in journal.operations}
        assert kinds >= {"create", "write", "sync", "rename", "link", "unlink", "mkdir", "rmdir"}

    def test_what_is_not_synced_is_lost(self, folder: Path):
        folder = folder / "out"
        folder.mkdir()
        (folder / "old").write_bytes(b"old")
        with watched(folder) as journal:
            handle = os.open(folder / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(handle, b"12345678")
            os.fsync(handle)
            os.close(handle)
            os.replace(folder / "new", folder / "old")
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        before, after = {"old": b"old"}, {"old": b"12345678"}
        assert [journal.after(n, "lost") for n in range(6)] == [before] * 5 + [after]
        assert [journal.after(n, "intact").get("new") for n in range(5)] == [
            None, b"", b"12345678", b"12345678", None,
        ]  # fmt: skip
        torn: list[Tree] = [journal.after(n, "torn") for n in range(6)]
        assert b"1234" in [tree.get("new") for tree in torn] or torn[2] == before


class TestEveryCrashOfARun:
    """After each the store is old, new or unsealed, and the same line ends it."""

    def test_of_a_new_archive(self, scene: Scene, folder: Path, all_of_them: bool):
        out = folder / "out"
        out.mkdir()
        with watched(out) as journal:
            assert scene.compress(out).ok
        told = check_every_crash(
            journal, folder, scene, None, lambda at: ok(scene.compress(at)), all_of_them=all_of_them
        )
        assert told["unsealed"] > told["sealed"] > 0

    @pytest.mark.slow
    def test_of_a_run_that_replaces_an_archive(
        self, scene: Scene, older: Scene, folder: Path, all_of_them: bool
    ):
        """There is always a store, the old one or the new one; both are never mixed."""
        journal = replacing(older, scene, folder / "out")
        told = check_every_crash(
            journal, folder, scene, older, lambda at: ok(scene.compress(at, force=True)),
            all_of_them=all_of_them,
        )  # fmt: skip
        assert told["unsealed"] == 0

    @pytest.mark.slow
    def test_of_a_replacement_that_is_given_up(
        self, scene: Scene, older: Scene, folder: Path, all_of_them: bool
    ):
        """The old line, without force: old stores are left as they were, new ones are told of."""
        journal = replacing(older, scene, folder / "out")
        told = check_every_crash(
            journal, folder, scene, older, lambda at: gone_back(older, scene, at),
            all_of_them=all_of_them, sealed_alike=False,
        )  # fmt: skip
        assert told["unsealed"] == 0

    def test_of_the_run_that_gives_it_up(
        self, scene: Scene, older: Scene, folder: Path, all_of_them: bool
    ):
        """Begun in the midst of a replacement: where documents of both stores are there."""
        out = folder / "out"
        leave_before_the_seal(replacing(older, scene, out), out)
        both = samples_of("large", older, scene)
        assert check_any(storage_path(out / "large.zarr"), both) == "sealed"
        with watched(out) as journal:
            report = older.compress(out)
        assert report.unchanged > 0
        told = check_every_crash(
            journal, folder, scene, older, lambda at: gone_back(older, scene, at),
            all_of_them=all_of_them, sealed_alike=False,
        )  # fmt: skip
        assert told["unsealed"] == 0

    @pytest.mark.slow
    def test_of_one_store(self, scene: Scene, folder: Path):
        """Every state of it, everyday, too: beside a store there is no catalogue to write."""
        out = folder / "out"
        out.mkdir()
        one = Scene(scene.folder / "large.npy", {"large": scene.images["large"]}, {})
        with watched(out) as journal:
            assert one.compress(out / "large.zarr").ok
        check_every_crash(
            journal, folder, one, None, lambda at: ok(one.compress(at / "large.zarr")),
            all_of_them=True,
        )  # fmt: skip


class TestEveryCrashOfARunThatReplacesNoWholeStore:
    """Until the new store is sealed all objects are there that were, after a killed run, too."""

    @pytest.mark.parametrize("kind", ["foreign", "lost root", "lost root, repair begun"])
    @pytest.mark.parametrize(
        "killed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "killed before"]
    )
    def test_leaves_what_was_there_or_the_new_store(
        self, scene: Scene, older: Scene, folder: Path, kind: str, killed: bool
    ):
        out = folder / "out"
        new, old = (
            Scene(one.folder / "large.npy", {"large": one.images["large"]}, {})
            for one in (scene, older)
        )
        store = out / "large.zarr"
        if kind == "foreign":
            there = np.full_like(scene.images["large"], 7)
            made = zarr.create_array(store, shape=there.shape, chunks=(8, 8), dtype=there.dtype)
            made[...] = there
        else:
            assert old.compress(store).ok
            (store / "zarr.json").unlink()
        before = read_tree(store)
        if kind == "lost root, repair begun":
            ledger = out / ".tilepress/large.zarr" / ("0" * 64)
            ledger.mkdir(parents=True)
            (ledger / "begun").touch()
            (ledger / "repair.json").write_bytes(b"{}")
        if killed:  # just before the root document goes over: all documents have by then
            with watched(out) as journal:
                assert (old if kind == "foreign" else new).compress(store, force=True).ok
            leave_before_the_seal(journal, out)
            assert any(key.endswith("/replaces.json") for key in read_tree(out))
        again = new if kind == "foreign" or not killed else old
        with watched(out) as journal:
            assert again.compress(store, force=True).ok
        found, _ = states(journal)
        sealed = 0
        for number, tree in enumerate(found):
            at = folder / f"state{number}" / "out"
            write_tree(at, dict(tree))
            sealed += is_the_new_one_or_all_is_there(at, before, again)
            if number % max(1, len(found) // EVERYDAY_RERUNS) == 0:
                ok(again.compress(at / "large.zarr", force=True))
                check_archive(again, at)
            shutil.rmtree(at.parent)
        assert 0 < sealed < len(found)


def replacing(older: Scene, newer: Scene, out: Path) -> Journal:
    """Replace an archive of the older samples by force; return what was done."""
    older.compress(out)
    with watched(out) as journal:
        assert newer.compress(out, force=True).ok
    return journal


def leave_before_the_seal(journal: Journal, out: Path) -> None:
    """Leave what a run leaves that is killed before the root document takes its place."""
    last = next(
        n for n in range(len(journal), 0, -1)
        if journal.operations[n - 1].kind == "rename"
        and journal.operations[n - 1].target == "large.zarr/zarr.json"
    )  # fmt: skip
    shutil.rmtree(out)
    write_tree(out, journal.after(last - 1, "intact"))


def is_the_new_one_or_all_is_there(out: Path, before: Tree, new: Scene) -> bool:
    """Whether the new store is sealed; what was there before is kept where it is not.

    Documents that the new ones are written over are kept in the ledger.
    """
    store = storage_path(out / "large.zarr")
    root = (store / "zarr.json").read_tagged()
    if root is not None and root[0] != before.get("zarr.json"):
        assert check_any(store, (new.images["large"],)) == "sealed"
        return True
    now = read_tree(out / "large.zarr")
    kept: Tree = {}
    for one in replacements(store):
        kept |= one.documents
    assert all(data in (now.get(key), kept.get(key)) for key, data in before.items())
    assert root is not None or "zarr.json" not in before
    return False


@pytest.mark.slow
class TestEveryCrashOfPartsThatReplace:
    """An archive that is there is planned anew by force; until the finish the old one is there."""

    @pytest.mark.parametrize("command", ["plan", "part", "finish"])
    def test_of_the(
        self, scene: Scene, older: Scene, folder: Path, all_of_them: bool, command: str
    ):
        out = folder / "out"
        older.compress(out)
        steps: dict[str, Callable[[], object]] = {
            "plan": lambda: plan(scene.folder, out, tile=TILE, tier="fast", workers=0, force=True),
            "other part": lambda: ok(scene.compress_part(out, "1/2")),
            "part": lambda: ok(scene.compress_part(out, "0/2")),
            "finish": lambda: ok(finish(out, workers=0)),
        }
        for name, step in steps.items():
            if name == command:
                break
            step()
        with watched(out) as journal:
            step()
        told = check_every_crash(
            journal, folder, scene, older, lambda at: planned_again(scene, at),
            all_of_them=all_of_them,
        )  # fmt: skip
        assert told["unsealed"] == 0


class TestEveryCrashOfParts:
    """The plan, the parts and the finish are three commands; each may be cut off anywhere."""

    def test_of_the_plan(self, scene: Scene, folder: Path, all_of_them: bool):
        out = folder / "out"
        out.mkdir()
        with watched(out) as journal:
            plan(scene.folder, out, tile=TILE, tier="fast", workers=0)
        check_every_crash(
            journal, folder, scene, None, lambda at: parts_and_finish(scene, at),
            all_of_them=all_of_them,
        )  # fmt: skip

    def test_of_a_part(self, scene: Scene, folder: Path, all_of_them: bool):
        out = folder / "out"
        out.mkdir()
        ok(scene.compress_part(out, "1/2"))
        with watched(out) as journal:
            ok(scene.compress_part(out, "0/2"))
        check_every_crash(
            journal, folder, scene, None, lambda at: parts_and_finish(scene, at),
            all_of_them=all_of_them,
        )  # fmt: skip

    def test_of_the_finish(self, scene: Scene, folder: Path, all_of_them: bool):
        """The same finish again ends it; where the plan is gone already, all is sealed."""
        out = folder / "out"
        out.mkdir()
        for part in ("0/2", "1/2"):
            ok(scene.compress_part(out, part))
        with watched(out) as journal:
            ok(finish(out, workers=0))
        check_every_crash(
            journal, folder, scene, None, lambda at: finish_again(scene, at),
            all_of_them=all_of_them,
        )  # fmt: skip


def ok(report) -> None:
    assert report.ok, list(report.failures)


def planned_again(scene: Scene, out: Path) -> None:
    """Plan by force, write the parts, finish; a plan that is there stays."""
    if not (out / ".tilepress/plan/head.json").exists():
        plan(scene.folder, out, tile=TILE, tier="fast", workers=0, force=True)
    parts_and_finish(scene, out)


def gone_back(older: Scene, newer: Scene, out: Path) -> None:
    """Run the old line without force: what was not replaced is as it was before all."""
    report = older.compress(out)
    kept = {Path(image.store).stem for image in report.images if image.status == "unchanged"}
    for name in older.images:
        store = storage_path(out) / f"{name}.zarr"
        assert check_any(store, samples_of(name, older, newer)) == "sealed"
        if name in kept:
            check_any(store, (older.images[name],))
            assert not (out / f".tilepress/{name}.zarr").exists()
    assert len(kept) + len(report.failures) == len(older.images)
    assert all(failure.kind == "destination-conflict" for failure in report.failures)


def parts_and_finish(scene: Scene, out: Path) -> None:
    for part in ("0/2", "1/2"):
        ok(scene.compress_part(out, part))
    ok(finish(out, workers=0))


def finish_again(scene: Scene, out: Path) -> None:
    """Finish; where the plan is gone the finish had sealed everything."""
    try:
        ok(finish(out, workers=0))
    except UsageError:
        assert all((out / f"{name}.zarr" / "zarr.json").exists() for name in scene.images)
        ok(scene.compress(out))
