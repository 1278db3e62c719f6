"""A quick look at a store."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

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

    @pytest.mark.parametrize("bands", ["0", "4", "1,2", "a", "1,2,3,1"])
    def test_what_are_no_bands(self, served: Path, bands: str) -> None:
        with pytest.raises(UsageError, match=r"one band or three, from 1|bands of 1 … 3"):
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
