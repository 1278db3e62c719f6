"""A slide's samples, streams and words, as they are read of its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.geotiff.header import Entry
from tilepress.pipeline.geotiff.slide_record import parse_slide
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.geotiff.slide_told import pixel_size_um, told_attributes
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.image.streams import StreamSource

from ...helpers.slide_files import APERIO, picture, pyramid, tiles_of, write_slide

LEVELS = pyramid(70, 90)


def opened(path: Path, **options: object) -> SlideSource:
    spec = SourceSpec(kind="slide", paths=(str(path),), options={"pages": [], **options})
    return SlideSource(spec)


def whole(shape: tuple[int, ...]) -> Box:
    return Box((0,) * len(shape), shape)


class TestSamples:
    @pytest.mark.parametrize("below", [False, True])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_are_those_of_every_level(self, tmp_path: Path, below: bool, order: str):
        levels = pyramid(70, 90, dtype="uint16")
        more = {"below": [levels[1:]]} if below else {}
        path = write_slide(tmp_path / "a.tif", levels[: 1 if below else 3], order=order, **more)
        with opened(path) as source:
            assert [source.info.shape, *(one.shape for one in source.info.levels)] == [
                level.shape for level in levels
            ]
            for number, level in enumerate(levels):
                np.testing.assert_array_equal(source.read_level(number, whole(level.shape)), level)
            part = Box((1, 3, 40), (3, 21, 90))
            np.testing.assert_array_equal(source.read(part), levels[0][part.slices])

    def test_of_bands_that_are_pages(self, tmp_path: Path):
        bands = [[level[band : band + 1] for level in LEVELS] for band in range(3)]
        path = write_slide(
            tmp_path / "a.tif", [band[0] for band in bands], below=[band[1:] for band in bands]
        )
        with opened(path) as source:
            np.testing.assert_array_equal(source.read_level(2, whole(LEVELS[2].shape)), LEVELS[2])
            part = Box((1, 5, 7), (2, 60, 80))
            np.testing.assert_array_equal(source.read(part), LEVELS[0][part.slices])

    def test_of_absent_tiles_are_0(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS, absent=(1,))
        with opened(path) as source:
            assert not source.read(Box((0, 0, 32), (3, 32, 64))).any()


class TestStreams:
    def test_are_the_tiles_of_each_level(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS, jpeg=True, absent=(2,))
        tiles = tiles_of(path)
        with opened(path) as source:
            assert isinstance(source, StreamSource)
            assert source.info.stream_block == (3, 32, 32)
            assert source.info.levels[1].stream_block == (3, 32, 32)
            found = source.level_streams(1, whole(LEVELS[1].shape))
            assert found is not None
            assert (list(found.streams), found.rows, found.columns) == (tiles[1], 2, 2)
            full = source.streams(whole(LEVELS[0].shape))
            assert full is not None
            assert [one or b"" for one in full.streams] == tiles[0]
            assert source.streams(Box((0, 1, 0), (3, 32, 32))) is None

    def test_of_bands_that_are_pages(self, tmp_path: Path):
        bands = [[level[band : band + 1] for level in LEVELS] for band in range(3)]
        path = write_slide(
            tmp_path / "a.tif", [band[0] for band in bands], jpeg=True,
            below=[band[1:] for band in bands],
        )  # fmt: skip
        tiles = tiles_of(path)
        with opened(path) as source:
            assert source.info.stream_block == (1, 32, 32)
            found = source.level_streams(2, Box((1, 0, 0), (3, 18, 23)))
            assert found is not None
            assert list(found.streams) == [tiles[5][0], tiles[8][0]]

    def test_are_not_given_of_what_is_deidentified(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS, jpeg=True, texts=[f"{APERIO}User = Jane"])
        how = {"options": ["basic"], "key": "0" * 16}
        with opened(path, deidentify=how) as source:
            assert source.info.stream_block is None
            assert source.info.levels[0].stream_block is None
            items = dict(source.source_items())
        assert b"Jane" not in b"".join(items.values())
        assert json.loads(items["origin"])["files"][0]["name"] == "file-1.tif"
        assert parse_slide(items["slide-0"]).levels[0][0].height == 70


class TestWhatIsTold:
    def test_pictures_beside_a_slide_are_counted_and_named(self, tmp_path: Path):
        pages = [LEVELS[0], picture(20, 20), picture(20, 40)]
        words = ["70x90 |AppMag = 40|MPP = 0.25|User = Jane", "label 20x20", "macro 40x20"]
        path = write_slide(
            tmp_path / "a.svs", pages, texts=[APERIO + text for text in words], strips=(1, 2),
            subfile=(0, 1, 9),
        )  # fmt: skip
        with opened(path) as source:
            info = source.info
        assert info.slide is not None
        assert info.slide.pixel_size_um == (0.25, 0.25)
        assert info.attributes["objective_power"] == 40
        assert "2 pictures beside the slide left out" in info.remarks[0]
        assert "label, macro" in info.remarks[0]
        assert "Jane" not in repr(info)

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ('<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.25"/></OME>', (0.25, 0.5)),
            (
                '<OME><Pixels PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0005" '
                'PhysicalSizeYUnit="mm"/></OME>',
                (0.5, 0.5),
            ),
            ('<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeXUnit="pixel"/></OME>', None),
            ("Aperio Image Library\n1x1|MPP = 0.499", (0.499, 0.499)),
            ("Aperio Image Library\n1x1|MPP = -1", None),
            ("Aperio Image Library\n1x1|MPP = 1e999", None),
            ("a photograph", None),
        ],
    )
    def test_the_size_of_a_sample(self, text: str, size: tuple[float, float] | None):
        entries = {270: Entry(2, len(text) + 1, text.encode() + b"\0")}
        assert pixel_size_um(entries, "<") == size

    @pytest.mark.parametrize(
        ("unit", "dots", "size"), [(3, 40000, 0.25), (2, 72, None), (1, 9, None)]
    )
    def test_the_size_of_a_sample_by_its_resolution(self, unit: int, dots: int, size: float | None):
        ratio = np.array([dots, 1], "<u4").tobytes()
        entries = {282: Entry(5, 1, ratio), 283: Entry(5, 1, ratio)}
        entries[296] = Entry(3, 1, np.array([unit], "<u2").tobytes())
        assert pixel_size_um(entries, "<") == (None if size is None else (size, size))

    def test_names_of_channels(self):
        text = (
            '<OME><Pixels><Channel ID="a" Name="DAPI"/><Channel ID="b" Name="Cy5"/></Pixels></OME>'
        )
        entries = {270: Entry(2, len(text) + 1, text.encode() + b"\0")}
        assert told_attributes(entries, 2, plain=False) == {"band_names": ["DAPI", "Cy5"]}
        assert told_attributes(entries, 2, plain=True) == {}
        assert told_attributes(entries, 3, plain=False) == {}


class TestWhatIsRefused:
    def test_a_file_that_is_no_slide_any_more(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS[:1])
        with pytest.raises(DamagedSource, match="no such slide"):
            opened(path)

    def test_a_level_that_is_cut_off(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS)
        data = bytearray(path.read_bytes())
        tiles = tiles_of(path)[2][0]
        place = len(data) + 5000
        at = data.index(tiles).to_bytes(4, "little")
        where = data.index(at, data.index(tiles) + len(tiles))
        data[where : where + 4] = place.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(DamagedSource, match="ends at byte"):
            opened(path)

    def test_tiles_that_gdal_cannot_decode(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.svs", LEVELS[:1], texts=[APERIO])
        data = bytearray(path.read_bytes())
        entry = bytes.fromhex("0301030001000000")
        at = data.index(entry) + 8
        data[at : at + 2] = (22610).to_bytes(2, "little")
        path.write_bytes(data)
        with pytest.raises(UnsupportedSource, match="this GDAL cannot read JPEG XR"):
            opened(path)


def test_the_pages_of_earlier_versions(tmp_path: Path):
    """An archive that has a store of each page knows them by these names."""
    spec = SourceSpec(
        kind="slide", paths=(str(tmp_path / "a.svs"),),
        options={"name": "a.svs", "relative": "x/a.svs", "pages": [1, 2]}, source_bytes=100,
    )  # fmt: skip
    former = GEOTIFF.former(spec)
    assert [one.options["name"] for one in former] == ["a-page1", "a-page2"]
    assert [one.options["page"] for one in former] == [1, 2]
    assert {(one.kind, one.images_in_files) for one in former} == {("geotiff", 2)}
