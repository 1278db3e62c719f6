"""Labels and macro images of scanners' TIFF files are left out, also where no slide is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.find.discover import Failure, discover
from tilepress.pipeline.geotiff.header import find_pages
from tilepress.pipeline.geotiff.scanner_pages import pictures_of_scn
from tilepress.pipeline.geotiff.slide_pages import SlidePages, find_slides, may_show_names

from ...helpers.scanner_files import bif, picture, scn

SLIDE = picture(128, 192)

ROOT = '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'


def found(path: Path) -> tuple[SlidePages | None, list[str | None]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        pages = find_pages(file, size).found
        shown = [may_show_names(file, size, pages, n) for n in range(1, len(pages) + 1)]
        return find_slides(file, size, pages), shown


@pytest.mark.parametrize(("make", "shows"), [(bif, "label"), (scn, "macro")])
def test_what_comes_first_may_be_a_picture_beside(tmp_path: Path, make: object, shows: str):
    slides, shown = found(make(tmp_path / "a.tif", SLIDE[:, :128]))  # type: ignore[operator]
    assert slides == SlidePages(slides=(), pages=(2, 3), beside=(shows,))
    assert shown == [shows, None, None]


@pytest.mark.parametrize(("make", "shows"), [(bif, "label"), (scn, "macro")])
def test_of_a_file_that_is_cut_it_is_left_out_too(tmp_path: Path, make: object, shows: str):
    path = make(tmp_path / "a.tif", SLIDE[:, :128])  # type: ignore[operator]
    with path.open("rb+") as file:
        file.truncate(find_pages(file, path.stat().st_size).found[1].offset - 10)
    assert found(path) == (SlidePages(slides=(), pages=(), beside=(shows,)), [shows])
    (failure,) = discover([path])
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, UnsupportedSource)
    assert str(failure.error).endswith(f"which are left out: {shows}")


class TestLeica:
    def test_supplemental_images(self):
        text = (
            f'{ROOT}<collection sizeX="9" sizeY="8"><supplementalImage type="Label" ifd="4"/>'
            '<supplementalImage type="else" ifd="5"/><image><pixels><dimension ifd="0"/></pixels>'
            '<view sizeX="9" sizeY="8" offsetX="1" offsetY="0"/></image></collection></scn>'
        )
        assert pictures_of_scn(text.encode() + b"\0") == {4: "label", 5: "label"}

    @pytest.mark.parametrize(
        "text",
        [
            '<scn><collection><supplementalImage type="label" ifd="1"/>',
            f'{ROOT}<supplementalImage type="label" ifd="x"/>',
            f'{ROOT}<supplementalImage type="label"/>',
            f'<!DOCTYPE a [<!ENTITY b "c">]>{ROOT}<supplementalImage type="label" ifd="1"/>',
        ],
    )
    def test_what_says_nothing(self, text: str):
        assert pictures_of_scn(text.encode()) == {}

    def test_what_is_cut_off_tells_what_stands_before(self):
        text = f'{ROOT}<supplementalImage type="label" ifd="1"/><suppl'
        assert pictures_of_scn(text.encode()) == {1: "label"}
