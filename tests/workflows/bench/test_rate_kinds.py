"""Errors are told in the units of those who measure: indices, Hounsfield units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tilepress.pipeline.image.info import BandInfo, ImageInfo
from tilepress.workflows.bench.rate_kinds import hounsfield_bias, ndvi_error

SAMPLES = (np.indices((2, 20, 30)).sum(axis=0) * 40 + 500).astype(np.uint16)
THERE = np.ones(SAMPLES.shape, bool)


def info(names: tuple[tuple[str, ...], ...] = (), **more: Any) -> ImageInfo:
    axes = ("band", "y", "x") if names else ("z", "y", "x")
    bands = tuple(BandInfo(names=one) for one in names)
    return ImageInfo(
        name="a", axes=axes, shape=SAMPLES.shape, dtype=SAMPLES.dtype, bands=bands, **more
    )


class TestIndexError:
    @pytest.mark.parametrize(
        "names", [(("Red",), ("NIR",)), (("x_B04.tif",), ("x_B08.tif",)), (("red (B4)",), ("nir",))]
    )
    def test_of_bands_that_are_called_so(self, names) -> None:
        other = SAMPLES.copy()
        other[1] += 30
        red, near = SAMPLES.astype(float)
        want = np.abs((near + 30 - red) / (near + 30 + red) - (near - red) / (near + red)).mean()
        assert ndvi_error(info(names), SAMPLES, other, THERE) == pytest.approx(want)
        assert ndvi_error(info(names), SAMPLES, SAMPLES, THERE) == 0

    def test_by_colours_in_any_order(self) -> None:
        told = info(((), ()), attributes={"color_interpretation": ["nir", "red"]})
        other = SAMPLES.copy()
        other[0] += 30
        assert ndvi_error(told, SAMPLES, other, THERE) == pytest.approx(
            ndvi_error(info((("red",), ("nir",))), SAMPLES[::-1], other[::-1], THERE)
        )

    def test_none_is_made_up(self) -> None:
        for names in ((("red",), ("green",)), (("red", "nir"), ("x",)), (("B4",), ("B5",))):
            assert ndvi_error(info(names), SAMPLES, SAMPLES, THERE) is None
        assert ndvi_error(info(), SAMPLES, SAMPLES, THERE) is None
        told = info((("red",), ("nir",)))
        assert ndvi_error(told, SAMPLES, SAMPLES, ~THERE) is None


CT = {"modality": "CT", "rescale_slope": 2.0, "rescale_intercept": -1200.0}


class TestBiasOfSoftTissue:
    def test_in_hounsfield_units(self) -> None:
        tissue = (SAMPLES * 2.0 - 1200 >= -160) & (SAMPLES * 2.0 - 1200 <= 240)
        other = SAMPLES + np.where(tissue, 3, 90).astype(np.uint16)
        assert 0 < tissue.sum() < tissue.size
        told = info(attributes=CT)
        assert hounsfield_bias(told, SAMPLES, other, THERE) == pytest.approx(6.0)

    def test_of_ct_alone(self) -> None:
        for change in ({"modality": "MR"}, {"rescale_slope": [1.0, 2.0]}):
            told = info(attributes={**CT, **change})
            assert hounsfield_bias(told, SAMPLES, SAMPLES, THERE) is None
        told = info(attributes=CT)
        assert hounsfield_bias(told, SAMPLES * 0, SAMPLES, THERE) is None
