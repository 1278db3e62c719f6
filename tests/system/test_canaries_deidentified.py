"""With ``--deidentify`` nothing that was planted is anywhere but in the table of its owner.

What is planted is what ``test_canaries`` plants, and rasters and arrays with tokens in every tag
and name. Stores, what is exported of them, reports, events and lines are searched in all forms; the
same search finds the tokens where the same sources are compressed without the option.
"""

from __future__ import annotations

import json
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
import zarr

from tilepress.pipeline.export import export
from tilepress.pipeline.privacy.table import table
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

from ..helpers import canaries
from .test_canaries import PIXELS, Planted, plant

OPTION = "--deidentify"


def plant_more(made: Planted) -> None:
    """Add rasters and arrays whose names and tags hold tokens, and the label of a slide."""
    planter = made.planter
    folder = made.sources / planter.letters()
    planter.raster(folder / f"{planter.letters()}.tif", PIXELS)
    np.save(folder / f"{planter.letters()}.npy", PIXELS)
    array = zarr.create_array(
        folder / f"{planter.letters()}.zarr",
        shape=PIXELS.shape, dtype=PIXELS.dtype, attributes={"patient": planter.letters()},
        dimension_names=(planter.letters(), planter.letters()),
    )  # fmt: skip
    array[...] = PIXELS
    label = planter.dicom(folder / f"{planter.letters()}.slide", f"{canaries.DIGITS}8", 1, PIXELS)
    slide = pydicom.dcmread(label)
    slide.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    slide.SOPInstanceUID = planter.digits()
    slide.save_as(label, enforce_file_format=False)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return sources that went all the way, de-identified."""
    made = plant(tmp_path_factory.mktemp("deidentified"))
    plant_more(made)
    archive, report = made.archive, made.root / "report.json"
    told = ("--report", report, "--events", made.root / "events.jsonl")
    line = ("compress", "sources", archive, OPTION)
    assert made.run("compress", *line, *told, "--workers", 0, "-v") == 1, made.told
    for store in archive.glob("*.zarr"):
        (store / "source/c/0").unlink()
    assert made.run("repair", "repair", archive, "--source", "sources") == 0, made.told["repair"]
    assert made.run("verify", "verify", archive, "--source", "sources") == 3
    made.run("ls", "ls", archive)
    for store in sorted(archive.glob("*.zarr")):
        files = export(store, made.root / "export" / store.stem)
        made.told[f"export {store.name}"] = "\n".join(map(str, files)).encode()
    for path in (report, made.root / "events.jsonl"):
        made.told[path.name] = path.read_bytes()
    return made


@pytest.fixture(scope="module")
def at_length(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return sources that went the ways that take longer: workers, a dashboard, parts."""
    made = plant(tmp_path_factory.mktemp("at_length"))
    plant_more(made)
    line = ("compress", "sources", made.archive, OPTION)
    assert made.watch("compress", *line, "--workers", 1, "--dashboard", "-v") == 1, made.told
    made.run("again", *line, "--workers", 0, "--debug")
    made.run("one store", "compress", "sources", made.root / "one.zarr", OPTION, "--workers", 0)
    how = "retain-longitudinal-modified-dates,clean-descriptors"
    parts = made.root / "parts"
    plan(made.sources, parts, deidentify=how, workers=0)
    compress(made.sources, parts, part="0/1", deidentify=how)
    made.told["parts"] = str(finish(parts, workers=0).to_json()).encode()
    return made


def lines_with_tokens(made: Planted) -> dict[str, list[bytes]]:
    """Return what was told that nobody should have been told."""
    return {
        name: lines
        for name, text in made.told.items()
        if (lines := [line for line in text.splitlines() if canaries.in_bytes(line)])
    }


def check_archive(archive: Path) -> None:
    """Look for tokens in all objects of an archive, and in its decoded arrays."""
    leaks = canaries.in_tree(archive)
    assert all(name.startswith(".tilepress/private/paths") for name in leaks), leaks
    stores = [path for path in archive.glob("*.zarr") if path.is_dir()]
    assert len(stores) == 6  # of the series two: a copy has other pixels
    for store in stores:
        assert canaries.in_arrays(store) == {}, store
        json.loads((store / "zarr.json").read_text())


@pytest.mark.slow
class TestTheSearch:
    def test_there_is_enough_to_find_and_it_is_found_without_the_option(
        self, planted: Planted, tmp_path: Path
    ):
        """The positive control: the same sources, the same search."""
        assert len(set(planted.planter.tokens)) >= 1500
        plain = tmp_path / "plain"
        compress(planted.sources, plain, workers=0)
        headers = b"".join(
            zlib.decompress((series / "source/c/0").read_bytes())
            for series in plain.glob("CT-*.zarr")
        )
        found = {token for token in planted.planter.tokens if token.encode() in headers}
        assert len(found) >= 1500
        assert any("scene" not in name for name in canaries.in_tree(plain))
        rasters = [
            canaries.in_arrays(one) for one in plain.rglob("*.zarr") if "CT-" not in str(one)
        ]
        assert any("source/c/0" in one for one in rasters)

    def test_every_attribute_of_the_table_that_takes_a_text_has_one(self, planted: Planted):
        path = next(p for p in planted.sources.rglob("*.dcm"))
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        texts = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UI")
        missing = [
            row.keyword
            for tag, row in table().items()
            if tag >> 16 >= 8
            and pydicom.datadict.dictionary_has_tag(tag)
            and pydicom.datadict.dictionary_VR(tag) in texts
            and tag not in header
        ]
        assert not missing


@pytest.mark.slow
class TestNothingIsLeft:
    def test_in_the_archive(self, planted: Planted):
        check_archive(planted.archive)

    def test_in_what_is_exported(self, planted: Planted):
        assert canaries.in_tree(planted.root / "export") == {}
        files = [path for path in (planted.root / "export").rglob("*") if path.is_file()]
        assert len({path.suffix for path in files}) >= 2

    def test_on_the_terminal_in_reports_and_events(self, planted: Planted):
        assert not lines_with_tokens(planted)
        assert len(planted.told) >= 11

    def test_the_table_is_for_its_owner_alone(self, planted: Planted):
        tables = list(planted.root.rglob("*paths*.jsonl"))
        assert tables
        assert {path.stat().st_mode & 0o777 for path in tables} == {0o600}
        assert any(canaries.in_bytes(path.read_bytes()) for path in tables)


@pytest.mark.slow
class TestWhatIsTold:
    def test_the_label_is_listed_and_has_no_store(self, planted: Planted):
        report = json.loads(planted.told["report.json"])
        (left_out,) = report["excluded"]
        assert left_out["kind"] == "excluded"
        assert "LABEL image is left out" in left_out["message"]
        assert b"1 left out" in planted.told["compress"]

    def test_burned_in_annotation_is_in_the_report(self, planted: Planted):
        report = json.loads(planted.told["report.json"])
        remarks = [remark for image in report["images"] for remark in image["remarks"]]
        assert any("burned-in annotation: 1 of 1 files" in remark for remark in remarks)

    def test_exported_files_are_dicom_that_says_so(self, planted: Planted):
        paths = sorted((planted.root / "export").rglob("*.dcm"))
        made = [pydicom.dcmread(path) for path in paths]
        assert {one.PatientIdentityRemoved for one in made} == {"YES"}
        assert all(one.PatientID.startswith("TP-") for one in made)
        pixels = [one.pixel_array.tobytes() for one in made]
        assert len(pixels) == 3
        assert {(PIXELS + 1).tobytes(), (PIXELS + 2).tobytes()} < set(pixels)


@pytest.mark.long
class TestNothingIsLeftAtLength:
    def test_in_the_archives(self, at_length: Planted):
        for archive in (at_length.archive, at_length.root / "parts"):
            check_archive(archive)

    def test_on_the_terminal_and_on_pages_of_the_dashboard(self, at_length: Planted):
        assert not lines_with_tokens(at_length)
        assert at_length.pages >= 5 or not find_spec("bokeh")
        assert len(at_length.told) >= 4

    def test_the_tables_are_for_their_owner_alone(self, at_length: Planted):
        tables = list(at_length.root.rglob("*paths*.jsonl"))
        assert len(tables) >= 3
        assert {path.stat().st_mode & 0o777 for path in tables} == {0o600}
