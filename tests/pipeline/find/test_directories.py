"""A DICOMDIR that is named stands for its files, and for none beyond its folder."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tilepress.pipeline.find.directories import referenced
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.walk import Batch, Failure, InputFile
from tilepress.pipeline.image.source import SourceSpec

from ..dicom.test_directory import directory
from ..images import dicom


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A disc of four slices and one that nothing refers to."""
    folder = tmp_path / "disc"
    for number in range(4):
        dicom(folder / "DICOM" / f"S{number % 2}" / f"IM{number}", 1, number)
    dicom(folder / "other", 2, 1)
    directory(folder / "DICOMDIR", *(["DICOM", f"S{n % 2}", f"IM{n}"] for n in range(4)))
    return folder


def found(*paths: Path) -> tuple[list[SourceSpec], list[Failure], OtherFiles]:
    others = OtherFiles()
    items = list(discover(list(paths), None, Counter(), others=others))
    specs = [item for item in items if isinstance(item, SourceSpec)]
    return specs, [item for item in items if isinstance(item, Failure)], others


class TestADirectory:
    def test_that_is_named_stands_for_its_files_and_is_kept(self, disc: Path):
        (spec,), failures, others = found(disc / "DICOMDIR")
        assert [Path(path).name for path in spec.paths] == ["IM0", "IM1", "IM2", "IM3"]
        assert not failures
        assert [file.file.path for some in others.folders() for file in some] == [
            str(disc / "DICOMDIR")
        ]

    def test_in_a_searched_folder_adds_nothing(self, disc: Path):
        specs, failures, others = found(disc)
        assert sorted(len(spec.paths) for spec in specs) == [1, 4]
        assert not failures
        assert others.files == 1
        assert "remarks" not in str([spec.options for spec in specs if spec.options["remarks"]])

    def test_named_with_its_files_adds_nothing(self, disc: Path):
        files = sorted((disc / "DICOM").rglob("IM*"))
        (spec,), failures, _ = found(*files, disc / "DICOMDIR")
        assert len(spec.paths) == 4
        assert not failures

    def test_of_what_is_not_there_is_one_failure(self, disc: Path):
        (disc / "DICOM/S0/IM0").unlink()
        (disc / "DICOM/S1/IM3").unlink()
        (spec,), (failure,), _ = found(disc / "DICOMDIR")
        assert len(spec.paths) == 2
        assert "of the 4 files that it refers to, 2 are not there" in str(failure.error)
        assert failure.path == str(disc / "DICOMDIR")

    def test_finds_files_as_systems_call_those_of_discs(self, disc: Path):
        os.rename(disc / "DICOM" / "S0" / "IM0", disc / "DICOM" / "S0" / "im0;1")
        os.rename(disc / "DICOM" / "S0", disc / "DICOM" / "s0")
        os.rename(disc / "DICOM", disc / "dicom")
        (spec,), failures, _ = found(disc / "DICOMDIR")
        assert len(spec.paths) == 4
        assert not failures


class TestNothingElseIsOpened:
    @pytest.mark.parametrize(
        "reference",
        [
            ["..", "secret"],
            "/etc/passwd",
            ["DICOM", "..", "..", "secret"],
            ["LINK", "secret"],
            "GO",
        ],
    )
    def test_that_lies_elsewhere(self, disc: Path, reference: list[str] | str):
        secret = dicom(disc.parent / "secret", 9, 9)
        (disc / "LINK").symlink_to(disc.parent)
        (disc / "GO").symlink_to(secret)
        path = directory(disc / "DICOMDIR", ["DICOM", "S0", "IM0"], reference)
        specs, (failure,), _ = found(path)
        assert [one for spec in specs for one in spec.paths] == [str(disc / "DICOM/S0/IM0")]
        assert "1 lead out of its folder" in str(failure.error)

    def test_pipes_and_folders_are_not_there(self, disc: Path):
        os.mkfifo(disc / "PIPE")
        path = directory(disc / "DICOMDIR", "PIPE", "DICOM", "x\0y")
        specs, (failure,), _ = found(path)
        assert not specs
        assert "2 are not there and 1 lead out" in str(failure.error)

    def test_in_a_bucket_nothing_is_looked_for(self):
        file = InputFile("s3://bucket/DICOMDIR", "DICOMDIR")
        (failure,) = referenced(file, ["IM1"], None)
        assert isinstance(failure, Failure)
        assert "name its folder" in str(failure.error)


def test_files_come_by_folder(disc: Path):
    file = InputFile(str(disc / "DICOMDIR"), "DICOMDIR")
    names = [f"DICOM/S{n % 2}/IM{n}" for n in (3, 1, 0, 2)]
    batches = [item for item in referenced(file, names, 1) if isinstance(item, Batch)]
    relative = [[one.relative for one in batch.files] for batch in batches]
    assert [one for some in relative for one in some] == sorted(names, key=lambda n: (n[:8], n))
