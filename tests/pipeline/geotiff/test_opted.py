"""Drivers that are asked for read their own files, each alone, and nothing without being asked."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from scipy.io import netcdf_file

from tilepress.errors import SourceError, UnsupportedSource, UsageError
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.told import path_and_page
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.geotiff.drivers import OPTED, opted_driver
from tilepress.pipeline.geotiff.export import _target_name as target_name
from tilepress.pipeline.geotiff.opted import images_by_driver
from tilepress.pipeline.guests import landlock
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source

from ..images import IMAGE

held = pytest.mark.skipif(not landlock.version(), reason="nothing holds a guest to one file here")


def hfa(path: Path, **options: object) -> Path:
    """Write an image of ERDAS."""
    height, width = IMAGE.shape
    with rasterio.open(
        path, "w", driver="HFA", width=width, height=height, count=1, dtype=IMAGE.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(IMAGE, 1)
    return path


def netcdf4(path: Path) -> Path:
    """Write a netCDF-4 file of one variable, which is an HDF5 file as well."""
    with rasterio.open(hfa(path.with_suffix(".img"))) as source:
        rasterio.shutil.copy(source, path, driver="netCDF", FORMAT="NC4")
    path.with_suffix(".img").unlink()
    return path


TAS = np.random.default_rng(1).random((3, 20, 30)).astype(np.float32)


def netcdf(path: Path) -> Path:
    """Write a netCDF file of two rasters, coordinates, and texts."""
    with netcdf_file(path, "w") as file:
        for name, size in (("time", 3), ("lat", 20), ("lon", 30)):
            file.createDimension(name, size)
            values = file.createVariable(name, "f8", (name,))
            values[:] = np.arange(size) / 2
            values.units = {"lat": b"degrees_north", "lon": b"degrees_east"}.get(name, b"s")
        file.createVariable("tas", "f4", ("time", "lat", "lon"))[:] = TAS
        file.createVariable("mask", "i2", ("lat", "lon"))[:] = 7
        file.createVariable("letters", "c", ("lat", "lon"))[:] = b"a"
    return path


class Found:
    def __init__(self, source: Path, *drivers: str) -> None:
        self.counted: Counter[str] = Counter()
        items = list(discover([source], None, self.counted, choice=Choice.of((), (), drivers)))
        self.specs = [item for item in items if isinstance(item, SourceSpec)]
        self.failures = [str(item.error) for item in items if isinstance(item, Failure)]


def samples(spec: SourceSpec) -> np.ndarray:
    with contextlib.closing(open_source(spec)) as source:
        return source.read(Box((0,) * len(source.info.shape), source.info.shape))


@held
class TestADriverThatIsAskedFor:
    def test_reads_its_files(self, tmp_path: Path):
        hfa(tmp_path / "a.img")
        (spec,) = Found(tmp_path, "HFA").specs
        assert str(store_path(spec)) == "a"
        np.testing.assert_array_equal(samples(spec), IMAGE)
        with contextlib.closing(open_source(spec)) as source:
            geo = source.info.geo
            assert geo is not None
            assert geo.transform == (30, 0, 5e5, 0, -30, 4e6)
            assert "32631" in str(geo.crs_wkt)

    def test_gives_every_variable_that_is_a_raster(self, tmp_path: Path):
        netcdf(tmp_path / "m.nc")
        found = Found(tmp_path, "netCDF")
        stores = {str(store_path(spec)): spec for spec in found.specs}
        assert sorted(stores) == ["m-mask", "m-tas"]
        assert found.counted == {"variables that are no rasters": 1}
        assert not found.failures
        np.testing.assert_array_equal(samples(stores["m-tas"]), TAS[:, ::-1])
        assert samples(stores["m-mask"]).tolist() == [[7] * 30] * 20
        assert path_and_page(stores["m-tas"]) == f"{tmp_path}/m.nc (tas)"
        assert len({spec.share_of_files for spec in found.specs}) == 1

    def test_is_told_in_the_store_and_names_what_is_exported(self, tmp_path: Path):
        netcdf(tmp_path / "m.nc")
        hfa(tmp_path / "a.img")
        names = {}
        for spec in Found(tmp_path, "netCDF", "HFA").specs:
            with contextlib.closing(open_source(spec)) as source:
                (file,) = json.loads(dict(source.source_items())["origin"])["files"]
            names[str(store_path(spec))] = str(target_name(file))
        assert names == {"a": "a.tif", "m-mask": "m-mask.tif", "m-tas": "m-tas.tif"}
        assert str(target_name({**file, "name": "m.nc", "variable": "../../x"})) == "m-x.tif"

    @pytest.mark.parametrize("driver", ["netCDF", "HDF5"])
    def test_reads_what_others_read_too(self, tmp_path: Path, driver: str):
        netcdf4(tmp_path / "m.nc")
        (spec,) = Found(tmp_path, driver).specs
        assert spec.options["driver"] == driver
        assert samples(spec).shape == IMAGE.shape

    def test_takes_nothing_else(self, tmp_path: Path):
        netcdf(tmp_path / "m.nc")
        hfa(tmp_path / "a.img")
        (tmp_path / "v.img").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
        assert [spec.options["driver"] for spec in Found(tmp_path, "HFA").specs] == ["HFA"]
        assert not Found(tmp_path).specs

    def test_opens_no_other_file(self, tmp_path: Path):
        """Large files of ERDAS keep their samples in a second one, which they name."""
        hfa(tmp_path / "a.img", USE_SPILL="YES")
        assert (tmp_path / "a.ige").exists()
        (spec,) = Found(tmp_path / "a.img", "HFA").specs
        with pytest.raises(SourceError, match="external data file"):
            samples(spec)

    @pytest.mark.parametrize("driver", ["HFA", "netCDF", "HDF5", "GRIB", "NITF"])
    def test_meets_damaged_files(self, tmp_path: Path, driver: str):
        marks = {"HFA": b"EHFA_HEADER_TAG", "netCDF": b"CDF\1", "HDF5": b"\x89HDF\r\n\x1a\n"}
        data = marks.get(driver, driver.encode() + b"0") + bytes(500)
        (tmp_path / "a.dat").write_bytes(data)
        found = Found(tmp_path / "a.dat", driver)
        assert not found.specs
        assert len(found.failures) == 1
        assert str(tmp_path / "a.dat") in found.failures[0]

    def test_a_path_with_a_quote_is_refused(self, tmp_path: Path):
        netcdf(tmp_path / 'a".nc')
        found = Found(tmp_path, "netCDF")
        assert not found.specs
        assert len(found.failures) == 1


class TestWithoutABox:
    def test_nothing_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        found = Found(hfa(tmp_path / "a.img"), "HFA")
        assert "need Linux 5.13" in found.failures[0]
        options = {"name": "a", "relative": "a", "driver": "HFA"}
        spec = SourceSpec(kind="geotiff", paths=(str(tmp_path / "a.img"),), options=options)
        with pytest.raises(UnsupportedSource, match=r"need Linux 5\.13"):
            open_source(spec)


def test_only_some_drivers_may_be_asked_for():
    assert {"VRT", "WMS", "GTI", "STACIT", "SENTINEL2", "PCIDSK"}.isdisjoint(OPTED)
    with pytest.raises(UsageError, match="got 'VRT', want one of HFA, netCDF"):
        Choice.of((), (), "VRT")


def test_the_first_driver_that_knows_a_file_reads_it():
    head = b"\x89HDF\r\n\x1a\n"
    assert opted_driver(head, ("HFA", "HDF5", "netCDF")) == "HDF5"
    assert opted_driver(head, ("netCDF", "HDF5")) == "netCDF"
    assert opted_driver(head, ()) is None


def test_variables_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tilepress.pipeline.geotiff import opted

    monkeypatch.setattr(opted, "_variables", lambda *_: ["a/b", "a-b", "A b"])
    monkeypatch.setattr(opted, "_is_raster", lambda *_: True)
    images = images_by_driver(str(tmp_path / "x.h5"), "HDF5", "geotiff").images
    assert [one.ending for one in images] == ["-a-b", "-a-b-1", "-A-b-2"]
