"""A quick look at a store."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.read.indices import PRESETS
from tilepress.workflows.cli.app import app
from tilepress.workflows.cli.serve import INDICES
from tilepress.workflows.serve.shown import Shown, as_png, as_text


class TestPng:
    def test_of_the_whole_image(self, served: Path) -> None:
        picture = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 600, Shown()))
        image = tilepress.open(served / "scene.zarr").image.values
        np.testing.assert_array_equal(picture[..., :3], np.moveaxis(image, 0, -1))
        small = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 60, Shown()))
        assert small.shape == (60, 50, 4)

    def test_of_chosen_bands_and_slices(self, served: Path) -> None:
        image = tilepress.open(served / "scene.zarr").image.values
        picture = imagecodecs.png_decode(
            as_png(str(served / "scene.zarr"), 600, Shown(bands="3,1,2"))
        )
        np.testing.assert_array_equal(picture[..., 0], image[2])
        grey = imagecodecs.png_decode(as_png(str(served / "scene.zarr"), 600, Shown(bands="2")))
        np.testing.assert_array_equal(grey[..., 2], image[1])
        volume = str(served / "deep" / "volume.zarr")
        assert as_png(volume, 64, Shown(at="z:0")) != as_png(volume, 64, Shown(at="z:8"))

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
        named, numbered = (
            as_png(store, 64, Shown(bands="B4,B03,b2")),
            as_png(store, 64, Shown(bands="3,2,1")),
        )
        assert named == numbered != as_png(store, 64, Shown(bands="1,2,3"))
        with pytest.raises(UsageError, match=r"bands of 1 … 3, called B02, B03, B04"):
            as_png(store, 64, Shown(bands="B8"))

    def test_of_an_index(self, served: Path) -> None:
        store = str(served / "scene.zarr")
        named = as_png(store, 64, Shown(expression="vari"))
        assert named == as_png(store, 64, Shown(expression="(b2-b1)/(b2+b1-b3)"))
        assert named != as_png(store, 64, Shown(expression="vari", rescale="-3,3"))
        with pytest.raises(UsageError, match="it is not known which bands ndvi is of"):
            as_png(store, 64, Shown(expression="ndvi"))

    def test_names_of_the_help_are_those_there_are(self) -> None:
        assert ", ".join(PRESETS) == INDICES

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (("--index", "ndvi", "--bands", "1"), "one of --bands, --index and --expression"),
            (("--index", "nothing"), "want one of ndvi, evi"),
            (("--rescale=0,1",), "--rescale is of an index"),
            (("--expression", "b1 +"), "a number or a band before 'the end'"),
        ],
    )
    def test_what_is_no_index_is_told(
        self, served: Path, options: tuple[str, ...], told: str
    ) -> None:
        run = CliRunner().invoke(app, ["show", str(served / "scene.zarr"), *options])
        assert run.exit_code != 0
        assert told in " ".join(str(run.exception or run.output).split())

    @pytest.mark.parametrize("bands", ["0", "4", "1,2", "a", "1,2,3,1"])
    def test_what_are_no_bands(self, served: Path, bands: str) -> None:
        with pytest.raises(
            UsageError, match=r"one band or three, by name or from 1|bands of 1 … 3"
        ):
            as_png(str(served / "scene.zarr"), 64, Shown(bands=bands))


class TestText:
    def test_fits_the_terminal(self, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setenv("LINES", "30")
        lines = list(as_text(str(served / "scene.zarr"), Shown()))
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert len(lines) == 20
        assert set(plain) == {"▀" * 33}
        assert all(line.endswith("\x1b[0m") for line in lines)
