"""A stack whose store is called as an earlier version called it is not made twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.former import as_stored_before
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path

from ..images import tiff

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, make_store: Callable[..., Any]) -> Put:
    """Return what puts a sealed store of some files into the archive."""

    def put_there(name: str, files: list[str], kind: str = "stack") -> Path:
        origin = {"kind": kind, "files": [{"name": file} for file in files]}
        items = {"origin": json.dumps(origin).encode()}
        made = make_store(f"{name}.zarr", source_items=items)
        place = tmp_path / f"out/{name}.zarr"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made.path, place)
        return place

    return put_there


def stored(tmp_path: Path, files: list[str], pattern: str) -> list[SourceSpec | Failure]:
    for file in files:
        tiff(tmp_path / "in" / file)
    destination = Destination(storage_path(tmp_path / "out"))
    return [
        one if isinstance(one, Failure) else as_stored_before(one, destination)
        for one in discover([tmp_path / "in"], pattern)
    ]


def names(found: list[SourceSpec | Failure]) -> list[str]:
    return sorted(str(one.options["name"]) for one in found if isinstance(one, SourceSpec))


DATES = [f"HLS.S30.T1.202013{n}.v2.0" for n in (6, 7)]
BANDS = [f"{date}.B0{band}.tif" for date in DATES for band in (2, 3)]


class TestAStackOfBefore:
    def test_stays_where_it_is(self, tmp_path: Path, put: Put):
        put("HLS", BANDS[2:])
        put("HLS-stack", BANDS[:2])
        found = stored(tmp_path, BANDS, "*.B*.tif")
        assert names(found) == ["HLS", "HLS-stack"]
        by_name = {str(one.options["name"]): one for one in found if isinstance(one, SourceSpec)}
        assert [Path(path).name for path in by_name["HLS"].paths] == BANDS[2:]

    def test_is_found_again_by_its_files(self, tmp_path: Path, put: Put):
        store = put("NDVI_20", ["NDVI_20191222.tif", "NDVI_20200101.tif"])
        stored(tmp_path, ["NDVI_20191222.tif", "NDVI_20200101.tif"], "NDVI_*.tif")
        for archive in (tmp_path / "out", None):
            finder = SourceFinder([tmp_path / "in"], stack="NDVI_*.tif", archive=archive)
            assert len(finder.find(store).paths) == 2

    def test_of_one_band_stays_a_stack(self, tmp_path: Path, put: Put):
        put("one_B1", ["one_B1.tif"])
        (spec,) = stored(tmp_path, ["one_B1.tif"], "*_B*.tif")
        assert isinstance(spec, SourceSpec)

    def test_of_other_files_is_in_the_way(self, tmp_path: Path, put: Put):
        put("NDVI_20", ["NDVI_20200101.tif", "NDVI_20200111.tif"])
        files = ["NDVI_20191222.tif", "NDVI_20200101.tif", "NDVI_20200111.tif"]
        (failure,) = stored(tmp_path, files, "NDVI_*.tif")
        assert isinstance(failure, Failure)
        assert "NDVI_20.zarr holds some of the image's 3 files" in str(failure.error)

    def test_of_others_is_nobodys_business(self, tmp_path: Path, put: Put):
        put("HLS", ["HLS.else.B02.tif"])
        assert names(stored(tmp_path, BANDS[:2], "*.B*.tif")) == [DATES[0]]


def test_a_new_archive_has_new_names(tmp_path: Path):
    assert names(stored(tmp_path, BANDS, "*.B*.tif")) == DATES


def test_a_store_of_the_new_name_is_its_own(tmp_path: Path, put: Put):
    put("HLS", BANDS[:2])
    put(DATES[0], BANDS[:2])
    assert names(stored(tmp_path, BANDS[:2], "*.B*.tif")) == [DATES[0]]
