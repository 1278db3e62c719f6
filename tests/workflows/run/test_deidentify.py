"""De-identified archives: what is written, found again, refused, and what is left as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest
import zarr

from tilepress.errors import UsageError
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

from ...pipeline import images

BASIC = "basic"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with sources and their archive."""
    root = tmp_path_factory.mktemp("made")
    folder = root / "in/DOE"
    images.dicom(folder / "1.dcm", 1, 1)
    images.dicom(folder / "2.dcm", 1, 2)
    images.tiff(folder / "JANE.tif")
    assert compress([root / "in"], root / "out", workers=0, deidentify=BASIC).ok
    return root


@pytest.fixture
def sources(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "in", tmp_path / "in")


@pytest.fixture
def archive(made: Path, sources: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "out", tmp_path / "out")


def stores(archive: Path) -> list[Path]:
    return sorted(path for path in archive.glob("*.zarr"))


def bytes_of(archive: Path) -> dict[str, bytes]:
    found = (path for store in stores(archive) for path in store.rglob("*") if path.is_file())
    return {path.relative_to(archive).as_posix(): path.read_bytes() for path in found}


class TestAnArchive:
    def test_a_second_run_finds_it_unchanged(self, archive: Path, sources: Path):
        before = bytes_of(archive)
        assert sorted(store.name[:3] for store in stores(archive)) == ["CT-", "ima"]
        again = compress([sources], archive, workers=0, deidentify="basic")
        assert (again.written, again.unchanged) == (0, 2)
        assert bytes_of(archive) == before

    def test_another_archive_gives_other_identifiers(
        self, archive: Path, sources: Path, tmp_path: Path
    ):
        compress([sources], tmp_path / "other", workers=0, deidentify=BASIC)
        ours = {store.name for store in stores(archive)}
        assert ours.isdisjoint(store.name for store in stores(tmp_path / "other"))

    def test_its_stores_say_how(self, archive: Path):
        for store in stores(archive):
            group = zarr.open_group(store)
            told: Any = group["0/image"].attrs[DEIDENTIFIED]
            assert told["options"] == ["basic"]
            assert told["codes"] == ["113100"]

    def test_verify_compares_samples_and_says_so(self, archive: Path, sources: Path):
        found = list(check_stores(archive, [sources]))
        assert [one.state for one in found] == ["sound", "sound"]
        assert all("headers were de-identified" in one.lines()[0] for one in found)

    def test_repair_gives_the_same_bytes(self, archive: Path, sources: Path):
        before = bytes_of(archive)
        for store in stores(archive):
            (store / "source/c/0").write_bytes(b"damaged")
            (store / "0/image/zarr.json").unlink()
        done = list(repair_stores(archive, [sources]))
        assert [one.state for one in done] == ["repaired", "repaired"], done
        assert bytes_of(archive) == before

    def test_parts_write_the_same_and_the_plan_has_no_key(
        self, archive: Path, sources: Path, tmp_path: Path
    ):
        parts = tmp_path / "parts"
        key = archive / ".tilepress/private/key.json"
        (parts / ".tilepress/private").mkdir(parents=True)
        (parts / ".tilepress/private/key.json").write_bytes(key.read_bytes())
        plan([sources], parts, workers=0, deidentify=BASIC)
        planned = b"".join(p.read_bytes() for p in (parts / ".tilepress/plan").iterdir())
        assert b'"deidentify"' in planned
        assert json.loads(key.read_text())["key"].encode() not in planned
        with pytest.raises(UsageError, match="deidentify"):
            compress([sources], parts, part="0/2")
        for part in ("0/2", "1/2"):
            compress([sources], parts, part=part, deidentify=BASIC)
        assert finish(parts, workers=0).ok
        assert bytes_of(parts) == bytes_of(archive)

    def test_a_single_store_is_called_as_it_was_named(self, sources: Path, tmp_path: Path):
        out = tmp_path / "a.zarr"
        compress([sources / "DOE/JANE.tif"], out, workers=0, deidentify=BASIC)
        (found,) = check_stores(out, [sources / "DOE/JANE.tif"])
        assert found.state == "sound"
        assert b"JANE" not in b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())


class TestWhatIsRefused:
    def test_a_store_that_was_otherwise_de_identified(self, archive: Path, sources: Path):
        series = sources / "DOE/*.dcm"
        report = compress([str(series)], archive, workers=0, deidentify="retain-uids")
        (failure,) = report.failures
        assert "it is de-identified by basic, this run's would be" in failure.message
        assert "by basic,retain-uids" in failure.message

    def test_an_archive_that_would_be_half_of_each(
        self, archive: Path, sources: Path, tmp_path: Path
    ):
        before = bytes_of(archive)
        for force in (False, True):
            with pytest.raises(UsageError, match="is de-identified; say --deidentify again"):
                compress([sources], archive, workers=0, force=force)
        with pytest.raises(UsageError, match="is de-identified; say --deidentify again"):
            plan([sources], archive, workers=0)
        assert bytes_of(archive) == before
        plain = tmp_path / "plain"
        compress([sources / "DOE/JANE.tif"], plain, workers=0)
        before = bytes_of(plain)
        for force in (False, True):
            with pytest.raises(UsageError, match="has stores that are not de-identified"):
                compress([sources], plain, workers=0, deidentify=BASIC, force=force)
        assert bytes_of(plain) == before

    def test_an_archive_without_a_key(self, sources: Path, tmp_path: Path):
        private = tmp_path / "old/.tilepress/private"
        private.mkdir(parents=True)
        (private / "key.json").write_text('{"version":1,"key":null}')
        with pytest.raises(UsageError, match="begun without a key"):
            compress([sources], tmp_path / "old", workers=0, deidentify=BASIC)

    def test_words_that_are_no_option(self, sources: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="de-identifying: got 'anonymous'"):
            compress([sources], tmp_path / "out", workers=0, deidentify="anonymous")
        assert not (tmp_path / "out").exists()


class TestLabelsOfSlides:
    def test_they_are_listed_and_are_no_failure(self, sources: Path, tmp_path: Path):
        path = images.dicom(sources / "DOE/label.dcm", 7, 1)
        slide = pydicom.dcmread(path)
        slide.ImageType = ["ORIGINAL", "PRIMARY", "LABEL"]
        slide.save_as(path)
        file = tmp_path / "report.json"
        report = compress([sources], tmp_path / "out", workers=0, deidentify=BASIC, report=file)
        assert report.ok
        (left_out,) = report.excluded
        assert left_out.kind == "excluded"
        assert json.loads(file.read_text())["excluded"] == [left_out.to_json()]
        assert len(stores(tmp_path / "out")) == 2
        plain = compress([sources], tmp_path / "plain", workers=0)
        assert (plain.written, len(plain.excluded)) == (3, 0)
        assert "excluded" not in plain.to_json()
