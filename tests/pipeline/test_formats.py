"""The list of formats: which one a file is of, by what it contains."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline import formats
from tilepress.pipeline.arrays.format import ARRAY
from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.image.format import HEAD_BYTES, Candidate, Format
from tilepress.workflows.cli.export import ExportFormat

from .images import dicom, npy, tiff


def candidate(path: Path) -> Candidate:
    content = path.read_bytes()
    return Candidate(
        path=str(path), size=len(content), head=content[:HEAD_BYTES], stream=io.BytesIO(content)
    )


class TestContentDecides:
    """Never what a file is called."""

    @pytest.mark.parametrize(
        ("write", "wanted"), [(tiff, GEOTIFF), (npy, ARRAY)], ids=["tiff", "npy"]
    )
    def test_a_mark_at_the_beginning(self, tmp_path: Path, write, wanted: Format) -> None:
        assert formats.format_of_file(candidate(write(tmp_path / "image.dcm"))) is wanted

    @pytest.mark.parametrize("preamble", [b"II*\0", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n"])
    def test_a_dicom_file_may_begin_as_anything_else(self, tmp_path: Path, preamble: bytes) -> None:
        """Its first 128 bytes are free (PS3.10 §7.1), so that viewers of TIFF can open it, too."""
        path = dicom(tmp_path / "image.tif", 1, 1)
        content = path.read_bytes()
        path.write_bytes(preamble.ljust(128, b"\0") + content[128:])
        assert formats.format_of_file(candidate(path)) is DICOM

    def test_what_nothing_marks_is_looked_at_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = dicom(tmp_path / "image", 1, 1)
        content = path.read_bytes()
        path.write_bytes(content[content.find(b"\x08\x00\x16\x00") :])
        assert formats.format_of_file(candidate(path)) is DICOM
        monkeypatch.setattr(type(DICOM), "looks_like", lambda *_: pytest.fail("it was marked"))
        assert formats.format_of_file(candidate(tiff(tmp_path / "a.tif"))) is GEOTIFF

    @pytest.mark.parametrize("content", [b"", b"II", b"text " * 99, b"\x08\x00\x16\x00" * 50])
    def test_anything_else_is_no_image(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.tif").write_bytes(content)
        assert formats.format_of_file(candidate(tmp_path / "a.tif")) is None


class TestTheList:
    def test_no_word_means_two_things(self) -> None:
        for words in (
            [kind for format_ in formats.FORMATS for kind in format_.kinds],
            [export.name for format_ in formats.FORMATS for export in format_.exports],
        ):
            assert len(words) == len(set(words))

    def test_the_command_line_offers_every_export(self) -> None:
        """It has a list of its own: to import the formats for its help would take too long."""
        assert [choice.value for choice in ExportFormat] == list(formats.exports())

    def test_some_export_takes_any_store(self) -> None:
        """What has no exports of its own is written that way."""
        assert any(export.any_store for export in formats.exports().values())

    def test_names_are_told_in_one_line(self) -> None:
        wanted = "TIFF, JPEG 2000, PNG, SRTM height file, DICOM, slides by OpenSlide"
        assert formats.names() == f"{wanted}, .npy, Zarr array"

    def test_a_kind_is_opened_by_the_format_that_names_it(self) -> None:
        for format_ in formats.FORMATS:
            assert all(formats.format_of_kind(kind) is format_ for kind in format_.kinds)
        assert formats.format_of_kind("what a newer tilepress reads") is None

    def test_it_costs_no_library_that_reads_images(self, tmp_path: Path) -> None:
        heavy = "{'rasterio', 'pydicom', 'zarr', 'imagecodecs', 'pyproj', 'xarray', 'obstore'}"
        line = f"import sys, tilepress.pipeline.formats; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", line], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert done.stdout.strip() == "[]", done.stdout + done.stderr


class TestPages:
    """A file of several images says so when it is looked at."""

    def test_each_is_an_image(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "a.tif")
        tiff(path, np.zeros((8, 8), np.uint8), append_subdataset=True)
        found = GEOTIFF.images(candidate(path))
        assert [(image.ending, image.options) for image in found.images] == [
            ("-page1", {"page": 1}),
            ("-page2", {"page": 2}),
        ]
        assert found.problem is None

    def test_one_alone_is_the_file(self, tmp_path: Path) -> None:
        (image,) = GEOTIFF.images(candidate(tiff(tmp_path / "a.tif"))).images
        assert (image.ending, dict(image.options)) == ("", {})


def test_every_suffix_begins_with_a_dot() -> None:
    exports = chain.from_iterable(export.suffixes for export in formats.exports().values())
    assert all(suffix == f".{suffix[1:].lower()}" for suffix in (*formats.suffixes(), *exports))
