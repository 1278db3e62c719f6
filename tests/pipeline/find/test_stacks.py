"""Which files make one image, and what it is called: whatever else there is, in whatever order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from tilepress.errors import UsageError
from tilepress.pipeline.find.discover import Failure, discover, store_path
from tilepress.pipeline.find.stacks import StackPattern, Stacks, by_grid, stack_patterns


def tiff(path: Path, size: int = 12, dtype: str = "uint16", pixel: float = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype=dtype,
        crs="EPSG:32633", transform=Affine(pixel, 0, 6e5, 0, -pixel, 4e6),
    ) as file:  # fmt: skip
        file.write(np.zeros((size, size), dtype), 1)
    return path


def found(paths: Sequence[Path], stack: Stacks) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of every store by its name, and what failed."""
    items = list(discover(list(paths), stack))
    failures = [str(item.error) for item in items if isinstance(item, Failure)]
    specs = [item for item in items if not isinstance(item, Failure)]
    stores = {str(store_path(one)): [Path(path).name for path in one.paths] for one in specs}
    assert len(stores) == len(specs), "two images of one name"
    return stores, failures


class TestAnImageIsCalled:
    @pytest.mark.parametrize(
        ("pattern", "file", "name"),
        [
            ("*_B*.TIF", "LC08_L1TP_224077_20200518_B11.TIF", "LC08_L1TP_224077_20200518"),
            ("HLS*.B*.tif", "HLS.S30.T33.2020136T1.v2.0.B02.tif", "HLS.S30.T33.2020136T1.v2.0"),
            ("*_B*_10m.tif", "T33_20200515_B02_10m.tif", "T33_20200515"),
            ("NDVI_*.tif", "NDVI_20191222.tif", "NDVI"),
            ("LC08_224077_B*.TIF", "LC08_224077_B2.TIF", "LC08_224077"),
            ("scene/*_B*.tif", "scene/a_B1.tif", "a"),
            ("*/B*.tif", "scene/B1.tif", "scene"),
            ("*.tif", "a_1.tif", ""),
            ("B*.tif", "B1.tif", ""),
        ],
    )  # fmt: skip
    def test_by_what_comes_before_the_band(self, pattern: str, file: str, name: str):
        scene = StackPattern.parse(pattern).scene(file)
        assert scene is not None
        assert scene.name == name

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("LC09_L2SP_193026_20220803_20220805_02_T1_SR_B4.TIF",
             "LC09_L2SP_193026_20220803_20220805_02_T1_SR"),
            ("LC08_L1TP_193026_20220803_20220805_02_RT_B10.TIF",
             "LC08_L1TP_193026_20220803_20220805_02_RT"),
            ("T33UUP_20200515T101031_B8A_20m.jp2", "T33UUP_20200515T101031"),
            ("T33UUP_20200515T101031_B02.jp2", "T33UUP_20200515T101031"),
            ("HLS.S30.T33UUP.2020136T101031.v2.0.B8A.tif", "HLS.S30.T33UUP.2020136T101031.v2.0"),
            ("LC80030172015001LGN00_B3.tiff", "LC80030172015001LGN00"),
            ("S2A_29RKH_20200219_0_L2A__B02.tif", "S2A_29RKH_20200219_0_L2A"),
            ("LC09_L2SP_193026_20220803_20220805_02_T1_QA_PIXEL.TIF", None),
            ("T33UUP_20200515T101031_SCL_20m.jp2", None),
            ("T33UUP_20200515T101031_TCI.jp2", None),
            ("a_B1.tif", None),
        ],
    )  # fmt: skip
    def test_by_its_producer(self, file: str, name: str | None):
        scene = StackPattern.parse("auto").scene(file)
        assert (None if scene is None else scene.name) == name

    def test_the_same_in_any_order_and_company(self, tmp_path: Path):
        dates = ("2020136", "2020141", "2019001")
        files = [
            tiff(tmp_path / f"HLS.S30.T33UUP.{date}T101031.v2.0.B{band}.tif")
            for date in dates
            for band in ("02", "8A")
        ]
        want = {
            f"HLS.S30.T33UUP.{date}T101031.v2.0": [
                f"HLS.S30.T33UUP.{date}T101031.v2.0.B{band}.tif" for band in ("02", "8A")
            ]
            for date in dates
        }
        for order in itertools.islice(itertools.permutations(files), 0, 720, 97):
            assert found(order, "*.B*.tif") == (want, [])
        earlier, _ = found(files[:4], "*.B*.tif")
        assert earlier == dict(list(want.items())[:2])

    def test_without_the_figures_that_its_bands_share(self, tmp_path: Path):
        files = [tiff(tmp_path / f"LC08_224077_B{band}.TIF") for band in (11, 12)]
        assert list(found(files, "*_B*.TIF")[0]) == ["LC08_224077"]


class TestFilesOfSeveralGrids:
    def test_are_an_image_for_each_resolution(self, tmp_path: Path):
        for name, size, dtype, pixel in (
            ("B02_10m", 12, "uint16", 10), ("B03_10m", 12, "uint16", 10),
            ("B05_20m", 6, "uint16", 20), ("B8A_20m", 6, "uint16", 20),
            ("SCL_20m", 6, "uint8", 20), ("B10_60m", 2, "uint16", 60),
        ):  # fmt: skip
            tiff(tmp_path / f"T33_20200515_{name}.tif", size, dtype, pixel)
        stores, failures = found([tmp_path], "T33_20200515_*.tif")
        assert not failures
        assert stores == {
            "T33_20200515-10m": ["T33_20200515_B02_10m.tif", "T33_20200515_B03_10m.tif"],
            "T33_20200515-20m-uint16": ["T33_20200515_B05_20m.tif", "T33_20200515_B8A_20m.tif"],
            "T33_20200515_SCL_20m": ["T33_20200515_SCL_20m.tif"],
            "T33_20200515_B10_60m": ["T33_20200515_B10_60m.tif"],
        }

    def test_are_told_by_as_many_words_as_it_takes(self):
        words = {"a": ("10m", "u2", "4x4"), "b": ("10m", "u2", "5x5"), "c": ("20m", "u2", "2x2")}
        names = {files[0]: name for name, files in by_grid(words.items())}
        assert names["c"] == "20m"
        assert names["a"] != names["b"]
        assert all(names[one].startswith("10m-u2-") for one in "ab")
        assert dict(by_grid([("a", ("10m",))])) == {"": ["a"]}


class TestFilesThatDoNotStack:
    def test_keep_their_names(self, tmp_path: Path):
        files = [tiff(tmp_path / name) for name in ("one_B1.tif", "two_B1.tif", "two_B2.tif")]
        stores, _ = found(files, "*_B*.tif")
        assert stores == {"one_B1": ["one_B1.tif"], "two": ["two_B1.tif", "two_B2.tif"]}


class TestSeveralPatterns:
    def test_are_tried_one_after_another(self, tmp_path: Path):
        names = ("a_B1.tif", "a_B2.tif", "NDVI_20200101.tif", "NDVI_20200111.tif", "x.tif")
        files = [tiff(tmp_path / name) for name in names]
        stores, failures = found(files, ["*_B*.tif", "NDVI_*.tif", "no*.tif", "auto"])
        assert sorted(stores) == ["NDVI", "a", "x"]
        assert [text.partition(";")[0] for text in failures] == [
            "stacking: no raster is named like 'no*.tif'",
            "stacking: no raster is named like a band of Landsat, Sentinel-2, HLS",
        ]

    @pytest.mark.parametrize("given", ["", ["*_B*.tif", ""]])
    def test_are_never_empty(self, given: Any):
        with pytest.raises(UsageError, match="empty pattern"):
            stack_patterns(given)


def test_a_name_that_is_taken_is_told_apart_by_the_files(tmp_path: Path):
    for name in ("b.tif", "b-stack.tif", "b_B1.tif", "b_B2.tif"):
        tiff(tmp_path / name)
    stores, _ = found([tmp_path], "*_B*.tif")
    (name,) = [name for name, files in stores.items() if len(files) == 2]
    assert name.startswith("b-stack-")
    assert len(name) == len("b-stack-") + 8
