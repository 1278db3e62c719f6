"""A box on the ground gives the smallest window that covers it, or one line."""

from __future__ import annotations

import math

import pytest
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tilepress.errors import UsageError
from tilepress.pipeline.geotiff.window import window_of

UTM = CRS.from_epsg(32631).to_wkt()
RECORD = {"transform": [10.0, 0.0, 5e5, 0.0, -10.0, 4e6], "crs_wkt": UTM}
SIZE = (1000, 800)


class TestAWindow:
    def test_covers_the_box(self):
        assert window_of(RECORD, SIZE, None) == (0, 0, 1000, 800)
        assert window_of(RECORD, SIZE, (500_100, 3_999_000, 500_200, 3_999_500)) == (
            50,
            10,
            100,
            20,
        )
        assert window_of(RECORD, SIZE, (500_101, 3_999_001, 500_199, 3_999_499)) == (
            50,
            10,
            100,
            20,
        )
        assert window_of(RECORD, SIZE, (0, 0, 1e7, 1e7)) == (0, 0, 1000, 800)

    @pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "OGC:CRS84", "+proj=longlat"])
    def test_of_another_crs_covers_what_it_covers_there(self, crs: str):
        wanted = (500_500.0, 3_995_000.0, 502_500.0, 3_998_000.0)
        box = transform_bounds(CRS.from_epsg(32631), CRS.from_user_input(crs), *wanted)
        top, left, bottom, right = window_of(RECORD, SIZE, box, crs)
        assert (top, left) <= (200, 50)
        assert (bottom, right) >= (500, 250)
        assert (bottom - top, right - left) < (330, 230)

    def test_of_a_box_that_is_curved_there_is_not_too_small(self):
        """A parallel in UTM sags: corners alone would miss its middle."""
        record = {"transform": [1000.0, 0.0, 0.0, 0.0, -1000.0, 7.2e6], "crs_wkt": UTM}
        top, *_ = window_of(record, (2000, 1000), (-2.0, 60.0, 8.0, 62.0), "EPSG:4326")
        utm, degrees = CRS.from_user_input(UTM), CRS.from_epsg(4326)
        corners = [transform_bounds(degrees, utm, x, 62, x + 1e-9, 62)[3] for x in (-2.0, 8.0)]
        assert (7.2e6 - max(corners)) / 1000 >= top


class TestNonsenseIsOneLine:
    @pytest.mark.parametrize(
        ("box", "crs", "text"),
        [
            ((10, 0, 5, 10), None, "left < right"),
            ((0, 10, 10, 10), None, "bottom < top"),
            ((0, 0, math.nan, 1), None, "want left"),
            ((0, 0, math.inf, 1), "EPSG:4326", "want left"),
            (
                (0, 0, 1, 1),
                None,
                "outside the image, which spans 500000,3990000,508000,4000000 in EPSG:32631; if "
                "the box is in degrees, add --bbox-crs EPSG:4326$",
            ),
            ((0, 0, 1, 1), "EPSG:4326", "outside the image, which spans .* in EPSG:32631$"),
            ((0, 0, 1000, 1), None, "outside the image, which spans .* in EPSG:32631$"),
            ((0, 0, 1, 1), "EPSG:99999999", "want a CRS as in EPSG:4326"),
            ((0, 0, 1, 1), "nonsense", "want a CRS as in EPSG:4326"),
            ((1e30, 1e30, 2e30, 2e30), "EPSG:3857", "cannot be taken|outside"),
        ],
    )
    def test_of_a_box_or_crs(self, box: tuple, crs: str | None, text: str):
        with pytest.raises(UsageError, match=text) as found:
            window_of(RECORD, SIZE, box, crs)
        assert "\n" not in str(found.value)

    def test_of_an_image_that_lies_nowhere(self):
        with pytest.raises(UsageError, match="no geotransform"):
            window_of({"transform": None, "crs_wkt": None}, SIZE, (0, 0, 1, 1))
        record = {**RECORD, "crs_wkt": None}
        with pytest.raises(UsageError, match="no CRS to take it to"):
            window_of(record, SIZE, (0, 0, 1, 1), "EPSG:4326")
