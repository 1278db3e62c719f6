"""Many stores that were left out for one reason are one line, and the report has each of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.export_archive import Exported
from tilepress.workflows.report.exported import ExportSummary


def left_out(number: int) -> Exported:
    name = f"sub/CT-{number:012x}.zarr"
    text = f"exporting CT-{number:012x}.zarr: it was made of dicom, which gives no cog"
    return Exported(name, (), text, "left out", number, 9)


def summary(count: int, report: Path | None = None) -> ExportSummary:
    made = ExportSummary(Path("back"), report)
    for number in range(1, count + 1):
        made.add(left_out(number))
    made.add(Exported("a.zarr", (Path("/private/DOE.tif"),), None, "written", 9, 9))
    return made


class TestReasons:
    def test_are_a_line_each_with_the_first_names(self):
        made = summary(7)
        made.add(Exported("b.zarr", (), "exporting b.zarr: a record is damaged", "failed", 9, 9))
        first, second = made.problems()
        assert first == (
            "exporting CT-000000000001.zarr: it was made of dicom, which gives no cog (7 for this "
            "reason: also sub/CT-000000000002.zarr, sub/CT-000000000003.zarr and 4 more, see "
            "--report)"
        )
        assert second == "exporting b.zarr: a record is damaged"

    def test_of_one_store_is_its_message(self):
        assert list(summary(1).problems()) == [left_out(1).problem]

    def test_are_bounded(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("tilepress.workflows.report.exported.MAX_REASONS", 2)
        made = ExportSummary(Path("back"))
        for word in "abcdefg":
            made.add(Exported(f"{word * 9}.zarr", (), f"{word} {word * 9}", "failed", 1, 7))
        assert len(list(made.problems())) == 3


class TestTheReport:
    def test_lists_every_store_and_no_file(self, tmp_path: Path):
        made = summary(30, tmp_path / "report.json")
        made.write(interrupted=False)
        text = (tmp_path / "report.json").read_text()
        found = json.loads(text)
        assert found["stores"] == {"written": 1, "there": 0, "left out": 30, "failed": 0}
        assert [one["store"] for one in found["results"]][:2] == [
            "sub/CT-000000000001.zarr",
            "sub/CT-000000000002.zarr",
        ]
        assert len(found["results"]) == 31
        assert "DOE" not in text

    def test_is_refused_before_the_run_where_it_cannot_be_written(self, tmp_path: Path):
        with pytest.raises(UsageError, match="folder"):
            ExportSummary(Path("back"), tmp_path)


class TestTheEnd:
    def test_is_a_failure_where_stores_are_left_out_unless_that_is_asked_for(self):
        assert summary(1).failed(fitting_only=False)
        assert not summary(1).failed(fitting_only=True)
        assert not summary(0).failed(fitting_only=False)

    @pytest.mark.parametrize(
        "done",
        [
            Exported("b.zarr", (), "exporting b.zarr: damaged", "failed", 1, 1),
            Exported("b.zarr", (), "no room", "failed", 1, 1, stops=True),
        ],
    )
    def test_is_a_failure_where_something_failed(self, done: Exported):
        made = ExportSummary(Path("back"))
        made.add(done)
        assert made.failed(fitting_only=True)
