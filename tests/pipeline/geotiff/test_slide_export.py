"""A slide's file comes back: the same levels, the same entries, JPEG tiles byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.errors import DestinationConflict, StoreError, UsageError
from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.geotiff.header import find_entries, find_pages
from tilepress.pipeline.geotiff.slide_pages import find_slides
from tilepress.pipeline.geotiff.slide_record import parse_slide
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.geotiff.tiff_writer import TiffWriter
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import APERIO, pyramid, tiles_of, write_slide

LEVELS = pyramid(70, 90)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def stored(path: Path, **options: object) -> Path:
    out = path.parent / "out"
    (image,) = compress(path, out, workers=0, tile=64, **options).images
    return Path(image.store)


def samples(path: Path) -> list[np.ndarray]:
    spec = SourceSpec(kind="slide", paths=(str(path),), options={"pages": []})
    with SlideSource(spec) as source:
        shapes = [source.info.at_level(n).shape for n in range(1 + len(source.info.levels))]
        boxes = [Box((0,) * len(shape), shape) for shape in shapes]
        return [source.read_level(number, box) for number, box in enumerate(boxes)]


def entry(path: Path, tag: int) -> bytes:
    with path.open("rb") as file:
        found = find_entries(file, path.stat().st_size, (tag,))
    assert found is not None
    return found.entries[tag].data


class TestJpegTiles:
    @pytest.mark.parametrize("below", [False, True])
    def test_come_back_byte_by_byte(self, tmp_path: Path, below: bool):
        more = {"below": [LEVELS[1:]]} if below else {}
        pages = LEVELS[: 1 if below else 3]
        text = f"{APERIO}70x90|MPP = 0.5"
        path = write_slide(tmp_path / "a.svs", pages, jpeg=True, absent=(0,), texts=[text], **more)
        (out,) = export(stored(path), tmp_path / "back.svs")
        assert tiles_of(out) == tiles_of(path)
        assert entry(out, 270) == text.encode() + b"\0"
        for one, other in zip(samples(out), samples(path), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_of_bands_that_are_pages(self, tmp_path: Path):
        bands = [[level[band : band + 1] for level in LEVELS] for band in range(3)]
        path = write_slide(
            tmp_path / "a.tif", [band[0] for band in bands], jpeg=True, order=">", big=True,
            below=[band[1:] for band in bands],
        )  # fmt: skip
        (out,) = export(stored(path), tmp_path / "back.tif")
        assert tiles_of(out) == tiles_of(path)

    def test_of_what_is_deidentified_are_samples(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS, jpeg=True, texts=["Jane Doe"])
        store = stored(path, deidentify="basic")
        (out,) = export(store, tmp_path / "back.tif")
        assert b"Jane" not in out.read_bytes()
        for one, other in zip(samples(out), samples(path), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("text", ["Jane Doe", f"{APERIO}70x90|MPP = 0.5|User = Jane"])
    def test_of_what_is_deidentified_are_one_slide_again(self, tmp_path: Path, text: str):
        """Of Aperio's pages it is the description that says so, and that is gone."""
        path = write_slide(tmp_path / "a.svs", LEVELS, jpeg=True, texts=[text])
        (out,) = export(stored(path, deidentify="basic"), tmp_path / "back.svs")
        assert b"Jane" not in out.read_bytes()
        with out.open("rb") as file:
            size = out.stat().st_size
            found = find_slides(file, size, find_pages(file, size).found)
        assert found is not None
        assert [len(slide.levels) for slide in found.slides] == [3]
        assert not found.pages


class TestSamples:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_come_back_with_lossless_compression(self, tmp_path: Path, dtype: str, order: str):
        levels = pyramid(70, 90, dtype=dtype)
        path = write_slide(tmp_path / "a.tif", levels, order=order)
        (out,) = export(stored(path), tmp_path / "back.tif")
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.read(), levels[0])
        for one, level in zip(samples(out), levels, strict=True):
            np.testing.assert_array_equal(one, level)
            assert one.dtype == np.dtype(dtype)

    def test_that_were_compressed(self, tmp_path: Path):
        """Deflate with differences, whatever the file had: GDAL reads the same."""
        path = tmp_path / "a.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=3, height=70, width=90, dtype="uint8", tiled=True,
            blockxsize=32, blockysize=32, compress="lzw", interleave="pixel",
        ) as file:  # fmt: skip
            file.write(LEVELS[0])
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2])
        (out,) = export(stored(path), tmp_path / "back.tif")
        with rasterio.open(out) as back, rasterio.open(path) as file:
            np.testing.assert_array_equal(back.read(), file.read())
            np.testing.assert_array_equal(
                rasterio.open(out, overview_level=0).read(),
                rasterio.open(path, overview_level=0).read(),
            )


class TestOmeTiff:
    def test_says_how_large_samples_are_and_has_its_levels_below(self, tmp_path: Path):
        path = write_slide(
            tmp_path / "a.svs", LEVELS, jpeg=True, texts=[f"{APERIO}70x90|MPP = 0.5"]
        )
        (out,) = export(stored(path), tmp_path / "folder", "ome-tiff")
        assert out.name == "a.ome.tif"
        assert tiles_of(out) == tiles_of(path)
        text = entry(out, 270).decode()
        assert 'PhysicalSizeX="0.5"' in text
        assert 'SizeX="90" SizeY="70" SizeC="3"' in text
        with out.open("rb") as file:
            size = out.stat().st_size
            found = find_slides(file, size, find_pages(file, size).found)
        assert found is not None
        assert [len(slide.levels) for slide in found.slides] == [3]
        assert found.slides[0].below


def test_several_slides_of_a_file_are_files_each(tmp_path: Path):
    other = pyramid(40, 60, levels=2)
    path = write_slide(
        tmp_path / "in/a.svs", [LEVELS[0], other[0]], below=[LEVELS[1:], other[1:]], jpeg=True
    )
    compress(path, tmp_path / "out", workers=0, tile=64)
    found = list(export_archive(tmp_path / "out", tmp_path / "back"))
    assert [one.problem for one in found] == [None, None]
    assert sorted(file.name for one in found for file in one.files) == [
        "a-page1.svs", "a-page2.svs",
    ]  # fmt: skip


class TestWhatIsRefused:
    def test_parts_and_files_that_exist(self, tmp_path: Path):
        store = stored(write_slide(tmp_path / "a.tif", LEVELS))
        with pytest.raises(UsageError, match="whole"):
            export(store, tmp_path / "b.tif", bands=[1])
        with pytest.raises(UsageError, match="ome-tiff"):
            export(store, tmp_path / "b.tif", "cog")
        (tmp_path / "c.tif").touch()
        with pytest.raises(DestinationConflict, match="exists"):
            export(store, tmp_path / "c.tif")

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "order": "<", "levels": []}'])
    def test_records_that_are_none(self, text: str):
        with pytest.raises(ValueError, match=r"."):
            parse_slide(text.encode())

    def test_a_classic_file_past_its_limit(self, tmp_path: Path):
        with (tmp_path / "a.tif").open("wb") as file:
            writer = TiffWriter(file, big=False, order="<")
            writer._end = 2**32 - 10
            with pytest.raises(StoreError, match="4 GiB"):
                writer.block(bytes(20))
