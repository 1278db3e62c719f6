"""What is done before the first file is what is done for one, and nothing stays of it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pydicom
import pytest

from tilepress.pipeline.dicom import ready
from tilepress.pipeline.dicom.bytes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tilepress.pipeline.dicom.header import read_instance


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_the_example_is_a_sound_file(tmp_path: Path, syntax: str) -> None:
    (tmp_path / "a").write_bytes(ready.example(syntax))
    instance = read_instance(str(tmp_path / "a"))
    assert (instance.pixels.rows, instance.modality, instance.remarks) == (16, "CT", ())
    parsed = pydicom.dcmread(io.BytesIO(ready.example(syntax)))
    assert parsed.pixel_array.shape == (16, 16)


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_it_leaves_no_file_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ready.prepare()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FileNotFoundError):
        Path(ready.NAME).stat()
