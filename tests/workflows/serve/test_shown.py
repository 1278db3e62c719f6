"""A quick look at a store."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio

import tilepress
from tilepress.errors import UsageError
from tilepress.workflows.serve.shown import as_png, as_text


class TestPng:
    def test_of_the_whole_image(self, served: Path) -> None:
        picture = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 600, "", ""))
        image = tilepress.open(served / "scene.zarr").image.values
        np.testing.assert_array_equal(picture[..., :3], np.moveaxis(image, 0, -1))
        small = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 60, "", ""))
        assert small.shape == (60, 50, 4)

    def test_of_chosen_bands_and_slices(self, served: Path) -> None:
        image = tilepress.open(served / "scene.zarr").image.values
        picture = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 600, "", "3,1,2"))
        np.testing.assert_array_equal(picture[..., 0], image[2])
        grey = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 600, "", "2"))
        np.testing.assert_array_equal(grey[..., 2], image[1])
        volume = str(served / "deep" / "volume.zarr")
        assert as_png(volume, 64, "z:0", "") != as_png(volume, 64, "z:8", "")

    def test_of_bands_by_name(self, tmp_path: Path) -> None:
        folder, store = tmp_path / "in", str(tmp_path / "scene.zarr")
        folder.mkdir()
        samples = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
        for band, plane in zip(("B02", "B03", "B04"), samples, strict=True):
            with rasterio.open(
                folder / f"scene_{band}.tif", "w", driver="GTiff", width=64, height=64, count=1,
                dtype="uint8", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
            ) as file:  # fmt: skip
                file.write(plane, 1)
        tilepress.compress(folder, store, stack="*_B*.tif", workers=0, tier="fast")
        named, numbered = as_png(store, 64, "", "B4,B03,b2"), as_png(store, 64, "", "3,2,1")
        assert named == numbered != as_png(store, 64, "", "1,2,3")
        with pytest.raises(UsageError, match=r"bands of 1 … 3, called B02, B03, B04"):
            as_png(store, 64, "", "B8")

    @pytest.mark.parametrize("bands", ["0", "4", "1,2", "a", "1,2,3,1"])
    def test_what_are_no_bands(self, served: Path, bands: str) -> None:
        with pytest.raises(
            UsageError, match=r"one band or three, by name or from 1|bands of 1 … 3"
        ):
            as_png(str(served / "scene.zarr"), 64, "", bands)


class TestText:
    def test_fits_the_terminal(self, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setenv("LINES", "30")
        lines = list(as_text(str(served / "scene.zarr"), "", ""))
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert len(lines) == 20
        assert set(plain) == {"▀" * 33}
        assert all(line.endswith("\x1b[0m") for line in lines)
