"""The bytes of DICOM files are those of regular files: to open a pipe would wait for a writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilepress.errors import DamagedSource
from tilepress.pipeline.dicom.bytes import FileBytes, scan_container
from tilepress.pipeline.dicom.copies import _digest, _File


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.dcm")
    return tmp_path / "pipe.dcm"


@pytest.mark.timeout(20)
class TestAPipe:
    """Somebody put it there after the file was looked at."""

    def test_is_not_opened(self, pipe: Path):
        with pytest.raises(OSError, match="it is no regular file"):
            FileBytes(pipe)

    def test_when_copies_are_compared(self, pipe: Path):
        with pytest.raises(DamagedSource, match="it is no regular file"):
            _digest(_File(1, str(pipe), "", 1, "", 0, 0, 0, ""))

    def test_when_headers_are_read(self, pipe: Path):
        with pytest.raises(DamagedSource, match="it is no regular file"):
            scan_container(pipe)

    def test_in_place_of_a_file_that_is_open(self, tmp_path: Path, pipe: Path):
        (tmp_path / "a.dcm").write_bytes(b"abc")
        source = FileBytes(tmp_path / "a.dcm")
        pipe.rename(tmp_path / "a.dcm")
        with pytest.raises(OSError, match="it is no regular file"):
            source.stream()
        assert source.read(1, 9) == b"bc"
        source.close()


def test_streams_are_apart_and_read_no_more_than_there_is(tmp_path: Path):
    (tmp_path / "a.dcm").write_bytes(bytes(range(256)) * 400)
    source = FileBytes(tmp_path / "a.dcm")
    with source.stream() as first, source.stream() as second:
        assert first.read(2) == second.read(2) == b"\0\1"
        assert len(first.read(2**40)) == 256 * 400 - 2
    assert source.read(1, 2) == b"\1\2"
    source.close()
    source.close()
