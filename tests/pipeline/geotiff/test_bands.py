"""What each band is: what marks its absent samples, and whether its values stand for something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.geotiff.bands import in_dtype
from tilepress.pipeline.geotiff.source import GeoTiffSource

from .test_export import noise, opened, write


def exact(path: Path) -> list[str | None]:
    with GeoTiffSource.open(path) as source:
        return [band.exact for band in source.info.bands]


class TestValuesThatStandForSomething:
    def test_are_told_by_the_description_of_a_band(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", np.stack([noise((9, 9))] * 2))
        with opened(path, "r+") as file:
            file.descriptions = ("red", "cloud mask")
        assert exact(path) == [None, "it is called mask"]

    def test_are_single_bits(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", noise((9, 9), "uint8") % 2, nbits=1)
        assert exact(path)[0] is not None

    @pytest.mark.parametrize("name", ["masked", "aquarium", "scale", "B04", "QAx"])
    def test_are_not_told_by_a_part_of_a_word(self, tmp_path: Path, name: str):
        assert exact(write(tmp_path / f"{name}.tif", noise((9, 9)))) == [None]

    def test_are_not_told_by_the_name_of_a_file_of_several(self, tmp_path: Path):
        path = write(tmp_path / "with_QA.tif", np.stack([noise((9, 9))] * 2))
        assert exact(path) == [None, None]


@pytest.mark.parametrize(
    ("value", "dtype", "found"),
    [(300, "u1", None), (2.5, "u1", None), (float("nan"), "i2", None), (-1.0, "i2", -1)],
)
def test_nodata_is_a_sample_or_nothing(value: float, dtype: str, found: int | None):
    assert in_dtype(value, np.dtype(dtype)) == found
