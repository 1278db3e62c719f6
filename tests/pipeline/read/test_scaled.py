"""Images without levels at a half, a quarter, an eighth: near to means of blocks, and lazily."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.read.look import Channel, Look
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.scaled import ScaledImage

SIDES = (200, 333)


def rgba() -> np.ndarray:
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    waves = [128 + 60 * np.sin(x / (20 + n)) + 50 * np.cos(y / 31 + n * x / 57) for n in range(4)]
    image = np.stack(waves).astype(np.uint8)
    image[3] = np.where(np.hypot(y, x) < 220, 255, 0)
    return image


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=SIDES[1], height=SIDES[0], count=4,
        dtype="uint8", crs="EPSG:32631", photometric="RGB", alpha="YES",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(rgba())
        assert file.colorinterp[3] == ColorInterp.alpha
    done = tilepress.compress(
        tmp_path / "a.tif", tmp_path / "a.zarr", codec="ntc", psnr=42, tile=64, workers=0
    )
    assert done.ok, done.failures
    return tmp_path / "a.zarr"


def means(image: np.ndarray, scale: int) -> np.ndarray:
    rows, columns = (n // scale for n in image.shape[-2:])
    cut = image[..., : rows * scale, : columns * scale].astype(float)
    return cut.reshape(*image.shape[:-2], rows, scale, columns, scale).mean(axis=(-3, -1))


@pytest.mark.parametrize("scale", [2, 4, 8])
class TestAScale:
    def test_is_near_to_the_means(self, store: Path, scale: int) -> None:
        want = means(rgba(), scale)
        image = ScaledImage(StoreReader.open(store), scale)
        assert image.shape == want.shape
        found = image.read(Box((0, 0, 0), want.shape))
        assert np.abs(found[:3] - want[:3]).mean() < 6
        assert set(np.unique(found[3])) == {0, 255}  # exact bands have no means
        box = Box((1, 5, 3), (3, 20, 30))
        assert np.array_equal(image.read(box), found[box.slices])

    def test_is_what_xarray_opens(self, store: Path, scale: int) -> None:
        whole = tilepress.open(store)
        dataset = tilepress.open(store, scale=scale)
        want = means(rgba(), scale)
        assert dataset["image"].shape == want.shape
        read = ScaledImage(StoreReader.open(store), scale).read(Box((0, 0, 0), want.shape))
        assert np.array_equal(dataset["image"].values, read)
        some = dataset["image"].isel(band=2, y=slice(3, 20, 2), x=[1, 5, 30])
        assert np.array_equal(some.values, read[2, 3:20:2][:, [1, 5, 30]])
        assert np.allclose(np.diff(dataset["x"]), 10 * scale)
        assert np.isclose(dataset["x"][0], whole["x"][:scale].mean())
        assert np.isclose(dataset["y"][-1], whole["y"][: scale * want.shape[1]][-scale:].mean())
        assert "GeoTransform" in whole["spatial_ref"].attrs
        told = [float(n) for n in dataset["spatial_ref"].attrs["GeoTransform"].split()]
        assert told == [5e5, 10 * scale, 0, 4e6, 0, -10 * scale]

    def test_is_what_pictures_are_made_of(
        self, store: Path, scale: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[int] = []
        once = ScaledImage.read

        def noted(self: ScaledImage, box: Box) -> Any:
            read.append(self.scale)
            return once(self, box)

        monkeypatch.setattr(ScaledImage, "read", noted)
        look = Look((Channel(0, 0, 255),))
        pixels = Picture(StoreReader.open(store)).region((0, 0, *SIDES), scale, look)
        assert set(read) == {scale}
        rows, columns = means(rgba()[0], scale).shape
        there = np.abs(pixels[:rows, :columns, 0].astype(float) - means(rgba()[0], scale))
        assert np.median(there) < 6


class TestWhatHasNone:
    def test_other_codecs(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", rgba()[0])
        assert tilepress.compress(tmp_path / "a.npy", tmp_path / "a.zarr", workers=0).ok
        assert ScaledImage.scales(StoreReader.open(tmp_path / "a.zarr")) == ()
        with pytest.raises(UsageError, match="its codec has none"):
            tilepress.open(tmp_path / "a.zarr", scale=2)

    def test_other_scales(self, store: Path) -> None:
        with pytest.raises(UsageError, match="it has scales 2, 4, 8, got 3"):
            tilepress.open(store, scale=3)
