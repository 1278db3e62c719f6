"""Physical values of a store: rescaled, NaN where samples are absent, as lazy as stored ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.image.info import Label
from tilepress.pipeline.read import physical

Make = Callable[..., Any]

CT = {"rescale_slope": 2.0, "rescale_intercept": -1024.0}


@pytest.fixture
def volume(make_store: Make) -> Any:
    return make_store(axes=("z", "y", "x"), attributes=CT)


class TestHounsfieldUnits:
    def test_are_slope_and_intercept(self, volume: Any) -> None:
        found = tilepress.open(volume.path, hu=True).image
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, volume.image * 2.0 - 1024)
        assert not set(found.attrs) & set(CT), "they are in the values by now"
        assert tilepress.open(volume.path).image.dtype == np.uint16

    @pytest.mark.parametrize("axes", [("band", "y", "x"), ("z", "y", "x")])
    def test_of_each_band_or_plane(self, make_store: Make, axes: tuple[str, ...]) -> None:
        slopes = np.array([1.0, 0.5, 0.25])
        store = make_store(axes=axes, attributes={"rescale_slope": slopes.tolist()})
        found = tilepress.open(store.path, hu=True).image
        np.testing.assert_array_equal(found, store.image * slopes[:, None, None])
        np.testing.assert_array_equal(found[1, 5:9, 3], store.image[1, 5:9, 3] * 0.5)

    def test_of_planes_along_several_axes(self, make_store: Make) -> None:
        image = np.random.default_rng(3).integers(0, 400, (2, 3, 40, 52), dtype=np.uint16)
        slopes = np.array([1.0, np.nan, 4.0])
        label = {"rescale_slope": Label(axes=("z",), values=slopes)}
        store = make_store(image=image, labels=label, attributes={"rescale_slope": [1.0] * 6})
        found = tilepress.open(store.path, hu=True)
        np.testing.assert_array_equal(found.image, image * slopes[:, None, None])
        assert "rescale_slope" not in found.coords

    @pytest.mark.parametrize(
        ("told", "why"),
        [
            ({}, "no rescale slope"),
            ({**CT, "modality_lut": "HU"}, "Modality LUT"),
            ({"rescale_slope": [1.0, 2.0]}, "2 numbers"),
        ],
    )
    def test_are_refused_where_nothing_tells_them(
        self, make_store: Make, told: dict[str, Any], why: str
    ) -> None:
        store = make_store(axes=("z", "y", "x"), attributes=told)
        with pytest.raises(UsageError, match=why):
            tilepress.open(store.path, hu=True)


class TestAbsentSamples:
    def test_are_nan_by_nodata_and_by_the_mask(self, geo_store: Any) -> None:
        found = tilepress.open(geo_store.path, masked=True).image
        gone = (geo_store.image == 7) | (geo_store.mask == 0)
        np.testing.assert_array_equal(np.isnan(found), gone)
        np.testing.assert_array_equal(found.values[~gone], geo_store.image[~gone])
        assert "nodata" not in found.attrs
        assert "spatial_ref" in found.coords

    def test_of_each_band(self, make_store: Make) -> None:
        image = np.full((3, 40, 52), 5, np.uint16)
        image[0, 0], image[1, 1], image[2, 2] = 7, 8, 7
        told = {"band_nodata": [7, 8, None]}
        store = make_store(image=image, axes=("band", "y", "x"), attributes=told)
        found = tilepress.open(store.path, masked=True).image.values
        gone = np.zeros(image.shape, bool)
        gone[0, 0] = gone[1, 1] = True
        np.testing.assert_array_equal(np.isnan(found), gone)

    def test_are_what_dicom_pads_with(self, make_store: Make) -> None:
        image = np.array([[0, 5, 9, 10] * 13] * 40, np.int16)
        told = {**CT, "pixel_padding_value": 9, "pixel_padding_range_limit": 10}
        store = make_store(image=image, attributes=told)
        found = tilepress.open(store.path, masked=True, hu=True).image.values
        np.testing.assert_array_equal(np.isnan(found), image >= 9)
        assert set(found[~np.isnan(found)]) == {-1024, -1014}


class TestLaziness:
    @pytest.fixture
    def taken(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
        """Shapes of what was read."""
        shapes: list[tuple[int, ...]] = []
        whole = physical._Rule.of

        def of(self: Any, stored: Any, key: Any = None) -> Any:
            shapes.append(stored.shape)
            return whole(self, stored, key)

        monkeypatch.setattr(physical._Rule, "of", of)
        return shapes

    @pytest.mark.parametrize(
        "at",
        [
            {"x": 3}, {"y": slice(4, 9), "x": slice(0, 20, 3)}, {"z": [2, 0], "y": [5, 5, 1]},
            {"z": -1, "y": slice(None, None, -1)},
        ],
    )  # fmt: skip
    def test_only_what_is_asked_for_is_read(
        self, volume: Any, taken: list[tuple[int, ...]], at: dict[str, Any]
    ) -> None:
        image = tilepress.open(volume.path, hu=True, masked=True).image
        assert taken == []
        part = image.isel(at)
        want = (tilepress.open(volume.path).image * 2.0 - 1024).isel(at)
        np.testing.assert_array_equal(part.values, want.values)
        assert np.prod(taken[0]) < volume.image.size

    def test_with_dask_too(self, geo_store: Any) -> None:
        image = tilepress.open(geo_store.path, masked=True, chunks={"y": 32}).image
        assert image.chunks is not None
        np.testing.assert_array_equal(image, tilepress.open(geo_store.path, masked=True).image)

    def test_it_pickles_to_other_processes(self, volume: Any) -> None:
        again = pickle.loads(pickle.dumps(tilepress.open(volume.path, hu=True)))
        np.testing.assert_array_equal(again.image, volume.image * 2.0 - 1024)
