"""Files of a stack are sorted as people count, and their image has what their names share."""

from __future__ import annotations

from tilepress.pipeline.geotiff.stack_names import band_order, stack_name


def test_names() -> None:
    assert stack_name(["a/LC08_224077_B2.TIF", "a/LC08_224077_B3.TIF"]) == "LC08_224077"
    assert stack_name(["T31_B02.jp2", "T31_B8A.jp2"]) == "T31"
    assert stack_name(["x/red.tif", "x/nir.tif"]) == "x"
    assert stack_name(["only_one.tif"]) == "only_one"


def test_the_order_is_that_of_people() -> None:
    names = ["s_B10.tif", "S_B2.tif", "s_B8A.tif", "s_B8.tif"]
    assert sorted(names, key=band_order) == ["S_B2.tif", "s_B8.tif", "s_B8A.tif", "s_B10.tif"]
