"""Names of coordinate systems are PROJ's or "unknown"; numbers stay."""

from __future__ import annotations

import pytest
from pyproj import CRS

from tilepress.pipeline.privacy.crs import is_known_name, plain_wkt


@pytest.mark.parametrize("code", [4326, 32631, 3857, 2154, 27700, 3035])
def test_a_registered_system_is_what_it_was(code: int):
    wkt = plain_wkt(CRS.from_epsg(code).to_wkt())
    assert wkt is not None
    assert CRS.from_wkt(wkt) == CRS.from_epsg(code)


def test_a_system_of_somebodys_own_loses_its_names_and_keeps_its_numbers():
    wkt = CRS.from_proj4("+proj=laea +lat_0=52.5 +lon_0=10.25 +ellps=GRS80").to_wkt()
    named = wkt.replace('"unknown"', '"Farm of Jane Doe"')
    assert named != wkt
    plain = plain_wkt(named)
    assert plain is not None
    assert "Doe" not in plain
    assert CRS.from_wkt(plain) == CRS.from_wkt(wkt)


def test_quotes_within_quotes_hide_nothing():
    assert plain_wkt('A["x""Jane""y",B["WGS 84"]]') == 'A["unknown",B["WGS 84"]]'
    assert plain_wkt(None) is None


def test_words_that_are_no_names_of_geodesy():
    assert not is_known_name("Jane Doe")
    assert is_known_name("WGS 84 / UTM zone 31N")
