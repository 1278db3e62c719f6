"""Objects are copied to a machine once, stay while they are open, and are never stale."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage import copies, ranges
from tilepress.pipeline.storage.ranges import look_up

from ...helpers.s3 import S3Server
from ..images import IMAGE, dicom, npy, tiff, upload
from ..remote import WHOLE, copies_in, gets, spec_of

pytestmark = pytest.mark.usefixtures("scratch")


class TestCopies:
    def test_are_fetched_once(self, scene: str, s3_server: S3Server, scratch: Path) -> None:
        spec = spec_of(scene)
        with_first = open_source(spec)
        before = gets(s3_server)
        for _ in range(3):
            source = open_source(spec)
            np.testing.assert_array_equal(source.read(WHOLE), IMAGE)
            assert source.spec == spec
            source.close()
        with_first.close()
        assert gets(s3_server) == before
        assert len(copies_in(scratch)) == 1

    def test_once_for_many_processes(self, scene: str, s3_server: S3Server) -> None:
        spec = spec_of(scene)
        before = gets(s3_server)
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            sums = pool.map(_sum_of, [spec] * 6, chunksize=1)
        assert sums == [int(IMAGE.sum())] * 6
        assert gets(s3_server) == before + 1

    def test_have_the_objects_time(self, scene: str, scratch: Path) -> None:
        open_source(spec_of(scene)).close()
        (copy,) = copies_in(scratch)
        assert (copy / "scene.tif").stat().st_mtime_ns == look_up(scene).modified_ns

    def test_are_for_this_user_alone(self, scene: str, scratch: Path) -> None:
        open_source(spec_of(scene)).close()
        assert scratch.stat().st_mode & 0o777 == 0o700
        scratch.chmod(0o755)
        with pytest.raises(UsageError, match="own with mode 700"):
            open_source(spec_of(scene))

    def test_of_a_folder_that_is_a_link_are_refused(self, scene: str, scratch: Path) -> None:
        scratch.parent.mkdir()
        scratch.parent.joinpath("elsewhere").mkdir(mode=0o700)
        scratch.symlink_to("elsewhere")
        with pytest.raises(UsageError, match="own with mode 700"):
            open_source(spec_of(scene))

    def test_that_lost_bytes_are_fetched_again(self, scene: str, scratch: Path) -> None:
        spec = spec_of(scene)
        open_source(spec).close()
        (copy,) = copies_in(scratch)
        os.truncate(copy / "scene.tif", 100)
        source = open_source(spec)
        np.testing.assert_array_equal(source.read(WHOLE), IMAGE)
        source.close()

    def test_of_series_and_stacks_lie_as_in_the_bucket(
        self, bucket: str, tmp_path: Path, scratch: Path
    ) -> None:
        for number in (1, 2, 3):
            dicom(tmp_path / f"in/s/{number}/i", 5, number)
            tiff(tmp_path / f"in/x/LC_B{number}.TIF")
        upload(tmp_path / "in", bucket)
        series = open_source(spec_of(f"{bucket}/s"))
        origin = json.loads(dict(series.source_items())["origin"])
        assert [one["name"] for one in origin["instances"]] == ["1/i", "2/i", "3/i"]
        (spec,) = (s for s in discover([f"{bucket}/x"], "*_B*.TIF"))
        assert isinstance(spec, SourceSpec)
        stack = open_source(spec)
        origin = json.loads(dict(stack.source_items())["origin"])
        assert [one["name"] for one in origin["files"]] == [f"LC_B{n}.TIF" for n in (1, 2, 3)]
        assert len(series.fingerprint()["content"]["files"]) == 3
        for source in (series, stack):
            assert str(scratch) not in json.dumps(source.fingerprint())
            source.close()

    def test_come_with_what_lies_beside(self, bucket: str, tmp_path: Path) -> None:
        """GDAL reads nodata and more from files beside a raster: they are of the image."""
        tiff(tmp_path / "in/scene.tif")
        with rasterio.open(tmp_path / "in/scene.tif", "r+", driver="GTiff") as file:
            file.update_tags(1, COLLECTED="by hand")
        (tmp_path / "in/scene.tif.aux.xml").write_text(
            "<PAMDataset><PAMRasterBand band='1'><NoDataValue>9</NoDataValue></PAMRasterBand>"
            "</PAMDataset>"
        )
        tiff(tmp_path / "in/other.tif")
        upload(tmp_path / "in", bucket)
        for source in (bucket, f"{bucket}/scene.tif", f"{bucket}/*.tif"):
            specs = {s.options["name"]: s for s in discover([source]) if isinstance(s, SourceSpec)}
            assert [c[0] for c in specs["scene"].options["companions"]] == ["scene.tif.aux.xml"]
            assert open_source(specs["scene"]).info.nodata == 9
        assert specs["other"].options["companions"] == []

    def test_leave_nothing_open(self, scene: str) -> None:
        spec = spec_of(scene)
        open_source(spec).close()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            open_source(spec).close()
        assert len(os.listdir("/proc/self/fd")) == before


def _sum_of(spec: SourceSpec) -> int:
    source = open_source(spec)
    try:
        return int(source.read(WHOLE).sum())
    finally:
        source.close()


class TestRoom:
    @pytest.fixture
    def specs(self, bucket: str, tmp_path: Path) -> list[SourceSpec]:
        """Three arrays of 40 000 bytes and a header."""
        for name in "abc":
            npy(tmp_path / f"in/{name}.npy", np.full((100, 200), ord(name), np.uint16))
        upload(tmp_path / "in", bucket)
        return [spec for spec in discover([bucket]) if isinstance(spec, SourceSpec)]

    def test_is_made_by_the_least_recently_opened(
        self, specs: list[SourceSpec], scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_SCRATCH_LIMIT", "0.09MB")
        for spec in (specs[0], specs[1], specs[0]):
            open_source(spec).close()
            time.sleep(0.02)
        open_source(specs[2]).close()
        assert sorted(path.name for path in scratch.glob("*/*.npy")) == ["a.npy", "c.npy"]
        assert len(list(scratch.glob("*.lock"))) == 2

    def test_is_never_made_by_what_is_open(
        self, specs: list[SourceSpec], scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_SCRATCH_LIMIT", "90000")
        monkeypatch.setattr(copies, "WAIT_FOR_ROOM_S", 0.3)
        first, second = open_source(specs[0]), open_source(specs[1])
        with pytest.raises(SourceError, match="TILEPRESS_SCRATCH_LIMIT"):
            open_source(specs[2])
        assert first.read(Box((0, 0), (2, 2))).tolist() == [[97, 97]] * 2
        assert len(copies_in(scratch)) == 2
        second.close()
        third = open_source(specs[2])
        assert sorted(path.name for path in scratch.glob("*/*.npy")) == ["a.npy", "c.npy"]
        third.close()
        first.close()

    def test_for_what_is_larger_than_all_of_it_there_is_none(
        self, specs: list[SourceSpec], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_source(specs[0]).close()
        monkeypatch.setenv("TILEPRESS_SCRATCH_LIMIT", "1K")
        with pytest.raises(SourceError, match="40128 bytes"):
            open_source(specs[1])

    @pytest.mark.parametrize("text", ["much", "-1", "1PB"])
    def test_is_told_in_bytes(
        self, specs: list[SourceSpec], text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_SCRATCH_LIMIT", text)
        with pytest.raises(UsageError, match=r"want e\.g\. 200GB"):
            open_source(specs[1])

    def test_on_a_full_disk_is_one_error(
        self, specs: list[SourceSpec], scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(file, target):
            target.write(b"some")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ranges, "download", full)
        with pytest.raises(SourceError, match=r"No space left on device.*TILEPRESS_SCRATCH"):
            open_source(specs[0])
        assert not copies_in(scratch)
        monkeypatch.undo()

    def test_is_all_free_after_clearing(self, specs: list[SourceSpec], scratch: Path) -> None:
        kept = open_source(specs[0])
        for spec in specs[1:]:
            open_source(spec).close()
        assert copies.clear() == 2 * 40128
        assert [path.name for path in scratch.glob("*/*.npy")] == ["a.npy"]
        kept.close()
        copies.clear()
        assert not copies_in(scratch)
        assert not list(scratch.glob("*.lock"))


FETCH_AND_HANG = """
import json, sys, time
from tilepress.pipeline.storage import ranges
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.image.source import SourceSpec

def hang(file, target):
    target.write(b"half")
    target.flush()
    print("half", flush=True)
    time.sleep(600)

ranges.download = hang
spec = json.loads(sys.argv[1])
open_source(SourceSpec(**{**spec, "paths": tuple(spec["paths"])}))
"""


class TestAKilledProcess:
    @pytest.fixture
    def fetching(self, scene: str) -> Iterator[subprocess.Popen[bytes]]:
        spec = spec_of(scene)
        plain = {"kind": spec.kind, "paths": spec.paths, "options": dict(spec.options)}
        command = [sys.executable, "-c", FETCH_AND_HANG, json.dumps(plain)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"half\n"
            yield process
            process.kill()

    def test_leaves_what_the_next_one_replaces(
        self, scene: str, scratch: Path, fetching: subprocess.Popen[bytes]
    ) -> None:
        (part,) = copies_in(scratch)
        assert part.suffix == ".part"
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
        np.testing.assert_array_equal(open_source(spec_of(scene)).read(WHOLE), IMAGE)
        assert [path.suffix for path in copies_in(scratch)] == [""]

    def test_or_what_clearing_removes(
        self, scratch: Path, fetching: subprocess.Popen[bytes]
    ) -> None:
        assert copies.clear() == 0
        assert len(copies_in(scratch)) == 1
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
        assert copies.clear() > 0
        assert not copies_in(scratch)

    def test_that_lives_is_waited_for(
        self, scene: str, scratch: Path, fetching: subprocess.Popen[bytes]
    ) -> None:
        (lock,) = scratch.glob("*.lock")
        with lock.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
