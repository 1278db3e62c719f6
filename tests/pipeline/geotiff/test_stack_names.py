"""Files of a stack are sorted as people count, and their image has what their names share."""

from __future__ import annotations

import itertools

import pytest

from tilepress.pipeline.geotiff.stack_names import (
    band_labels,
    band_order,
    former_names,
    stack_name,
    stamp_of,
)


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["a/LC08_224077_B2.TIF", "a/LC08_224077_B3.TIF"], "LC08_224077"),
        (["LC08_224077_B11.TIF", "LC08_224077_B12.TIF"], "LC08_224077"),
        (["T31_B02.jp2", "T31_B8A.jp2"], "T31"),
        (["x/red.tif", "x/nir.tif"], "x"),
        (["only_one.tif"], "only_one"),
        (["NDVI_20191222.tif", "NDVI_20200101.tif"], "NDVI"),
        (["NDVI_2020-01-07.tif", "NDVI_2020-01-23.tif"], "NDVI"),
        (["HLS.S30.v2.0.B02.tif", "HLS.S30.v2.0.B03.tif"], "HLS.S30.v2.0"),
        (["sceneA1.tif", "sceneA2.tif"], "sceneA"),
    ],
)
def test_names_are_whole_words(paths: list[str], name: str) -> None:
    assert stack_name(paths) == name


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a_B2.tif", "a_B10.tif"], ["B2", "B10"]),
        (["a_B02_10m.tif", "a_B8A_10m.tif"], ["B02", "B8A"]),
        (["NDVI_20191222.tif", "NDVI_20200101T101010.tif"], ["2019-12-22", "2020-01-01T10:10:10"]),
        (["x.2020136T101031.tif", "x.2020137T000000.tif"], ["2020-05-15T10:10:31", "2020-05-16"]),
        (["NDVI_2019-12-22.tif", "NDVI_2020-01-07.tif"], ["2019-12-22", "2020-01-07"]),
        (["x-2020-01-07-v1.tif", "x-2020-01-23-v1.tif"], ["2020-01-07", "2020-01-23"]),
        (["x_2020-01-07T101031.tif", "x_2020-01-08.tif"], ["2020-01-07T10:10:31", "2020-01-08"]),
        (["2020-01-07_B04.tif", "2020-01-07_B08.tif"], ["B04", "B08"]),
        (["x_20209999.tif", "x_20200101.tif"], ["20209999", "20200101"]),
        (["a.tif", "a.tif"], ["", ""]),
        (["a.tif"], [""]),
    ],
)
def test_bands_are_called_by_what_tells_files_apart(paths: list[str], labels: list[str]) -> None:
    assert band_labels(paths) == labels


@pytest.mark.parametrize("text", ["", "B02", "12345678", "2020136T", "20201301", "2019-02-30"])
def test_a_number_is_no_date(text: str) -> None:
    assert stamp_of(text) is None


def test_former_names_are_known() -> None:
    files = ["HLS.S30.T1.B02.tif", "HLS.S30.T1.B03.tif"]
    names = list(itertools.islice(former_names(files), 3))
    assert names == ["HLS", "HLS-stack", "HLS-stack-2"]
    assert next(former_names(["NDVI_20191222.tif", "NDVI_20200101.tif"])) == "NDVI_20"


def test_the_order_is_that_of_people() -> None:
    names = ["s_B10.tif", "S_B2.tif", "s_B8A.tif", "s_B8.tif"]
    assert sorted(names, key=band_order) == ["S_B2.tif", "s_B8.tif", "s_B8A.tif", "s_B10.tif"]
