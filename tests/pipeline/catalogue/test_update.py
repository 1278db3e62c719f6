"""The catalogue of an archive, and the list that rests on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine

import tilepress
from tilepress.errors import DamagedStore, DestinationConflict, UsageError
from tilepress.pipeline.catalogue import index as catalogue_index
from tilepress.pipeline.catalogue import lists
from tilepress.pipeline.catalogue import stores as catalogue
from tilepress.pipeline.catalogue import update as cataloguing
from tilepress.pipeline.catalogue.index import Entry, Index, merged
from tilepress.pipeline.catalogue.listed import ListedStore
from tilepress.pipeline.catalogue.stores import (
    find_stores,
    is_catalogue_object,
    is_store,
    list_json,
    list_lines,
    list_stores,
    walk_stores,
)
from tilepress.pipeline.catalogue.update import (
    CatalogueUpdate,
    update_catalogue,
    why_not_updated,
)
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.workflows.report.telling import Event, Failed, SilentProgress

from ...helpers.stac import validate
from ..dicom.conftest import CANARY, build, save

STUDY = "1.2.826.0.1.3680043.10.999.77"
SAMPLES = (np.arange(2 * 40 * 50).reshape(2, 40, 50) % 251).astype(np.uint16)


def write_scene(path: Path, west: float = 5e5, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=50,
        height=40,
        count=2,
        dtype="uint16",
        crs="EPSG:32631",
        transform=Affine(30, 0, west, 0, -30, 4e6),
    ) as file:
        file.write(SAMPLES)
        file.update_tags(**tags)
    return path


def write_series(folder: Path, series: int, study: str = STUDY) -> Path:
    for number in (1, 2):
        dataset = build(SAMPLES[0] + number, series=series, instance=number, StudyInstanceUID=study)
        save(dataset, folder / f"series-{series}" / f"{number}.dcm")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of sources ("in") and their archive ("out") without a catalogue."""
    folder = tmp_path_factory.mktemp("catalogue")
    sources = folder / "in"
    write_scene(sources / "a.tif", TIFFTAG_DATETIME="2020:05:18 13:40:21")
    write_scene(sources / "2024" / "b c.tif", west=7e5)
    np.save(sources / "plain.npy", SAMPLES)
    write_series(sources, 1)
    write_series(sources, 2)
    write_series(sources, 3, study=f"{STUDY}.1")
    report = tilepress.compress(sources, folder / "out", workers=0)
    assert report.ok
    shutil.rmtree(folder / "out" / "catalogue", ignore_errors=True)
    shutil.rmtree(folder / "out" / ".tilepress", ignore_errors=True)
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the archive; its objects are as old as those that it was copied from."""
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def seal_again(archive: Path, made: Path) -> None:
    """Write another store in place of a.zarr, with nobody telling the catalogue."""
    again = archive.parent / f"again-{archive.name}" / "a.zarr"
    assert tilepress.compress(made / "in" / "a.tif", again, workers=0, max_error=3).ok
    shutil.rmtree(archive / "a.zarr")
    shutil.move(again, archive / "a.zarr")


def items(archive: Path) -> dict[str, dict[str, Any]]:
    folder = archive / "catalogue" / "items"
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in sorted(folder.rglob("*.json"))
    }


def tree(archive: Path) -> dict[str, str]:
    """Return the catalogue's objects without what differs between two writings of the same."""
    folder = archive / "catalogue"
    generation = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
    times = re.compile(r'"(updated|end_datetime)":"[^"]*"|"tag":"[^"]*"')
    return {
        generation.sub("G", path.relative_to(folder).as_posix()): times.sub(
            "T", generation.sub("G", path.read_text())
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stamps(archive: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (archive / "catalogue").rglob("*") if p.is_file()}


class TestCatalogueSaysWhatIsThere:
    """It is what other tools read of an archive."""

    def test_every_raster_is_an_item_that_pystac_finds(self, archive: Path):
        assert update_catalogue(archive) == CatalogueUpdate(stores=6, written=6, removed=0)
        collection = pystac.Collection.from_file(str(archive / "catalogue" / "collection.json"))
        found = {item.id: item for item in collection.get_items(recursive=True)}
        stores = {
            storage_path(item.assets["data"].get_absolute_href()).name for item in found.values()
        }
        assert len(found) == 3
        assert stores == {"a.zarr", "b%20c.zarr", "plain.zarr"}
        assert found["a"].datetime is not None
        assert found["a"].datetime.year == 2020
        assert found["plain"].geometry is None
        assert Path(found["a"].assets["data"].get_absolute_href() or "").is_dir()

    def test_a_catalog_above_the_collection_leads_to_it(self, archive: Path):
        update_catalogue(archive)
        path = archive / "catalogue" / "catalog.json"
        validate(json.loads(path.read_text()))
        (child,) = pystac.Catalog.from_file(str(path)).get_children()
        assert isinstance(child, pystac.Collection)
        assert len(list(child.get_items(recursive=True))) == 3

    def test_items_and_collection_are_valid(self, archive: Path):
        update_catalogue(archive)
        for document in items(archive).values():
            validate(document)
            assert document["collection"] == "out"
        validate(json.loads((archive / "catalogue" / "collection.json").read_text()))

    def test_series_are_listed_by_study(self, archive: Path):
        update_catalogue(archive)
        index = json.loads((archive / "catalogue" / "dicom.json").read_text())
        assert sorted(len(study["series"]) for study in index["studies"]) == [1, 2]
        assert index["counts"]["series"] == 3
        for study in index["studies"]:
            assert re.fullmatch("[0-9a-f]{12}", study["study"])
            for series in study["series"]:
                assert (archive / series["store"] / "zarr.json").exists()
                assert series["store"].endswith(f"CT-{series['series']}.zarr")
                assert series["axes"] == ["z", "y", "x"]

    def test_no_text_of_a_header_gets_in(self, archive: Path):
        update_catalogue(archive)
        texts = tree(archive)
        assert len(texts) > 5
        for text in texts.values():
            assert CANARY not in text
            assert STUDY not in text
            assert "1.2.826.0.1" not in text

    def test_many_items_are_listed_in_pages(self, archive: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(lists, "PAGE", 2)
        monkeypatch.setattr(catalogue_index, "SEGMENT", 2)
        update_catalogue(archive)
        path = archive / "catalogue" / "collection.json"
        collection = pystac.Collection.from_file(str(path))
        pages = list(collection.get_children())
        assert len(pages) == 2
        assert {len(list(page.get_items())) for page in pages} == {1, 2}
        assert len(list(collection.get_items(recursive=True))) == 3
        for page in pages:
            validate(page.to_dict(include_self_link=False))
        index = json.loads((path.parent / "dicom.json").read_text())
        listed = [json.loads((path.parent / p["href"]).read_text()) for p in index["pages"]]
        series = [
            s["store"] for page in listed for study in page["studies"] for s in study["series"]
        ]
        assert len(series) == len(set(series)) == 3
        assert [s.path for s in list_stores(archive)] == list(walk_stores(storage_path(archive)))

    def test_a_single_store_and_an_empty_folder_get_none(self, archive: Path, tmp_path: Path):
        update_catalogue(archive / "a.zarr")
        empty = tmp_path / "empty"
        empty.mkdir()
        update_catalogue(empty)
        assert list(empty.iterdir()) == []
        assert not (archive / "a.zarr" / "catalogue").exists()

    def test_it_is_taken_for_no_store(self, archive: Path):
        update_catalogue(archive)
        before = [str(store) for store in find_stores(archive)]
        assert not [name for name in before if "catalogue" in name]
        for path in (archive / "catalogue").rglob("*"):
            key = path.relative_to(archive).as_posix()
            assert is_catalogue_object(key) == path.is_file()
        files = [p for p in (archive / "catalogue").rglob("*") if p.is_file()]
        assert {p.suffix for p in files} == {".json"}  # which no search for images looks at
        assert not is_catalogue_object("catalogue/scene.zarr/0/image/c/0/0")
        assert not is_catalogue_object("other/collection.json")


class TestItsFailureFailsNothingElse:
    """Every store is sealed before the catalogue is touched."""

    @pytest.mark.parametrize(
        "error", [sqlite3.DatabaseError("x"), DamagedStore("x"), ValueError("x"), OSError(28, "x")]
    )
    def test_stores_and_report_are_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ):
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(cataloguing, "update_catalogue", fail)
        told: list[str] = []

        def tell(event: Event) -> None:
            if isinstance(event, Failed):
                told.append(event.failure.line)

        progress = SilentProgress()
        monkeypatch.setattr(progress, "tell", tell)
        np.save(tmp_path / "a.npy", SAMPLES)
        result = tilepress.compress(
            tmp_path / "a.npy",
            tmp_path / "out",
            workers=0,
            report=tmp_path / "report.json",
            progress=progress,
        )
        assert not result.ok
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["written"] == 1
        assert [failure["kind"] for failure in report["failures"]] == ["catalogue"]
        assert any("is not up to date" in text for text in told)


class TestUpdateWritesOnlyWhatChanged:
    """An archive of 10⁵ stores gets ten new ones a day."""

    def test_nothing_where_nothing_changed(self, archive: Path):
        update_catalogue(archive)
        before = stamps(archive)
        assert update_catalogue(archive) == CatalogueUpdate(stores=6, written=0, removed=0)
        assert stamps(archive) == before

    def test_the_item_of_a_store_that_was_sealed_anew(self, archive: Path, made: Path):
        update_catalogue(archive)
        before, old = stamps(archive), items(archive)
        seal_again(archive, made)
        assert update_catalogue(archive).written == 1
        changed = {key for key, stamp in stamps(archive).items() if before.get(key) != stamp}
        assert {Path(key).name for key in changed if "/items/" in key} == {"a.zarr.json"}
        new = items(archive)["a.zarr.json"]
        assert new["properties"]["tilepress:max_error"] == 3
        seal = "tilepress:seal"
        assert new["properties"][seal] != old["a.zarr.json"]["properties"][seal]

    def test_what_is_gone_is_gone_from_it(self, archive: Path):
        update_catalogue(archive)
        shutil.rmtree(archive / "2024")
        for store in archive.glob("CT-*.zarr"):
            shutil.rmtree(store)
        for store in archive.rglob("series-*"):
            shutil.rmtree(store)
        found = update_catalogue(archive)
        assert found == CatalogueUpdate(stores=2, written=0, removed=4)
        assert set(items(archive)) == {"a.zarr.json", "plain.zarr.json"}
        assert not (archive / "catalogue" / "dicom.json").exists()

    def test_a_copy_of_an_archive_keeps_its_items(self, archive: Path, tmp_path: Path):
        """Times of files change when an archive moves; seals do not."""
        update_catalogue(archive)
        copy = Path(shutil.copytree(archive, tmp_path / "moved", copy_function=shutil.copyfile))
        assert update_catalogue(copy) == CatalogueUpdate(stores=6, written=0, removed=0)
        assert tree(copy) == tree(archive)
        before = stamps(copy)
        update_catalogue(copy)
        assert stamps(copy) == before

    @pytest.mark.parametrize(
        "lost", ["catalog.json", "collection.json", "dicom.json", "index.json", "index"]
    )
    def test_lists_that_were_lost_are_written_again(self, archive: Path, lost: str):
        update_catalogue(archive)
        want = tree(archive)
        path = archive / "catalogue" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        update_catalogue(archive)
        assert tree(archive) == want

    def test_a_rebuild_writes_everything(self, archive: Path):
        update_catalogue(archive)
        want = tree(archive)
        orphan = archive / "catalogue" / "items" / "never.zarr.json"
        orphan.write_text("{}")
        (archive / "catalogue" / "items" / "a.zarr.json").write_text("spoiled")
        assert update_catalogue(archive, rebuild=True).written == 6
        assert tree(archive) == want

    @pytest.mark.parametrize("linked", ["index", "pages", "dicom", "thumbnails", "items/2024"])
    def test_nothing_is_written_or_removed_through_a_link(
        self, archive: Path, tmp_path: Path, linked: str
    ):
        update_catalogue(archive)
        (tmp_path / "elsewhere/20200101T000000-0").mkdir(parents=True)
        (tmp_path / "elsewhere/a.zarr.webp").touch()
        path = archive / "catalogue" / linked
        if path.is_dir():
            shutil.rmtree(path)
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DestinationConflict, match=f"{linked} is a link"):
            update_catalogue(archive, rebuild=True)
        assert "is a link" in (why_not_updated(archive) or "")
        left = sorted(one.name for one in (tmp_path / "elsewhere").rglob("*"))
        assert left == ["20200101T000000-0", "a.zarr.webp"]


class _Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_after(operations: int) -> Iterator[list[int]]:
    """Let the n-th operation that changes storage, and every later one, never happen."""
    done, lock = [0], threading.Lock()
    names = ("write", "remove", "remove_tree", "remove_empty")
    kept = {name: getattr(FolderPath, name) for name in names}

    def counted(name: str) -> Any:
        def operate(self: FolderPath, *args: Any) -> Any:
            with lock:
                if done[0] >= operations:
                    raise _Killed
                done[0] += 1
                return kept[name](self, *args)

        return operate

    try:
        for name in names:
            setattr(FolderPath, name, counted(name))
        yield done
    finally:
        for name in names:
            setattr(FolderPath, name, kept[name])


class TestKilledUpdateLeavesOldOrNew:
    """A run ends with the update, and runs are killed."""

    def test_at_every_operation(self, archive: Path, made: Path, tmp_path: Path):
        update_catalogue(archive)
        seal_again(archive, made)
        shutil.rmtree(archive / "2024")
        shutil.copytree(archive / "plain.zarr", archive / "new.zarr")
        truth = Path(shutil.copytree(archive, tmp_path / "truth"))
        linked = [self._linked(truth)]
        update_catalogue(truth)
        linked.append(self._linked(truth))
        want, listed = tree(truth), list(list_stores(truth))
        total = 0
        for count in range(200):
            copy = Path(shutil.copytree(archive, tmp_path / f"at-{count}"))
            with killed_after(count) as done, contextlib.suppress(_Killed):
                update_catalogue(copy)
                total = done[0]
            self._check(copy, linked, listed)
            update_catalogue(copy)
            assert tree(copy) == want, count
            shutil.rmtree(copy)
            if total:
                break
        assert total > 8

    def _linked(self, archive: Path) -> set[str]:
        """Return the items that the collection leads to; each of them must be there."""
        collection = pystac.Collection.from_file(str(archive / "catalogue" / "collection.json"))
        return {item.id for item in collection.get_items(recursive=True)}

    def _check(self, archive: Path, linked: list[set[str]], listed: list[Any]) -> None:
        for path in (archive / "catalogue").rglob("*.json"):
            json.loads(path.read_text())
        assert self._linked(archive) in linked
        assert [one for one in list_stores(archive) if one.state != "missing"] == listed

    def test_an_item_without_a_store_goes_with_the_next_update(self, archive: Path, tmp_path: Path):
        """Killed after the item was written; then the store was removed."""
        update_catalogue(archive)
        shutil.copytree(archive / "plain.zarr", archive / "new.zarr")
        with killed_after(2), contextlib.suppress(_Killed):  # the mark and the item
            update_catalogue(archive)
        assert "new.zarr.json" in items(archive)
        shutil.rmtree(archive / "new.zarr")
        update_catalogue(archive)
        assert "new.zarr.json" not in items(archive)
        assert not (archive / "catalogue" / "updating.json").exists()


class TestListIsNeverStale:
    """Nobody deletes the original because of a line that was true last week."""

    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return the stores that are opened from here on."""
        names: list[str] = []
        read = catalogue.read_summary

        def noted(store: StoragePath) -> Any:
            names.append(storage_path(store).name)
            return read(store)

        monkeypatch.setattr(catalogue, "read_summary", noted)
        return names

    def test_with_and_without_a_catalogue_it_says_the_same(self, archive: Path, opened: list[str]):
        before = list(list_stores(archive))
        assert len(opened) == len(before) == 6
        update_catalogue(archive)
        opened.clear()
        assert list(list_stores(str(archive))) == before
        assert opened == []

    def test_only_what_changed_is_opened(self, archive: Path, made: Path, opened: list[str]):
        update_catalogue(archive)
        seal_again(archive, made)
        found = {one.path: one for one in list_stores(storage_path(archive))}
        assert opened == ["a.zarr"]
        assert found["a.zarr"].max_error == 3

    def test_missing_unsealed_and_unreadable_are_marked(self, archive: Path):
        update_catalogue(archive)
        shutil.rmtree(archive / "2024")
        (archive / "plain.zarr" / "zarr.json").unlink()
        document = archive / "a.zarr" / "zarr.json"
        document.write_bytes(document.read_bytes().replace(b'"codec":"wave"', b'"codec":"wavy"', 1))
        found = {one.path: one for one in list_stores(archive)}
        assert found["2024/b c.zarr"].state == "missing"
        assert found["plain.zarr"].state == "unsealed"
        assert found["a.zarr"].state == "unreadable"
        assert "not the one that was sealed" in (found["a.zarr"].problem or "")
        lines = list(list_lines(found.values()))
        assert lines[0].split()[0] == "store"
        assert lines[-1].startswith("5 stores (1 unsealed, 1 unreadable, 1 missing), ")
        assert any("2024/b c.zarr" in line and "[missing]" in line for line in lines)
        update_catalogue(archive)
        assert "2024/b c.zarr" not in {one.path for one in list_stores(archive)}

    def test_json_is_one_list_whatever_is_in_it(self, archive: Path):
        found = list(list_stores(archive))
        told = json.loads("\n".join(list_json(found)))
        assert [one["path"] for one in told] == [one.path for one in found]
        assert told[0]["ratio"] == round(found[0].ratio, 4)
        assert json.loads("\n".join(list_json([]))) == []

    @pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 1}', b"\xff" * 40])
    def test_a_damaged_index_costs_time_only(self, archive: Path, damage: bytes, opened: list[str]):
        update_catalogue(archive)
        want = list(list_stores(archive))
        for path in [
            archive / "catalogue" / "index.json",
            *(archive / "catalogue" / "index").rglob("*.json"),
        ]:
            kept = path.read_bytes()
            path.write_bytes(damage)
            opened.clear()
            assert list(list_stores(archive)) == want
            assert len(opened) == len(want)
            path.write_bytes(kept)

    def test_sizes_are_those_of_the_whole_store(self, archive: Path):
        for one in list_stores(archive):
            files = [p for p in (archive / one.path).rglob("*") if p.is_file()]
            assert one.stored_bytes == sum(p.stat().st_size for p in files)
            assert one.ratio == one.raw_bytes / one.stored_bytes

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody may")
    def test_a_store_that_may_not_be_read_is_listed_and_left_out(self, archive: Path):
        document = archive / "a.zarr" / "zarr.json"
        document.chmod(0)
        assert {one.path: one.state for one in list_stores(archive)}["a.zarr"] == "unreadable"
        assert update_catalogue(archive).stores == 5

    def test_a_store_itself_and_no_folder(self, archive: Path):
        (one,) = list_stores(archive / "a.zarr")
        assert (one.path, one.state) == ("a.zarr", "sealed")
        assert is_store(archive / "a.zarr")
        assert not is_store(archive)
        with pytest.raises(UsageError, match="no folder at"):
            list(list_stores(archive / "nothing"))

    def test_reported_sizes_are_those_that_compress_told(self, made: Path, tmp_path: Path):
        report = tilepress.compress(made / "in" / "a.tif", tmp_path / "again", workers=0)
        (listed,) = (one for one in list_stores(tmp_path / "again"))
        (told,) = report.images
        assert (listed.raw_bytes, listed.stored_bytes) == (told.raw_bytes, told.stored_bytes)


class TestMergeKnowsEveryStoreOnce:
    """Order is by parts of names: "a" and its folder come before "a-b", whatever characters are."""

    def test_against_sets(self):
        rng = np.random.default_rng(4)
        names = ["a", "a-b", "a.zarr", "a b", "B", "é", "a/x", "a/y.zarr", "a-b/x", "z/z/z"]
        for _ in range(100):
            stores = {n for n in names if rng.random() < 0.5}
            known = {n for n in names if rng.random() < 0.5}
            entries = (entry(n) for n in sorted(known, key=catalogue_index.order))
            found = list(merged(iter(sorted(stores, key=catalogue_index.order)), entries))
            assert [key for key, _, _ in found] == sorted(stores | known, key=catalogue_index.order)
            assert {key for key, _, present in found if present} == stores
            assert {key for key, one, _ in found if one is not None} == known

    def test_walk_is_in_that_order(self, archive: Path):
        for name in ("a", "a-b", "2024-x", "plain"):
            shutil.copytree(archive / "a.zarr", archive / name / "b.zarr")
        found = list(walk_stores(storage_path(archive)))
        assert found == sorted(found, key=catalogue_index.order)
        assert len(found) == 10


def entry(key: str) -> Entry:
    summary = ListedStore(path=key, state="sealed", shape=(2, 3), axes=("y", "x"))
    return Entry(summary=summary, tag="t", seal="s", kind="raster", codec="wave")


class TestMemoryIsFlat:
    """A list of 10⁵ stores must not need 10⁵ stores' memory."""

    def test_index_is_written_and_read_as_a_stream(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(catalogue_index, "SEGMENT", 100)

        def peak(count: int) -> int:
            index = Index(FolderPath(tmp_path / str(count)))
            lines = (entry(f"{i:07d}.zarr").dump() for i in range(count))
            tracemalloc.start()
            index.write(lines, "g", "archive")
            assert sum(1 for _ in index.entries()) == count
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        peak(10)
        assert peak(8_000) < peak(400) + 1_000_000  # all entries together take several megabytes


class TestArchivesInBucketsAreTheSame:
    """The catalogue lies beside the stores, wherever that is."""

    @pytest.fixture
    def remote(self, archive: Path, bucket: str) -> StoragePath:
        there = storage_path(bucket) / "archives/one"
        for path in archive.rglob("*"):
            if path.is_file():
                (there / path.relative_to(archive).as_posix()).write(path.read_bytes())
        return there

    def test_update_and_list(self, archive: Path, remote: StoragePath):
        assert update_catalogue(remote) == CatalogueUpdate(stores=6, written=6, removed=0)
        assert update_catalogue(str(remote)) == CatalogueUpdate(stores=6, written=0, removed=0)
        assert list(list_stores(str(remote))) == list(list_stores(archive))
        collection = json.loads((remote / "catalogue/collection.json").read())
        validate(collection)
        for link in collection["links"]:
            if link["rel"] == "item":
                validate(
                    json.loads((remote / f"catalogue/{link['href']}".replace("/./", "/")).read())
                )

    def test_stores_that_go_are_missing_then_forgotten(self, remote: StoragePath):
        update_catalogue(remote)
        (remote / "a.zarr").remove_tree()
        found = {one.path: one.state for one in list_stores(remote)}
        assert found["a.zarr"] == "missing"
        assert update_catalogue(remote).removed == 1
        assert not (remote / "catalogue/items/a.zarr.json").exists()
        assert "a.zarr" not in {one.path for one in list_stores(remote)}
