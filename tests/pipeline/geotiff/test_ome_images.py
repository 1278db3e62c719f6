"""Which directories OME-XML says are planes of which image."""

from __future__ import annotations

import time

import pytest

from tilepress.pipeline.geotiff.ome_images import ome_images

from ...helpers.slide_files import ome


def names(text: str, count: int = 6) -> dict[int, str]:
    return {at: image.name for at, image in ome_images(text.encode() + b"\0", count).items()}


def of(places: str, *, sizes: str = 'SizeZ="1" SizeT="1" SizeC="2"', root: str = "") -> str:
    return f'<OME {root}><Image Name="a"><Pixels {sizes}>{places}</Pixels></Image></OME>'


def test_several_images():
    text = ome({"Name": "slide", "IFD": 0, "PlaneCount": 3}, {"Name": "label image", "IFD": 4})
    assert names(text) == {0: "slide", 1: "slide", 2: "slide", 4: "label image"}


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ("<TiffData/>", [0, 1]),
        ('<Channel/><TiffData FirstC="0"/>', [0]),
        ('<TiffData IFD="2"/>', [2]),
        ('<TiffData IFD="4" PlaneCount="999999999999"/>', [4, 5]),
        ('<TiffData IFD="-1"/>', []),
        ('<TiffData IFD="1"><UUID FileName="b">urn:uuid:2</UUID></TiffData>', []),
        ('<TiffData IFD="1"><UUID FileName="a"> urn:uuid:1 </UUID></TiffData>', [1]),
    ],
)
def test_where_planes_lie(places: str, found: list[int]):
    assert list(names(of(places, root='UUID="urn:uuid:1"'))) == found


def test_names_with_a_prefix():
    text = of('<TiffData IFD="1"/>', root='xmlns:OME="x"').replace("<", "<OME:")
    assert names(text.replace("<OME:/", "</OME:")) == {1: "a"}


@pytest.mark.parametrize(
    "text",
    [
        "a photograph",
        '<OME><Image Name="a"><Pixels><TiffData IFD="x"/></Pixels></Image></OME>',
        '<!DOCTYPE OME [<!ENTITY a "b">]><OME><Image Name="&a;"><Pixels><TiffData/></Pixels>',
    ],
)
def test_what_says_nothing(text: str):
    assert names(text) == {}


def test_a_text_that_is_cut_off_tells_what_stands_before():
    text = ome({"IFD": 0}, {"IFD": 1})
    assert names(text[: text.index("Image:1")]) == {0: "image 0"}


def test_a_text_that_names_everything_over_and_over_ends_soon():
    start = time.monotonic()
    names(of('<TiffData PlaneCount="99999"/>' * 30_000), 4096)
    assert time.monotonic() - start < 5
