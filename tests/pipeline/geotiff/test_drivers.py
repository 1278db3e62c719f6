"""Rasters are known by their content, and only what is known is ever given to GDAL."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tilepress.pipeline.geotiff.drivers import TIFF_MAGICS, raster_driver

from .test_source import tiny_tiff


def test_drivers_go_by_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(tiny_tiff())
    assert raster_driver(path, path.read_bytes()[:16]) == "GTiff"
    assert raster_driver(path, b"\0\0\0\x0cjP  \r\n\x87\n") == "JP2OpenJPEG"
    assert raster_driver(path, b"<VRTDataset raster") is None


@pytest.mark.parametrize("magic", TIFF_MAGICS)
def test_a_tiff_may_be_of_either_order_and_size(magic: bytes) -> None:
    assert raster_driver(PurePosixPath("a.png"), magic) == "GTiff"


def test_heights_are_known_by_name_and_size() -> None:
    """Their files have no header."""
    name = PurePosixPath("N47E011.hgt")
    assert raster_driver(name, bytes(132), 2 * 1201 * 1201) == "SRTMHGT"
    assert raster_driver(name, bytes(132), 2 * 1201 * 1200) is None
    assert raster_driver(PurePosixPath("47.hgt"), bytes(132), 2 * 1201 * 1201) is None
