"""Any window at any resolution has the samples that lie in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.samples import smooth

import tilepress
from tilepress.errors import TooMuchMemory, UsageError
from tilepress.pipeline.read import picture as pictures
from tilepress.pipeline.read.look import Channel, Look
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader

GREY = Look((Channel(0, 0, 255),))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[np.ndarray], Picture]:
    def store(image: np.ndarray) -> Picture:
        np.save(tmp_path / "image.npy", image)
        tilepress.compress(tmp_path / "image.npy", tmp_path / "image.zarr", workers=0, tile=64)
        return Picture(StoreReader.open(tmp_path / "image.zarr"))

    return store


class TestRegions:
    def test_of_the_full_resolution(self, stored: Any) -> None:
        image = (smooth((150, 200)) % 256).astype(np.uint8)
        picture = stored(image)
        pixels = picture.region((10, 20, 60, 120), 1, GREY)
        np.testing.assert_array_equal(pixels[..., 0], image[10:60, 20:120])
        assert (pixels[..., 3] == 255).all()

    def test_beyond_the_image_are_cut(self, stored: Any) -> None:
        picture = stored(np.full((50, 70), 9, np.uint8))
        assert picture.region((-5, 60, 99, 999), 1, GREY).shape == (50, 10, 4)
        with pytest.raises(UsageError, match="has no samples"):
            picture.region((50, 0, 60, 10), 1, GREY)

    def test_reduced_ones_are_means(self, stored: Any) -> None:
        image = np.tile(np.array([[10, 30], [50, 70]], np.uint8), (64, 64))
        pixels = stored(image).region((0, 0, 128, 128), 2, GREY)
        assert pixels.shape == (64, 64, 4)
        assert (pixels[..., 0] == 40).all()

    def test_an_overview_of_strips_is_that_of_the_whole(
        self, stored: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = (np.add.outer(np.arange(230), np.arange(310)) // 3).astype(np.uint8)
        picture = stored(image)
        whole = picture.region((0, 0, 230, 310), 4, GREY)
        monkeypatch.setattr(pictures, "OVERVIEW", 100)
        monkeypatch.setattr(pictures, "_STRIP", 5000)
        strips = Picture(picture.reader)
        found = strips.region((0, 0, 230, 310), 4, GREY)
        assert found.shape == whole.shape
        assert np.abs(found.astype(int) - whole).max() <= 3
        assert len(strips._overviews) == 1
        strips.region((100, 100, 200, 200), 4, GREY)
        assert len(strips._overviews) == 1  # made of the one that is there

    def test_too_much_is_refused(self, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pictures, "MAX_READ", 1000)
        with pytest.raises(TooMuchMemory, match="tilepress levels"):
            stored(np.zeros((64, 64), np.uint8)).region((0, 0, 64, 64), 1, GREY)


class TestAbsentSamples:
    def test_nodata_and_mask_are_transparent(self, geo_store: Any) -> None:
        reader = StoreReader.open(geo_store.path)
        picture = Picture(reader)
        pixels = picture.region((0, 0, picture.height, picture.width), 1, GREY)
        present = (geo_store.image[0] != 7) & (geo_store.mask > 0)
        np.testing.assert_array_equal(pixels[..., 3] > 0, present)


class TestVolumes:
    def test_planes_along_each_axis(self, stored: Any) -> None:
        volume = smooth((5, 40, 60))
        picture = stored(volume)
        axes = picture.reader.axes
        if "z" not in axes:
            pytest.fail(f"arrays of three axes are no volume any more: {axes}")
        np.testing.assert_array_equal(picture.plane("z", 2, GREY), volume[2])
        np.testing.assert_array_equal(picture.plane("y", 7, GREY), volume[:, 7])
        np.testing.assert_array_equal(picture.plane("x", 59, GREY), volume[:, :, 59])
        for axis, number in (("z", 5), ("t", 0), ("y", -1)):
            with pytest.raises(UsageError):
                picture.plane(axis, number, GREY)

    def test_values(self, stored: Any) -> None:
        volume = smooth((5, 40, 60))
        picture = stored(volume)
        look = Look(GREY.channels, {"z": 4})
        assert picture.value(3, 9, look) == [int(volume[4, 3, 9])]
