"""TIFF directories: read what GDAL keeps to itself, add what it would drop."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from tilepress.pipeline.geotiff.header import Entry, append_entries, read_header
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.source import SourceSpec

from ...helpers.slide_files import pyramid, write_slide


@pytest.fixture(params=["classic little", "classic big", "bigtiff little", "bigtiff big"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    container, order = request.param.split()
    path = tmp_path / "a.tif"
    options = {"BIGTIFF": "YES" if container == "bigtiff" else "NO", "ENDIANNESS": order.upper()}
    profile = {"width": 70, "height": 60, "count": 2, "dtype": "uint16", "blockysize": 16}
    with rasterio.open(
        path, "w", driver="GTiff", transform=Affine(1, 0, 5, 0, -1, 9), **profile, **options
    ) as dataset:
        dataset.write(np.arange(2 * 60 * 70, dtype="uint16").reshape(2, 60, 70))
    return path


class TestReading:
    def test_facts(self, path: Path) -> None:
        header = read_header(path)
        assert header is not None
        assert header.first.integer(256) == 70
        assert header.first.integers(258).tolist() == [16, 16]
        assert header.first.integers(273).size == 4
        assert (header.damage(), header.missing_blocks(), header.hidden_images) == (None, None, 0)

    def test_a_strip_past_the_end_is_named(self, path: Path) -> None:
        header = read_header(path)
        assert header is not None
        last = int(header.first.integers(273)[-1])
        path.write_bytes(path.read_bytes()[:last])
        cut = read_header(path)
        assert cut is not None
        assert "strip 4 of 4" in (cut.damage() or "")

    @pytest.mark.parametrize("damage", ["outside", "nested", None])
    def test_directories_below_that_are_not_looked_at_are_counted(
        self, tmp_path: Path, damage: str | None
    ) -> None:
        levels = pyramid(70, 90)
        path = write_slide(tmp_path / "a.tif", levels[:1], below=[levels[1:]])
        whole = read_header(path)
        assert whole is not None
        starts, data = whole.first.entries[330].data, path.read_bytes()
        if damage == "outside":
            data = data.replace(starts, starts[:4] + b"\xf0\xff\xff\xff")
        elif damage == "nested":  # what was PlanarConfiguration of the first one
            at = data.index(b"\x1c\x01\x03\0", int.from_bytes(starts[:4], "little"))
            data = data[:at] + b"\x4a\x01" + data[at + 2 :]
        path.write_bytes(data)
        header = read_header(path)
        assert header is not None
        assert header.unread_below == (damage is not None)
        spec = SourceSpec(kind="geotiff", paths=(str(path),))
        with GeoTiffSource(spec) as source:
            told = [text for text in source.info.remarks if "below its own" in text]
        expected = "1 directory below its own (tag 330) left out: unreadable, or nested too deep"
        assert told == ([] if damage is None else [expected])

    def test_no_tiff(self, tmp_path: Path) -> None:
        for content in (b"", b"II", b"II*\0\xff\xff\xff\xff", b"GIF89a" + bytes(20)):
            (tmp_path / "a").write_bytes(content)
            assert read_header(tmp_path / "a") is None

    @given(content=st.binary(max_size=400))
    def test_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.tif"
        for magic in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10" + bytes(7)):
            path.write_bytes(magic + content)
            header = read_header(path)
            if header is not None:
                header.damage()
                header.missing_blocks()


class TestAppending:
    def test_entries_come_and_go_and_pixels_stay(self, path: Path) -> None:
        with rasterio.open(path) as dataset:
            before = dataset.read()
        entries = {
            270: Entry(2, 30, b"a description of thirty bytes\0"),
            274: Entry(3, 1, struct.pack(">H", 8)),
            65000: Entry(11, 2, struct.pack(">2f", 1.5, -2.5)),
        }
        append_entries(path, entries, ">", removed=[284, 274])
        header = read_header(path)
        assert header is not None
        assert header.first.integer(274) == 8
        assert 284 not in header.first.entries
        floats = np.frombuffer(header.first.entries[65000].data, header.order + "f4")
        assert floats.tolist() == [1.5, -2.5]
        with rasterio.open(path) as dataset:
            np.testing.assert_array_equal(dataset.read(), before)
            assert dataset.tags()["TIFFTAG_IMAGEDESCRIPTION"] == "a description of thirty bytes"
            assert dataset.transform == Affine(1, 0, 5, 0, -1, 9)
