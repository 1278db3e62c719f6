"""Zips and tars are searched as folders; whatever they hold, the files beside them are taken."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.find.choose import EXCLUDED, Choice
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.kept.reading import read
from tilepress.pipeline.packed import unpack
from tilepress.pipeline.sources.open import open_source

from ...helpers.packed import PACKED, linked
from ..images import IMAGE, dicom, npy, tiff


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


class Found:
    """What a search gives."""

    def __init__(self, *sources: Path, **options: object) -> None:
        self.others, self.counted = OtherFiles(), Counter[str]()
        items = list(
            discover(list(sources), None, self.counted, others=self.others, **options)  # type: ignore[arg-type]
        )
        self.specs = [item for item in items if isinstance(item, SourceSpec)]
        self.failures = [item for item in items if isinstance(item, Failure)]
        self.counted = +self.counted

    @property
    def stores(self) -> list[str]:
        return sorted(str(store_path(spec)) for spec in self.specs)

    @property
    def kept(self) -> dict[str, bytes]:
        files = (other.file for some in self.others.folders() for other in some)
        return {file.relative: read(file)[0] for file in files}

    @property
    def texts(self) -> list[str]:
        return [str(failure.error) for failure in self.failures]


def samples(spec: SourceSpec) -> np.ndarray:
    with contextlib.closing(open_source(spec)) as source:
        return source.read(Box((0,) * len(source.info.shape), source.info.shape))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two scenes with companions, and a series of three files."""
    folder = tmp_path / "plain"
    tiff(folder / "a" / "scene.tif")
    (folder / "a" / "scene_MTL.txt").write_text("metadata")
    (folder / "a" / ".hidden.tif").write_text("no image")
    npy(folder / "b.npy")
    (folder / "readme.txt").write_text("read me")
    for number in range(3):
        dicom(folder / "ct" / f"IM{number}", 1, number)
    return folder


def pack(folder: Path, target: Path) -> Path:
    if target.suffix == ".zip":
        shutil.make_archive(str(target.with_suffix("")), "zip", folder)
    else:
        with tarfile.open(target, "w:gz" if target.suffix in (".gz", ".tgz") else "w") as file:
            file.add(folder, ".")
    return target


class TestAPackedFolder:
    @pytest.mark.parametrize("name", ["study.zip", "study.tar", "study.tar.gz", "study.tgz"])
    def test_is_taken_as_the_folder_would_be(self, folder: Path, tmp_path: Path, name: str):
        (tmp_path / "in").mkdir()
        pack(folder, tmp_path / "in" / name)
        packed = Found(tmp_path / "in")
        shutil.move(folder, tmp_path / "out" / name)
        plain = Found(tmp_path / "out")
        assert packed.stores == plain.stores
        assert packed.stores == ["CT-4974ae191ce3", f"{name}/a/scene", f"{name}/b"]
        assert packed.kept == plain.kept
        assert not packed.failures
        assert not packed.counted
        for one, other in zip(packed.specs, plain.specs, strict=True):
            assert one.kind == other.kind
            np.testing.assert_array_equal(samples(one), samples(other))

    def test_is_the_same_image_by_whatever_it_is_packed(self, folder: Path, tmp_path: Path):
        found = []
        for name in ("s.zip", "s.tar", "s.tar.gz"):
            (scene,) = (
                s for s in Found(pack(folder, tmp_path / name)).specs if s.kind == "geotiff"
            )
            with contextlib.closing(open_source(scene)) as source:
                found.append((source.fingerprint(), scene.options["objects"]))
        assert found[0] == found[1] == found[2]

    def test_has_the_packed_bytes_as_its_size(self, tmp_path: Path):
        zeros = np.zeros((500, 500), np.uint16)
        tiff(tmp_path / "plain" / "a.tif", zeros)
        found = Found(pack(tmp_path / "plain", tmp_path / "p.zip"))
        assert 0 < (found.specs[0].source_bytes or 0) < 5000

    def test_gives_what_is_beside_a_raster(self, tmp_path: Path):
        folder = tmp_path / "plain"
        tiff(folder / "a.tif", tfw="yes")
        aux = '<PAMDataset><Metadata><MDI key="season">spring</MDI></Metadata></PAMDataset>'
        (folder / "a.tif.aux.xml").write_text(aux)
        for name in ("p.zip", "p.tar.gz"):
            (spec,) = Found(pack(folder, tmp_path / name)).specs
            assert [row[0] for row in spec.options["companions"]] == ["a.tfw", "a.tif.aux.xml"]
            with contextlib.closing(open_source(spec)) as source:
                assert "spring" in str(list(source.source_items()))

    def test_may_be_one_of_many(self, tmp_path: Path):
        """A series that is spread over parts, as services send it."""
        for number in range(4):
            dicom(tmp_path / str(number) / f"IM{number}", 1, number)
        (tmp_path / "in").mkdir()
        for number in (1, 2, 3):
            pack(tmp_path / str(number), tmp_path / "in" / f"part{number}.zip")
        shutil.copy(tmp_path / "0" / "IM0", tmp_path / "in" / "IM0")
        found = Found(tmp_path / "in")
        (spec,) = found.specs
        assert not found.failures
        assert len(spec.paths) == 4
        assert samples(spec).shape == (4, 20, 30)

    def test_beside_the_folder_itself_is_a_copy(self, folder: Path, tmp_path: Path):
        """What was taken before a zip of it came stays what it was."""
        before = Found(folder)
        pack(folder, tmp_path / "x.zip")
        shutil.move(tmp_path / "x.zip", folder / "x.zip")
        after = Found(folder)
        for one in before.specs:
            (other,) = (s for s in after.specs if store_path(s) == store_path(one))
            assert (other.paths, other.options.get("objects")) == (one.paths, None)
        assert "3 exact copies" in str([spec.options.get("remarks") for spec in after.specs])


class TestNames:
    def test_are_those_of_a_folder_whoever_lies_beside(self, tmp_path: Path):
        """A name that hung on neighbours would move when one comes."""
        tiff(tmp_path / "in/x.tif")
        pack(tmp_path / "in", tmp_path / "d/s.zip")
        before = set(Found(tmp_path / "d").stores)
        (tmp_path / "d/s").mkdir()
        assert set(Found(tmp_path / "d").stores) == before
        assert all(store.startswith("s.zip/") for store in before)

    def test_that_differ_in_case_only(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
            for name in ("a.tif", "A.tif", "a.TIF"):
                file.write(tiff(tmp_path / "x" / name), name)
        found = Found(tmp_path / "p.zip")
        assert len({store.lower() for store in found.stores}) == 3

    def test_of_patients_are_told_to_nobody(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "Doe.zip", "w") as file:
            file.write(dicom(tmp_path / "x" / "a", 1, 1), "Doe/a")
            file.writestr("Doe/b.tif", "no raster")
            file.writestr("../c", "leads out")
        with zipfile.ZipFile(tmp_path / "Fields.zip", "w") as file:
            file.writestr("../c", "leads out")
        found = Found(tmp_path)
        assert len(found.failures) == 3
        assert all(failure.private for failure in found.failures if "Doe" in failure.path)


class TestAGzipFile:
    def test_stands_for_what_it_holds(self, tmp_path: Path):
        for number in range(3):
            path = dicom(tmp_path / f"IM{number}.dcm", 1, number)
            gzipped(path)
        gzipped(tiff(tmp_path / "scene.tif", tfw="yes"))
        found = Found(tmp_path)
        assert found.stores == ["CT-4974ae191ce3", "scene"]
        assert not found.failures
        series, scene = sorted(found.specs, key=lambda spec: spec.kind)
        assert samples(series).shape == (3, 20, 30)
        np.testing.assert_array_equal(samples(scene), IMAGE)
        assert [row[0] for row in scene.options["companions"]] == ["scene.tfw"]

    def test_is_told_nothing_by_links_that_lead_elsewhere(self, tmp_path: Path):
        outside = tiff(tmp_path / "out" / "scene.tif", tfw="yes").with_suffix(".tfw")
        packed = gzipped(tiff(tmp_path / "in" / "scene.tif"))
        (packed.parent / "scene.tfw").symlink_to(outside)
        os.mkfifo(packed.parent / "scene.wld")
        (spec,) = Found(packed).specs
        assert not spec.options["companions"]

    def test_has_its_folder_listed_once_for_many(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        for number in range(12):
            gzipped(tiff(tmp_path / f"s{number}.tif", tfw="yes"))
        listed: Counter[str] = Counter()
        scandir = os.scandir

        def counting(folder: str) -> object:
            listed[os.fspath(folder)] += 1
            return scandir(folder)

        monkeypatch.setattr("tilepress.pipeline.find.looked.os.scandir", counting)
        found = Found(tmp_path)
        assert len(found.specs) == 12
        names = {spec.options["companions"][0][0] for spec in found.specs}
        assert names == {f"s{number}.tfw" for number in range(12)}
        assert listed[str(tmp_path)] <= 3, "to find them, and to find what is beside them"

    def test_is_called_apart_from_the_file_beside_it(self, tmp_path: Path):
        path = tiff(tmp_path / "scene.tif")
        (tmp_path / "scene.tif.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert Found(tmp_path).stores == ["scene", "scene-gz"]

    def test_of_heights_is_known_by_the_name_of_what_it_holds(self, tmp_path: Path):
        (tmp_path / "N50E008.hgt.gz").write_bytes(gzip.compress(bytes(1201 * 1201 * 2)))
        found = Found(tmp_path)
        assert found.stores == ["N50E008"]
        assert samples(found.specs[0]).shape == (1201, 1201)

    def test_of_anything_else_is_as_it_was(self, tmp_path: Path):
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"volume" * 99))
        (tmp_path / "a_MTL.txt.gz").write_bytes(gzip.compress(b"metadata"))
        found = Found(tmp_path)
        assert ["holds no image" in text for text in found.texts] == [True]
        assert list(found.kept) == ["a_MTL.txt.gz"]

    @pytest.mark.parametrize("name", ["a.dcm.gz", "a.gz"])
    def test_that_is_damaged_may_be_called_after_a_patient(self, tmp_path: Path, name: str):
        packed = gzip.compress(dicom(tmp_path / "x" / "a", 1, 1).read_bytes())
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / name).write_bytes(packed[:-9])
        (failure,) = Found(tmp_path / "in").failures
        assert "ends early" in str(failure.error)
        assert failure.private


def gzipped(path: Path) -> Path:
    target = path.with_name(f"{path.name}.gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return target


class TestChoice:
    def test_is_of_the_files_in_it(self, folder: Path, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        pack(folder, source / "p.zip")
        pack(folder, source / "q.tar")
        gzipped(tiff(source / "c.tif"))
        (source / "d.txt.gz").write_bytes(gzip.compress(b"text"))

        def stores(include: str = "", exclude: str = "") -> list[str]:
            return Found(source, choice=Choice.of(include or (), exclude or ())).stores

        assert stores("*.tif") == ["c", "p.zip/a/scene", "q.tar/a/scene"]
        assert stores("p.zip/**") == ["CT-4974ae191ce3", "p.zip/a/scene", "p.zip/b"]
        assert stores("*.zip") == ["CT-4974ae191ce3", "p.zip/a/scene", "p.zip/b"]
        assert stores("*.tif.gz") == ["c"]
        assert stores("", "*.tar") == ["CT-4974ae191ce3", "c", "p.zip/a/scene", "p.zip/b"]
        assert stores("", "ct") == ["c", "p.zip/a/scene", "p.zip/b", "q.tar/a/scene", "q.tar/b"]

    def test_what_is_not_meant_is_counted(self, folder: Path, tmp_path: Path):
        pack(folder, tmp_path / "p.zip")
        found = Found(tmp_path / "p.zip", choice=Choice.of("*.npy", ()))
        assert found.stores == ["p.zip/b"]
        assert not found.failures
        assert found.counted == {EXCLUDED: 6}


class TestHostileFiles:
    @pytest.mark.parametrize("name", PACKED)
    def test_are_one_failure_between_two_images(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(unpack, "FREE_BYTES", 10**6)
        image = tiff(tmp_path / "x" / "a.tif").read_bytes()
        source = tmp_path / "in"
        tiff(source / "0.tif")
        (source / name).write_bytes(PACKED[name](image))
        tiff(source / "z.tif")
        found = Found(source, max_expansion=1000 if "bomb" not in name else 10)
        assert found.stores == ["0", "z"]
        assert len(found.failures) == 1, found.texts
        assert str(source / name) in found.texts[0]
        left = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in left) < 10**6
        assert {path.name for path in tmp_path.iterdir()} <= {"in", "scratch", "x"}

    def test_packed_files_in_them_are_counted_and_texts_are_kept(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            for number in range(9):
                image = dicom(tmp_path / "x", 1, number).read_bytes()
                file.writestr(f"IM{number}.dcm.gz", gzip.compress(image))
            file.writestr("a_MTL.txt.gz", gzip.compress(b"metadata"))
        found = Found(tmp_path / "a.zip")
        assert len(found.failures) == 1
        assert "9 packed files themselves" in found.texts[0]
        assert list(found.kept) == ["a.zip/a_MTL.txt.gz"]

    def test_links_in_them_are_counted(self, tmp_path: Path):
        (tmp_path / "a.zip").write_bytes(linked())
        assert Found(tmp_path).counted == {"links in packed files": 1}

    def test_names_of_250_bytes_are_names(self, tmp_path: Path):
        image = tiff(tmp_path / "x" / "a.tif").read_bytes()
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr(f"{'n' * 246}.tif", image)
        found = Found(tmp_path / "a.zip")
        np.testing.assert_array_equal(samples(found.specs[0]), IMAGE)
        assert not found.failures

    def test_without_guests_they_are_the_same(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        found = Found(pack(folder, tmp_path / "s.zip"))
        assert found.stores == ["CT-4974ae191ce3", "s.zip/a/scene", "s.zip/b"]
