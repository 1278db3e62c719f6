"""Images are compressed from wherever they lie: patterns, lists, buckets."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obstore
import pytest
import rasterio
import xarray as xr
from obstore.store import S3Store
from zarr.storage import ObjectStore

import tilepress
from tilepress.pipeline.archive.private import PRIVATE
from tilepress.pipeline.verify import verify
from tilepress.workflows.report.report import Report
from tilepress.workflows.run.compress import compress

from ..helpers.s3 import S3Server
from ..pipeline.images import IMAGE, dicom, npy, tiff, upload


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of images of every kind."""
    root = tmp_path / "in"
    for folder in "ab":
        tiff(root / folder / "scene.tif", IMAGE + ord(folder))
    for number in (1, 2):
        dicom(root / f"c/{number}/i", 5, number)
    npy(root / "b/array.npy")
    (root / "text.tif").write_text("no image")
    return root


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(folder))
    return folder


def _press(source: str | list[str], destination: str, *, show_paths: bool = False) -> Report:
    return compress(source, destination, workers=0, tier="fast", show_paths=show_paths)


def _told(report: Report, destination: str) -> dict[str, str]:
    """Return what became of every store."""
    return {image.store.removeprefix(f"{destination}/"): image.status for image in report.images}


def _give_key(archive: Path, other: str) -> None:
    """Give another archive the key of one: its series have the same names then."""
    key = archive / PRIVATE / "key.json"
    if other.startswith("s3://"):
        upload(key.parent, f"{other}/{PRIVATE}")
    else:
        (Path(other) / PRIVATE).mkdir(0o700, parents=True)
        shutil.copy(key, Path(other) / PRIVATE)


class TestABucket:
    @pytest.mark.parametrize("to", ["folder", "bucket"])
    def test_is_a_source_like_any_folder(
        self, images: Path, tmp_path: Path, bucket: str, to: str
    ) -> None:
        upload(images, f"{bucket}/in")
        local = _told(_press(str(images), str(tmp_path / "local")), str(tmp_path / "local"))
        target = f"{bucket}/out" if to == "bucket" else str(tmp_path / "out")
        _give_key(tmp_path / "local", target)
        report = _press(f"{bucket}/in", target, show_paths=True)
        assert _told(report, target) == local
        assert [failure.source for failure in report.failures] == [f"{bucket}/in/text.tif"]
        for image in report.images:
            assert image.source.startswith(f"{bucket}/in/")
            assert verify(image.store, f"{bucket}/in/{_source_of(image.source)}") == []
        again = _told(_press(f"{bucket}/in", target), target)
        assert again == dict.fromkeys(local, "unchanged")

    def test_is_read_by_xarray(self, images: Path, bucket: str) -> None:
        upload(images / "a", f"{bucket}/in")
        _press(f"{bucket}/in", f"{bucket}/out")
        store = S3Store(bucket.removeprefix("s3://"), prefix="out/scene.zarr")
        found = xr.open_zarr(ObjectStore(store, read_only=True), group="0")
        assert found["image"].dims == ("y", "x")
        assert np.array_equal(found["image"].values, IMAGE + ord("a"))
        again = tilepress.open(f"{bucket}/out/scene.zarr")
        assert np.array_equal(again["image"].values, found["image"].values)

    def test_that_holds_the_archive_too(self, images: Path, bucket: str) -> None:
        """What an earlier run wrote is no input of the next."""
        upload(images / "a", bucket)
        _press(bucket, f"{bucket}/out")
        report = _press(bucket, f"{bucket}/out")
        assert _told(report, f"{bucket}/out") == {"scene.zarr": "unchanged"}
        assert not report.failures

    def test_whose_objects_changed_is_noticed(
        self, images: Path, bucket: str, tmp_path: Path
    ) -> None:
        upload(images / "a", f"{bucket}/in")
        _press(f"{bucket}/in", str(tmp_path / "out"))
        changed = tiff(tmp_path / "scene.tif", IMAGE[::-1]).read_bytes()
        obstore.put(S3Store(bucket.removeprefix("s3://")), "in/scene.tif", changed)
        report = _press(f"{bucket}/in", str(tmp_path / "out"))
        (failure,) = report.failures
        assert failure.kind == "destination-conflict"

    def test_is_read_once(self, bucket: str, tmp_path: Path, s3_server: S3Server) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (1200, 1000), dtype=np.uint16)
        upload(tiff(tmp_path / "in/scene.tif", noise).parent, bucket)
        before = s3_server.traffic()["sent_bytes"]
        compress(bucket, tmp_path / "out", workers=0, tier="fast")
        assert s3_server.traffic()["sent_bytes"] - before < 1.2 * noise.nbytes

    def test_leaves_no_secret(
        self, images: Path, bucket: str, tmp_path: Path, s3_server: S3Server
    ) -> None:
        upload(images, f"{bucket}/in")
        report = compress(
            f"{bucket}/in", tmp_path / "out", workers=0, report=tmp_path / "report.json"
        )
        assert report.images
        secret = s3_server.environment["AWS_SECRET_ACCESS_KEY"].encode()
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(written) > 10
        assert not [path for path in written if secret in path.read_bytes()]


def _source_of(url: str) -> str:
    """Return what verify is given: of a series all folders."""
    return "c" if "/in/c/" in url else url.partition("/in/")[2]


class TestCopies:
    """Of objects that are read on this machine: what is private does not stay."""

    def test_go_with_the_process_that_made_them(
        self, images: Path, bucket: str, scratch: Path
    ) -> None:
        """Also where no run concludes: ``verify --source`` reads them, too."""
        upload(images / "a", f"{bucket}/in")
        _press(f"{bucket}/in", f"{bucket}/out")
        line = [sys.executable, "-m", "tilepress", "verify", f"{bucket}/out/scene.zarr"]
        done = subprocess.run([*line, "--source", f"{bucket}/in"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not [path for path in scratch.rglob("*") if path.suffix == ".tif"]

    def test_a_folder_for_them_that_is_not_ours_is_no_matter_where_none_are_made(
        self, images: Path, scratch: Path, tmp_path: Path
    ) -> None:
        folder = scratch / f"tilepress-{os.getuid()}"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        report = _press(str(images / "a"), str(tmp_path / "out"))
        assert report.ok
        assert not list(folder.iterdir())


class TestTheSameImagesByAnotherName:
    """An archive may be moved, and be named from anywhere: it is the files that count."""

    @pytest.mark.parametrize("name", ["in/../in", "link", "moved"])
    def test_are_unchanged(self, images: Path, tmp_path: Path, name: str):
        (images / "text.tif").unlink()
        first = _press(str(images), str(tmp_path / "out"))
        if name == "link":
            (tmp_path / name).symlink_to(images)
        elif name == "moved":
            images.rename(tmp_path / name)
        report = _press(str(tmp_path / name), str(tmp_path / "out"))
        assert first.written == report.unchanged == 4
        assert report.ok


class TestPatternsAndLists:
    def test_keep_files_of_one_name_apart(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = {"a/scene.zarr": "written", "b/scene.zarr": "written"}
        monkeypatch.chdir(images)
        (tmp_path / "list").write_text("a/scene.tif\nb/scene.tif\n")
        content = io.BytesIO(b"a/scene.tif\0b/scene.tif\0")
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
        for number, source in enumerate([f"{images}/**/*.tif", f"@{tmp_path}/list", "-"]):
            target = str(tmp_path / f"out-{number}")
            told = _told(_press(source, target), target)
            assert {store: told[store] for store in wanted} == wanted
        with rasterio.open(images / "a/scene.tif") as file:
            assert file.read(1)[0, 0] == ord("a")

    def test_go_on_after_what_is_missing(self, images: Path, tmp_path: Path) -> None:
        (tmp_path / "list").write_text(f"{images}/none.tif\n{images}/a/scene.tif\n")
        report = _press([f"@{tmp_path}/list", f"{images}/*.nothing"], str(tmp_path / "out"))
        assert len(report.images) == 1
        assert {failure.source for failure in report.failures} == {
            f"{images}/none.tif",
            f"{images}/*.nothing",
        }

    def test_with_names_that_only_some_systems_know(self, images: Path, tmp_path: Path) -> None:
        os.rename(images / "a/scene.tif", images / "a/line\nbreak ü.tif")
        with open(os.fsencode(images) + b"/a/\xff.tif", "wb"):
            pass
        report = _press(str(images / "a"), str(tmp_path / "out"))
        assert [Path(image.store).name for image in report.images] == ["line\nbreak ü.zarr"]
        (failure,) = report.failures
        assert "UTF-8" in failure.message
