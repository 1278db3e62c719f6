"""Bands are found by the names that a store tells, else by number."""

from __future__ import annotations

from typing import Any

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.image.band_choice import band_numbers, names_of_bands


class Reader:
    """What is asked of a store."""

    def __init__(self, count: int, **attributes: Any) -> None:
        self.axes, self.shape, self.attrs = ("band", "y", "x"), (count, 5, 5), attributes


def numbers(asked: list[int | str], *names: str, count: int = 0) -> list[int]:
    told = {"band_names": list(names)} if names else {}
    return band_numbers(Reader(count or len(names), **told), asked, "x.zarr")  # type: ignore[arg-type]


class TestABand:
    def test_is_found_by_name_or_number_in_the_order_asked(self):
        assert numbers(["B8A", "B02", 3, "2"], "B02", "B03", "B04", "B8A") == [4, 1, 3, 2]

    def test_is_found_as_people_write_it(self):
        assert numbers(["b2", " B4"], "B02", "B03", "B04") == [1, 3]
        assert numbers(["b08"], "B8", "B8A") == [1]
        assert numbers(["B10"], "B1", "B10") == [2]

    def test_is_called_what_it_is_called_before_it_is_a_number(self):
        assert numbers(["2", "10"], "10", "2") == [2, 1]
        assert numbers([2], "10", "2") == [2]

    def test_that_is_none_is_told_with_those_that_are(self):
        for asked in ("B11", "0", "4", 4, 0, -1, "-1", "²"):
            with pytest.raises(UsageError, match=r"bands 1 … 3, called B02, B03, B04"):
                numbers([asked], "B02", "B03", "B04")
        with pytest.raises(UsageError, match=r"bands 1 … 2$"):
            numbers(["B1"], count=2)

    def test_that_may_be_two_is_refused(self):
        with pytest.raises(UsageError, match="may be any of 1, 2"):
            numbers(["b1"], "B1", "B01")
        assert numbers(["B01"], "B1", "B01") == [2]

    def test_is_asked_for_once(self):
        with pytest.raises(UsageError, match="named twice"):
            numbers(["B02", 1], "B02", "B03")
        with pytest.raises(UsageError, match="no band"):
            numbers([], "B02")


def test_names_of_a_single_band_and_of_none():
    single = Reader(1, long_name="B4")
    assert names_of_bands(single) == ("B4",)  # type: ignore[arg-type]
    for told in (None, "B4", ["a"], 7):
        assert names_of_bands(Reader(2, band_names=told)) == ()  # type: ignore[arg-type]
