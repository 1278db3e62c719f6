"""Indices by name find their bands where a store tells them, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.read.indices import common_names, index_of, normalized, presets_of


def _reader(
    names: list[str] | None = None, *, store: str = "scene.zarr", count: int = 0,
    dtype: str = "uint16", planes: bool = False, **attributes: Any,
) -> Any:  # fmt: skip
    """Return what indices ask of a store."""
    bands = count or len(names or ())
    attrs = attributes | ({"band_names": names} if names else {})
    return SimpleNamespace(
        path=Path(store), axes=("band", "y", "x"), shape=(bands, 5, 5), dtype=np.dtype(dtype),
        attrs=attrs, root_attributes={}, level={"rescale_slope"} if planes else set(),
    )  # fmt: skip


SENTINEL = ["B02", "B03", "B04", "B08", "B11", "B12"]


class TestCommonNames:
    @pytest.mark.parametrize(
        ("reader", "found"),
        [
            (_reader(["red", "green", "NIR"]), {"red": 0, "green": 1, "nir": 2}),
            (_reader(["a", "b"], color_interpretation=["nir", "red"]), {"nir": 0, "red": 1}),
            (_reader(SENTINEL), {"blue": 0, "green": 1, "red": 2, "nir": 3, "swir16": 4,
                                 "swir22": 5}),
            (_reader(["B04", "B8A"], store="HLS.S30.T31.zarr"), {"red": 0, "nir": 1}),
            (_reader(["B04", "B05"], store="HLS.L30.T31.zarr"), {"red": 0, "nir": 1}),
            (_reader(["SR_B4", "SR_B5"], store="LC08_L2SP_1.zarr"), {"red": 0, "nir": 1}),
            (_reader(["B3", "B4"], store="LT05_L1TP_1.zarr"), {"red": 0, "nir": 1}),
            (_reader(["B4", "B5"], store="LC80030172015001LGN00.zarr"), {"red": 0, "nir": 1}),
            (_reader(["B3", "B4"], store="LE71400412000304SGS00.zarr"), {"red": 0, "nir": 1}),
            (_reader(["B4", "B5"]), {}),  # of Landsat 8 or of Landsat 5
            (_reader(["red", "red", "nir"]), {"nir": 2}),  # one of two
            (_reader(count=4), {}),
        ],
    )  # fmt: skip
    def test_are_told_by_names_colours_or_products(self, reader: Any, found: Any) -> None:
        assert common_names(reader) == found


class TestPresets:
    def test_are_those_that_the_bands_allow(self) -> None:
        assert set(presets_of(_reader(["green", "nir"]))) == {"ndwi"}
        assert {"ndvi", "evi", "nbr", "savi"} <= set(presets_of(_reader(SENTINEL)))
        assert not presets_of(_reader(count=3))

    def test_say_the_unit_that_they_take(self) -> None:
        """EVI has a 1 that is a reflectance; samples of most products are 10000 times that."""
        plain = presets_of(_reader(SENTINEL, dtype="float32"))["evi"]
        scaled = presets_of(_reader(SENTINEL, rescale_slope=0.0001))["evi"]
        assert plain == scaled
        assert plain.text.endswith("+ 1)")
        guessed = presets_of(_reader(SENTINEL))["evi"]
        assert guessed.text.endswith("+ 10000)")
        assert "samples of 10000 are a reflectance of 1" in guessed.title

    def test_evi_is_that_of_reflectances(self) -> None:
        blue, red, near = 0.04, 0.05, 0.4
        want = 2.5 * (near - red) / (near + 6 * red - 7.5 * blue + 1)
        for factor, more in (
            (1, {"dtype": "float32"}),
            (10000, {}),
            (5000, {"rescale_slope": 2e-4}),
        ):
            index = index_of(_reader(SENTINEL, **more), "EVI")
            by_band = {0: blue, 2: red, 3: near}
            samples = np.array([[[by_band[b] * factor]] for b in index.expression.bands])
            assert index.values(samples)[0, 0] == pytest.approx(want)

    def test_of_bands_that_nobody_knows(self) -> None:
        with pytest.raises(UsageError, match=r"not known which bands ndvi is of, \(nir - red\)"):
            index_of(_reader(count=4), "ndvi")


class TestFormulas:
    def test_call_bands_by_name_then_by_number(self) -> None:
        reader = _reader(SENTINEL)
        assert index_of(reader, "b4").expression.bands == (2,), "called so"
        assert index_of(reader, "b5").expression.bands == (4,), "the fifth"
        assert index_of(reader, "[4] + nir").expression.bands == (3,)
        assert index_of(reader, "B8 - RED").expression.bands == (3, 2)
        assert index_of(_reader(count=4), "b4/B1").expression.bands == (3, 0)
        with pytest.raises(UsageError, match="bands of the image, not 'b7'"):
            index_of(reader, "b7")

    def test_rescale_bands_by_their_own(self) -> None:
        reader = _reader(["a", "c"], rescale_slope=[1.0, 0.1], rescale_intercept=-1.0)
        index = index_of(reader, "a + c", low=0, high=9)
        assert (index.rescaling, index.low, index.high) == (((1, -1), (0.1, -1)), 0, 9)

    @pytest.mark.parametrize(
        "reader",
        [
            _reader(["a", "c"], rescale_slope=[1.0, 2.0, 3.0]),
            _reader(["a", "c"], modality_lut=[1]),
            _reader(["a", "c"], planes=True),
        ],
    )
    def test_refuse_what_is_rescaled_otherwise(self, reader: Any) -> None:
        with pytest.raises(UsageError, match=r"drawing scene.zarr: "):
            index_of(reader, "a + c")

    def test_of_two_bands(self) -> None:
        samples = np.array([[[6.0]], [[2.0]]])
        assert normalized(1, 0).values(samples).tolist() == [[0.5]]
        assert normalized(1, 1).values(samples[:1]).tolist() == [[0]]
