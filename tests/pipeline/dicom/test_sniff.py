"""A file is DICOM by its content, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tilepress.pipeline.dicom.sniff import is_dicom
from tilepress.pipeline.dicom.source import group_series

Write = Callable[..., Path]


def plane() -> np.ndarray:
    return np.arange(20, dtype=np.uint16).reshape(4, 5)


class TestContentDecides:
    def test_a_preamble_says_so(self, write: Write):
        assert is_dicom(write("no-extension", plane()))

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    def test_a_bare_data_set_is_parsed(self, write: Write, tmp_path: Path, syntax: str):
        """Old archives hold data sets without preamble and without file meta information."""
        content = write("x", plane(), syntax=syntax).read_bytes()
        start = content.find(b"\x08\x00\x05\x00")
        bare = tmp_path / "bare"
        bare.write_bytes(content[start:])
        assert is_dicom(bare)
        specs, failures = group_series([bare])
        assert len(specs) == 1
        assert not failures

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"II*\0\x08\0\0\0",
            b"\x89PNG\r\n\x1a\n" + bytes(200),
            b"\x08\x00\x05\x00" + bytes(200),
            b"\x02\x00" * 100,
            b"plain text, at some length, of nothing at all" * 9,
        ],
    )
    def test_anything_else_is_not(self, tmp_path: Path, content: bytes):
        path = tmp_path / "image.dcm"
        path.write_bytes(content)
        assert not is_dicom(path)

    def test_a_missing_file_is_not(self, tmp_path: Path):
        assert not is_dicom(tmp_path / "absent")
