"""Several files on one grid are one image: their bands in order, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff.stack import StackSource
from tilepress.pipeline.geotiff.stack_names import band_order
from tilepress.pipeline.image.grid import Box

from .test_source import UTM, noise, read_all, write


class TestStacks:
    def test_bands_of_files_become_one_axis(self, tmp_path: Path) -> None:
        samples = noise((4, 20, 30))
        names = ["LC08_L1_B2.TIF", "LC08_L1_B3.TIF", "LC08_L1_B10.TIF"]
        write(tmp_path / names[0], samples[0], **UTM)
        write(tmp_path / names[1], samples[1:3], **UTM)
        write(tmp_path / names[2], samples[3], **UTM)
        paths = sorted(tmp_path.iterdir(), key=band_order)
        assert [path.name for path in paths] == names
        with StackSource.open(*paths) as source:
            info = source.info
            assert (info.name, info.axes, info.shape) == (
                "LC08_L1", ("band", "y", "x"), (4, 20, 30),
            )  # fmt: skip
            assert info.attributes["band_names"] == ["B2", "B3_1", "B3_2", "B10"]
            np.testing.assert_array_equal(read_all(source), samples)
            box = Box((1, 5, 6), (4, 17, 18))
            np.testing.assert_array_equal(source.read(box), samples[box.slices])
            origin = json.loads(dict(source.source_items())["origin"])
        assert [file["name"] for file in origin["files"]] == names
        assert [file["bands"] for file in origin["files"]] == [1, 2, 1]

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            ({"samples": noise((20, 31))}, "grid is 20 × 31, want 20 × 30"),
            ({"samples": noise((20, 30), "int16")}, "int16, want uint16"),
            ({"transform": Affine(30, 0, 500_030, 0, -30, 4_000_000)}, "transforms differ"),
            ({"crs": "EPSG:32622"}, "reference system differs"),
        ],
    )
    def test_another_grid_names_the_file(self, tmp_path: Path, other: dict, words: str) -> None:
        first = write(tmp_path / "a_B1.tif", noise((20, 30)), **UTM)
        profile = UTM | other
        second = write(tmp_path / "a_B2.tif", profile.pop("samples", noise((20, 30))), **profile)
        with pytest.raises(UnsupportedSource, match=words) as caught:
            StackSource.open(first, second)
        assert str(second) in str(caught.value)

    def test_masks_that_differ_are_refused(self, tmp_path: Path) -> None:
        mask = np.full((20, 30), 255, np.uint8)
        first = write(tmp_path / "a1.tif", noise((20, 30), "uint8"), mask=mask)
        mask[3, 4] = 0
        second = write(tmp_path / "a2.tif", noise((20, 30), "uint8"), mask=mask)
        with (
            StackSource.open(first, second) as source,
            pytest.raises(UnsupportedSource, match="one mask"),
        ):
            source.read_mask(Box((0, 0), (20, 30)))


class TestControlPoints:
    """Two places on Earth are no two bands of one image."""

    @pytest.mark.parametrize(("shift", "taken"), [(0, True), (0.5, False)])
    def test_are_compared(self, tmp_path: Path, shift: float, taken: bool) -> None:
        from rasterio.control import GroundControlPoint

        paths = []
        for number, x in enumerate((0.0, shift), 1):
            places = [(0, 0), (0, 9), (9, 0)]
            points = [GroundControlPoint(row=r, col=c, x=x + c, y=-r, z=0) for r, c in places]
            path = tmp_path / f"s_B{number}.tif"
            paths.append(write(path, noise((20, 30)), gcps=points, crs="EPSG:4326"))
        if taken:
            StackSource.open(*paths).close()
            return
        with pytest.raises(UnsupportedSource, match="control points differ"):
            StackSource.open(*paths)


def test_dates_are_told_to_readers(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"NDVI_{d}.tif", noise((9, 9))) for d in ("20191222", "20200101")]
    with StackSource.open(*paths) as source:
        info = source.info
    assert info.name == "NDVI"
    assert info.attributes["band_names"] == ["2019-12-22", "2020-01-01"]
    assert info.attributes["band_times"] == ["2019-12-22", "2020-01-01"]
