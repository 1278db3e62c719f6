"""A DICOMDIR says which files there are; whether they are, it cannot know."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import DataElement, config, dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from tilepress.pipeline import formats
from tilepress.pipeline.dicom.bytes import quiet_pydicom
from tilepress.pipeline.dicom.directory import referenced_files
from tilepress.pipeline.image.format import Candidate
from tilepress.pipeline.storage.regular import open_regular

from ..images import dicom


def directory(path: Path, *references: list[str] | str | None, implicit: bool = False) -> Path:
    """Write a DICOMDIR of records with these File IDs, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dataset.FileSetID = "DISC"
    records = []
    for reference in references:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        if reference is not None:
            value = reference if isinstance(reference, str) else "\\".join(reference)
            record.add(DataElement(0x00041500, "CS", value, validation_mode=config.IGNORE))
        records.append(record)
    dataset.DirectoryRecordSequence = records
    with quiet_pydicom():
        dataset.save_as(path, enforce_file_format=False)
    return path


class TestReferences:
    @pytest.mark.parametrize("implicit", [True, False])
    def test_are_paths_each_once(self, tmp_path: Path, implicit: bool):
        records = (None, ["A", "B", "IM1"], "IM2", ["A", "B", "IM1"], "")
        path = directory(tmp_path / "DICOMDIR", *records, implicit=implicit)
        assert referenced_files(str(path)) == ("A/B/IM1", "IM2")

    def test_of_a_directory_of_nothing(self, tmp_path: Path):
        assert referenced_files(str(directory(tmp_path / "DICOMDIR"))) == ()

    def test_of_other_files_are_none(self, tmp_path: Path):
        assert referenced_files(str(dicom(tmp_path / "a", 1, 1))) is None

    @pytest.mark.parametrize("keyword", ["SOPClassUID", "Rows"])
    def test_of_an_image_that_was_cut_are_none(self, tmp_path: Path, keyword: str):
        path = directory(tmp_path / "a", "IM1")
        dataset = dcmread(path)
        setattr(dataset, keyword, {"Rows": 8}.get(keyword, CTImageStorage))
        dataset.save_as(path, enforce_file_format=False)
        assert referenced_files(str(path)) is None

    def test_are_given_as_they_are_written(self, tmp_path: Path):
        path = directory(tmp_path / "DICOMDIR", ["..", "..", "etc", "passwd"], "/etc/passwd")
        assert referenced_files(str(path)) == ("../../etc/passwd", "/etc/passwd")

    def test_are_what_a_look_tells(self, tmp_path: Path):
        path = directory(tmp_path / "DICOMDIR", "IM1")
        with open_regular(path) as stream:
            head = stream.read(132)
            found = Candidate(path=str(path), size=path.stat().st_size, head=head, stream=stream)
            format_, content = formats.look_at(found)
        assert format_ is formats.DICOM
        assert content.is_companion
        assert content.references == ("IM1",)
