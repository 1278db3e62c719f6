"""What is told of bands: their number, and nodata only where bands differ in it."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.pipeline.image.info import BandInfo, ImageInfo


def image(*nodata: float | None, axes: tuple[str, ...] = ("band", "y", "x")) -> ImageInfo:
    shape = (len(nodata), 4, 5)[-len(axes) :]
    bands = tuple(BandInfo(nodata=value) for value in nodata)
    return ImageInfo(name="a", axes=axes, shape=shape, dtype=np.dtype("f4"), bands=bands)


def test_bands_are_counted_along_their_axis():
    assert (image(0, 1, 2).band_count, image(0, axes=("y", "x")).band_count) == (3, 1)


@pytest.mark.parametrize("nodata", [(), (0,), (0, 0), (None, None), (float("nan"), float("nan"))])
def test_nodata_is_told_by_band_only_where_bands_differ(nodata: tuple[float | None, ...]):
    assert image(*nodata).band_nodata is None


def test_nodata_of_bands_that_differ_is_told():
    assert image(0, None).band_nodata == (0, None)
