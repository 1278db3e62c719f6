"""What comes with scenes is passed over and counted; images never are."""

from __future__ import annotations

import pytest

from tilepress.pipeline.find.companions import PREVIEWS, is_passed_over, well_known


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("LC08_L1TP_193026_20220803_02_T1_thumb_small.jpeg", PREVIEWS),
        ("LC08_L1TP_193026_20220803_02_T1_VER.jpg", PREVIEWS),
        ("S2B_MSIL2A_20200515T101031-ql.jpg", PREVIEWS),
        ("PREVIEW_PHR1A.JPG", PREVIEWS),
        ("HLS.S30.T33.2020136T1.v2.0.browse.jpg", PREVIEWS),
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
        "1.2.3",
        "zarr.json",
    ],
)
def test_images_and_what_may_be_one_are_not(name: str):
    assert not is_passed_over(name)
