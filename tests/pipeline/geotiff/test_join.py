"""The bands of a stack as one raster: names, nodata, place, and what files do not agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

import tilepress
from tilepress.errors import FileInTheWay
from tilepress.pipeline.geotiff.join import joined_record
from tilepress.workflows.run.compress import compress

PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)}


def band(path: Path, samples: np.ndarray, tags: dict[str, str] | None = None, **profile: object):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = (1, *samples.shape)[-3:]
    profile = PLACE | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=samples.dtype,
        **profile,
    ) as file:  # fmt: skip
        file.write(samples.reshape(count, height, width))
        file.update_tags(**tags or {})


def noise(seed: int, size: tuple[int, ...] = (300, 280)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, size, dtype=np.uint16)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Return the store of three bands on one grid."""
    for seed, name in enumerate(("B02", "B03", "B08")):
        tags = {"PLATFORM": "S2A", "WAVELENGTH": str(seed)}
        band(tmp_path / f"in/T31_{name}.tif", noise(seed), tags, nodata=0)
    assert compress(tmp_path / "in", tmp_path / "out", stack="T31_*.tif", workers=0).ok
    return tmp_path / "out/T31.zarr"


class TestAStackAsOneFile:
    def test_has_every_band_under_its_name(self, stack: Path, tmp_path: Path):
        (out,) = tilepress.export(stack, tmp_path / "x.tif")
        assert out == tmp_path / "x.tif"
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.read(), [noise(n) for n in range(3)])
            assert file.descriptions == ("B02", "B03", "B08")
            assert (file.crs, file.transform, file.nodata) == (PLACE["crs"], PLACE["transform"], 0)
            assert file.tags()["PLATFORM"] == "S2A"
            assert "WAVELENGTH" not in file.tags()
            assert [file.tags(n)["WAVELENGTH"] for n in (1, 2, 3)] == ["0", "1", "2"]
        assert [path.name for path in tmp_path.glob("x.tif*")] == ["x.tif"]

    def test_is_a_valid_cog(self, stack: Path, tmp_path: Path):
        (out,) = tilepress.export(stack, tmp_path / "x.tif", format="cog", bands=["b8", "B02"])
        is_valid, problems, _ = cog_validate(out, quiet=True)
        assert is_valid, problems
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.read(), [noise(2), noise(0)])
            assert file.descriptions == ("B08", "B02")
            assert file.nodata == 0

    def test_in_a_folder_is_its_files_again(self, stack: Path, tmp_path: Path):
        for name in ("back", "there", "named.tif/"):
            (tmp_path / "there").mkdir(exist_ok=True)
            files = tilepress.export(stack, f"{tmp_path}/{name}")
            assert [file.name for file in files] == ["T31_B02.tif", "T31_B03.tif", "T31_B08.tif"]
            assert files[0].parent == tmp_path / name

    def test_is_cut_to_a_window(self, stack: Path, tmp_path: Path):
        box = (5e5 + 300, 4e6 - 900, 5e5 + 600, 4e6 - 300)
        (out,) = tilepress.export(stack, tmp_path / "x.tif", bands=[3, "B03"], bbox=box)
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.read(1), noise(2)[10:30, 10:20])
            np.testing.assert_array_equal(file.read(2), noise(1)[10:30, 10:20])
            assert file.bounds == box

    def test_replaces_nothing(self, stack: Path, tmp_path: Path):
        (tmp_path / "x.tif").write_text("mine")
        for format_ in ("geotiff", "cog"):
            with pytest.raises(FileInTheWay, match="exists"):
                tilepress.export(stack, tmp_path / "x.tif", format=format_)
        assert (tmp_path / "x.tif").read_text() == "mine"

    def test_says_what_was_lost(self, tmp_path: Path):
        for seed, name in enumerate(("B02", "B03")):
            band(tmp_path / f"in/T31_{name}.tif", noise(seed))
        compress(tmp_path / "in", tmp_path / "out", stack="T31_*.tif", workers=0, max_error=2)
        (out,) = tilepress.export(tmp_path / "out/T31.zarr", tmp_path / "x.tif")
        with rasterio.open(out) as file:
            assert file.tags()["TILEPRESS_MAX_ERROR"] == "2.0"
            assert abs(file.read(1).astype(int) - noise(0)).max() <= 2

    def test_keeps_the_nodata_of_each_band(self, tmp_path: Path):
        for seed, nodata in enumerate((0, 7)):
            band(tmp_path / f"in/T31_B{seed}.tif", noise(seed), nodata=nodata)
        compress(tmp_path / "in", tmp_path / "out", stack="T31_*.tif", workers=0)
        (out, *_) = tilepress.export(tmp_path / "out/T31.zarr", tmp_path / "x.tif")
        with rasterio.open(out) as file:
            assert file.nodatavals == (0, 7)


class TestARecordOfSeveral:
    def test_without_names_has_descriptions_where_files_do(self, stack: Path):
        from tilepress.pipeline.geotiff.kept_record import parse_record
        from tilepress.pipeline.store.reader import StoreReader

        reader = StoreReader.open(stack)
        records = [parse_record(reader.source_bytes(f"file-{n}")) for n in range(3)]
        records[1]["descriptions"] = ["green"]
        found = joined_record(records, (), "x.tif")
        assert found["descriptions"] == [None, "green", None]
        assert found["count"] == 3
        named = joined_record(records, ("a", "b", "c"), "x.tif")
        assert named["descriptions"] == ["a", "green", "c"]
