"""The key of an archive: made once, kept, never guessed; old archives keep their names."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from tilepress.errors import DamagedStore, DestinationConflict
from tilepress.pipeline.archive import destination
from tilepress.pipeline.archive.private import (
    PRIVATE,
    archive_pseudonyms,
    known_pseudonyms,
    make_private,
)
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.dicom.header import hashed
from tilepress.pipeline.image.pseudonyms import KEY_MARK, NO_KEY, UNKEYED, Pseudonyms
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

from .. import images

PLAIN = hashed("1.2.3.1")
"""What a list of UIDs would be matched by."""


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for number in (1, 2):
        images.dicom(tmp_path / f"in/DOE/{number}.dcm", 1, number)
    return tmp_path / "in"


def run(*arguments: object, **options: object):
    *sources, target = map(str, arguments)
    return compress(sources, target, workers=0, **options)  # type: ignore[arg-type]


def stores(archive: Path) -> list[str]:
    return sorted(path.name for path in archive.glob("*.zarr"))


def assert_mended(
    where: Path, document: Path, source: Path, states: Collection[str] = ("repaired",)
) -> None:
    """A document that is damaged is repaired to the same bytes; stores come out as ``states``."""
    before = document.read_bytes()
    document.write_bytes(b"{}")
    done = list(repair_stores(where, [source]))
    assert sorted(one.state for one in done) == sorted(states), done
    assert document.read_bytes() == before


@pytest.fixture
def as_before_keys(monkeypatch: pytest.MonkeyPatch):
    """Have destinations name series as they did before there were keys; return what ends it."""
    with monkeypatch.context() as context:
        context.setattr(destination.Destination, "pseudonyms", lambda self: UNKEYED)
        yield context.undo


class TestTheKeyOfANewArchive:
    def test_hides_what_a_list_of_uids_could_be_matched_with(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        told = "".join(
            path.read_text()
            for path in (tmp_path / "out").rglob("*.json")
            if PRIVATE not in str(path)
        )
        assert PLAIN not in told + "".join(stores(tmp_path / "out"))

    def test_is_for_its_owner_alone(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        folder = tmp_path / "out" / PRIVATE
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}

    def test_is_another_one_in_another_archive(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "a")
        run(series, tmp_path / "b")
        assert stores(tmp_path / "a") != stores(tmp_path / "b")

    def test_names_the_same_series_the_same_each_time(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        first = stores(tmp_path / "out")
        again = run(series, tmp_path / "out")
        assert (again.written, again.unchanged) == (0, 1)
        assert stores(tmp_path / "out") == first

    def test_is_made_for_dicom_only(self, tmp_path: Path):
        images.tiff(tmp_path / "in/a.tif")
        run(tmp_path / "in", tmp_path / "out")
        assert not (tmp_path / "out/.tilepress").exists()

    def test_is_made_once_however_many_come_at_a_time(self, tmp_path: Path):
        archive = storage_path(tmp_path)
        found: list[Pseudonyms] = []
        barrier = threading.Barrier(8)

        def come() -> None:
            barrier.wait()
            found.append(archive_pseudonyms(archive))

        threads = [threading.Thread(target=come) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({one.of(PLAIN) for one in found}) == 1

    def test_is_shared_by_parts_and_their_plan(self, series: Path, tmp_path: Path):
        images.dicom(tmp_path / "in/ROE/3.dcm", 2, 1)
        out = tmp_path / "out"
        plan([str(series)], str(out), workers=0)
        for part in ("0/2", "1/2"):
            compress([str(series)], str(out), part=part)
        assert finish(str(out), workers=0).ok
        assert len(stores(out)) == 2
        again = run(series, out)
        assert (again.written, again.unchanged) == (0, 2)
        assert finish(str(out), workers=0).ok  # nothing to finish is no error

    def test_in_a_bucket(self, series: Path, bucket: str):
        first = run(series, f"{bucket}/out")
        again = run(series, f"{bucket}/out")
        assert (first.written, again.unchanged) == (1, 1)
        assert known_pseudonyms(storage_path(f"{bucket}/out")) is not None
        (name,) = [n for n in storage_path(f"{bucket}/out").folders() if n.endswith(".zarr")]
        assert PLAIN not in name


class TestAnArchiveFromBeforeKeys:
    def test_keeps_its_names_and_stores_nothing_twice(
        self, series: Path, tmp_path: Path, as_before_keys
    ):
        run(series, tmp_path / "out")
        assert stores(tmp_path / "out") == [f"CT-{PLAIN}.zarr"]
        as_before_keys()
        images.dicom(tmp_path / "in/ROE/3.dcm", 2, 1)
        again = run(series, tmp_path / "out")
        assert (again.written, again.unchanged) == (1, 1)
        assert stores(tmp_path / "out") == sorted(
            [f"CT-{PLAIN}.zarr", f"CT-{hashed('1.2.3.2')}.zarr"]
        )
        document = json.loads((tmp_path / "out" / PRIVATE / "key.json").read_text())
        assert document["key"] is None

    def test_that_was_only_begun_goes_on_under_its_name(
        self, series: Path, tmp_path: Path, as_before_keys, monkeypatch: pytest.MonkeyPatch
    ):
        run(series, tmp_path / "out")
        as_before_keys()
        begun = tmp_path / f"out/.tilepress/CT-{PLAIN}.zarr/abc"
        begun.mkdir(parents=True)
        shutil.rmtree(tmp_path / f"out/CT-{PLAIN}.zarr")
        run(series, tmp_path / "out")
        assert stores(tmp_path / "out") == [f"CT-{PLAIN}.zarr"]

    def test_whose_plan_was_fixed_is_written_as_planned(
        self, series: Path, tmp_path: Path, as_before_keys
    ):
        out = tmp_path / "out"
        plan([str(series)], str(out), workers=0)
        as_before_keys()
        compress([str(series)], str(out), part="0/1")
        assert finish(str(out), workers=0).ok
        assert run(series, out).unchanged == 1
        assert stores(out) == [f"CT-{PLAIN}.zarr"]

    def test_is_repaired_to_the_same_bytes(self, series: Path, tmp_path: Path, as_before_keys):
        run(series, tmp_path / "out")
        as_before_keys()
        assert_mended(tmp_path / "out", tmp_path / f"out/CT-{PLAIN}.zarr/0/image/zarr.json", series)


class TestAKeyThatIsGone:
    def test_nothing_is_stored_a_second_time(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        shutil.rmtree(tmp_path / "out/.tilepress")
        with pytest.raises(DestinationConflict, match="named with a key that is not there"):
            run(series, tmp_path / "out")
        assert len(stores(tmp_path / "out")) == 1

    def test_a_damaged_one_is_named(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        (tmp_path / "out" / PRIVATE / "key.json").write_bytes(b"{")
        with pytest.raises(DamagedStore, match="bring it back from a copy"):
            run(series, tmp_path / "out")

    def test_stores_are_verified_and_repaired_by_what_is_in_them(
        self, series: Path, tmp_path: Path
    ):
        for number in (1, 2, 3):
            images.dicom(tmp_path / f"in/ROE/r{number}.dcm", 2, number)
        run(series, tmp_path / "out")
        shutil.rmtree(tmp_path / "out/.tilepress")
        checks = [c for c in check_stores(tmp_path / "out", [series]) if "zarr" in c.store]
        assert [check.state for check in checks] == ["sound"] * 2, checks
        document = tmp_path / "out" / stores(tmp_path / "out")[0] / "0/image/zarr.json"
        assert_mended(tmp_path / "out", document, series, {"sound", "repaired"})

    def test_a_store_that_was_taken_out_of_its_archive(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "out")
        (name,) = stores(tmp_path / "out")
        shutil.move(tmp_path / "out" / name, tmp_path / "taken.zarr")
        (check,) = check_stores(tmp_path / "taken.zarr", [series])
        assert check.state == "sound", check
        assert_mended(tmp_path / "taken.zarr", tmp_path / "taken.zarr/0/zarr.json", series)


class TestASingleStore:
    def test_tells_no_hash_and_needs_no_key(self, series: Path, tmp_path: Path):
        assert run(series, tmp_path / "x.zarr").ok
        attributes = StoreReader.open(tmp_path / "x.zarr").attrs
        assert not {"study", "series"} & set(attributes)
        assert attributes[KEY_MARK] == NO_KEY
        told = "".join(path.read_text() for path in (tmp_path / "x.zarr").rglob("*.json"))
        assert PLAIN not in told
        assert not (tmp_path / PRIVATE / "key.json").exists()
        assert run(series, tmp_path / "x.zarr").unchanged == 1

    def test_is_repaired_to_the_same_bytes(self, series: Path, tmp_path: Path):
        run(series, tmp_path / "x.zarr")
        assert_mended(tmp_path / "x.zarr", tmp_path / "x.zarr/0/image/zarr.json", series)


class TestAFolderThatWasOpen:
    def test_is_closed(self, tmp_path: Path):
        (tmp_path / PRIVATE).mkdir(parents=True)
        make_private(storage_path(tmp_path) / PRIVATE)
        assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o700
