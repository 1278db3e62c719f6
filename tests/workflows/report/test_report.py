"""Reports: what scripts read is whole, tells no secret, and costs no memory."""

from __future__ import annotations

import errno
import json
import os
import threading
import tracemalloc
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.find.choose import EXCLUDED
from tilepress.pipeline.packed.member import LeftOut
from tilepress.workflows.report import report as module
from tilepress.workflows.report.report import (
    REPORT_VERSION,
    KeptFiles,
    Report,
    RunDescription,
    check_writable_report,
    without_credentials,
)

from .made_up import failure, result

FIRST_VERSION = {
    "version", "ok", "seconds", "raw_bytes", "stored_bytes", "ratio", "images", "failures",
}  # fmt: skip
FIRST_VERSION_IMAGE = {
    "source", "store", "status", "axes", "shape", "dtype", "raw_bytes", "stored_bytes", "shards",
    "shards_reused", "remarks", "files", "tuned", "tuning_saved_bytes", "ratio",
}  # fmt: skip
FIRST_VERSION_FAILURE = {"source", "kind", "message", "shard"}


def written(report: Report, path: Path) -> dict[str, Any]:
    report.write(path)
    told: dict[str, Any] = json.loads(path.read_text())
    return told


@pytest.fixture
def report() -> Report:
    """Return a report of a run of three images, one of which failed."""
    report = Report(
        seconds=4.2, stages=Stages(code_s=3.0, read_s=1.0), run=RunDescription.now({"k": 1})
    )
    report.images.append(result(1, stages=Stages(code_s=1 / 3)))
    report.images.append(result(2, status="unchanged", remarks=("a gap",), tuned=True))
    report.failures.append(failure(3, shard="image-0.1"))
    return report


class TestScriptsReadIt:
    """They were written for an older version: nothing that they read may go."""

    def test_nothing_of_the_first_version_is_gone(self, report: Report, tmp_path: Path):
        told = written(report, tmp_path / "report.json")
        assert told.keys() >= FIRST_VERSION
        assert all(image.keys() >= FIRST_VERSION_IMAGE for image in told["images"])
        assert all(failed.keys() >= FIRST_VERSION_FAILURE for failed in told["failures"])

    def test_the_second_tells_of_the_run_and_of_its_stages(self, report: Report, tmp_path: Path):
        told = written(report, tmp_path / "report.json")
        assert told["version"] == REPORT_VERSION
        assert told["stages"] == Stages(code_s=3.0, read_s=1.0).to_json()
        assert told["images"][0]["stages"]["code_s"] == 0.333333
        assert told["images"][1]["stages"] is None
        assert told["run"]["tilepress"] == tilepress.__version__
        assert told["run"]["options"] == {"k": 1}
        assert told["run"]["started"].endswith("Z")
        assert (told["written"], told["unchanged"], told["failed"]) == (1, 1, 1)

    def test_what_was_passed_over_is_counted_by_ending(self, report: Report, tmp_path: Path):
        assert report.passed_over_text == ""
        report.passed_over = {"": 1, ".txt": 9, ".xml": 9, ".tfw": 20}
        assert report.passed_over_text == (
            "left out 39 files that are no images: .tfw 20, .txt 9, .xml 9, others 1"
        )
        assert written(report, tmp_path / "report.json")["passed_over"] == report.passed_over
        report.passed_over = {".txt": 1}
        assert report.passed_over_text == "left out 1 file that is no image: .txt 1"
        report.passed_over = {LeftOut.OLDER.value: 2}
        assert report.passed_over_text == (
            "left out 2 older files of packed files that hold a newer one of the name"
        )
        report.passed_over = {".txt": 1, EXCLUDED: 2}
        assert report.passed_over_text.endswith("; left out 2 files by --include and --exclude")

    def test_what_was_kept_is_told_with_its_size(self, report: Report, tmp_path: Path):
        assert report.kept.text == ""
        report.kept = KeptFiles(Counter({".txt": 9, "": 1}), 1_200_000, 10)
        assert report.kept.text == ("kept 10 files that are no images (1.2 MB): .txt 9, others 1")
        report.kept.written = 2
        assert "(1.2 MB, 2 new)" in report.kept.text
        told = written(report, tmp_path / "report.json")["kept"]
        assert told == {
            "files": 10, "bytes": 1_200_000, "written": 2, "unchanged": 8,
            "kinds": {"": 1, ".txt": 9},
        }  # fmt: skip

    def test_an_interrupted_run_is_not_ok(self, tmp_path: Path):
        told = written(Report(interrupted=True), tmp_path / "report.json")
        assert (told["interrupted"], told["ok"]) == (True, False)

    def test_the_file_holds_what_to_json_gives(self, report: Report, tmp_path: Path):
        told = written(report, tmp_path / "report.json")
        assert told == json.loads(json.dumps(report.to_json()))

    def test_an_empty_one_is_json_too(self, tmp_path: Path):
        told = written(Report(), tmp_path / "report.json")
        assert told["images"] == told["failures"] == []
        assert told["ok"] is True
        assert told["run"] is None

    def test_an_image_is_a_line(self, report: Report, tmp_path: Path):
        report.write(tmp_path / "report.json")
        lines = (tmp_path / "report.json").read_text().splitlines()
        assert sum("/out/1.zarr" in line for line in lines) == 1
        (line,) = [line for line in lines if "/out/2.zarr" in line]
        assert json.loads(line.strip().rstrip(","))["remarks"] == ["a gap"]

    def test_any_file_name_can_be_told(self, report: Report, tmp_path: Path):
        name = "/in/\udce4\n\x1b[2J\u2028 ä.npy"
        report.images.append(result(source=name))
        told = written(report, tmp_path / "report.json")
        assert told["images"][-1]["source"] == name


class TestALongOneIsTheSame:
    """Beyond a few thousand entries a report lies on disk: nobody may notice."""

    @pytest.fixture
    def spilled(self, monkeypatch: pytest.MonkeyPatch) -> Report:
        report = Report()
        monkeypatch.setattr(report.images, "_keep", 2)
        monkeypatch.setattr(report.failures, "_keep", 2)
        return report

    def test_every_field_comes_back(self, spilled: Report):
        images = [
            result(1, stages=Stages(code_s=1 / 3, read_bytes=2**60), remarks=("a", "b")),
            result(2, status="unchanged", shape=(3, 4, 5), axes=("z", "y", "x"), files=7),
            result(
                3,
                tuned=True,
                tuning_saved_bytes=-4,
                seal="7f" * 32,
                file_bytes=2**40,
                loss={"psnr_db": 41.0, "max_error": 9.0, "bits_per_sample": 0.5},
            ),
            result(4, tuned=False, source="/in/\udce4.npy"),
        ]
        failures = [failure(number, shard=f"image-{number}") for number in range(4)]
        for image, failed in zip(images, failures, strict=True):
            spilled.images.append(image)
            spilled.failures.append(failed)
        assert spilled.images == images
        assert spilled.failures == failures
        assert spilled.images[0] == images[0]
        assert spilled.failures[-1] == failures[-1]

    def test_every_field_was_tried(self):
        """A field that is added and forgotten where results are read again must fail above."""
        later = {"stages", "seal", "file_bytes", "loss"}
        assert {f.name for f in fields(ImageResult)} == FIRST_VERSION_IMAGE - {"ratio"} | later
        assert {f.name for f in fields(ImageFailure)} == FIRST_VERSION_FAILURE

    def test_totals_need_no_second_look(self, spilled: Report, monkeypatch: pytest.MonkeyPatch):
        for number in range(9):
            spilled.images.append(result(number, status=("written", "unchanged")[number % 3 == 0]))
        monkeypatch.setattr(module, "_load_image", None)
        monkeypatch.setattr(spilled.images, "_load", None)
        assert (spilled.raw_bytes, spilled.stored_bytes) == (9_000_000, 4_500_000)
        assert (spilled.written, spilled.unchanged, spilled.ratio) == (6, 3, 2.0)
        assert spilled.ok

    def test_writing_needs_no_memory_for_it(self, tmp_path: Path):
        peaks = []
        for count in (2000, 8000):
            report = Report()
            report.images._keep = 100
            for number in range(count):
                report.images.append(result(number, remarks=(500 * "x",)))
            tracemalloc.start()
            report.write(tmp_path / "report.json")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert len(json.loads((tmp_path / "report.json").read_text())["images"]) == count
        assert peaks[1] < 1.5 * peaks[0], peaks


class TestSizesAreOfSamplesAndOfFiles:
    """An archive that came compressed may grow while samples shrink: both are told, by name."""

    def test_files_that_shrink(self):
        report = Report()
        report.images.append(result(1, file_bytes=700_000))
        report.images.append(result(2, file_bytes=800_000))
        assert report.sizes_text == "2.0 MB → 1.0 MB (ratio 2.00; files 1.5 MB, ratio 1.50)"
        assert report.larger_text == ""
        assert report.to_json()["file_ratio"] == 1.5

    def test_files_that_grow(self):
        report = Report()
        report.images.append(result(1, file_bytes=700_000))
        report.images.append(result(2, file_bytes=100_000))
        assert "files 800.0 kB, ratio 0.80" in report.sizes_text
        assert report.larger_text == (
            "1 store is larger than its file, by 400.0 kB: see file_ratio in the report"
        )
        report.images.append(result(3, file_bytes=300_000))
        assert report.larger_text.startswith("2 stores are larger than their files, by 600.0 kB")
        told = report.to_json()
        assert (told["larger_than_files"], told["images"][1]["file_ratio"]) == (2, 0.2)

    def test_files_that_nobody_has_measured(self):
        report = Report()
        report.images.append(result(1, file_bytes=100_000))
        report.images.append(result(2))
        assert report.sizes_text == "2.0 MB → 1.0 MB (ratio 2.00)"
        assert report.to_json()["file_ratio"] is None
        assert report.larger_text.startswith("1 store is")


class TestTheFileIsWholeOrOld:
    """A report that is cut may look like that of a shorter run."""

    def test_an_error_in_the_middle_leaves_the_old_one(
        self, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = tmp_path / "report.json"
        path.write_text("old")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "_write_list", full)
        with pytest.raises(OSError, match=r"writing the report: No space.*report\.json") as caught:
            report.write(path)
        assert caught.value.errno == errno.ENOSPC
        assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
        assert path.read_text() == "old"

    def test_folders_are_made(self, report: Report, tmp_path: Path):
        assert written(report, tmp_path / "a" / "b" / "report.json")["version"] == REPORT_VERSION

    def test_a_link_stays_one(self, report: Report, tmp_path: Path):
        (tmp_path / "report.json").symlink_to(tmp_path / "there.json")
        written(report, tmp_path / "report.json")
        assert (tmp_path / "report.json").is_symlink()
        assert json.loads((tmp_path / "there.json").read_text())["version"] == REPORT_VERSION

    def test_what_is_no_file_is_not_replaced(self, report: Report, tmp_path: Path):
        """Renaming a file onto /dev/null would be remembered; a pipe is as good for a test."""
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        heard: list[str] = []
        reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
        reader.start()
        report.write(pipe)
        assert pipe.is_fifo()
        reader.join()
        assert json.loads(heard[0])["version"] == REPORT_VERSION


class TestUnwritableIsSaidAtTheStart:
    """After ten hours of work it is too late."""

    def test_a_good_path_is_left_untouched(self, tmp_path: Path):
        check_writable_report(tmp_path / "report.json")
        check_writable_report(tmp_path / "not" / "yet" / "report.json")
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "report.json").write_text("old")
        check_writable_report(tmp_path / "report.json")
        assert (tmp_path / "report.json").read_text() == "old"

    def test_devices_are_good(self):
        check_writable_report(Path(os.devnull))

    def test_a_folder_is_not(self, tmp_path: Path):
        with pytest.raises(UsageError, match="it is a folder"):
            check_writable_report(tmp_path)

    @pytest.mark.parametrize("below", ["report.json", "deep/report.json"])
    def test_below_a_file_is_not(self, tmp_path: Path, below: str):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match=r"writing the report to .*Not a directory") as caught:
            check_writable_report(tmp_path / "file" / below)
        assert "\n" not in str(caught.value)

    def test_a_folder_that_takes_no_files_is_not(self):
        if not Path("/proc/self").is_dir():
            pytest.skip("no /proc: no folder that refuses files to everybody")
        with pytest.raises(UsageError, match="writing the report to /proc/self/report"):
            check_writable_report(Path("/proc/self/report.json"))

    def test_a_bucket_is_not(self):
        with pytest.raises(UsageError, match="want a path on this machine"):
            check_writable_report(Path("s3://bucket/report.json"))


class TestNoCredentialIsTold:
    """Reports and events are shared; what was typed on the command line may not be."""

    def test_options_are_told_without_their_secrets(self):
        told = without_credentials(
            {
                "cluster": "tls://me:pa55@host:8786",
                "sources": [Path("/in"), "s3://KEY:pa55@bucket/key?X-Amz-Signature=pa55"],
                "destination": Path("https://me:pa55@host/out?X-Amz-Credential=a/b&x=pa55"),
                "nested": {"api_token": "pa55", "workers": 3},
                "password": "pa55",
                "aws_secret_access_key": "pa55",
                "max_error": 2.5,
                "force": False,
                "report": None,
            }
        )
        assert "pa55" not in json.dumps(told)
        assert told == {
            "cluster": "tls://host:8786",
            "sources": ["/in", "s3://bucket/key"],
            "destination": "https:/host/out",
            "nested": {"workers": 3},
            "max_error": 2.5,
            "force": False,
            "report": None,
        }

    def test_paths_that_look_a_little_like_it_are_kept(self):
        patterns = ["/in/a@b?.tif", "out/*_B?.TIF", "s3://bucket/*_B?.TIF", "s3://b/a#1.tif"]
        options = {"sources": patterns, "stack": "*_B?.tif"}
        assert without_credentials(options) == options
