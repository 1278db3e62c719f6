"""What is no image is gathered by folder; whether it may be told is known when an argument ends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.find.choose import EXCLUDED, Choice
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.others import OtherFile, OtherFiles, check_keep
from tilepress.pipeline.find.walk import Failure

from ..images import dicom, npy, upload


def report(path: Path) -> None:
    """Write a DICOM object without pixels."""
    dataset = pydicom.dcmread(dicom(path, 1, 9))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(path)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    npy(folder / "a.npy")
    for name in ("a_MTL.txt", "README", "sub/b.xml", "viewer.exe", "odd.q7", "preview.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


def found(
    source: Path | str, keep: str = "known", **options: object
) -> tuple[list[OtherFile], dict[str, int], list[str]]:
    """Return what is gathered, what is counted, and the names of failures."""
    others, counted = OtherFiles(check_keep(keep)), Counter[str]()
    items = list(discover([source], None, counted, others=others, **options))  # type: ignore[arg-type]
    failures = [Path(item.path).name for item in items if isinstance(item, Failure)]
    gathered = [file for files in others.folders() for file in files]
    return gathered, {k: n for k, n in counted.items() if n}, failures


def names(files: list[OtherFile]) -> list[str]:
    return sorted(file.file.relative for file in files)


class TestWhatIsKept:
    def test_known_companions(self, scene: Path):
        files, counted, failures = found(scene)
        assert names(files) == ["README", "a_MTL.txt", "preview.jpg", "sub/b.xml"]
        assert counted == {".exe": 1, "": 1}
        assert not failures
        assert not any(file.private for file in files)

    def test_all_of_a_product_that_is_a_folder(self, tmp_path: Path):
        product = tmp_path / "in/S2A_X.SAFE/AUX_DATA"
        product.mkdir(parents=True)
        (product / "AUX_ECMWFT").write_bytes(b"GRIB")
        for source in (tmp_path / "in", tmp_path / "in/S2A_X.SAFE"):
            files, counted, failures = found(source)
            assert [file.name for file in files] == ["AUX_ECMWFT"]
            assert not counted
            assert not failures

    def test_all_or_none(self, scene: Path):
        assert len(found(scene, "all")[0]) == 6
        files, counted, failures = found(scene, "none")
        assert not files
        assert counted == {".txt": 1, ".xml": 1, ".exe": 1, "": 2, "previews": 1}
        assert not failures

    def test_in_buckets_as_in_folders(self, scene: Path, bucket: str):
        upload(scene, bucket)
        files, counted, failures = found(bucket)
        assert names(files) == ["README", "a_MTL.txt", "preview.jpg", "sub/b.xml"]
        assert all(file.file.remote is not None for file in files)
        assert (counted, failures) == ({".exe": 1, "": 1}, [])

    def test_other_words_are_refused(self):
        with pytest.raises(UsageError, match="want all, known, none"):
            check_keep("some")


class TestWhatMayBeAnImageIsAFailure:
    """To leave it out would be to lose it."""

    def test_by_its_ending_or_its_beginning(self, scene: Path):
        (scene / "broken.tif").write_bytes(bytes(50))
        (scene / "photo.jpg").write_bytes(bytes(50))
        (scene / "data.bin").write_bytes(b"\x1f\x8b" + bytes(50))
        _, _, failures = found(scene)
        assert sorted(failures) == ["broken.tif", "data.bin", "photo.jpg"]
        files, _, failures = found(scene, "all")
        assert not failures, "its bytes are kept"
        assert {"broken.tif", "photo.jpg", "data.bin"} <= set(names(files))

    def test_where_the_user_named_it(self, scene: Path):
        assert found(scene / "viewer.exe")[2] == ["viewer.exe"]
        assert found(scene / "README", "none")[2] == ["README"]

    def test_not_where_it_is_called_as_what_comes_with_images(self, scene: Path):
        """A list of all files of a folder is as good as the folder."""
        named = [scene / name for name in ("README", "a_MTL.txt", "preview.jpg")]
        others = OtherFiles()
        (image,) = discover([*named, scene / "a.npy"], others=others)
        assert not isinstance(image, Failure)
        (files,) = others.folders()
        assert [scene / file.name for file in files] == named
        failures = list(discover(named, others=OtherFiles()))
        assert len(failures) == 3, "no image was named"

    def test_beside_dicom_without_an_ending(self, tmp_path: Path):
        dicom(tmp_path / "in/0001", 1, 1)
        for name in ("0002", "1.2.840.3", "index.idx"):
            (tmp_path / "in" / name).write_bytes(bytes(200))
        assert sorted(found(tmp_path / "in")[2]) == ["0002", "1.2.840.3"]


class TestNamesBesideDicom:
    def test_all_of_an_argument_are_private(self, scene: Path, tmp_path: Path):
        """A folder above one with DICOM may be called after the patient, too."""
        report(scene / "sub/deep/SR")
        files, _, failures = found(scene)
        assert all(file.private for file in files)
        assert ("sub/deep/SR", "DICOM without pixels") in [
            (file.file.relative, file.kind) for file in files
        ]
        assert not failures

    def test_other_arguments_are_not(self, scene: Path, tmp_path: Path):
        report(tmp_path / "pacs/SR")
        (tmp_path / "pacs/notes.txt").touch()
        others = OtherFiles()
        for _ in discover([tmp_path / "pacs", scene], others=others):
            pass
        private = {file.name: file.private for files in others.folders() for file in files}
        assert private == {
            "SR": True, "notes.txt": True, "README": False, "a_MTL.txt": False,
            "preview.jpg": False, "b.xml": False,
        }  # fmt: skip


def test_patterns_choose_among_them(scene: Path):
    files, counted, _ = found(scene, choice=Choice.of((), ["*.txt", "sub", "*.npy"]))
    assert names(files) == ["README", "preview.jpg"]
    assert counted[EXCLUDED] == 3


def test_a_file_comes_back_from_json(scene: Path, bucket: str):
    upload(scene, bucket)
    for source in (scene, bucket):
        for file in found(source)[0]:
            assert OtherFile.from_json(json.loads(json.dumps(file.to_json()))) == file
