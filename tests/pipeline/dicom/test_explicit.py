"""Instances are written in the encoding that is asked for, and their headers are found."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.explicit import (
    data_set,
    explicit_bytes,
    instance_uid,
    written_syntax,
)
from tilepress.pipeline.dicom.instances import instance_bytes
from tilepress.pipeline.dicom.stored import planes_of, stored_instances

PIXELS = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
"""Of an odd length: its last byte shares a word with padding."""


def _made(write, one_spec, in_memory, syntax: str, max_error: float = 0, **elements):
    path = write("a.dcm", PIXELS, syntax=syntax, **elements)
    reader = in_memory(one_spec(path), max_error)
    (instance,) = stored_instances(reader)
    return path, reader, instance, planes_of(reader)


class TestExplicitLittleEndian:
    @pytest.mark.parametrize(
        "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
    )
    @pytest.mark.parametrize("max_error", [0, 2])
    def test_of_any_file(self, write, one_spec, in_memory, syntax, max_error) -> None:
        path, reader, instance, planes = _made(write, one_spec, in_memory, syntax, max_error)
        content = b"".join(explicit_bytes(instance, planes, reader))
        kept = b"".join(instance_bytes(instance, planes, reader))
        ds, exported = (pydicom.dcmread(io.BytesIO(one)) for one in (content, kept))
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        exported["PixelData"].VR = "OB"  # Implicit VR has OW for any
        assert ds == exported
        if syntax == ExplicitVRLittleEndian:
            assert content == kept
        if max_error == 0:
            np.testing.assert_array_equal(ds.pixel_array, PIXELS)
            assert ds.PatientName == pydicom.dcmread(path).PatientName

    def test_of_a_big_endian_one_is_refused(self, write, one_spec, in_memory) -> None:
        _, reader, instance, planes = _made(write, one_spec, in_memory, ExplicitVRBigEndian)
        with pytest.raises(UsageError, match="Big Endian"):
            list(explicit_bytes(instance, planes, reader))
        assert written_syntax(instance, planes) == ExplicitVRBigEndian

    def test_of_a_file_without_meta_information(
        self, synthetic, one_spec, in_memory, tmp_path: Path
    ) -> None:
        ds = synthetic(PIXELS, syntax=ImplicitVRLittleEndian)
        ds.preamble, ds.file_meta = None, pydicom.dataset.FileMetaDataset()
        pydicom.dcmwrite(
            tmp_path / "a.dcm", ds, implicit_vr=True, little_endian=True, enforce_file_format=False
        )
        reader = in_memory(one_spec(tmp_path / "a.dcm"))
        (instance,) = stored_instances(reader)
        content = b"".join(explicit_bytes(instance, planes_of(reader), reader))
        read = pydicom.dcmread(io.BytesIO(content))
        assert read.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        np.testing.assert_array_equal(read.pixel_array, PIXELS)


class TestHeader:
    @pytest.mark.parametrize(
        "syntax",
        [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian],
    )
    @pytest.mark.parametrize("max_error", [0, 2])
    def test_is_that_of_the_export(self, write, one_spec, in_memory, syntax, max_error) -> None:
        _, reader, instance, planes = _made(write, one_spec, in_memory, syntax, max_error)
        found = data_set(instance, planes, reader)
        exported = pydicom.dcmread(io.BytesIO(b"".join(instance_bytes(instance, planes, reader))))
        del exported.PixelData
        assert found == exported
        assert instance_uid(instance, planes, reader) == exported.SOPInstanceUID

    def test_has_the_elements_behind_the_pixels(self, write, one_spec, in_memory) -> None:
        _, reader, instance, planes = _made(
            write, one_spec, in_memory, ExplicitVRLittleEndian, DataSetTrailingPadding=b"\0\0"
        )
        assert 0xFFFCFFFC in data_set(instance, planes, reader)


class TestSingleFrames:
    def test_are_those_of_whole_records(self, write, one_spec, in_memory) -> None:
        frames = np.arange(5 * 8 * 6, dtype=np.uint8).reshape(5, 8, 6)
        path = write("a.dcm", frames[0], NumberOfFrames=5)
        ds = pydicom.dcmread(path)
        ds.PixelData = frames.tobytes()
        ds.save_as(path)
        reader = in_memory(one_spec(path))
        alone, together = planes_of(reader, alone=True), planes_of(reader, cached_bytes=0)
        for number in (4, 0, 2):
            np.testing.assert_array_equal(alone.read(number), together.read(number))
            np.testing.assert_array_equal(alone.read(number)[0], frames[number])
