"""What sources are called in a run, and the table that says which files those are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.report.labels import Labels

FILES = ("/in/DOE^JANE/1.dcm", "/in/DOE^JANE/b/2.dcm")
SERIES = SourceSpec(
    kind="dicom", paths=FILES, options={"name": "CT-0123456789ab", "relative": "CT-0123456789ab"}
)
SCENE = SourceSpec(
    kind="geotiff", paths=("/in/x/scene.tif",), options={"name": "scene", "relative": "x/scene.tif"}
)
CUT = Failure("/in/DOE^JANE/x", SourceError("opening /in/DOE^JANE/x: cut off"), private=True)


def archive(path: Path | str) -> Destination:
    return Destination(storage_path(path))


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestWhatSourcesAreCalled:
    def test_a_series_by_its_store(self, tmp_path: Path):
        with Labels(archive(tmp_path)) as labels:
            assert labels.of_image(SERIES) == "CT-0123456789ab.zarr"
        table = tmp_path / ".tilepress/private/paths.jsonl"
        (row,) = rows(table)
        assert row["store"] == "CT-0123456789ab.zarr"
        assert (row["folder"], row["files"]) == ("/in/DOE^JANE", ["1.dcm", "b/2.dcm"])
        assert table.stat().st_mode & 0o777 == 0o600
        assert table.parent.stat().st_mode & 0o777 == 0o700

    def test_a_file_by_a_number(self, tmp_path: Path):
        with Labels(archive(tmp_path), tmp_path / "report.json") as labels:
            name, error = labels.of_failure(CUT)
        assert str(error) == f"opening {name}: cut off"
        (row,) = rows(tmp_path / "report.json.paths.jsonl")
        assert row["path"] == CUT.path
        assert name == f"file #{row['number']:08}"
        assert (tmp_path / "report.json.paths.jsonl").stat().st_mode & 0o777 == 0o600

    def test_others_as_before_and_without_a_table(self, tmp_path: Path):
        failure = Failure("/in/a.tif", SourceError("opening /in/a.tif: cut off"))
        with Labels(archive(tmp_path)) as labels:
            assert labels.of_image(SCENE) is None
            assert labels.of_failure(failure) == (failure.path, failure.error)
        assert not list(tmp_path.iterdir())

    def test_everything_by_its_path_on_request(self, tmp_path: Path):
        with Labels(archive(tmp_path), show_paths=True) as labels:
            assert labels.of_image(SERIES) is None
            assert labels.of_failure(CUT) == (CUT.path, CUT.error)
        assert not list(tmp_path.iterdir())


class TestTheTable:
    def test_is_of_the_last_run_alone(self, tmp_path: Path):
        for _ in range(2):
            with Labels(archive(tmp_path)) as labels:
                labels.of_image(SERIES)
        assert len(rows(tmp_path / ".tilepress/private/paths.jsonl")) == 1

    def test_takes_no_other_file_for_its_own(self, tmp_path: Path):
        """A link, or a file that somebody holds open, must not get to know the paths."""
        open_to_all = tmp_path / "open"
        open_to_all.write_text("kept")
        (tmp_path / "report.json.paths.jsonl").symlink_to(open_to_all)
        with Labels(archive(tmp_path), tmp_path / "report.json") as labels:
            labels.of_image(SERIES)
        assert open_to_all.read_text() == "kept"

    def test_is_there_while_the_run_goes_on(self, tmp_path: Path):
        labels = Labels(archive(tmp_path))
        labels.of_image(SERIES)
        assert len(rows(tmp_path / ".tilepress/private/paths.jsonl")) == 1
        labels.__exit__(None, None, None)

    def test_of_parts_are_apart(self, tmp_path: Path):
        for part in ("-part-0-of-2", "-part-1-of-2"):
            with Labels(archive(tmp_path), part=part) as labels:
                labels.of_image(SERIES)
        assert len(list((tmp_path / ".tilepress/private").iterdir())) == 2

    def test_of_a_bucket(self, bucket: str):
        with Labels(archive(f"{bucket}/out")) as labels:
            labels.of_image(SERIES)
        data = (storage_path(f"{bucket}/out") / ".tilepress/private/paths.jsonl").read()
        assert json.loads(data)["store"] == "CT-0123456789ab.zarr"

    def test_that_cannot_be_written_is_said_in_one_line(self, tmp_path: Path):
        (tmp_path / ".tilepress").write_text("a file")
        with (
            Labels(archive(tmp_path)) as labels,
            pytest.raises(UsageError, match=r"writing the table of paths to .*--show-paths"),
        ):
            labels.of_image(SERIES)
