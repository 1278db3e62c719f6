"""Which directories of a TIFF file are the levels of a slide; most files have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.geotiff.header import directory_at, find_pages
from tilepress.pipeline.geotiff.slide_pages import SlidePages, find_slides, may_show_names
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.source import SourceSpec

from ...helpers.slide_files import APERIO, ome, picture, pyramid, write_slide

LEVELS = pyramid(70, 90)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def found(path: Path) -> SlidePages | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        return find_slides(file, size, find_pages(file, size).found)


def levels(path: Path) -> list[int]:
    """Return how many pages each level has."""
    slides = found(path)
    assert slides is not None
    (slide,) = slides.slides
    return [len(level) for level in slide.levels]


class TestWhatIsASlide:
    @pytest.mark.parametrize(
        ("subfile", "text"),
        [
            ((0, 1, 1), ""),
            ((0, 0, 0), f"{APERIO}70x90"),
            ((0, 0, 0), ome({"Name": "tissue", "IFD": 0})),
        ],
    )
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_tiled_pages_that_are_reduced_ones_of_the_first(
        self, tmp_path: Path, subfile: tuple[int, ...], text: str, order: str
    ):
        path = write_slide(
            tmp_path / "a.tif", LEVELS, subfile=subfile, order=order, big=True, texts=[text]
        )
        assert levels(path) == [1, 1, 1]

    def test_a_page_with_levels_below_it(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS[:1], below=[LEVELS[1:]])
        slides = found(path)
        assert slides is not None
        assert slides.slides[0].below
        assert levels(path) == [1, 1, 1]

    def test_bands_that_are_pages(self, tmp_path: Path):
        bands = [[level[band : band + 1] for level in LEVELS] for band in range(3)]
        path = write_slide(
            tmp_path / "a.tif", [band[0] for band in bands], below=[band[1:] for band in bands]
        )
        assert levels(path) == [3, 3, 3]

    def test_aperio_with_pictures_beside_it(self, tmp_path: Path):
        pages = [LEVELS[0], picture(17, 22), LEVELS[2], picture(20, 20), picture(20, 40)]
        words = ["70x90", "x -> 22x17", "x -> 23x18", "label 20x20", "macro 40x20"]
        path = write_slide(
            tmp_path / "a.svs", pages, texts=[APERIO + text for text in words],
            strips=(1, 3, 4), subfile=(0, 0, 0, 1, 9),
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert levels(path) == [1, 1]
        assert slides.beside == ("thumbnail", "label", "macro")
        assert (slides.pages, slides.slides[0].pages) == ((), (1, 2, 3))

    def test_several_slides_of_a_file_are_each_one(self, tmp_path: Path):
        """A second scan in a file is no picture beside the first: nothing of it is left out."""
        other = pyramid(40, 60, levels=2)
        path = write_slide(
            tmp_path / "a.tif", [LEVELS[0], other[0], picture(30, 30)],
            below=[LEVELS[1:], other[1:]],
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert [(slide.page, len(slide.levels)) for slide in slides.slides] == [(1, 3), (2, 2)]
        assert slides.pages == (3,)
        assert [slide.pages for slide in slides.slides] == [(1,), (2,)]

    @pytest.mark.parametrize("text", ["", ome({"IFD": 0}, {"IFD": 1})])
    def test_pictures_of_one_size_are_slides_each(self, tmp_path: Path, text: str):
        """Two regions in colour are no bands of each other."""
        path = write_slide(
            tmp_path / "a.ome.tif", [LEVELS[0], 255 - LEVELS[0]], texts=[text],
            below=[LEVELS[1:], [255 - level for level in LEVELS[1:]]],
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert [slide.pages for slide in slides.slides] == [(1,), (2,)]
        assert [[len(level) for level in slide.levels] for slide in slides.slides] == [
            [1, 1, 1]
        ] * 2

    def test_bands_of_several_images_are_those_of_several_slides(self, tmp_path: Path):
        bands = [[level[number % 3 : number % 3 + 1] for level in LEVELS] for number in range(4)]
        path = write_slide(
            tmp_path / "a.ome.tif", [band[0] for band in bands],
            below=[band[1:] for band in bands],
            texts=[ome({"IFD": 0, "PlaneCount": 2, "SizeC": 2}, {"IFD": 2, "PlaneCount": 2})],
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert [slide.pages for slide in slides.slides] == [(1, 2), (3, 4)]

    @pytest.mark.parametrize("strips", [(), (3, 4)])
    def test_pictures_beside_a_pyramid(self, tmp_path: Path, strips: tuple[int, ...]):
        pages = [*LEVELS, picture(30, 20), picture(20, 40)]
        path = write_slide(
            tmp_path / "a.tif", pages, texts=["x", "", "", "Label", "Macro"], strips=strips,
            subfile=(0, 1, 1, 0, 0),
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert levels(path) == [1, 1, 1]
        assert (slides.beside, slides.pages) == (("label", "macro"), ())
        assert slides.slides[0].pages == (1, 2, 3)

    @pytest.mark.parametrize("name", ["label image", "Macro", "scan 7 - overview", "x_label"])
    @pytest.mark.parametrize("has_levels", [False, True])
    def test_pictures_that_ome_xml_names(self, tmp_path: Path, name: str, has_levels: bool):
        label = pyramid(30, 40, levels=2)
        text = ome({"Name": "tissue", "IFD": 0}, {"Name": name, "IFD": 1})
        path = write_slide(
            tmp_path / "a.ome.tif", [LEVELS[0], label[0]], texts=[text],
            below=[LEVELS[1:], label[1:] if has_levels else []],
        )  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert levels(path) == [1, 1, 1]
        assert len(slides.beside) == 1
        assert slides.pages == ()

    def test_labels_of_all_of_an_image_are_no_picture_beside_it(self, tmp_path: Path):
        text = ome({"Name": "tissue", "IFD": 0}, {"Name": "nuclei label", "IFD": 1})
        path = write_slide(tmp_path / "a.ome.tif", [LEVELS[0]] * 2, texts=[text],
                           below=[LEVELS[1:]] * 2)  # fmt: skip
        slides = found(path)
        assert slides is not None
        assert [slide.pages for slide in slides.slides] == [(1,), (2,)]

    def test_reduced_pages_that_are_no_levels_are_counted(self, tmp_path: Path):
        """Nothing of a file goes without a word."""
        pages = [LEVELS[0], picture(30, 10), LEVELS[2], picture(60, 60)]
        path = write_slide(tmp_path / "a.svs", pages, texts=[APERIO] * 4, subfile=(0, 1, 0, 0))
        slides = found(path)
        assert slides is not None
        assert (slides.beside, slides.pages) == (("reduced page",), (3,))


class TestWhatIsNone:
    def test_pages_of_one_size_or_of_other_forms(self, tmp_path: Path):
        same = write_slide(tmp_path / "same.tif", [LEVELS[0], LEVELS[0]])
        longer = write_slide(tmp_path / "longer.tif", [LEVELS[0], picture(60, 20)])
        gray = write_slide(tmp_path / "gray.tif", [LEVELS[0], LEVELS[1][:1]])
        strips = write_slide(tmp_path / "strips.tif", LEVELS, strips=(0, 1, 2))
        one = write_slide(tmp_path / "one.tif", LEVELS[:1])
        assert [found(path) for path in (same, longer, gray, strips, one)] == [None] * 5

    @pytest.mark.parametrize(
        "text", ["", "a scanned letter", ome({"IFD": 0}, {"IFD": 1}, {"IFD": 2})]
    )
    def test_pages_of_a_form_that_do_not_say_that_they_are_reduced(self, tmp_path: Path, text: str):
        """Pictures of a document, each smaller than the one before, are several."""
        path = write_slide(tmp_path / "a.tif", LEVELS, subfile=(0, 0, 0), texts=[text])
        assert found(path) is None

    def test_a_label_that_comes_first_is_left_out(self, tmp_path: Path):
        pages = [picture(20, 20), LEVELS[0], LEVELS[0]]
        path = write_slide(tmp_path / "a.tif", pages, texts=["Label"], strips=(0,), subfile=(0,))
        slides = found(path)
        assert slides is not None
        assert (slides.slides, slides.pages, slides.beside) == ((), (2, 3), ("label",))

    @pytest.mark.parametrize("strips", [(1,), (0, 1, 2)])
    def test_labels_of_files_of_no_slides_are_left_out(
        self, tmp_path: Path, strips: tuple[int, ...]
    ):
        pages = [LEVELS[0], picture(20, 20), LEVELS[0]]
        path = write_slide(
            tmp_path / "in/a.tif", pages, texts=["", "Label"], strips=strips, subfile=(0, 0, 0)
        )
        slides = found(path)
        assert slides is not None
        assert (slides.slides, slides.pages, slides.beside) == ((), (1, 3), ("label",))
        first, last = discover([path])
        assert isinstance(first, SourceSpec)
        assert isinstance(last, SourceSpec)
        assert (first.options["page"], last.options["page"]) == (1, 3)
        with GeoTiffSource(first) as one, GeoTiffSource(last) as other:
            assert any("1 picture beside it left out" in text for text in one.info.remarks)
            assert not any("left out" in text for text in other.info.remarks)

    def test_depths_are_no_bands(self, tmp_path: Path):
        """Levels of planes at several depths would be taken for bands."""
        text = '<OME xmlns="x"><Image><Pixels SizeC="1" SizeZ="2" SizeT="1"/></Image></OME>'
        pages = [LEVELS[0][:1], LEVELS[0][1:2]]
        below = [[LEVELS[1][:1]], [LEVELS[1][1:2]]]
        path = write_slide(tmp_path / "a.tif", pages, below=below, texts=[text])
        assert found(path) is None

    @pytest.mark.parametrize("how", ["ground", "cog", "tags"])
    def test_rasters_with_overviews(self, tmp_path: Path, how: str):
        """Overviews of a map are derived: they were never stored, and are not now."""
        path = tmp_path / "a.tif"
        place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
        options = place if how == "ground" else {}
        driver = "COG" if how == "cog" else "GTiff"
        tiled = {} if how == "cog" else {"tiled": True, "blockxsize": 64, "blockysize": 64}
        with rasterio.open(
            path, "w", driver=driver, count=1, height=600, width=700, dtype="uint8", **options,
            **tiled,
        ) as file:  # fmt: skip
            file.write(np.tile(picture(60, 70, bands=1), (1, 10, 10)))
            if how == "tags":
                file.update_tags(NOTE="made by GDAL")
        if how != "cog":
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4])
        assert found(path) is None

    def test_a_chain_that_is_damaged(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.tif", LEVELS)
        data = path.read_bytes()
        path.write_bytes(data[:-40])
        assert found(path) is None


class TestLabelsOfDamagedFiles:
    """What may show names is left out of files, too, whose levels nobody can tell."""

    @staticmethod
    def written(path: Path) -> Path:
        pages = [LEVELS[0], picture(17, 22), LEVELS[1], picture(20, 20), picture(20, 40)]
        words = ["70x90", "x -> 22x17", "x -> 45x35", "label 20x20", "macro 40x20"]
        return write_slide(
            path, pages, texts=[APERIO + text for text in words], strips=(1, 3, 4),
            subfile=(0,) * 5,
        )  # fmt: skip

    @staticmethod
    def shown(path: Path) -> list[str | None]:
        size = path.stat().st_size
        with path.open("rb") as file:
            pages = find_pages(file, size).found
            return [may_show_names(file, size, pages, n) for n in range(1, len(pages) + 1)]

    @pytest.mark.parametrize("to", ["first", "nowhere"])
    def test_a_chain_that_does_not_end(self, tmp_path: Path, to: str):
        path = self.written(tmp_path / "a.svs")
        size = path.stat().st_size
        with path.open("rb") as file:
            last = find_pages(file, size).found[-1].offset
            first = find_pages(file, size).found[0].offset
        data = bytearray(path.read_bytes())
        end = last + 2 + 12 * int.from_bytes(data[last : last + 2], "little")
        data[end : end + 4] = (first if to == "first" else size - 3).to_bytes(4, "little")
        path.write_bytes(data)
        slides = found(path)
        assert slides is not None
        assert (slides.slides, slides.pages, slides.beside) == ((), (1, 2, 3), ("label", "macro"))
        assert self.shown(path) == [None, "unnamed", None, "label", "macro"]

    def test_levels_that_cannot_be_read(self, tmp_path: Path):
        path = write_slide(
            tmp_path / "a.tif", [LEVELS[0], picture(20, 20)], below=[LEVELS[1:]],
            texts=["x", "Label_Image"], strips=(1,),
        )  # fmt: skip
        size = path.stat().st_size
        with path.open("rb") as file:
            below = directory_at(file, size, find_pages(file, size).found[0].offset, (330,))
        data = path.read_bytes()
        at = data.index(below.entries[330].data)
        path.write_bytes(data[:at] + (size - 3).to_bytes(4, "little") + data[at + 4 :])
        slides = found(path)
        assert slides is not None
        assert (slides.slides, slides.pages, slides.beside) == ((), (1,), ("label",))

    def test_a_label_that_long_ome_xml_names_at_last(self, tmp_path: Path):
        text = ome({"Name": "tissue", "IFD": 0}, {"Name": "label image", "IFD": 1})
        long = text.replace("<Image", "<!--" + "x" * 1_200_000 + "--><Image", 1)
        path = write_slide(
            tmp_path / "a.ome.tif", [LEVELS[0], picture(20, 20)], below=[LEVELS[1:]], texts=[long]
        )
        slides = found(path)
        assert slides is not None
        assert (len(slides.slides), slides.pages, slides.beside) == (1, (), ("label",))
