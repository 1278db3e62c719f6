"""Objects are copied to a machine once, stay while they are open, and are never stale."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pytest
import rasterio
from obstore.store import S3Store

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource, UsageError
from tilepress.pipeline.find.discover import discover, open_source
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage import copies as staging
from tilepress.pipeline.storage.ranges import RemoteBytes, look_up, reader

from ...helpers.s3 import S3Server
from ..images import IMAGE, dicom, npy, tiff, upload

WHOLE = Box((0, 0), (20, 30))


@pytest.fixture(autouse=True)
def scratch(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for copies, of this test alone."""
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("TILEPRESS_SCRATCH_LIMIT", raising=False)
    return tmp_path / "scratch" / f"tilepress-{os.getuid()}"


def _put(bucket: str, key: str, data: bytes) -> None:
    obstore.put(S3Store(bucket.removeprefix("s3://")), key, data)


def _spec(*sources: str) -> SourceSpec:
    (spec,) = discover(list(sources))
    assert isinstance(spec, SourceSpec), spec
    return spec


def _copies(scratch: Path) -> list[Path]:
    return sorted(path for path in scratch.iterdir() if path.is_dir())


def _gets(server: S3Server) -> int:
    return server.traffic().get("GET", 0)


@pytest.fixture
def scene(bucket: str, tmp_path: Path) -> str:
    """Return the address of a small raster."""
    _put(bucket, "in/scene.tif", tiff(tmp_path / "scene.tif").read_bytes())
    return f"{bucket}/in/scene.tif"


class TestRangedReads:
    @pytest.fixture
    def data(self) -> bytes:
        return np.random.default_rng(3).bytes(3_000_000)

    def test_give_the_bytes_and_fetch_few(
        self, bucket: str, data: bytes, s3_server: S3Server
    ) -> None:
        _put(bucket, "x", data)
        source = RemoteBytes(look_up(f"{bucket}/x"))
        before = s3_server.traffic()["sent_bytes"]
        for offset, length in [(0, 132), (65_530, 20), (2_999_990, 100), (10, 0), (3_000_001, 5)]:
            assert source.read(offset, length) == data[offset : offset + length]
        assert s3_server.traffic()["sent_bytes"] - before <= 3 * 2**16
        assert source.read(100, 2_000_000) == data[100:2_000_100]
        stream = source.stream()
        stream.seek(-5, os.SEEK_END)
        assert stream.read() == data[-5:]
        assert stream.read(10**15) == b""
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)

    def test_of_another_version_are_errors(self, bucket: str, data: bytes) -> None:
        _put(bucket, "x", data)
        source = RemoteBytes(look_up(f"{bucket}/x"))
        source.read(0, 10)
        _put(bucket, "x", data[::-1])
        assert source.read(0, 10) == data[:10]
        with pytest.raises(DamagedSource, match="changed since it was found"):
            source.read(2_000_000, 10)

    def test_an_empty_object_has_no_bytes(self, bucket: str) -> None:
        _put(bucket, "x", b"")
        assert reader(f"{bucket}/x").read(0, 132) == b""


class TestCopies:
    def test_are_fetched_once(self, scene: str, s3_server: S3Server, scratch: Path) -> None:
        spec = _spec(scene)
        with_first = open_source(spec)
        before = _gets(s3_server)
        for _ in range(3):
            source = open_source(spec)
            np.testing.assert_array_equal(source.read(WHOLE), IMAGE)
            assert source.spec == spec
            source.close()
        with_first.close()
        assert _gets(s3_server) == before
        assert len(_copies(scratch)) == 1

    def test_once_for_many_processes(self, scene: str, s3_server: S3Server) -> None:
        spec = _spec(scene)
        before = _gets(s3_server)
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            sums = pool.map(_sum_of, [spec] * 6, chunksize=1)
        assert sums == [int(IMAGE.sum())] * 6
        assert _gets(s3_server) == before + 1

    def test_have_the_objects_time(self, scene: str, scratch: Path) -> None:
        open_source(_spec(scene)).close()
        (copy,) = _copies(scratch)
        assert (copy / "scene.tif").stat().st_mtime_ns == look_up(scene).modified_ns

    def test_are_for_this_user_alone(self, scene: str, scratch: Path) -> None:
        open_source(_spec(scene)).close()
        assert scratch.stat().st_mode & 0o777 == 0o700
        scratch.chmod(0o755)
        with pytest.raises(UsageError, match="own with mode 700"):
            open_source(_spec(scene))

    def test_of_a_folder_that_is_a_link_are_refused(self, scene: str, scratch: Path) -> None:
        scratch.parent.mkdir()
        scratch.parent.joinpath("elsewhere").mkdir(mode=0o700)
        scratch.symlink_to("elsewhere")
        with pytest.raises(UsageError, match="own with mode 700"):
            open_source(_spec(scene))

    def test_that_lost_bytes_are_fetched_again(self, scene: str, scratch: Path) -> None:
        spec = _spec(scene)
        open_source(spec).close()
        (copy,) = _copies(scratch)
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
        series = open_source(_spec(f"{bucket}/s"))
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
        spec = _spec(scene)
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


class TestAnObjectThatChanged:
    def test_is_not_read(self, bucket: str, scene: str, tmp_path: Path, scratch: Path) -> None:
        spec = _spec(scene)
        _put(bucket, "in/scene.tif", tiff(tmp_path / "b.tif", IMAGE[::-1]).read_bytes())
        with pytest.raises(DamagedSource, match="changed since it was found") as caught:
            open_source(spec)
        assert scene in str(caught.value)
        assert not _copies(scratch)
        obstore.delete(S3Store(bucket.removeprefix("s3://")), "in/scene.tif")
        with pytest.raises(SourceError, match="no such object"):
            open_source(spec)

    def test_has_another_fingerprint(self, bucket: str, scene: str, tmp_path: Path) -> None:
        """What is open is read to its end; sealing compares fingerprints and refuses."""
        source = open_source(_spec(scene))
        before = source.fingerprint()
        assert source.fingerprint() == before
        _put(bucket, "in/scene.tif", tiff(tmp_path / "b.tif", IMAGE[::-1]).read_bytes())
        np.testing.assert_array_equal(source.read(WHOLE), IMAGE)
        assert source.fingerprint() != before
        obstore.delete(S3Store(bucket.removeprefix("s3://")), "in/scene.tif")
        assert source.fingerprint()["versions"] == ["absent"]
        source.close()

    def test_and_one_that_did_not_is_the_same_on_every_machine(
        self, scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for machine in "ab":
            monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / machine))
            source = open_source(_spec(scene))
            found.append((source.spec, source.fingerprint()))
            source.close()
        assert found[0] == found[1]
        assert "mtime" not in json.dumps(found[0][1])


class TestMessages:
    def test_name_the_object(self, bucket: str, tmp_path: Path, scratch: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (200, 300), dtype=np.uint16)
        data = bytearray(tiff(tmp_path / "a.tif", noise, compress="deflate").read_bytes())
        data[40_000:50_000] = bytes(10_000)
        _put(bucket, "in/a.tif", bytes(data))
        source = open_source(_spec(f"{bucket}/in/a.tif"))
        with pytest.raises(DamagedSource) as caught:
            source.read(Box((0, 0), (200, 300)))
        assert f"{bucket}/in/a.tif" in str(caught.value)
        assert str(scratch) not in str(caught.value)
        source.close()

    def test_at_opening_too(self, bucket: str, tmp_path: Path, scratch: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (200, 300), dtype=np.uint16)
        data = tiff(tmp_path / "a.tif", noise, compress="deflate").read_bytes()
        _put(bucket, "in/a.tif", data[: len(data) // 2])
        with pytest.raises(SourceError) as caught:
            open_source(_spec(f"{bucket}/in/a.tif"))
        assert f"{bucket}/in/a.tif" in str(caught.value)
        assert str(scratch) not in str(caught.value)

    def test_keep_the_secret(self, scene: str, s3_server: S3Server) -> None:
        spec = _spec(scene)
        source = open_source(spec)
        told = repr((spec, source, source.fingerprint(), look_up(scene), reader(scene).__dict__))
        source.close()
        s3_server.fail(10**6, 403)
        try:
            with pytest.raises(SourceError) as caught:
                open_source(SourceSpec(kind="geotiff", paths=(f"{scene}x",), options=spec.options))
        finally:
            s3_server.fail(0)
        told += repr(caught.value) + str(caught.value)
        secrets = [
            s3_server.environment[f"AWS_{n}"] for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        ]
        assert not [secret for secret in secrets if secret in told]


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
        monkeypatch.setattr(staging, "WAIT_FOR_ROOM_S", 0.3)
        first, second = open_source(specs[0]), open_source(specs[1])
        with pytest.raises(SourceError, match="TILEPRESS_SCRATCH_LIMIT"):
            open_source(specs[2])
        assert first.read(Box((0, 0), (2, 2))).tolist() == [[97, 97]] * 2
        assert len(_copies(scratch)) == 2
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

        monkeypatch.setattr(staging, "download", full)
        with pytest.raises(SourceError, match=r"No space left on device.*TILEPRESS_SCRATCH"):
            open_source(specs[0])
        assert not _copies(scratch)
        monkeypatch.undo()

    def test_is_all_free_after_clearing(self, specs: list[SourceSpec], scratch: Path) -> None:
        kept = open_source(specs[0])
        for spec in specs[1:]:
            open_source(spec).close()
        assert staging.clear() == 2 * 40128
        assert [path.name for path in scratch.glob("*/*.npy")] == ["a.npy"]
        kept.close()
        staging.clear()
        assert not _copies(scratch)
        assert not list(scratch.glob("*.lock"))


FETCH_AND_HANG = """
import json, sys, time
from tilepress.pipeline.storage import copies as staging
from tilepress.pipeline.find.discover import open_source
from tilepress.pipeline.image.source import SourceSpec

def hang(file, target):
    target.write(b"half")
    target.flush()
    print("half", flush=True)
    time.sleep(600)

staging.download = hang
spec = json.loads(sys.argv[1])
open_source(SourceSpec(**{**spec, "paths": tuple(spec["paths"])}))
"""


class TestAKilledProcess:
    @pytest.fixture
    def fetching(self, scene: str) -> Iterator[subprocess.Popen[bytes]]:
        spec = _spec(scene)
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
        (part,) = _copies(scratch)
        assert part.suffix == ".part"
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
        np.testing.assert_array_equal(open_source(_spec(scene)).read(WHOLE), IMAGE)
        assert [path.suffix for path in _copies(scratch)] == [""]

    def test_or_what_clearing_removes(
        self, scratch: Path, fetching: subprocess.Popen[bytes]
    ) -> None:
        assert staging.clear() == 0
        assert len(_copies(scratch)) == 1
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
        assert staging.clear() > 0
        assert not _copies(scratch)

    def test_that_lives_is_waited_for(
        self, scene: str, scratch: Path, fetching: subprocess.Popen[bytes]
    ) -> None:
        (lock,) = scratch.glob("*.lock")
        with lock.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


class TestRecipes:
    def test_are_plain_json_and_pin_what_was_found(self, scene: str) -> None:
        spec = _spec(scene)
        assert json.loads(json.dumps(spec.options)) == spec.options
        ((version, size),) = spec.options["objects"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', version)
        assert spec.source_bytes == size == look_up(scene).size

    @pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//x", "", ".", "a\0b"])
    def test_that_somebody_changed_write_nowhere_else(
        self, scene: str, name: str, tmp_path: Path
    ) -> None:
        spec = _spec(scene)
        options = {**spec.options, "companions": [[name, *spec.options["objects"][0]]]}
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UnsupportedSource, match="leaves the image's folder"):
            open_source(SourceSpec(kind="geotiff", paths=spec.paths, options=options))
        assert sorted(tmp_path.rglob("*")) == before

    def test_of_kinds_that_nobody_knows_are_errors(self, scene: str) -> None:
        spec = _spec(scene)
        with pytest.raises(UnsupportedSource, match="unknown"):
            open_source(SourceSpec(kind="other", paths=spec.paths, options=spec.options))
