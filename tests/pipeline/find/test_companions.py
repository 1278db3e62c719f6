"""What comes with scenes is passed over and counted; images never are."""

from __future__ import annotations

import pytest

from tilepress.pipeline import formats
from tilepress.pipeline.find.companions import (
    PREVIEWS,
    is_passed_over,
    may_be_image,
    well_known,
)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("LC08_L1TP_193026_20220803_02_T1_thumb_small.jpeg", PREVIEWS),
        ("LC08_L1TP_193026_20220803_02_T1_VER.jpg", PREVIEWS),
        ("S2B_MSIL2A_20200515T101031-ql.jpg", PREVIEWS),
        ("PREVIEW_PHR1A.JPG", PREVIEWS),
        ("HLS.S30.T33.2020136T1.v2.0.browse.jpg", PREVIEWS),
        ("HLS.L30.T33UUP.2020136T105031.v2.0.jpg", PREVIEWS),
        ("LC08_L1TP_193026_20220803_20220806_02_T1.jpg", PREVIEWS),
        ("LE07_L1GT_193026_20220803_20220806_02_RT_refl.jpg", PREVIEWS),
        ("thumbnail.gif", PREVIEWS),
        ("manifest.safe", ".safe"),
        ("a.tif.vat.dbf", ".dbf"),
        ("scene_MTL.txt", ".txt"),
        ("README", ""),
    ],
)
def test_companions_are_known(name: str, counted: str):
    assert is_passed_over(name)
    assert well_known(name) == counted


@pytest.mark.parametrize(
    "name",
    [
        "thumb.tif",
        "preview.jp2",
        "photo.jpg",
        "browser.jpg",
        "silver.jpg",
        "quick-look.png",
        "HLS.L30.T33UUP.2020136T105031.v2.0.B02.jpg",
        "LC08_L1TP_193026_20220803_20220806_02_T1_B4.jpg",
        "1.2.3",
        "zarr.json",
    ],
)
def test_images_and_what_may_be_one_are_not(name: str):
    assert not is_passed_over(name)


def test_what_a_format_is_called_may_be_an_image():
    """Such a file that cannot be read is a failure, and not left out."""
    vague = {".bin", ".dat"}
    assert {one for one in formats.suffixes() if not may_be_image("a" + one)} <= vague
    for ending in (".bif", ".scn", ".vsi", ".czi"):
        assert may_be_image("a" + ending.upper())
