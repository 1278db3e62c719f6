"""Samples that are numbers of colours are drawn in these colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import tilepress
from tilepress.pipeline.read.look import look_of
from tilepress.pipeline.read.palette import palette_of
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader

CLASSES = np.repeat(np.arange(4, dtype=np.uint8), 25).reshape(10, 10)
COLORS = {0: (255, 0, 0, 255), 1: (0, 255, 0, 255), 2: (0, 0, 255, 255), 3: (9, 8, 7, 255)}


class _Told:
    """What a palette is asked for of a store."""

    def __init__(self, origin: dict[str, Any], **attributes: Any) -> None:
        self.attrs, self.origin = attributes, origin


def _palette(**attributes: Any) -> Any:
    found = palette_of(_Told({"kind": "array"}, **attributes))  # type: ignore[arg-type]
    return None if found is None else found.tolist()


class TestAttributes:
    def test_by_value(self) -> None:
        want = [[0, 0, 0, 255], [0, 0, 0, 0], [255, 128, 0, 64]]
        assert _palette(color_table={"0": "#000000", "2": "#ff800040"}) == want

    def test_in_order(self) -> None:
        """As the tables beside rasters are told: by number, or of the values that have names."""
        want = [[1, 2, 3, 255], [4, 5, 6, 7]]
        assert _palette(color_table=["#010203", "#04050607"]) == want
        found = _palette(color_table=["#010203", "#04050607"], flag_values=[1, 3])
        assert found == [[0] * 4, want[0], [0] * 4, want[1]]

    def test_of_dicom(self) -> None:
        table = {"first": 1, "bits": 16, "red": [65535, 0], "green": [256, 0], "blue": [0, 512]}
        assert _palette(palette=table) == [[0] * 4, [255, 1, 0, 255], [0, 0, 2, 255]]

    @pytest.mark.parametrize(
        "table",
        [
            *({}, [], {"a": "#000000"}, {"1": "red"}, {"1": 5}, {"70000": "#000000"}),
            *({"-1": "#000000"}, None, 5, "#000000", ["#0000"], {"0": "#00000000ff"}),
        ],
    )
    def test_what_is_none(self, table: Any) -> None:
        assert _palette(color_table=table) is None
        assert _palette(palette=table) is None


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("palette")
    with rasterio.open(
        folder / "classes.tif", "w", driver="GTiff", width=10, height=10, count=1,
        dtype="uint8", transform=rasterio.Affine(1, 0, 0, 0, -1, 9),
    ) as file:  # fmt: skip
        file.write(CLASSES, 1)
        file.write_colormap(1, COLORS)
    tilepress.compress(folder / "classes.tif", folder / "classes.zarr", workers=0)
    return folder / "classes.zarr"


class TestRasters:
    def test_have_the_colours_of_their_file(self, store: Path) -> None:
        picture = Picture(StoreReader.open(store))
        pixels = picture.overview(10, look_of(picture.reader))
        np.testing.assert_array_equal(pixels, np.array([*COLORS.values()], np.uint8)[CLASSES])

    def test_never_mix_them(self, store: Path) -> None:
        picture = Picture(StoreReader.open(store))
        small = picture.overview(3, look_of(picture.reader))
        assert {tuple(pixel) for row in small.tolist() for pixel in row} <= set(COLORS.values())

    def test_others_have_none(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", CLASSES)
        tilepress.compress(tmp_path / "a.npy", tmp_path / "a.zarr", workers=0)
        assert Picture(StoreReader.open(tmp_path / "a.zarr")).palette is None
