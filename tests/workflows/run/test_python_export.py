"""``tilepress.export``: of a store its files, of an archive all of them and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilepress
from tilepress.errors import StoreError, UsageError


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of two arrays in a folder each."""
    folder = tmp_path_factory.mktemp("in")
    for name in ("a", "b"):
        (folder / name).mkdir()
        np.save(folder / name / "x.npy", np.full((9, 9), ord(name), np.uint8))
    out = tmp_path_factory.mktemp("archive")
    assert tilepress.compress(folder, out, workers=0).ok
    return out


class TestAStore:
    def test_gives_its_files(self, archive: Path, tmp_path: Path):
        files = tilepress.export(archive / "a/x.zarr", tmp_path / "x.npy")
        assert files == [tmp_path / "x.npy"]
        assert (files.ok, files.problems, files.stores) == (True, (), ())
        assert repr(files) == repr([tmp_path / "x.npy"])

    @pytest.mark.parametrize(
        "given", [{"workers": 1}, {"join_stacks": True}, {"fitting_only": True}, {"report": "r"}]
    )
    def test_takes_no_option_of_archives(self, archive: Path, tmp_path: Path, given: Any):
        with pytest.raises(UsageError, match=r"exporting x\.zarr: join_stacks, .* of an archive"):
            tilepress.export(archive / "a/x.zarr", tmp_path / "x.npy", **given)
        assert list(tmp_path.iterdir()) == []

    def test_that_is_not_there_is_an_error(self, tmp_path: Path):
        with pytest.raises(StoreError, match="there is no store"):
            tilepress.export(tmp_path / "x.zarr", tmp_path / "x.npy")


class TestAnArchive:
    def test_gives_the_files_of_all(self, archive: Path, tmp_path: Path):
        files = tilepress.export(archive, tmp_path, workers=0)
        assert files == [tmp_path / "a/x.npy", tmp_path / "b/x.npy"]
        assert [np.load(file)[0, 0] for file in files] == [ord("a"), ord("b")]
        assert files.ok
        assert [(one.name, one.state) for one in files.stores] == [
            ("a/x.zarr", "written"),
            ("b/x.zarr", "written"),
        ]
        assert repr(files) == f"{tmp_path}: 2 of 2 stores written"

    def test_that_an_earlier_run_wrote_counts(self, archive: Path, tmp_path: Path):
        first = tilepress.export(archive, tmp_path, workers=0)
        again = tilepress.export(archive, tmp_path, workers=0)
        assert again == first
        assert {one.state for one in again.stores} == {"there"}

    def test_says_what_is_missing_and_why(self, archive: Path, tmp_path: Path):
        files = tilepress.export(
            archive, tmp_path / "out", "dicom", workers=0, report=tmp_path / "report.json"
        )
        assert (files, files.ok) == ([], False)
        (problem,) = files.problems
        assert problem.startswith("exporting x.zarr: it was made of array, which gives no dicom")
        assert "also b/x.zarr" in problem
        assert repr(files).splitlines()[1:] == [problem]
        assert json.loads((tmp_path / "report.json").read_text())["stores"]["left out"] == 2

    def test_that_has_no_such_format_may_be_no_failure(self, archive: Path, tmp_path: Path):
        files = tilepress.export(archive, tmp_path, "dicom", workers=0, fitting_only=True)
        assert (files, files.ok) == ([], True)

    @pytest.mark.parametrize("given", [{"bands": [1]}, {"slices": [0]}, {"resample": "mode"}])
    def test_takes_no_option_of_stores(self, archive: Path, tmp_path: Path, given: Any):
        with pytest.raises(UsageError, match=r"it is an archive; bands, .* are of one store"):
            tilepress.export(archive, tmp_path, **given)

    def test_takes_no_transfer_syntax_where_none_is(self, archive: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="npy has no transfer syntax"):
            tilepress.export(archive, tmp_path, "npy", transfer_syntax="rle")
