"""What is sealed can always be exported, whatever its type, bands, layout and place."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from tilepress.pipeline.geotiff.cog import export_cog
from tilepress.pipeline.geotiff.export import export_geotiff
from tilepress.pipeline.geotiff.header import Entry, append_entries, read_header
from tilepress.pipeline.geotiff.placing import TIE_POINTS, TRANSFORMATION
from tilepress.pipeline.geotiff.source import GeoTiffSource

from .test_export import MemoryReader, noise, opened, reader_of, write

DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64", "complex_int16", "complex64", "complex128"),
)
COMPRESSIONS = ("NONE", "LZW", "DEFLATE", "ZSTD", "PACKBITS", "LZMA", "JPEG", "WEBP", "LERC")
GRID = {"crs": "EPSG:32621", "transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)}
POINTS = [GroundControlPoint(row=r, col=c, x=10 + c, y=50 - r, z=0) for r, c in ((0, 0), (9, 7))]
PLACES: dict[str, dict[str, Any]] = {
    "nowhere": {},
    "grid": GRID,
    "no CRS": {"transform": GRID["transform"]},
    "no grid": {"crs": GRID["crs"]},
    "rotated": {"crs": GRID["crs"], "transform": Affine(1, 2, 3, 4, -5, 6)},
    "local": {"crs": 'ENGCRS["site",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
              'LENGTHUNIT["metre",1]]', "transform": GRID["transform"]},
    "points": {"gcps": POINTS, "crs": "EPSG:4326"},
    "points without CRS": {"gcps": POINTS, "crs": CRS()},
}  # fmt: skip


def as_samples(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if not dtype.startswith("complex"):
        return noise(shape, dtype)
    kind = {"complex_int16": "int16", "complex64": "float32", "complex128": "float64"}[dtype]
    parts = noise(shape, kind, 1), noise(shape, kind, 2)
    wide = np.complex128 if dtype == "complex128" else np.complex64
    return (parts[0] + 1j * parts[1].astype(np.float64)).astype(wide)


def predictor_named(path: Path, predictor: int) -> None:
    """Have a file without any compressed strip name a predictor that nobody asks for."""
    append_entries(path, {317: Entry(3, 1, predictor.to_bytes(2, "little"))}, "<")


@given(
    dtype=st.sampled_from(DTYPES),
    bands=st.sampled_from((1, 2, 3, 4, 5)),
    compress=st.sampled_from(COMPRESSIONS),
    predictor=st.sampled_from((1, 2, 3)),
    tiled=st.booleans(),
    interleave=st.sampled_from(("PIXEL", "BAND")),
    photometric=st.sampled_from((None, "RGB", "MINISWHITE", "CMYK", "YCBCR", "PALETTE")),
    nbits=st.sampled_from((None, 1, 7, 12, 16)),
    endian=st.sampled_from(("LITTLE", "BIG")),
    big=st.sampled_from(("YES", "NO")),
    sparse=st.booleans(),
    nodata=st.sampled_from((None, 0, 255, -9999)),
    place=st.sampled_from(sorted(PLACES)),
    point=st.booleans(),
)
def test_every_raster_that_is_taken_is_given_back(
    dtype: str,
    bands: int,
    compress: str,
    predictor: int,
    tiled: bool,
    interleave: str,
    photometric: str | None,
    nbits: int | None,
    endian: str,
    big: str,
    sparse: bool,
    nodata: int | None,
    place: str,
    point: bool,
):
    options: dict[str, Any] = {"compress": compress, "interleave": interleave, "tiled": tiled}
    options |= {"endianness": endian, "bigtiff": big, "sparse_ok": sparse, "dtype": dtype}
    options |= {"photometric": photometric} if photometric else {}
    options |= {"predictor": predictor} if compress in ("LZW", "DEFLATE", "ZSTD") else {}
    options |= {"nbits": nbits} if nbits else {}
    options |= {"blockxsize": 16, "blockysize": 16} if tiled else {}
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "a b.tif"), Path(folder, "out")
        try:
            with opened(
                path, "w", driver="GTiff", width=21, height=19, count=bands, nodata=nodata,
                **options, **PLACES[place],
            ) as file:  # fmt: skip
                if point:
                    file.update_tags(AREA_OR_POINT="Point")
                if not sparse:
                    file.write(as_samples(dtype, (bands, 19, 21)))
        except Exception:  # GDAL writes no such file, so that nobody has one
            return
        if sparse and endian == "LITTLE":
            predictor_named(path, predictor)
        given = reader_of(path)
        (made,) = export_geotiff(given, out)[:1]
        assert reader_of(made).image.tobytes() == given.image.tobytes()
        with opened(path) as before, opened(made) as after:
            assert after.dtypes == before.dtypes
            assert (after.transform, after.crs) == (before.transform, before.crs)
            assert str(after.nodatavals) == str(before.nodatavals)
            points = [[one.asdict() for one in file.gcps[0]] for file in (before, after)]
            for one in (*points[0], *points[1]):
                del one["id"]  # numbers, counted anew each time
            assert points[0] == points[1]


class TestTiePointsAreGivenBackAsTheyWere:
    @pytest.fixture(params=["Area", "Point"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        path = write(tmp_path / "a.tif", noise((20, 30)), gcps=POINTS, crs="EPSG:4326")
        with opened(path, "r+") as file:
            file.update_tags(AREA_OR_POINT=request.param)
        return path

    def tie_points(self, path: Path) -> np.ndarray:
        header = read_header(path)
        assert header is not None
        return np.frombuffer(header.first.entries[TIE_POINTS].data).reshape(-1, 6)

    def test_to_the_bit(self, path: Path, tmp_path: Path):
        (made, *_) = export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert np.array_equal(self.tie_points(made), self.tie_points(path))

    def test_without_a_crs(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", noise((20, 30)), gcps=POINTS, crs=CRS())
        (made, *_) = export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert np.array_equal(self.tie_points(made), self.tie_points(path))
        with opened(made) as file:
            assert file.gcps[1] is None

    def test_beside_a_sidecar_that_holds_them(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", noise((20, 30)))
        gcp = '<GCP Id="1" Info="" Pixel="1" Line="2" X="3" Y="4" Z="0"/>'
        text = f"<PAMDataset><GCPList>{gcp}</GCPList></PAMDataset>"
        (tmp_path / "a.tif.aux.xml").write_text(text)
        (made, *_) = export_geotiff(reader_of(path), tmp_path / "b.tif")
        with opened(made) as file:
            assert [(p.col, p.row, p.x, p.y) for p in file.gcps[0]] == [(1, 2, 3, 4)]

    def test_beside_a_sidecar_that_tells_something_else(self, path: Path, tmp_path: Path):
        text = "<PAMDataset><Metadata><MDI key='a'>b</MDI></Metadata></PAMDataset>"
        (tmp_path / "a.tif.aux.xml").write_text(text)
        (made, *_) = export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert np.array_equal(self.tie_points(made), self.tie_points(path))
        (cut, *_) = export_geotiff(reader_of(path), tmp_path / "c.tif", bands=[1])
        assert np.array_equal(self.tie_points(cut), self.tie_points(path))


class TestCloudOptimisedOnes:
    """GDAL's COG driver fails where it cannot predict, though it was asked to choose."""

    @pytest.mark.parametrize("options", [{"dtype": "complex64"}, {"nbits": 12}, {"nbits": 1}])
    def test_hold_samples_that_nothing_predicts(self, tmp_path: Path, options: dict[str, Any]):
        dtype = options.get("dtype", "uint16")
        image = as_samples(dtype, (2, 20, 30))
        image = image if dtype == "complex64" else image % 2
        path = write(tmp_path / "a.tif", image, **options)
        (made, *_) = export_cog(reader_of(path), tmp_path / "b.tif")
        with opened(made) as file:
            assert np.array_equal(file.read(), image)
            assert file.dtypes == (dtype, dtype)


class TestATransformThatIsTheIdentity:
    def test_is_told_and_given_back(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", noise((20, 30)))
        append_entries(path, {TRANSFORMATION: Entry(12, 16, np.eye(4).tobytes())}, "<")
        with GeoTiffSource.open(path) as source:
            assert source.info.geo is not None
            assert source.info.geo.transform == (1, 0, 0, 0, 1, 0)
            reader = MemoryReader(source)
        (made, *_) = export_geotiff(reader, tmp_path / "b.tif")
        header = read_header(made)
        assert header is not None
        assert header.first.entries[TRANSFORMATION].data == np.eye(4).tobytes()
        (cut, *_) = export_geotiff(reader, tmp_path / "c.tif", bbox=(2, 4, 7, 9))
        with opened(cut) as file:
            assert file.transform == Affine(1, 0, 2, 0, 1, 4)

    def test_is_not_made_up(self, tmp_path: Path):
        path = write(tmp_path / "a.tif", noise((20, 30)))
        with GeoTiffSource.open(path) as source:
            assert source.info.geo is None


class TestHalfFloats:
    """GDAL before 3.11 calls them float32 of 16 bits, and later versions float16."""

    def test_have_one_type_everywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        samples = noise((20, 30), "float32").astype("float16").astype("float32")
        path = write(tmp_path / "a.tif", samples, nbits=16)
        with GeoTiffSource.open(path) as source:
            assert (source.info.dtype, source.read(_all(source)).dtype) == ("float32", "float32")
            older = MemoryReader(source)
        record = older.items["file-0"]
        older.items["file-0"] = record.replace(b'"dtype": "float32"', b'"dtype": "float16"')
        assert older.items["file-0"] != record
        (made, *_) = export_geotiff(older, tmp_path / "b.tif")
        with opened(made) as file:
            assert np.array_equal(file.read(1), samples)
            bits = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
            assert bits == "16" or file.dtypes == ("float16",)  # a type of GDAL's from 3.11 on


def _all(source: GeoTiffSource) -> Any:
    from tilepress.pipeline.image.grid import Box

    return Box((0, 0), source.info.shape)


def test_a_backslash_in_a_name_is_no_damage(tmp_path: Path):
    path = write(tmp_path / "back\\slash.tif", noise((20, 30)))
    (made, *_) = export_geotiff(reader_of(path), tmp_path / "out")
    assert made.name == "back_slash.tif"


def test_a_codec_that_is_missing_here_is_replaced(tmp_path: Path):
    reader = reader_of(write(tmp_path / "a.tif", noise((20, 30)), compress="LZW"))
    record = reader.items["file-0"]
    reader.items["file-0"] = record.replace(b'"LZW"', b'"CCITTFAX4"')  # of single bits alone
    (made, *_) = export_geotiff(reader, tmp_path / "b.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(made) as file:
            assert file.profile["compress"] == "deflate"
