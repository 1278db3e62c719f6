"""Stores of an archive are found by place, time, identifier and modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest

import tilepress
from tilepress.errors import StoreError, UsageError
from tilepress.pipeline.catalogue import search, update
from tilepress.pipeline.catalogue.search import Wanted, find, parse_bbox, parse_span
from tilepress.pipeline.dicom.header import hashed

from ..dicom.conftest import build, save
from .test_update import SAMPLES, STUDY, write_scene, write_series


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of three rasters, of which two have a date, and two series."""
    folder = tmp_path_factory.mktemp("search")
    write_scene(folder / "in/old/m_3008601_ne_16_1_20150804.tif", 5e5)
    write_scene(folder / "in/new.tif", 6e5, SENSING_TIME="2020-06-15T10:30:00Z")
    write_scene(folder / "in/undated.tif", 6e5)
    write_series(folder / "in", 1)
    write_series(folder / "in", 2)
    tilepress.compress(folder / "in", folder / "out", workers=0)
    return folder / "out"


def _names(archive: Path, **wanted: Any) -> set[str]:
    return {store.name for store in find(archive, **wanted)}


OLD, NEW, UNDATED = "m_3008601_ne_16_1_20150804.zarr", "new.zarr", "undated.zarr"


class TestPlace:
    def test_the_box_of_one(self, archive: Path) -> None:
        table = tilepress.catalogue(archive).set_index("store")
        row = table.loc[f"in/old/{OLD}"] if f"in/old/{OLD}" in table.index else None
        row = table.loc[f"old/{OLD}"] if row is None else row
        box = (row.west, row.south, row.west + 1e-4, row.south + 1e-4)
        assert _names(archive, bbox=box) == {OLD}

    def test_a_box_around_all_and_one_far_away(self, archive: Path) -> None:
        assert _names(archive, bbox=(-10, 30, 10, 40)) == {OLD, NEW, UNDATED}
        assert _names(archive, bbox=(20, 30, 30, 40)) == set()

    @pytest.mark.parametrize(
        ("a", "b", "meets"),
        [
            ((170, -5, -170, 5), (175, 0, 176, 1), True),
            ((170, -5, -170, 5), (-175, 0, -174, 1), True),
            ((170, -5, -170, 5), (0, 0, 1, 1), False),
            ((170, -5, -170, 5), (179, 0, -179, 1), True),
            ((0, 0, 1, 1), (1, 1, 2, 2), True),
            ((0, 0, 1, 1), (0, 1.01, 1, 2), False),
        ],
    )
    def test_boxes_across_the_antimeridian(self, a: Any, b: Any, meets: bool) -> None:
        from tilepress.pipeline.catalogue.search import _meet

        assert _meet(a, b) is _meet(b, a) is meets

    @pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,10,1,5", "0,0,200,1", "", "nan,0,1,1"])
    def test_what_is_no_box(self, text: str) -> None:
        with pytest.raises(UsageError, match="west,south,east,north"):
            parse_bbox(text)

    @pytest.mark.parametrize("box", ["1,2,3,4", (1, 2, 3), (1, 2, 3, "a"), (0, 10, 1, 5), 7])
    def test_what_is_no_box_of_python(self, archive: Path, box: Any) -> None:
        with pytest.raises(UsageError, match=r"want .*west,south,east,north"):
            find(archive, bbox=box)


class TestTime:
    @pytest.mark.parametrize(
        ("when", "want"),
        [
            ("2020", {NEW}),
            ("2020-06", {NEW}),
            ("2020-06-15", {NEW}),
            ("2020-06-16", set()),
            ("2020-06-15T10:30:00Z", {NEW}),
            ("2020-06-15T12:30:00+02:00", {NEW}),
            ("2015-08-04", {OLD}),
            ("../2016", {OLD}),
            ("2016/..", {NEW}),
            ("2015/2020-06-15", {OLD, NEW}),
            ("2020-06-15T10:31:00Z/..", set()),
        ],
    )
    def test_of_a_raster(self, archive: Path, when: str, want: set[str]) -> None:
        assert _names(archive, datetime=when) == want

    @pytest.mark.parametrize("when", ["", "soon", "2020-13", "2021/2020", "2020-06-15/x", "20/21"])
    def test_what_is_no_time(self, when: str) -> None:
        with pytest.raises(UsageError, match=r"want e\.g\. 2020"):
            parse_span(when)

    def test_conditions_all_hold(self, archive: Path) -> None:
        assert _names(archive, bbox=(-10, 30, 10, 40), datetime="2020") == {NEW}
        assert _names(archive, bbox=(20, 30, 30, 40), datetime="2020") == set()


class TestIdentifiers:
    def test_of_a_study_and_of_a_series(self, archive: Path) -> None:
        both = _names(archive, uid=STUDY)
        assert len(both) == 2
        file = next((archive.parent / "in" / "series-1").iterdir())
        uid = pydicom.dcmread(file).SeriesInstanceUID
        (one,) = _names(archive, uid=uid)
        assert one in both
        table = tilepress.catalogue(archive)
        row = table[table.store.str.endswith(one)].iloc[0]
        assert _names(archive, uid=row.series) == {one}
        assert _names(archive, uid="1.2.3.4") == set()

    def test_a_name_is_no_uid_and_is_not_told(self, archive: Path) -> None:
        with pytest.raises(UsageError) as caught:
            find(archive, uid="Doe^Jane")
        assert "Doe" not in str(caught.value)

    def test_without_the_key_nobody_looks_up(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Any) -> None:
            raise PermissionError

        monkeypatch.setattr(search, "known_pseudonyms", refuse)
        with pytest.raises(UsageError, match="12 digits"):
            find(archive, uid=STUDY)
        assert len(_names(archive, datetime="2020")) == 1  # needs no key

    def test_modality(self, archive: Path) -> None:
        table = tilepress.catalogue(archive)
        (modality,) = set(table.modality.dropna())
        assert len(_names(archive, modality=modality.lower())) == 2
        assert _names(archive, modality="XA" if modality != "XA" else "CT") == set()


class TestPatients:
    @pytest.fixture
    def patients(self, tmp_path: Path) -> Path:
        """Return an archive of two series of one patient, one of another and one of nobody."""
        for number, patient in enumerate(["4711", "4711 ", "4712", ""], 1):
            dataset = build(SAMPLES[0], series=number, instance=1, PatientID=patient)
            save(dataset, tmp_path / f"in/{number}.dcm")
        tilepress.compress(tmp_path / "in", tmp_path / "out", workers=0)
        return tmp_path / "out"

    def test_by_identifier_and_by_what_stands_for_it(self, patients: Path) -> None:
        found = find(patients, patient="4711")
        assert len(found) == 2
        table = tilepress.catalogue(patients).set_index("store")
        digits = set(table.loc[[store.name for store in found]].patient)
        assert len(digits) == 1
        assert table.patient.isna().sum() == 1
        assert find(patients, patient_hash=digits.pop()) == found
        assert len(find(patients, patient="4712")) == 1
        assert find(patients, patient="4712", modality="XA") == []
        assert find(patients, patient="4713") == []

    def test_nothing_in_the_catalogue_tells_them(self, patients: Path) -> None:
        texts = [p.read_text() for p in (patients / "catalogue").rglob("*.json")]
        plain = hashed("patient 4711")[:12]
        assert texts
        assert not any(f'"{word}' in text for text in texts for word in ("4711", plain))

    @pytest.mark.parametrize(
        "wanted",
        [{"patient": " "}, {"patient_hash": "4711"}, {"patient": "4711", "patient_hash": "0" * 12}],
    )
    def test_nonsense(self, patients: Path, wanted: Any) -> None:
        with pytest.raises(UsageError) as caught:
            find(patients, **wanted)
        assert "4711" not in str(caught.value)

    def test_a_catalogue_that_knows_none_says_so_until_it_does(
        self, patients: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = find(patients, patient="4711")
        with monkeypatch.context() as patched:
            patched.setattr(update, "known_pseudonyms", lambda archive: None)
            update.update_catalogue(patients, rebuild=True)
        with pytest.raises(StoreError, match="does not know the patients"):
            find(patients, patient="4711")
        assert update.update_catalogue(patients).written == 4
        assert find(patients, patient="4711") == before
        assert update.update_catalogue(patients).written == 0

    def test_an_archive_without_a_key_has_none(self, patients: Path) -> None:
        (patients / ".tilepress/private/key.json").unlink()
        with pytest.raises(UsageError, match="it has no key"):
            find(patients, patient="4711")


class TestTheTable:
    def test_has_a_row_for_each_store(self, archive: Path) -> None:
        table = tilepress.catalogue(archive)
        assert len(table) == 5
        assert set(table.kind) == {"raster", "dicom"}
        new = table[table.store.str.endswith(NEW)].iloc[0]
        assert str(new.start) == "2020-06-15 10:30:00+00:00"
        assert new["shape"] == (2, 40, 50)
        assert new.max_error == 0
        assert new.crs == "EPSG:32631"
        assert table[table.store.str.endswith(UNDATED)].start.isna().all()
        assert table[table.kind == "dicom"].west.isna().all()

    def test_of_what_is_no_archive(self, archive: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such folder"):
            tilepress.catalogue(tmp_path / "absent")
        with pytest.raises(StoreError, match="no catalogue"):
            tilepress.catalogue(tmp_path)
        with pytest.raises(UsageError, match="it is a store"):
            tilepress.catalogue(next(archive.rglob("new.zarr")))

    def test_an_entry_without_place_or_time_is_not_taken_for_them(self, archive: Path) -> None:
        assert Wanted() == Wanted()
        everything = _names(archive)
        assert len(everything) == 5
        assert UNDATED not in _names(archive, datetime="../..")
